"""Repositories of remote collections: what a REST resource holds, over HTTP."""

import builtins
import collections.abc
import math
import typing as t

import msgspec

from flama.client import NOT_SENT, Client, HTTPError, Response, TransportError, UnsupportedProtocol
from flama.ddd.repositories.base import BaseRepository
from flama.exceptions import InvalidResponseError, SessionClosedError, UnavailableError
from flama.rest import errors, pages
from flama.rest.operations import OPERATIONS, Operation, Record, Records, path

__all__ = ["HTTPRepository", "HTTPResourceManager", "HTTPResourceRepository"]

_DECODERS: dict[str, msgspec.json.Decoder[t.Any]] = {
    operation.name: msgspec.json.Decoder(operation.response)
    for operation in OPERATIONS.values()
    if operation.response is not None
}


class HTTPRepository(BaseRepository):
    """A repository that asks a remote service, through ``self._client``."""

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


class HTTPResourceRepository(HTTPRepository):
    """The records of one remote resource.

    A subclass says which: ``_resource``, a path or a whole URL. Ids may hold anything that a string can, but be
    empty, ``.`` or ``..``, which raise ``ValueError``. The service's refusals are raised as the errors that a
    repository on its side would raise. No request is undone when the unit of work fails: HTTP has no transaction.
    """

    _resource: t.ClassVar[str]
    _page_size: t.ClassVar[int] = 100

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        if not hasattr(self, "_resource"):
            raise AttributeError(f"{type(self).__name__} has no '_resource': set it to the path of the collection")
        self._resource_manager = HTTPResourceManager(self._resource, client)

    async def create(self, data: Record) -> Record:
        """Create a record, and give it as it was stored."""
        return t.cast("Record", await self._resource_manager.call("create", json=data))

    async def retrieve(self, id: t.Any) -> Record:
        """Give the record of this id."""
        return t.cast("Record", await self._resource_manager.call("retrieve", id))

    async def update(self, id: t.Any, data: Record) -> Record:
        """Replace the record of this id, and give it as it is now."""
        return t.cast("Record", await self._resource_manager.call("update", id, json=data))

    async def partial_update(self, id: t.Any, data: Record) -> Record:
        """Change some fields of the record of this id, and give it as it is now."""
        return t.cast("Record", await self._resource_manager.call("partial_update", id, json=data))

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

    async def replace(self, data: builtins.list[Record]) -> builtins.list[Record]:
        """Make these records the whole collection, and give them as they were stored."""
        return t.cast("Records", await self._resource_manager.call("replace", json=data))

    async def partial_replace(self, data: builtins.list[Record]) -> builtins.list[Record]:
        """Replace the records that have these ids, add those that are new, and give them as they were stored."""
        return t.cast("Records", await self._resource_manager.call("partial_replace", json=data))

    async def drop(self) -> int:
        """Delete all records, and return how many they were."""
        return t.cast("int", (await self._resource_manager.call("drop")).deleted)

    async def _pages(self, walk: pages.Walk) -> collections.abc.AsyncIterator[Record]:
        while not walk.ended:
            answer = await self._resource_manager.call("list", params=walk.parameters())
            for record in walk.take(answer):
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
