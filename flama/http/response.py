"""Answering a request: what a handler returned, as the response that brings it."""

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
    "answer",
    "finite_json",
    "json",
]

_Items: t.TypeAlias = collections.abc.AsyncIterable[t.Any] | collections.abc.Iterable[t.Any]
_Headers: t.TypeAlias = collections.abc.Mapping[str, str]
_Background: t.TypeAlias = starlette.background.BackgroundTask


_TEXTUAL: t.Final = (
    *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Interface, ipaddress.IPv6Interface),
    *(ipaddress.IPv4Network, ipaddress.IPv6Network),
    *(pathlib.PurePath, zoneinfo.ZoneInfo, starlette.datastructures.URL),
)
"""Types whose values are written as their texts."""


def _builtin(value: t.Any) -> t.Any:
    """Return what stands in JSON for a value that has no form of its own there.

    :raises TypeError: nothing does.
    """
    match value:
        case collections.abc.Mapping():
            return dict(value)
        case BaseException():
            return repr(value)
        case str():
            return str.__str__(value)  # msgspec takes no subclass of it, nor of numbers
        case int() | float():
            return +value
    if isinstance(value, _TEXTUAL):
        return str(value)
    return _foreign(value)


def _foreign(value: t.Any) -> t.Any:
    kind = type(value)
    for mark, encode in _MARKED.items():
        if hasattr(kind, mark):
            return encode(value)
    if isinstance(value, collections.abc.Collection):
        return list(value)
    raise TypeError(f"{kind.__qualname__} has no form in JSON")


def _range(value: t.Any) -> dict[str, t.Any]:
    bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
    return {"lower": value.lower, "upper": value.upper, "bounds": bounds, "empty": value.isempty}


_MARKED: t.Final[dict[str, collections.abc.Callable[[t.Any], t.Any]]] = {
    "__get_pydantic_core_schema__": schemas.to_jsonable,  # models, secrets, URLs
    "lower_inc": _range,  # of SQLAlchemy, asyncpg or psycopg
    "as_string": lambda bits: bits.as_string().replace(" ", ""),  # of asyncpg
    "raw_path": str,  # URLs of httpx and yarl
}
"""What encodes values of packages that need not be there, by what their types have."""

finite_json: t.Final = msgspec.json.Encoder(enc_hook=_builtin).encode
"""Return the JSON of a value whose floats, if it has any, are finite: :func:`json` without its look at them."""


def json(value: t.Any) -> bytes:
    """Give the JSON of a value.

    Dates, times and UUIDs become the strings of RFC 3339 and RFC 9562, a ``Decimal`` a string of all its digits, a
    ``timedelta`` an ISO 8601 duration, bytes base64, an enum its value; addresses, networks, URLs and paths their
    texts. Dataclasses and Structs become objects, and pydantic's models what they are in JSON, under their aliases; a
    range is an object of its ``lower`` and ``upper``, its ``bounds`` and whether it is ``empty``, bits are a text of 0
    and 1. A float that JSON has no form for becomes the string ``"Infinity"``, ``"-Infinity"`` or ``"NaN"``.
    """
    body = finite_json(value)
    # msgspec writes null for such a float, so that without any null there is none
    return body if b"null" not in body else _spelled(value, body)


def _spelled(value: t.Any, body: bytes) -> bytes:
    plain = msgspec.to_builtins(value, enc_hook=_builtin)
    spelled = spell_infinite(plain)
    return body if spelled is plain else finite_json(spelled)


class JSONResponse(Response):
    """A response of JSON."""

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
        """Give the content as JSON.

        :raises SerializationError: it holds a value that JSON can't.
        """
        try:
            return json(content)
        except (TypeError, ValueError, RecursionError) as error:
            raise exceptions.SerializationError(str(error)) from error


class APIResponse(JSONResponse):
    """A response of JSON, in the form of a schema when one is given."""

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
        """Give the content as JSON, as the schema has it.

        :raises SerializationError: it doesn't fit the schema, or holds a value that JSON can't.
        """
        return super().render(content) if self._adapter is None else self._adapter.encode(content)


