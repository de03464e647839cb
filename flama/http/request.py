"""Requests: the body, form and query, each read once within the application's size limits."""

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
    "RESPONSE_STARTED",
    "Request",
    "check_query",
    "content_type",
    "form_fields",
    "parse_query",
    "query_pairs",
    "read_body",
    "read_data",
    "read_form",
    "read_json",
]

BODY: t.Final = "flama.body"
"""The scope key of the body after it has been read."""

FORM: t.Final = "flama.form"
"""The scope key of the form after it has been read; its temporary files are closed when the request ends."""

RESPONSE_STARTED: t.Final = "flama.started"
"""The scope key set when a response has started: from then on no error response can be sent."""

JSON: t.Final = "application/json"
_JSON_SUFFIX_TYPE: t.Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+\+json", re.ASCII)
_QUERY_LIMIT: t.Final = 64 * 1024
_FIRST_CHECK: t.Final = 64 * 1024  # bytes of a body received before the first check
_Check: t.TypeAlias = collections.abc.Callable[[bytearray], None]
CONTENT_TYPES: t.Final = (JSON, "application/x-www-form-urlencoded", "multipart/form-data")


class Request(starlette.requests.Request):
    """An HTTP request, whose attributes are computed on access.

    The body may be read both here and by a parameter of the handler: it is received once.

    :raises BodyTooLarge: on reading a body larger than ``limit`` bytes; at most that many are accepted.
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
        """Yield the chunks of the body as they arrive; the last is empty."""
        if BODY in self.scope:
            yield self.scope[BODY]
            yield b""
            return
        _, length, _ = _body_headers(self.scope)
        _check_content_length(length, self._limit)
        read = 0
        async for chunk in super().stream():
            read += len(chunk)
            _check_size(read, self._limit)
            yield chunk

    async def body(self) -> bytes:
        """Return the whole body."""
        if BODY not in self.scope:
            self.scope[BODY] = await super().body()
        return t.cast(bytes, self.scope[BODY])


async def read_body(
    scope: types.Scope, receive: types.Receive, limit: int | None, check: _Check | None = None
) -> bytes:
    """Return the whole body of a request.

    For a large body, ``check`` is called repeatedly with the part received so far; an error that it raises ends the
    reading.

    :raises BodyTooLarge: the body is larger than ``limit``; reading stops there.
    """
    _, length, _ = _body_headers(scope)
    return await _read(scope, receive, limit, length, check)


async def read_json(
    scope: types.Scope, receive: types.Receive, limit: int | None, check: _Check | None = None
) -> bytes | None:
    """Return the whole body of a request if it is JSON, None if it is a form.

    It is read and checked as by :func:`read_body`, and a leading byte order mark is removed (RFC 8259). Without a
    ``Content-Type`` only an empty body is accepted: browsers can send such requests for the pages of any site.

    :raises NoCodecAvailable: the content type is another, or missing.
    :raises UnsupportedCodingError: the body has a content coding.
    :raises BodyTooLarge: the body is larger than ``limit``; reading stops there.
    """
    sent, length, coding = _body_headers(scope)
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
    _check_content_length(length, limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    _check_size(len(body), limit)
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
        _check_size(len(body), limit)
        if not message.get("more_body"):
            return bytes(body)
        if check is not None and len(body) >= checked_at:
            check(body)
            checked_at = 2 * len(body)  # so all checks together take at most twice as long as the last
        message = await receive()


async def read_form(scope: types.Scope, receive: types.Receive, limit: int | None) -> starlette.datastructures.FormData:
    """Return the form in a request's body; its files are closed when the request ends."""
    if FORM not in scope:
        scope[FORM] = await Request(scope, receive, limit=limit).form(max_part_size=limit or 2**63)
    return t.cast(starlette.datastructures.FormData, scope[FORM])


async def read_data(
    scope: types.Scope, receive: types.Receive, limit: int | None, records: schemas.RecordLimit
) -> t.Any:
    """Return the decoded body of a request: its JSON value, or the fields of a form by name.

    :raises TooManyRecords: the body is a list of more records than ``records`` allows.
    :raises DecodeError: the body is not valid JSON.
    :raises NoCodecAvailable: the content type is neither JSON nor a form, or missing.
    """
    body = await read_json(scope, receive, limit, records.check_start)
    if body is None:
        return form_fields(await read_form(scope, receive, limit))
    records.check(body)
    try:
        return msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise exceptions.DecodeError(f"Invalid JSON: {error}") from error


def form_fields(form: starlette.datastructures.FormData) -> dict[str, t.Any]:
    """Return the fields of a form by name; a repeated field is a list."""
    return {name: values if len(values := form.getlist(name)) > 1 else values[0] for name in form}


def content_type(scope: types.Scope) -> str | None:
    """Return the content type of a request's body, one of :data:`CONTENT_TYPES`; None if the header is missing.

    Types with a ``+json`` suffix, such as ``application/vnd.api+json``, count as JSON.

    :raises NoCodecAvailable: it is another content type.
    :raises UnsupportedCodingError: the body has a content coding.
    """
    sent, _, coding = _body_headers(scope)
    _check_coding(coding)
    return None if sent is None else _media_type(sent)


def _media_type(sent: bytes) -> str:
    media_type = sent.split(b";")[0].strip().lower().decode("latin-1")
    if media_type in CONTENT_TYPES:
        return media_type
    if _JSON_SUFFIX_TYPE.fullmatch(media_type):
        return JSON
    raise exceptions.NoCodecAvailable(media_type, CONTENT_TYPES)


def parse_query(scope: types.Scope) -> dict[str, list[str]]:
    """Return the query parameters of a request, each with all of its values."""
    found: dict[str, list[str]] = {}
    for name, value in query_pairs(scope):
        found.setdefault(name, []).append(value)
    return found


def query_pairs(scope: types.Scope) -> list[tuple[str, str]]:
    """Return the query parameters of a request, in the order in which they were sent.

    :raises HTTPException: the query is longer than 64 KiB (414).
    """
    text: bytes = scope["query_string"]
    if not text:
        return []
    check_query(text)
    return urllib.parse.parse_qsl(text.decode("latin-1"), keep_blank_values=True)


def check_query(text: bytes) -> None:
    """Raise an HTTPException with status 414 for a query longer than 64 KiB, which some servers let through."""
    if len(text) > _QUERY_LIMIT:
        raise exceptions.HTTPException(414, f"The query is longer than {_QUERY_LIMIT} bytes")


def _body_headers(scope: types.Scope) -> tuple[bytes | None, bytes, bytes]:
    """Return the content type, length and coding of a body: the first of each header, the last for the coding."""
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


def _check_content_length(length: bytes, limit: int | None) -> None:
    if length.isdigit():
        _check_size(int(length[:20]), limit)


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise exceptions.BodyTooLarge(limit)
