"""Repositories of remote collections: what a REST resource holds, over HTTP."""

import builtins
import collections.abc
import math
import typing as t

import msgspec

from flama.client import NOT_SENT, Client, HTTPError, Response, TransportError, UnsupportedProtocol
from flama.ddd.repositories.base import BaseRepository
from flama.ddd.repositories.typed import Record, TypedRepository, records
from flama.ddd.workers.http import HTTPWorker
from flama.exceptions import InvalidResponseError, SessionClosedError, UnavailableError
from flama.rest import errors, pages
from flama.rest.operations import OPERATIONS, Operation, path

__all__ = ["HTTPRepository", "HTTPResourceManager", "HTTPResourceRepository"]

_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]

_DECODERS: dict[str, msgspec.json.Decoder[t.Any]] = {
    operation.name: msgspec.json.Decoder(operation.response)
    for operation in OPERATIONS.values()
    if operation.response is not None
}


class HTTPRepository(BaseRepository):
    """A repository that asks a remote service, through ``self._client``."""

    _backend = HTTPWorker

    def __init__(self, client: Client) -> None:
        self._client = client


class HTTPResourceManager:
    """The operations of one remote resource.

    ``resource`` is its path, below the client's ``base_url``, or a whole URL.
    """

    def __init__(self, resource: str, client: Client) -> None:
        self.resource = resource.rstrip("/")
        self.client = client

    async def call(self, name: str, id: t.Any = None, **request: t.Any) -> t.Any:
        """Do an operation, and give its answer's body.

        ``json`` is the body to send, ``params`` the query.

        :raises ValueError: the id is no segment of a path; nothing was sent.
        :raises ResourceException: the service refused, as :mod:`flama.rest.errors` has it.
        :raises UnavailableError: it could not be reached, or did not answer.
        :raises InvalidResponseError: it answered something else than the operation's result.
        """
        operation = OPERATIONS[name]
        url = self.resource + path(operation, id if operation.kind == "element" else None)
        response = await self._send(operation, url, id, **request)
        if not response.is_success:
            raise errors.decode(
                response.status_code,
                response.content,
                response.headers,
                resource=self.resource,
                id=id,
                write=operation.writes,
            )
        return None if operation.response is None else self._body(operation, response, id)

    async def _send(
        self,
        operation: Operation,
        url: str,
        id: t.Any,
        *,
        json: t.Any = None,
        params: dict[str, str] | None = None,
    ) -> Response:
        if self.client.is_closed:
            raise SessionClosedError(f"The client of '{self.resource}' is closed: its unit of work has ended")
        body: dict[str, t.Any] = {}
        if operation.request is not None:
            body = {"content": _encoded(json), "headers": {"content-type": "application/json"}}
        try:
            return await self.client.request(operation.method, url, params=params, **body)
        except UnsupportedProtocol:
            raise
        except TransportError as error:
            raise UnavailableError(
                resource=self.resource,
                id=id,
                detail=str(error) or type(error).__name__,
                maybe_applied=operation.writes and not isinstance(error, NOT_SENT),
            ) from error
        except HTTPError as error:
            raise InvalidResponseError(resource=self.resource, id=id, detail=str(error)) from error

    def _body(self, operation: Operation, response: Response, id: t.Any) -> t.Any:
        try:
            return _DECODERS[operation.name].decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            detail = f"{operation.method} answered {response.status_code} with another body: {error}"
            raise InvalidResponseError(resource=self.resource, id=id, detail=detail) from error


class HTTPResourceRepository(HTTPRepository, TypedRepository[Record]):
    """The records of one remote resource.

    A subclass says which: ``_resource``, a path or a whole URL. Ids may hold anything that a string can, but be
    empty, ``.`` or ``..``, which raise ``ValueError``. The service's refusals are raised as the errors that a
    repository on its side would raise. No request is undone when the unit of work fails: HTTP has no transaction.

    Records are dictionaries, or of the type that is named in brackets: ``HTTPResourceRepository[User]``.

    :raises InvalidResponseError: what the service answers isn't a record of the type.
    """

    _resource: t.ClassVar[str]
    _page_size: t.ClassVar[int] = 100

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._records = records(cls._record, None)

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        if not hasattr(self, "_resource"):
            raise AttributeError(f"{type(self).__name__} has no '_resource': set it to the path of the collection")
        self._resource_manager = HTTPResourceManager(self._resource, client)
        self._resource_name = self._resource_manager.resource

    async def create(self, data: Record | _Data) -> Record:
        """Create a record, and give it as it was stored."""
        return await self._one("create", json=self._data(data))

    async def retrieve(self, id: t.Any) -> Record:
        """Give the record of this id."""
        return await self._one("retrieve", id)

    async def update(self, id: t.Any, data: Record | _Data) -> Record:
        """Replace the record of this id, and give it as it is now."""
        return await self._one("update", id, json=self._data(data))

    async def partial_update(self, id: t.Any, data: Record | _Data) -> Record:
        """Change some fields of the record of this id, and give it as it is now.

        Of a pydantic model, these are the fields that were set; of a value of another type, all.
        """
        return await self._one("partial_update", id, json=self._data(data, changes=True))

    async def delete(self, id: t.Any) -> None:
        """Delete the record of this id."""
        await self._resource_manager.call("delete", id)

    def list(self, *, pagination: pages.Style = "page_number") -> collections.abc.AsyncIterator[Record]:
        """Give all records, asking for a page at a time, when it is needed.

        No record comes twice and none is lost while the collection doesn't change. ``pagination`` is the service's.

        :raises ValueError: there is no such pagination.
        :raises InvalidResponseError: the service repeats a page, skips one, or ends before its own count.
        """
        if pagination not in pages.STYLES:
            raise ValueError(f"There is no pagination '{pagination}': it is one of {', '.join(pages.STYLES)}")
        return self._pages(pages.Walk(pagination, self._page_size, resource=self._resource_manager.resource))

    async def replace(self, data: collections.abc.Iterable[Record | _Data]) -> builtins.list[Record]:
        """Make these records the whole collection, and give them as they were stored."""
        return await self._many("replace", [self._data(record) for record in data])

    async def partial_replace(self, data: collections.abc.Iterable[Record | _Data]) -> builtins.list[Record]:
        """Replace the records that have these ids, add those that are new, and give them as they were stored."""
        return await self._many("partial_replace", [self._data(record, changes=True) for record in data])

    async def drop(self) -> int:
        """Delete all records, and return how many they were."""
        return t.cast("int", (await self._resource_manager.call("drop")).deleted)

    async def _one(self, operation: str, id: t.Any = None, **request: t.Any) -> Record:
        (record,) = self._read([await self._resource_manager.call(operation, id, **request)])
        return record

    async def _many(self, operation: str, data: builtins.list[t.Any]) -> builtins.list[Record]:
        return self._read(await self._resource_manager.call(operation, json=data))

    async def _pages(self, walk: pages.Walk) -> collections.abc.AsyncIterator[Record]:
        while not walk.ended:
            answer = await self._resource_manager.call("list", params=walk.parameters())
            for record in self._read(walk.take(answer)):
                yield record


def _encoded(data: t.Any) -> bytes:
    body = msgspec.json.encode(data)
    # The encoder makes null of numbers that JSON doesn't have.
    if b"null" in body and not _is_finite(data):
        raise ValueError("JSON has no infinity and no number that is none")
    return body


def _is_finite(data: t.Any) -> bool:
    match data:
        case float():
            return math.isfinite(data)
        case dict():
            return all(map(_is_finite, data.values()))
        case list() | tuple():
            return all(map(_is_finite, data))
        case _:
            return True