class APIErrorResponse(JSONResponse):
    """A response that says what went wrong: ``{"status_code", "detail", "error"}``."""

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
        """Give the content as JSON; what of a text UTF-8 can't hold is escaped, since an error has to be told."""
        try:
            return json(content)
        except UnicodeEncodeError:
            return stdlib_json.dumps(msgspec.to_builtins(content, enc_hook=_builtin)).encode()


class OpenAPIResponse(JSONResponse):
    """A response of an OpenAPI document."""

    media_type = "application/vnd.oai.openapi+json"


class NDJSONResponse(StreamingResponse):
    """A stream of JSON, one value a line."""

    media_type = "application/x-ndjson"

    def __init__(
        self,
        content: _Items,
        status_code: int = 200,
        headers: _Headers | None = None,
        background: _Background | None = None,
    ) -> None:
        super().__init__(_Stream(content, _line), status_code, headers, None, background)


def _line(item: t.Any) -> bytes:
    return json(item) + b"\n"


class ServerSentEvent(msgspec.Struct, frozen=True):
    """An event of a stream: ``data`` is text, or anything that JSON can hold.

    :raises ValueError: ``event`` or ``id`` is more than one line.
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
        """Give the event as the standard writes it (WHATWG HTML, server-sent events)."""
        text = self.data if isinstance(self.data, str) else json(self.data).decode()
        named = {"event": self.event, "id": self.id, "retry": self.retry}
        lines = [f"{name}: {value}" for name, value in named.items() if value is not None]
        lines += (f"data: {line}" for line in _LINE_END.split(text))
        return ("\n".join(lines) + "\n\n").encode()


_LINE_END: t.Final = re.compile(r"\r\n|\r|\n")


class ServerSentEventResponse(StreamingResponse):
    """A stream of events."""

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


async def answer(value: t.Any) -> Response:
    """Give the response for what a handler returned.

    A response is itself, None is 204 without a body, bytes are JSON already. An iterator, or whatever can be iterated
    over asynchronously, is streamed: bytes and text as
    they are, anything else as JSON, one value a line; its first element is awaited before the response begins, so that
    an error there is answered as one. All else is JSON.
    """
    match value:
        case Response():
            return value
        case None:
            return Response(status_code=204)
        case bytes():
            return Response(value, media_type="application/json")
        case collections.abc.AsyncIterable() | collections.abc.Iterator():
            return await _streamed(_Stream(value))
    return JSONResponse(value)


async def _streamed(items: "_Stream") -> Response:
    first = await items.first()
    if isinstance(first, bytes | str):
        kind = "text/plain" if isinstance(first, str) else "application/octet-stream"
        return StreamingResponse(items, media_type=kind)
    return NDJSONResponse(items)


_END: t.Final = object()


class _Stream(collections.abc.AsyncIterator[t.Any]):
    """The elements of any iterable; one that isn't asynchronous is advanced in a thread, since it may block.

    A class rather than a generator: to close a generator that was never begun does nothing for what it iterates over.
    """

    def __init__(self, items: _Items, change: collections.abc.Callable[[t.Any], t.Any] | None = None) -> None:
        self._items: t.Any = aiter(items) if isinstance(items, collections.abc.AsyncIterable) else iter(items)
        self._change = change
        self._ahead: list[t.Any] = []

    async def first(self) -> t.Any:
        """Look at the first element, which stays the first."""
        self._ahead = [await self._next()]
        return self._ahead[0]

    async def __anext__(self) -> t.Any:
        item = self._ahead.pop() if self._ahead else await self._next()
        if item is _END:
            raise StopAsyncIteration
        return item if self._change is None else self._change(item)

    async def aclose(self) -> None:
        """Close what the elements come from."""
        if aclose := getattr(self._items, "aclose", None):
            await aclose()
        elif close := getattr(self._items, "close", None):
            await concurrency.run_in_thread(close)

    async def _next(self) -> t.Any:
        if isinstance(self._items, collections.abc.AsyncIterator):
            return await anext(self._items, _END)
        return await concurrency.run_in_thread(next, self._items, _END)
