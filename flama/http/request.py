"""Reading a request: its body once, whoever asks for it, never more of it than the application takes."""

import codecs
import collections.abc
import re
import typing as t
import urllib.parse

import msgspec
import starlette.datastructures
import starlette.requests

from flama import exceptions, schemas, types

__all__ = [
    "BODY",
    "CONTENT_TYPES",
    "FORM",
    "JSON",
    "Request",
    "STARTED",
    "check_query",
    "content_type",
    "data",
    "fields",
    "query",
    "query_pairs",
    "read_body",
    "read_form",
    "read_json",
]

BODY: t.Final = "flama.body"
"""Where a scope keeps the body once it is read."""

FORM: t.Final = "flama.form"
"""Where a scope keeps the form once it is read: it may hold temporary files, closed when the request ends."""

STARTED: t.Final = "flama.started"
"""Set in a scope once a response has begun: from then on an error can't be answered any more."""

JSON: t.Final = "application/json"
_KIN_OF_JSON: t.Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+\+json", re.ASCII)
_QUERY_LIMIT: t.Final = 64 * 1024
_FIRST_CHECK: t.Final = 64 * 1024  # bytes of a body that have arrived when they are first checked
_Check: t.TypeAlias = collections.abc.Callable[[bytearray], None]
CONTENT_TYPES: t.Final = (JSON, "application/x-www-form-urlencoded", "multipart/form-data")


class Request(starlette.requests.Request):
    """An HTTP request; every attribute is computed when it is asked for.

    The body may be read here as well as by a parameter of the handler: it is taken from the connection once.

    :raises BodyTooLarge: when reading a body of more than ``limit`` bytes, after at most that many.
    """

    def __init__(
        self,
        scope: types.Scope,
        receive: types.Receive = starlette.requests.empty_receive,
        send: types.Send = starlette.requests.empty_send,
        limit: int | None = None,
    ) -> None:
        super().__init__(scope, receive, send)
        self._limit = limit

    async def stream(self) -> collections.abc.AsyncGenerator[bytes, None]:
        """Give the body in the pieces in which it arrives; the last is empty."""
        if BODY in self.scope:
            yield self.scope[BODY]
            yield b""
            return
        _, length, _ = _described(self.scope)
        _refuse_announced(length, self._limit)
        read = 0
        async for chunk in super().stream():
            read += len(chunk)
            _refuse(read, self._limit)
            yield chunk

    async def body(self) -> bytes:
        """Give the whole body."""
        if BODY not in self.scope:
            self.scope[BODY] = await super().body()
        return t.cast(bytes, self.scope[BODY])


async def read_body(
    scope: types.Scope, receive: types.Receive, limit: int | None, check: _Check | None = None
) -> bytes:
    """Return the whole body of a request.

    ``check`` is called with what has arrived of a large body, now and then; what it raises ends the reading.

    :raises BodyTooLarge: it is larger than the limit; no more than that was read.
    """
    _, length, _ = _described(scope)
    return await _read(scope, receive, limit, length, check)


async def read_json(
    scope: types.Scope, receive: types.Receive, limit: int | None, check: _Check | None = None
) -> bytes | None:
    """Return the whole body of a request if it is JSON; None when it is a form.

    It is read and checked as by :func:`read_body`, and comes without the byte order mark that a text of JSON may begin
    with (RFC 8259). Without a ``Content-Type`` it is JSON only where it is empty: browsers send other bodies so for the
    pages of any site.

    :raises NoCodecAvailable: it is something else.
    :raises UnsupportedCodingError: it is in a content coding.
    :raises BodyTooLarge: it is larger than the limit; no more than that was read.
    """
    sent, length, coding = _described(scope)
    if coding:
        _check_coding(coding)
    if sent != b"application/json" and sent is not None and _media_type(sent) != JSON:
        return None
    body = await _read(scope, receive, limit, length, check)
    if body and sent is None:
        raise exceptions.NoCodecAvailable(None, CONTENT_TYPES)
    return body.removeprefix(codecs.BOM_UTF8)


