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
from flama.resources._spec import ResourceSpec
from flama.rest import filters, ordering, query_parameters
from flama.rest.operations import Operation, path, segment

__all__ = ["Endpoint", "ResourceRequest"]


@dataclasses.dataclass(frozen=True, slots=True)
class ResourceRequest:
    """A request to an operation of a resource."""

    spec: ResourceSpec
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
            yield self.spec.records(getattr(self.worker, self.repository))

    @property
    def bounds(self) -> tuple[Condition, ...]:
        """The conditions of the request's scope, on every record that it reads or writes."""
        return t.cast("tuple[Condition, ...]", self.worker.scope_of(self.repository))

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
        spec = self.spec
        try:
            return filters.decode(self.query, spec.filters, resource=spec.error_name, reserved=reserved)
        except ValueError as error:
            raise pagination.query_error(error) from error

    def number(self, name: str) -> int | None:
        """Return a query parameter as a number from 0, or None if it is absent.

        :raises ValidationError: the value is no such number.
        """
        value = dict(self.query).get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise pagination.query_error(ValueError(f"{name} must be a number from 0, not {value[:40]!r}"))
        return int(value)

    def field_options(self, *taken: str) -> dict[str, list[str]]:
        """Return the fields in the parameters ``on`` (they identify an existing record) and ``set`` (they are updated).

        ``taken`` are the names of the parameters that the operation has.

        :raises UnknownColumnError: there are no such fields.
        :raises ValidationError: the fields of ``on`` aren't unique, or there is an unknown parameter.
        """
        unique, parameters = self.spec.unique, dict(self.query)
        if others := [name for name in parameters if name not in taken]:
            raise pagination.query_error(
                ValueError(f"unknown parameter {others[0][:40]}: this operation has {', '.join(taken)}")
            )
        found = {name: ordering.decode_fields(value) for name, value in parameters.items()}
        self._check_known(found.get(query_parameters.ON, ()), self.spec.conflict_fields)
        self._check_known(found.get(query_parameters.SET, ()), self.spec.updatable)
        on = found.get(query_parameters.ON)
        if on is not None and unique is not None and frozenset(on) not in unique:
            sets = "; ".join(", ".join(sorted(each)) for each in unique)
            raise pagination.query_error(ValueError(f"{query_parameters.ON} must be a set of unique fields: {sets}"))
        return found

    def _check_known(self, fields: collections.abc.Iterable[str], known: collections.abc.Collection[str]) -> None:
        if unknown := [name for name in fields if name not in known]:
            raise exceptions.UnknownColumnError(resource=self.spec.error_name, names=unknown, columns=known)

    def check_ids(self, records: collections.abc.Iterable[collections.abc.Mapping[str, t.Any]]) -> None:
        """Check that the keys of new records, where they have any, can be in a path.

        :raises InvalidDataError: a key can't.
        """
        if self.spec.key_type is str:
            for record in records:
                if (id := record.get(self.spec.key)) is not None:
                    self._segment(id)

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
            raise exceptions.InvalidDataError(resource=self.spec.error_name, detail=str(error)) from error


Endpoint: t.TypeAlias = collections.abc.Callable[[ResourceRequest], collections.abc.Awaitable[http.Response]]
"""A function that handles the requests to an operation."""
