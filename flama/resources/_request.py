"""One request to a resource: its parameters, body, unit of work."""

import collections.abc
import contextlib
import dataclasses
import typing as t
import urllib.parse

from flama import exceptions, http, pagination, schemas, types
from flama.ddd.workers._backend import Backend
from flama.ddd.workers.base import BaseWorker
from flama.query import Condition, equal_fields
from flama.resources._adapters import RecordStore
from flama.resources.rest import RESTResource
from flama.rest import filters, ordering, query_parameters
from flama.rest.operations import Operation, path, segment

__all__ = ["Endpoint", "ResourceRequest"]


@dataclasses.dataclass(frozen=True, slots=True)
class ResourceRequest:
    """A request to an operation of a resource."""

    resource: type[RESTResource]
    operation: Operation
    scope: types.Scope
    body: bytes
    id: t.Any
    worker: t.Any
    repository: str
    query: list[tuple[str, str]]
    limit: schemas.RecordLimit  # of records in the body

    @contextlib.asynccontextmanager
    async def open_unit(self) -> collections.abc.AsyncGenerator[RecordStore]:
        """Open a unit of work, and yield the records in it."""
        async with self.worker:
            yield self.resource.records(getattr(self.worker, self.repository))

    @property
    def bounds(self) -> tuple[Condition, ...]:
        """The conditions of the request's scope, on every record that it reads or writes."""
        return t.cast("tuple[Condition, ...]", self.worker._scope_of(self.repository))

    @property
    def scope_key(self) -> str:
        """A text that identifies the request's scope; empty without one."""
        return "".join(map(repr, self.bounds))

    @property
    def stamped(self) -> frozenset[str]:
        """The fields that the request's scope sets, so that clients need not send them."""
        return frozenset(name for condition in self.bounds for name in equal_fields(condition))

    @property
    def backend(self) -> Backend | None:
        """The backend of the repository's session; None if it has none, or it is unknown."""
        return self.worker.backend_of(self.repository) if isinstance(self.worker, BaseWorker) else None

    @contextlib.asynccontextmanager
    async def stream_unit(self) -> collections.abc.AsyncGenerator[RecordStore]:
        """Open a unit of work for a stream, and yield the records in it.

        :raises UnavailableError: other streams hold all connections that streams may use.
        """
        backend = self.backend
        slot = contextlib.nullcontext() if backend is None else backend.stream_slot(self.worker.app)
        async with slot, self.open_unit() as found:
            yield found

    def header(self, name: str) -> str | None:
        """Return a header's value, or None; several values are joined by commas."""
        key = name.encode()
        found = [value.decode("latin-1") for header, value in self.scope["headers"] if header == key]
        return ", ".join(found) if found else None

    def conditions(
        self, reserved: collections.abc.Collection[str] = query_parameters.RESERVED
    ) -> tuple[Condition, ...]:
        """Return the conditions of the query's filters.

        :raises ValidationError: a filter is malformed.
        :raises UnknownColumnError: a parameter is not a field that records can be filtered by.
        """
        resource = self.resource
        try:
            return filters.decode(self.query, resource._filters, resource=resource._called, reserved=reserved)
        except ValueError as error:
            raise pagination.refused(error) from error

    def number(self, name: str) -> int | None:
        """Return a query parameter as a number from 0, or None if it is absent.

        :raises ValidationError: the value is no such number.
        """
        value = dict(self.query).get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise pagination.refused(ValueError(f"{name} is a number from 0, not {value[:40]!r}"))
        return int(value)

    def field_options(self, *taken: str) -> dict[str, list[str]]:
        """Return the fields in the parameters ``on`` (they identify an existing record) and ``set`` (they are updated).

        ``taken`` are the names of the parameters that the operation has.

        :raises UnknownColumnError: there are no such fields.
        :raises ValidationError: the fields of ``on`` aren't unique, or there is an unknown parameter.
        """
        resource, parameters = self.resource, dict(self.query)
        if others := [name for name in parameters if name not in taken]:
            raise pagination.refused(ValueError(f"{others[0][:40]} is no parameter of this: {', '.join(taken)}"))
        found = {name: ordering.listed(value) for name, value in parameters.items()}
        self._check_known(found.get(query_parameters.ON, ()), dict.fromkeys((*resource._filters, resource._id.name)))
        self._check_known(found.get(query_parameters.SET, ()), resource._settable)
        if (
            query_parameters.ON in found
            and resource._unique is not None
            and frozenset(found[query_parameters.ON]) not in resource._unique
        ):
            unique = "; ".join(", ".join(sorted(each)) for each in resource._unique)
            raise pagination.refused(ValueError(f"{query_parameters.ON} is what no two records are alike in: {unique}"))
        return found

    def _check_known(self, fields: collections.abc.Iterable[str], known: collections.abc.Collection[str]) -> None:
        if unknown := [name for name in fields if name not in known]:
            raise exceptions.UnknownColumnError(resource=self.resource._called, names=unknown, columns=known)

    def check_ids(self, records: collections.abc.Iterable[collections.abc.Mapping[str, t.Any]]) -> None:
        """Check that the keys of new records, where they have any, can be in a path.

        :raises InvalidDataError: a key can't.
        """
        key = self.resource._id
        if key.type is str:
            for record in records:
                if record.get(key.name) is not None:
                    self._segment(record[key.name])

    def respond(
        self, body: bytes, headers: collections.abc.Mapping[str, str] | None = None, status: int | None = None
    ) -> http.Response:
        """Return a JSON response, by default with the status of the operation."""
        return http.Response(body, status or self.operation.status, headers, "application/json")

    def location(self, id: t.Any) -> str:
        """Return the path of a record.

        :raises InvalidDataError: its key can't be in a path.
        """
        collection = self.scope["path"].rstrip("/").removesuffix(path(self.operation).rstrip("/"))
        return f"{urllib.parse.quote(collection)}/{self._segment(id)}/"

    def _segment(self, id: t.Any) -> str:
        try:
            return segment(id)
        except ValueError as error:
            raise exceptions.InvalidDataError(resource=self.resource._called, detail=str(error)) from error


Endpoint: t.TypeAlias = collections.abc.Callable[[ResourceRequest], collections.abc.Awaitable[http.Response]]
"""A function that handles the requests to an operation."""