async def _read(
    scope: types.Scope, receive: types.Receive, limit: int | None, length: bytes, check: _Check | None
) -> bytes:
    if BODY in scope:
        return t.cast(bytes, scope[BODY])
    _refuse_announced(length, limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    _refuse(len(body), limit)
    if message.get("more_body") or message["type"] != "http.request":
        body = await _read_rest(message, receive, limit, check)
    scope[BODY] = body
    return body


async def _read_rest(message: types.Message, receive: types.Receive, limit: int | None, check: _Check | None) -> bytes:
    body, checked_at = bytearray(), _FIRST_CHECK
    while True:
        if message["type"] == "http.disconnect":
            raise starlette.requests.ClientDisconnect
        body += message.get("body", b"")
        _refuse(len(body), limit)
        if not message.get("more_body"):
            return bytes(body)
        if check is not None and len(body) >= checked_at:
            check(body)
            checked_at = 2 * len(body)  # so that all checks take twice as long as one
        message = await receive()


async def read_form(scope: types.Scope, receive: types.Receive, limit: int | None) -> starlette.datastructures.FormData:
    """Give the form that a request's body holds; its files are closed when the request ends."""
    if FORM not in scope:
        scope[FORM] = await Request(scope, receive, limit=limit).form(max_part_size=limit or 2**63)
    return t.cast(starlette.datastructures.FormData, scope[FORM])


async def data(scope: types.Scope, receive: types.Receive, limit: int | None, records: schemas.RecordLimit) -> t.Any:
    """Return what a request's body holds, decoded: the value of its JSON, or a form's fields by name.

    :raises TooManyRecords: it is a list of more.
    :raises DecodeError: the body is no JSON.
    :raises NoCodecAvailable: its content type is neither JSON nor a form, or it has none.
    """
    body = await read_json(scope, receive, limit, records.check_start)
    if body is None:
        return fields(await read_form(scope, receive, limit))
    records.check(body)
    try:
        return msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise exceptions.DecodeError(f"Invalid JSON: {error}") from error


def fields(form: starlette.datastructures.FormData) -> dict[str, t.Any]:
    """Give a form's fields by name; one that was sent several times is a list."""
    return {name: values if len(values := form.getlist(name)) > 1 else values[0] for name in form}


def content_type(scope: types.Scope) -> str | None:
    """Return the one of :data:`CONTENT_TYPES` that a request's body has, None where the request doesn't say.

    That of JSON stands for its kin as well (``application/vnd.api+json``).

    :raises NoCodecAvailable: it is another.
    :raises UnsupportedCodingError: the body is in a content coding.
    """
    sent, _, coding = _described(scope)
    _check_coding(coding)
    return None if sent is None else _media_type(sent)


def _media_type(sent: bytes) -> str:
    media_type = sent.split(b";")[0].strip().lower().decode("latin-1")
    if media_type in CONTENT_TYPES:
        return media_type
    if _KIN_OF_JSON.fullmatch(media_type):
        return JSON
    raise exceptions.NoCodecAvailable(media_type, CONTENT_TYPES)


def query(scope: types.Scope) -> dict[str, list[str]]:
    """Give a request's query parameters, each with all its values."""
    found: dict[str, list[str]] = {}
    for name, value in query_pairs(scope):
        found.setdefault(name, []).append(value)
    return found


def query_pairs(scope: types.Scope) -> list[tuple[str, str]]:
    """Return a request's query parameters in the order in which they were sent.

    :raises HTTPException: the query is longer than 64 KiB (414).
    """
    text: bytes = scope["query_string"]
    if not text:
        return []
    check_query(text)
    return urllib.parse.parse_qsl(text.decode("latin-1"), keep_blank_values=True)


def check_query(text: bytes) -> None:
    """Raise an HTTPException with status 414 for a query of more than 64 KiB, which not every server refuses."""
    if len(text) > _QUERY_LIMIT:
        raise exceptions.HTTPException(414, f"The query is longer than {_QUERY_LIMIT} bytes")


def _described(scope: types.Scope) -> tuple[bytes | None, bytes, bytes]:
    """Return the type of a body, its length and its coding, as the first of each header has it."""
    sent: bytes | None = None
    length = coding = b""
    for key, value in scope["headers"]:
        if key == b"content-type" and sent is None:
            sent = value
        elif key == b"content-length" and not length:
            length = value
        elif key == b"content-encoding":
            coding = value
    return sent, length, coding


def _check_coding(coding: bytes) -> None:
    if coding.strip().lower() not in (b"", b"identity"):
        raise exceptions.UnsupportedCodingError(coding.decode("latin-1"))


def _refuse_announced(length: bytes, limit: int | None) -> None:
    """Refuse a body that is said to be too large, before reading any of it."""
    if length.isdigit():
        _refuse(int(length[:20]), limit)


def _refuse(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise exceptions.BodyTooLarge(limit)
