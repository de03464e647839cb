"""Responses: JSON, streams and events, made from the values that handlers return."""

import collections.abc
import ipaddress
import json as stdlib_json
import pathlib
import re
import typing as t
import zoneinfo

import msgspec
import starlette.background
import starlette.datastructures
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from flama import concurrency, exceptions, schemas
from flama._numbers import spell_infinite

__all__ = [
    "APIErrorResponse",
    "APIResponse",
    "FileResponse",
    "HTMLResponse",
    "JSONResponse",
    "NDJSONResponse",
    "OpenAPIResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Response",
    "ServerSentEvent",
    "ServerSentEventResponse",
    "StreamingResponse",
    "encode_json",
    "finite_json",
    "to_response",
]

_Items: t.TypeAlias = collections.abc.AsyncIterable[t.Any] | collections.abc.Iterable[t.Any]
_Headers: t.TypeAlias = collections.abc.Mapping[str, str]
_Background: t.TypeAlias = starlette.background.BackgroundTask


_STRING_TYPES: t.Final = (
    *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Interface, ipaddress.IPv6Interface),
    *(ipaddress.IPv4Network, ipaddress.IPv6Network),
    *(pathlib.PurePath, zoneinfo.ZoneInfo, starlette.datastructures.URL),
)
"""Types whose values are encoded as strings."""


def _json_default(value: t.Any) -> t.Any:
    """Convert a value that msgspec can't encode to one that it can.

    :raises TypeError: the value has no form in JSON.
    """
    match value:
        case collections.abc.Mapping():
            return dict(value)
        case BaseException():
            return repr(value)
        case str():
            return str.__str__(value)  # msgspec accepts no subclasses of str or numbers
        case int() | float():
            return +value
    if isinstance(value, _STRING_TYPES):
        return str(value)
    return _encode_foreign(value)


def _encode_foreign(value: t.Any) -> t.Any:
    kind = type(value)
    for mark, encode in _FOREIGN_ENCODERS.items():
        if hasattr(kind, mark):
            return encode(value)
    if isinstance(value, collections.abc.Collection):
        return list(value)
    raise TypeError(f"{kind.__qualname__} has no form in JSON")


def _encode_range(value: t.Any) -> dict[str, t.Any]:
    bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
    return {"lower": value.lower, "upper": value.upper, "bounds": bounds, "empty": value.isempty}


_FOREIGN_ENCODERS: t.Final[dict[str, collections.abc.Callable[[t.Any], t.Any]]] = {
    "__get_pydantic_core_schema__": schemas.to_jsonable,  # models, secrets, URLs
    "lower_inc": _encode_range,  # of SQLAlchemy, asyncpg or psycopg
    "as_string": lambda bits: bits.as_string().replace(" ", ""),  # of asyncpg
    "raw_path": str,  # URLs of httpx and yarl
}
"""Encoders for types of optional packages, by an attribute that such a type has."""

finite_json: t.Final = msgspec.json.Encoder(enc_hook=_json_default).encode
"""Encode a value as JSON, as :func:`encode_json` does, assuming that its floats are finite."""


def encode_json(value: t.Any) -> bytes:
    """Encode a value as JSON.

    Dates and times are encoded as in RFC 3339, UUIDs as in RFC 9562, a ``timedelta`` as an ISO 8601 duration. A
    ``Decimal`` becomes a string of all its digits, bytes become base64, an enum its value. IP addresses and networks,
    URLs and paths become strings.

    Dataclasses and Structs become objects; pydantic models are dumped in JSON mode, by alias. A range is an object
    with ``lower``, ``upper``, ``bounds`` and ``empty``; a bit string is a string of 0 and 1. A float without a JSON
    form becomes the string ``"Infinity"``, ``"-Infinity"`` or ``"NaN"``.
    """
    body = finite_json(value)
    # msgspec writes null for a non-finite float: without a null there is none
    return body if b"null" not in body else _encode_infinite(value, body)


def _encode_infinite(value: t.Any, body: bytes) -> bytes:
    plain = msgspec.to_builtins(value, enc_hook=_json_default)
    spelled = spell_infinite(plain)
    return body if spelled is plain else finite_json(spelled)


class JSONResponse(Response):
    """A JSON response."""

    media_type = "application/json"

    def __init__(
        self,
        content: t.Any = None,
        status_code: int = 200,
        headers: _Headers | None = None,
        media_type: str | None = None,
        background: _Background | None = None,
    ) -> None:
        super().__init__(content, status_code, headers, media_type, background)

    def render(self, content: t.Any) -> bytes:
        """Encode the content as JSON.

        :raises SerializationError: it contains a value without a JSON form.
        """
        try:
            return encode_json(content)
        except (TypeError, ValueError, RecursionError) as error:
            raise exceptions.SerializationError(str(error)) from error


class APIResponse(JSONResponse):
    """A JSON response, encoded by a schema if there is one."""

    def __init__(
        self,
        content: t.Any = None,
        status_code: int = 200,
        headers: _Headers | None = None,
        *,
        schema: t.Any = None,
        background: _Background | None = None,
    ) -> None:
        self._adapter = None if schema is None else schemas.adapter(schema)
        super().__init__(content, status_code, headers, background=background)

    def render(self, content: t.Any) -> bytes:
        """Encode the content as JSON, by the schema.

        :raises SerializationError: it doesn't match the schema, or contains a value without a JSON form.
        """
        return super().render(content) if self._adapter is None else self._adapter.encode(content)


