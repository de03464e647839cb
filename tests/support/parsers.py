"""Every parser of what comes from outside: how it is called, what it may raise, what its input is made of."""

import collections.abc
import contextlib
import dataclasses
import datetime
import decimal
import enum
import typing as t
import uuid

import starlette.exceptions

from flama import exceptions
from flama.http import request
from flama.rest import (
    accept,
    conditional_requests,
    cursors,
    errors,
    filters,
    idempotency,
    link_header,
    ndjson,
    operations,
    ordering,
    paging,
    query_parameters,
    value_codecs,
)
from flama.routing.matcher import Matcher
from flama.routing.path import Path
from flama.schemas import RecordLimit

__all__ = ["PARSERS", "Parser"]

_Call: t.TypeAlias = collections.abc.Callable[[str], object]


@dataclasses.dataclass(frozen=True)
class Parser:
    """A parser: a function of one text, the exceptions that it may raise, and texts of which its input is made."""

    name: str
    parse: _Call
    raises: tuple[type[Exception], ...]
    tokens: tuple[str, ...]

    def run(self, text: str) -> None:
        """Parse a text.

        :raises Exception: it is none that the parser may raise.
        """
        with contextlib.suppress(*self.raises):
            self.parse(text)

    def growing(self, length: int) -> collections.abc.Iterator[str]:
        """Yield texts of about this length: each token again and again, also behind each of the first ones."""
        for unit in self.tokens:
            repeated = unit * (length // len(unit))
            yield from (prefix + repeated for prefix in ("", *self.tokens[:3]) if prefix != unit)


class _Colour(enum.Enum):
    RED = "red"


_FIELDS: t.Final = {
    "age": filters.field_filter(int),
    "name": filters.field_filter(str),
    "at": filters.field_filter(datetime.date),
}
_KINDS: t.Final = (
    int,
    float,
    decimal.Decimal,
    str,
    bool,
    bytes,
    datetime.datetime,
    datetime.date,
    datetime.time,
    uuid.UUID,
)
_READERS: t.Final = {kind: value_codecs.decoder_for(kind) for kind in (*_KINDS, datetime.timedelta, _Colour, list[int])}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _scope(**headers: str) -> dict[str, t.Any]:
    named = [(name.replace("_", "-").encode(), _bytes(value)) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": named, "app": None}


def _finished(coroutine: collections.abc.Coroutine[t.Any, t.Any, object]) -> object:
    """Return the result of a coroutine that waits for nothing: an event loop would cost more than the parsing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return t.cast(object, end.value)
    raise AssertionError("the parser waits for something")


def _router() -> _Call:
    matcher: Matcher[int] = Matcher()
    kinds = [
        "{a}",
        "{a:int}",
        "{a:float}",
        "{a:decimal}",
        "{a:uuid}",
        "{a:int}-{b:float}-{c}",
        "x{a}y{b}z",
        "b/{a}/{c:path}",
    ]
    for number, template in enumerate(kinds):
        matcher.add(Path(f"/{template}/"[: -1 if "path" in template else None]), {"GET": number})

    def find(text: str) -> object:
        raw = _bytes(f"/{text}/")
        path = raw.decode("utf-8", "replace")
        return matcher.find({"type": "http", "method": "GET", "path": path, "raw_path": raw, "root_path": ""})

    return find


def _form(content_type: str) -> _Call:
    def parse(text: str) -> object:
        async def receive() -> dict[str, t.Any]:
            return {"type": "http.request", "body": _bytes(text), "more_body": False}

        async def read() -> object:
            scope = _scope(content_type=content_type)
            form = await request.read_form(scope, receive, None)
            await form.close()
            return form

        return _finished(read())

    return parse


def _body(text: str) -> object:
    async def receive() -> dict[str, t.Any]:
        return {"type": "http.request", "body": _bytes(text), "more_body": False}

    return _finished(request.read_data(_scope(content_type="application/json"), receive, None, RecordLimit(None)))


def _cursor(secret: str | None) -> _Call:
    codec, readers = cursors.codec(secret), [_READERS[int], _READERS[str]]
    return lambda text: codec.decode(text, readers, "")


def _lines(text: str) -> object:
    """Read records from a stream that comes in small pieces."""
    reader, content = ndjson.LineReader(), _bytes(text)
    lines = [line for start in range(0, len(content), 16) for line in reader.read(content[start : start + 16])]
    return [*map(len, lines), *map(len, reader.end())]


def _filter(name: str) -> _Call:
    return lambda text: filters.decode([(name, text)], _FIELDS, resource="x")


def _filter_of_many(text: str) -> object:
    return _filter(query_parameters.FILTER)(f'{{"and":[{text}["age","gte","1"]]}}')


def _fields(text: str) -> object:
    query = request.query_pairs({"query_string": _bytes(text)})
    return filters.decode(query, _FIELDS, resource="x")


def _page(text: str) -> object:
    query = dict(request.query_pairs({"query_string": _bytes(text)}))
    return [paging.decode(style, query) for style in paging.STYLES]


def _remote_error(text: str) -> object:
    return [errors.decode(status, _bytes(text), {}, resource="x", write=True) for status in (400, 404, 422, 503)]


_NUMBER: t.Final = ("1", "-", ".", "e9", "inf", "nan", "_", " ", "٣", "9" * 40)
_MOMENT: t.Final = ("2024-05-06", "T", "07:08:09", ".123456", "Z", "+01:00", "-", ":", "0", "W", "99999999")
_JSON: t.Final = ("[", "]", "{", "}", '"', "\\u", "d800", ":", ",", '"a"', "1", "e", "-", "null", "NaN", " ")
_QUERY: t.Final = ("a", "=", "&", "%", "%41", "%ff", "+", ";", "age=", "eq:1", "a=1&")
_HEAD: t.Final = '--x\r\nContent-Disposition: form-data; name="'
_FORM: t.Final = (
    f'{_HEAD}a"\r\n\r\n',
    _HEAD,
    f'{_HEAD}a"\r\n\r\nv\r\n',
    "--x\r\n",
    "\r\n",
    "; filename=",
    "--x--",
    "\r\n--x",
    ":",
    "-",
    "a",
)
_UNPRINTABLE: t.Final = ("\0", "é", "\U0001f600", "\x7f")
_REFUSED: t.Final = (ValueError,)
_ANSWERED: t.Final = (exceptions.HTTPException, starlette.exceptions.HTTPException)

PARSERS: t.Final[tuple[Parser, ...]] = (
    Parser(
        "path", _router(), (LookupError,), ("a", "/", "1", "-", ".", "%2F", "%", "%ff", "e9", "y", "x", *_UNPRINTABLE)
    ),
    Parser(
        "query", lambda text: request.parse_query({"query_string": _bytes(text)}), (exceptions.HTTPException,), _QUERY
    ),
    Parser(
        "query of fields",
        _fields,
        (*_REFUSED, exceptions.HTTPException, exceptions.UnknownColumnError),
        ("age=", "not:", "gte:", "in:", "&", "1", "x="),
    ),
    Parser(
        "query of a page",
        _page,
        (*_REFUSED, exceptions.HTTPException),
        ("page=", "limit=", "offset=", "1", "-", "&", "count=", "true", "٣"),
    ),
    Parser(
        "filter",
        _filter(query_parameters.FILTER),
        (*_REFUSED, exceptions.UnknownColumnError),
        ("[", "]", '{"and":[', '{"or":[', '{"not":', "}", '["age","gte","1"]', ",", '"age"', '"in"', "1e9", "x"),
    ),
    Parser(
        "filter of many",
        _filter_of_many,
        (*_REFUSED, exceptions.UnknownColumnError),
        (
            '["age","gte","1"],',
            '["age","in",["1","2"]],',
            '{"not":["age","gte","1"]},',
            '["x","eq","1"],',
            '"x",',
            "1,",
        ),
    ),
    Parser(
        "comparison",
        _filter("name"),
        _REFUSED,
        ("not:", "like:", "eq:", "in:", ":", "%", "\\", "_", "a", *_UNPRINTABLE),
    ),
    Parser(
        "order",
        lambda text: ordering.decode([(query_parameters.ORDER_BY, text)], ["age", "name"], resource="x"),
        (*_REFUSED, exceptions.UnknownColumnError),
        ("age", ",", "-", ":nulls_first", "%", "%61", ":", " "),
    ),
    Parser("names", ordering.decode_fields, (), ("age", ",", "%", "%61", " ", *_UNPRINTABLE)),
    Parser(
        "cursor",
        _cursor(None),
        (cursors.InvalidCursorError,),
        ("a", "A_-9", "=", "====", " ", "é", "\0", "W2ZhbHNlLFtdXQ"),
    ),
    Parser(
        "encrypted cursor", _cursor("x" * 32), (cursors.InvalidCursorError,), ("a", "A_-9", "=", "====", " ", "é", "\0")
    ),
    Parser("Link", link_header.decode, (), ("<", ">", ";", "rel=", '"', "\\", "next", ",", " ", "a=b", "=")),
    Parser(
        "Accept",
        lambda text: t.cast("t.Any", accept)._is_preferred.__wrapped__(text, "a/b", "application/json"),
        (),
        ("a/b", ",", ";", "q=", '"', "\\", "1.", "0", " ", "*/*"),
    ),
    Parser("entity tags", conditional_requests.decode, _REFUSED, ('"', "W/", '"a"', ",", "*", " ", "a", "\x80")),
    Parser("idempotency key", idempotency.decode, _REFUSED, ('"', "\\", "a", " ", "é", "\0")),
    Parser(
        "Content-Type",
        lambda text: request.content_type(_scope(content_type=text)),
        _ANSWERED,
        ("a", "/", "+json", ";", ",", ".", "application/json", " ", "é"),
    ),
    Parser(
        "Content-Encoding",
        lambda text: request.content_type(_scope(content_encoding=text)),
        _ANSWERED,
        ("gzip", ",", " ", "identity"),
    ),
    Parser("body of JSON", _body, _ANSWERED, _JSON),
    Parser(
        "body of a list",
        lambda text: _body(f"[{text}1]"),
        _ANSWERED,
        ("1,", '"a",', '{"a":1},', "[1],", '"\\u00e9",', "1e9,", "123456789,", "[", " "),
    ),
    Parser("form", _form("application/x-www-form-urlencoded"), _ANSWERED, _QUERY),
    Parser("multipart", _form("multipart/form-data; boundary=x"), _ANSWERED, _FORM),
    Parser("segment of an id", operations.segment, _REFUSED, ("/", ".", "%", "a", "é", "\0", "\ud800")),
    Parser(
        "error of a service",
        _remote_error,
        (),
        (*_JSON, '{"detail":', '"error":', '"NotFoundError"', '"retry_after":', "1e999"),
    ),
    Parser("lines of a stream", _lines, (), ("a", "\n", "\r", " ", '{"a":1}\n', "\ufeff")),
    Parser(
        "Retry-After",
        lambda text: errors.decode(503, b"", {"retry-after": text}, resource="x", write=True),
        (),
        (
            "1",
            "Mon, 01 Jan 2020 00:00:00 ",
            "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
            " ",
            ":",
            "+",
            "-",
            ",",
            "(",
            "Jan",
            "99999999",
        ),
    ),
    Parser(
        "Location",
        lambda text: errors.decode(307, b"", {"location": text}, resource="x", write=True),
        (),
        ("a", "/", "http://", "@", ":", *_UNPRINTABLE),
    ),
    Parser(
        "record of a stream",
        lambda text: ndjson.decode(_bytes(text), resource="x"),
        _REFUSED,
        (*_JSON, '["error",', '"status_code":'),
    ),
    *(
        Parser(f"value of {getattr(kind, '__name__', kind)}", _READERS[kind], _REFUSED, tokens)
        for kind in _READERS
        for tokens in [
            _MOMENT if kind in (datetime.datetime, datetime.date, datetime.time, datetime.timedelta) else _NUMBER
        ]
    ),
)
