"""The operations of one remote resource."""

import codecs
import collections.abc
import contextlib
import functools
import math
import typing as t
import urllib.parse

import msgspec

from flama.client import Client, RawResponse, ResourceURL, ResponseTooLarge, iter_decompressed
from flama.ddd.repositories.http._openapi import ResourceDocument
from flama.ddd.repositories.http._retrying import RetryingCall
from flama.ddd.repositories.http._wire_format import WireFormat
from flama.exceptions import ApplicationError, InvalidDataError, InvalidResponseError, SessionClosedError
from flama.rest import conditional_requests, idempotency
from flama.rest.operations import OPERATIONS, Envelope, Operation
from flama.retry import CircuitBreaker, IdempotencyKeySequence

__all__ = ["HTTPResourceManager", "check_resource", "last_segment"]

_Headers: t.TypeAlias = list[tuple[bytes, bytes]]
_Pairs: t.TypeAlias = collections.abc.Iterable[tuple[str, str]]

_JSON: t.Final = (b"content-type", b"application/json")
_KEY: t.Final = idempotency.HEADER.encode()
_IF_MATCH: t.Final = conditional_requests.IF_MATCH.encode()
_MAX_TAGS: t.Final = 1_000
_DEFAULT_WIRE_FORMAT: t.Final = WireFormat()


