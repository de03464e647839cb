"""What a resource is asked for: a request, the unit in which it is answered."""

import collections.abc
import contextlib
import dataclasses
import typing as t
import urllib.parse

from flama import exceptions, http, pagination, schemas, types
from flama.ddd.workers.base import BaseWorker
from flama.ddd.workers.units import Backend
from flama.query import Condition, equal_fields
from flama.resources.records import Records
from flama.resources.rest import RESTResource
from flama.rest import filters, names, orders
from flama.rest.operations import Operation, path, segment

__all__ = ["Asked", "Serve"]


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """One request to a resource."""

    resource: type[RESTResource]
    operation: Operation
    scope: types.Scope
    body: bytes
    id: t.Any
    worker: t.Any
    repository: str
    query: list[tuple[str, str]]
    limit: schemas.RecordLimit  # of its body

    @contextlib.asynccontextmanager
    async def unit(self) -> collections.abc.AsyncGenerator[Records]:
        """Open a unit of work, and give the records in it."""
        async with self.worker:
            yield self.resource.records(getattr(self.worker, self.repository))

    @property
    def bounds(self) -> tuple[Condition, ...]:
        """The conditions on every record that the request reads or writes: those of its scope."""
        return t.cast("tuple[Condition, ...]", self.worker._scope_of(self.repository))

    @property
    def scope_key(self) -> str:
        """A text that is the same for requests of the same scope; empty where there is none."""
        return "".join(map(repr, self.bounds))

    @property
    def stamped(self) -> frozenset[str]:
        """The fields that records have by the request's scope, and need not be sent."""
        return frozenset(name for condition in self.bounds for name in equal_fields(condition))

    @property
    def backend(self) -> Backend | None:
        """What opens the repository's session; None where it needs none, or the worker doesn't tell."""
        return self.worker.backend_of(self.repository) if isinstance(self.worker, BaseWorker) else None

    @contextlib.asynccontextmanager
    async def stream_unit(self) -> collections.abc.AsyncGenerator[Records]:
        """Open a unit of work for a stream, and yield the records in it.

        :raises UnavailableError: other streams have all the connections that streams may have.
        """
        backend = self.backend
        async with contextlib.nullcontext() if backend is None else backend.stream_slot(), self.unit() as found:
            yield found

    def header(self, name: str) -> str | None:
        """Give a header's value; of several, all of them, as one."""
        key = name.encode()
        found = [value.decode("latin-1") for header, value in self.scope["headers"] if header == key]
        return ", ".join(found) if found else None

    def conditions(self, reserved: collections.abc.Collection[str] = names.RESERVED) -> tuple[Condition, ...]:
        """Give the conditions on the records that the query asks for.

        :raises ValidationError: a parameter means nothing.
        :raises UnknownColumnError: a parameter is nothing that records can be asked for by.
        """
        resource = self.resource
        try:
            return filters.decode(self.query, resource._filters, resource=resource._called, reserved=reserved)
        except ValueError as error:
            raise pagination.refused(error) from error

    def number(self, name: str) -> int | None:
        """Give the natural number that a parameter of the query holds, if it is there.

        :raises ValidationError: it holds none.
        """
        value = dict(self.query).get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise pagination.refused(ValueError(f"{name} is a number from 0, not {value[:40]!r}"))
        return int(value)

    def named(self, *taken: str) -> dict[str, list[str]]:
        """Give the fields that the query names for records that may be there: what they are known by, what changes.

        ``taken`` are the parameters that may do so.

        :raises UnknownColumnError: there are no such fields.
        :raises ValidationError: records may be alike in what they are to be known by; or there is another parameter.
        """
        resource, said = self.resource, dict(self.query)
        if others := [name for name in said if name not in taken]:
            raise pagination.refused(ValueError(f"{others[0][:40]} is no parameter of this: {', '.join(taken)}"))
        found = {name: orders.listed(value) for name, value in said.items()}
        self._check_known(found.get(names.ON, ()), dict.fromkeys((*resource._filters, resource._id.name)))
        self._check_known(found.get(names.SET, ()), resource._settable)
        if names.ON in found and resource._unique is not None and frozenset(found[names.ON]) not in resource._unique:
            unique = "; ".join(", ".join(sorted(each)) for each in resource._unique)
            raise pagination.refused(ValueError(f"{names.ON} is what no two records are alike in: {unique}"))
        return found

    def _check_known(self, named: collections.abc.Iterable[str], known: collections.abc.Collection[str]) -> None:
        if unknown := [name for name in named if name not in known]:
            raise exceptions.UnknownColumnError(resource=self.resource._called, names=unknown, columns=known)

    def check_ids(self, records: collections.abc.Iterable[collections.abc.Mapping[str, t.Any]]) -> None:
        """Check that the keys of records that are sent, where these have any, can stand in a path.

        :raises InvalidDataError: one can't.
        """
        key = self.resource._id
        if key.type is str:
            for record in records:
                if record.get(key.name) is not None:
                    self._segment(record[key.name])

    def answer(
        self, body: bytes, headers: collections.abc.Mapping[str, str] | None = None, status: int | None = None
    ) -> http.Response:
        """Give the response of an operation that went well, by the operation's own status unless it is another."""
        return http.Response(body, status or self.operation.status, headers, "application/json")

    def location(self, id: t.Any) -> str:
        """Return the path of a record.

        :raises InvalidDataError: no path can hold its key.
        """
        collection = self.scope["path"].rstrip("/").removesuffix(path(self.operation).rstrip("/"))
        return f"{urllib.parse.quote(collection)}/{self._segment(id)}/"

    def _segment(self, id: t.Any) -> str:
        try:
            return segment(id)
        except ValueError as error:
            raise exceptions.InvalidDataError(resource=self.resource._called, detail=str(error)) from error


Serve: t.TypeAlias = collections.abc.Callable[[Asked], collections.abc.Awaitable[http.Response]]
"""What does an operation."""