class APIErrorResponse(JSONResponse):
    """An error response: ``{"status_code", "detail", "error"}``."""

    def __init__(
        self,
        detail: t.Any = None,
        status_code: int = 400,
        headers: _Headers | None = None,
        exception: BaseException | None = None,
    ) -> None:
        error = None if exception is None else type(exception).__name__
        super().__init__({"status_code": status_code, "detail": detail, "error": error}, status_code, headers)

    def render(self, content: t.Any) -> bytes:
        """Encode the content as JSON; escape what UTF-8 can't encode, so that every error can be sent."""
        try:
            return encode_json(content)
        except UnicodeEncodeError:
            return stdlib_json.dumps(msgspec.to_builtins(content, enc_hook=_json_default)).encode()


class OpenAPIResponse(JSONResponse):
    """A response with an OpenAPI document."""

    media_type = "application/vnd.oai.openapi+json"


class NDJSONResponse(StreamingResponse):
    """A streaming response of JSON values, one per line."""

    media_type = "application/x-ndjson"

    def __init__(
        self,
        content: _Items,
        status_code: int = 200,
        headers: _Headers | None = None,
        background: _Background | None = None,
    ) -> None:
        super().__init__(_Stream(content, _encode_line), status_code, headers, None, background)


def _encode_line(item: t.Any) -> bytes:
    return encode_json(item) + b"\n"


class ServerSentEvent(msgspec.Struct, frozen=True):
    """A server-sent event; ``data`` is text, or any value with a JSON form.

    :raises ValueError: ``event`` or ``id`` contains a line break or a null character.
    """

    data: t.Any
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def __post_init__(self) -> None:
        for name in (self.event, self.id):
            if name is not None and (_LINE_END.search(name) or "\0" in name):
                raise ValueError(f"{name!r} is no name of one line")

    def encode(self) -> bytes:
        """Encode the event in the event stream format (WHATWG HTML, server-sent events)."""
        text = self.data if isinstance(self.data, str) else encode_json(self.data).decode()
        named = {"event": self.event, "id": self.id, "retry": self.retry}
        lines = [f"{name}: {value}" for name, value in named.items() if value is not None]
        lines += (f"data: {line}" for line in _LINE_END.split(text))
        return ("\n".join(lines) + "\n\n").encode()


_LINE_END: t.Final = re.compile(r"\r\n|\r|\n")


class ServerSentEventResponse(StreamingResponse):
    """A streaming response of server-sent events."""

    media_type = "text/event-stream"

    def __init__(
        self,
        content: collections.abc.AsyncIterable[ServerSentEvent] | collections.abc.Iterable[ServerSentEvent],
        status_code: int = 200,
        headers: _Headers | None = None,
        background: _Background | None = None,
    ) -> None:
        super().__init__(
            _Stream(content, ServerSentEvent.encode),
            status_code,
            {"cache-control": "no-store", **(headers or {})},
            None,
            background,
        )


async def to_response(value: t.Any) -> Response:
    """Return the response for a handler's return value.

    A response is returned unchanged. None becomes 204 without a body, bytes are sent as JSON, other values are encoded
    as JSON. An iterator or an asynchronous iterable is streamed: bytes and text unchanged, other items as JSON, one
    per line. The first item is awaited before the response starts, so an error there gets an error response.
    """
    match value:
        case Response():
            return value
        case None:
            return Response(status_code=204)
        case bytes():
            return Response(value, media_type="application/json")
        case collections.abc.AsyncIterable() | collections.abc.Iterator():
            return await _streaming_response(_Stream(value))
    return JSONResponse(value)


async def _streaming_response(items: "_Stream") -> Response:
    first = await items.peek()
    if isinstance(first, bytes | str):
        kind = "text/plain" if isinstance(first, str) else "application/octet-stream"
        return StreamingResponse(items, media_type=kind)
    return NDJSONResponse(items)


_END: t.Final = object()


class _Stream(collections.abc.AsyncIterator[t.Any]):
    """An asynchronous iterator over any iterable; a synchronous one runs in a thread, since it may block.

    A class rather than a generator: closing a generator that has not started doesn't close its source.
    """

    def __init__(self, items: _Items, change: collections.abc.Callable[[t.Any], t.Any] | None = None) -> None:
        self._items: t.Any = aiter(items) if isinstance(items, collections.abc.AsyncIterable) else iter(items)
        self._change = change
        self._ahead: list[t.Any] = []

    async def peek(self) -> t.Any:
        """Return the first item without consuming it."""
        self._ahead = [await self._next()]
        return self._ahead[0]

    async def __anext__(self) -> t.Any:
        item = self._ahead.pop() if self._ahead else await self._next()
        if item is _END:
            raise StopAsyncIteration
        return item if self._change is None else self._change(item)

    async def aclose(self) -> None:
        """Close the source of the items."""
        if aclose := getattr(self._items, "aclose", None):
            await aclose()
        elif close := getattr(self._items, "close", None):
            await concurrency.run_in_thread(close)

    async def _next(self) -> t.Any:
        if isinstance(self._items, collections.abc.AsyncIterator):
            return await anext(self._items, _END)
        return await concurrency.run_in_thread(next, self._items, _END)