class HTTPResourceManager:
    """The operations of one remote resource.

    ``resource`` is its path below the client's ``base_url``, or a complete URL. ``name`` is its name in errors, by
    default the path's last segment. The client's ``policy`` sets the number of attempts and their deadline. ``dialect``
    describes the service's wire format. With ``idempotent``, writes carry idempotency keys. A service that stores its
    responses by key applies each write once, however often it is sent.

    A record that was retrieved with an entity tag is written with ``If-Match``. The service rejects the write if the
    record has been changed since.

    :raises ApplicationError: ``resource`` has a query or a fragment.
    """

    # State: the number of writes, in the keys, and the entity tags of records.

    def __init__(
        self,
        resource: str,
        client: Client,
        *,
        name: str | None = None,
        wire_format: WireFormat = _DEFAULT_WIRE_FORMAT,
        idempotent: bool = False,
    ) -> None:
        check_resource(resource)
        self.resource = resource.rstrip("/")
        self.name = last_segment(resource) if name is None else name
        self.client = client
        self._wire_format = wire_format
        self._keys = IdempotencyKeySequence(self.resource) if idempotent else None
        self._tags: dict[str, bytes] = {}
        # with the client's base URL, from which it is built
        self._address: tuple[t.Any, ResourceURL, CircuitBreaker] | None = None

    async def call(self, name: str, id: t.Any = None, *, json: t.Any = None, query: _Pairs = ()) -> t.Any:
        """Run an operation and return its response body; for one that may find an existing record, ``(body, created)``.

        ``json`` is the request body, ``query`` the query parameters.

        :raises ValueError: the id can't be a path segment; nothing was sent.
        :raises InvalidDataError: the data can't be encoded as JSON, or the parameters as a query; nothing was sent.
        :raises ResourceException: the service refused, as defined by :mod:`flama.rest.errors`.
        :raises UnavailableError: the service could not be reached, or did not respond.
        :raises InvalidResponseError: the response is not a result of the operation.
        """
        operation = OPERATIONS[name]
        self.check_open()
        (_, resource, breaker), limit = self._resolve_url(), self.client.policy.max_size
        where, asked = self._wire_format.path(operation, id), self._query(query) if query else ""
        body = b"" if operation.request is None else self._encode(json)
        headers = self._headers(operation, id) if operation.writes else None
        response = await self._retrying_call(operation, id, breaker).send(
            lambda: self.client.call(operation.method, resource, where, asked, headers=headers, body=body, limit=limit)
        )
        self._store_etag(operation, id, response)
        given = None if operation.response is None else self._body(operation, response, id)
        return given if operation.found is None else (given, response.status == operation.status)

    @contextlib.asynccontextmanager
    async def stream(
        self, name: str, query: _Pairs, media_type: str
    ) -> collections.abc.AsyncGenerator[collections.abc.AsyncIterator[bytes]]:
        """Open an operation's response of this media type, and yield an iterator over the chunks of its body.

        :raises ResourceException: as for :meth:`call`.
        """
        operation = OPERATIONS[name]
        self.check_open()
        _, resource, breaker = self._resolve_url()
        where, asked = self._wire_format.path(operation), self._query(query)
        accept = [(b"accept", media_type.encode())]
        opening = functools.partial(
            self.client.stream_response, operation.method, resource, where, asked, headers=accept
        )
        opened = self._retrying_call(operation, None, breaker).open(opening, media_type)
        async with opened as response, contextlib.aclosing(iter_decompressed(response)) as chunks:
            yield chunks

    async def describe(self, schema: str) -> ResourceDocument:
        """Return the resource's part of the service's OpenAPI document.

        ``schema`` is the document's path below the client's base, or a complete URL.

        :raises ResourceException: as for :meth:`call`.
        """
        self.check_open()
        path, _, query = schema.partition("?")
        resource, limit = self.client.resource_url(path.rstrip("/")), self.client.policy.max_size
        call = functools.partial(self.client.call, "GET", resource, path[len(resource.url) :], query, limit=limit)
        response = await self._retrying_call(OPERATIONS["list"], None, self.client.circuit_breaker(resource)).send(call)
        whole = self._resolve_url()[1].path.decode()
        base = self.client.base_url.raw_path.decode().rstrip("/")
        try:
            return ResourceDocument(
                response.body.removeprefix(codecs.BOM_UTF8), (whole, whole.removeprefix(base)), self._wire_format
            )
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            detail = f"what is at {schema} is no OpenAPI document: {error}"
            raise InvalidResponseError(resource=self.name, detail=detail) from error

    def check_open(self) -> None:
        """Check that the unit of work is open.

        :raises SessionClosedError: it has ended.
        """
        if self.client.ended:
            raise SessionClosedError(f"The client of '{self.resource}' is closed: its unit of work has ended")

    def check_size(self, size: int) -> None:
        """Check that the part of a response that has to be buffered, in bytes, is within the client's limit.

        :raises InvalidResponseError: it is larger.
        """
        if size > self.client.policy.max_size:
            raise InvalidResponseError(resource=self.name, detail=str(ResponseTooLarge(self.client.policy.max_size)))

    def drop_etags(self, ids: collections.abc.Iterable[t.Any]) -> None:
        """Drop the entity tags of these records, which have been read again by another operation."""
        if self._tags:
            for id in ids:
                self._tags.pop(str(id), None)

    def _headers(self, operation: Operation, id: t.Any) -> _Headers:
        headers: _Headers = [_JSON] if operation.request is not None or operation.is_forgeable else []
        if not operation.writes:
            return headers
        if self._keys is not None:
            headers.append((_KEY, idempotency.encode(self._keys.next()).encode()))
        if operation.kind == "element" and (tag := self._tags.get(str(id))) is not None:
            headers.append((_IF_MATCH, tag))
        return headers

    def _retrying_call(self, operation: Operation, id: t.Any, breaker: CircuitBreaker) -> RetryingCall:
        is_repeatable = not operation.writes or self._keys is not None
        return RetryingCall(self.name, id, self.client.policy, breaker, writes=operation.writes, again=is_repeatable)

    def _resolve_url(self) -> tuple[t.Any, ResourceURL, CircuitBreaker]:
        base = self.client.base_url
        if self._address is None or self._address[0] is not base:
            resource = self.client.resource_url(self.resource)
            self._address = base, resource, self.client.circuit_breaker(resource)
        return self._address

    def _store_etag(self, operation: Operation, id: t.Any, response: RawResponse) -> None:
        """Store the record's current entity tag; a write to the collection invalidates all stored tags."""
        if operation.kind == "collection":
            if operation.changes:
                self._tags.clear()
            return
        if self._tags:
            self._tags.pop(str(id), None)
        tag = response.header(b"etag")
        # a weak tag, or that of a compressed body, can't be used for a write
        if tag is not None and not tag.startswith(b"W/") and response.header(b"content-encoding") is None:
            self._tags[str(id)] = tag
            if len(self._tags) > _MAX_TAGS:
                del self._tags[next(iter(self._tags))]

    def _query(self, pairs: _Pairs) -> str:
        try:
            return self._wire_format.query(pairs)
        except UnicodeError as error:
            raise InvalidDataError(resource=self.name, detail=str(error)) from error

    def _encode(self, data: t.Any) -> bytes:
        try:
            body = msgspec.json.encode(data)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidDataError(resource=self.name, detail=str(error)) from error
        # The encoder writes infinity and NaN as null.
        if b"null" in body and not _is_finite(data):
            raise InvalidDataError(resource=self.name, detail="JSON has no infinity and no number that is none")
        return body

    def _body(self, operation: Operation, response: RawResponse, id: t.Any) -> t.Any:
        link = response.header(b"link") if operation.response is Envelope else None
        try:
            body = response.body.removeprefix(codecs.BOM_UTF8)
            return self._wire_format.body(operation, body, None if link is None else link.decode("latin-1"))
        except ValueError as error:
            detail = f"{operation.method} answered {response.status} with another body: {error}"
            raise InvalidResponseError(resource=self.name, id=id, detail=detail) from error


def check_resource(resource: str) -> None:
    """Check that a resource is a path or URL to which the path of a record can be appended.

    :raises ApplicationError: it has a query or a fragment.
    """
    if "?" in resource or "#" in resource:
        path = resource.partition("#")[0].partition("?")[0]
        raise ApplicationError(
            f"The resource '{path}' has a query or a fragment, which no path of a record can follow: "
            "give the client the parameters as params={…}, and percent-encode a '?' or '#' that belongs to the path"
        )


def last_segment(path: str) -> str:
    """Return the last nonempty segment of a path or URL, percent-decoded."""
    return urllib.parse.unquote(path.rstrip("/").rpartition("/")[2])


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
