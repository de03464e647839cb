"""Pagination on the wire: page parameters, the response envelope, ``Link`` headers, and iteration over pages."""

import collections.abc
import dataclasses
import typing as t
import urllib.parse

from flama.exceptions import InvalidResponseError
from flama.rest import link_header
from flama.rest.operations import Envelope, Records
from flama.rest.query_parameters import COUNT, CURSOR, LIMIT, OFFSET, PAGE, PAGE_NUMBER, PAGE_SIZE

__all__ = [
    "MAX_PAGE_SIZE",
    "Page",
    "PageIterator",
    "SCHEMAS",
    "STYLES",
    "Style",
    "decode",
    "detect_style",
    "encode",
    "envelope",
    "link",
    "meta_schema",
    "parameter_schemas",
    "total",
    "without_page_params",
]

Style: t.TypeAlias = t.Literal["page_number", "limit_offset", "cursor"]
STYLES: t.Final[tuple[Style, ...]] = t.get_args(Style)

MAX_PAGE_SIZE: t.Final = 1_000
"""The default limit of a page's records, whatever number is requested."""

_Pairs: t.TypeAlias = collections.abc.Iterable[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A slice of a collection; with ``count``, the response includes the number of records in the whole collection.

    The page begins after ``offset`` records, or at the ``cursor``; an empty cursor is the start of the collection.
    """

    limit: int = 10
    offset: int = 0
    count: bool = False
    cursor: str = ""

    @property
    def number(self) -> int:
        """The number of the page among pages of its size, from 1."""
        return self.offset // self.limit + 1

    def next_page(self) -> "Page":
        """Return the next page; not for cursors, which only the server can compute."""
        return dataclasses.replace(self, offset=self.offset + self.limit)

    def previous_page(self) -> "Page":
        """Return the previous page; not for cursors."""
        return dataclasses.replace(self, offset=max(0, self.offset - self.limit))


# The product of page and page_size fits the integers of every database.
_MAX_DIGITS = 9

# The parameters of each style, and the values of a page that they are.
_PARAMETERS: dict[Style, dict[str, collections.abc.Callable[[Page], t.Any]]] = {
    "page_number": {PAGE: lambda page: page.number, PAGE_SIZE: lambda page: page.limit},
    "limit_offset": {LIMIT: lambda page: page.limit, OFFSET: lambda page: page.offset},
    "cursor": {CURSOR: lambda page: page.cursor, LIMIT: lambda page: page.limit},
}

# Of these parameters, the one of the page's position, and the one of its size.
_POSITION_AND_SIZE: dict[Style, tuple[str, str]] = {
    "page_number": (PAGE, PAGE_SIZE),
    "limit_offset": (OFFSET, LIMIT),
    "cursor": (CURSOR, LIMIT),
}

_NATURAL: t.Final = {"type": "integer", "minimum": 1, "maximum": 10**_MAX_DIGITS - 1}

#: The JSON Schema of each parameter.
SCHEMAS: t.Final[collections.abc.Mapping[str, dict[str, t.Any]]] = {
    PAGE: {**_NATURAL, "default": 1, "description": "The number of the page, from 1."},
    PAGE_SIZE: {**_NATURAL, "default": 10, "description": "The maximum number of records in a page."},
    LIMIT: {**_NATURAL, "default": 10, "description": "The maximum number of records."},
    OFFSET: {**_NATURAL, "minimum": 0, "default": 0, "description": "The number of records to skip."},
    CURSOR: {"type": "string", "description": "The next or previous of a page's meta; empty for the first page."},
    COUNT: {"type": "boolean", "default": False, "description": "Whether to count all records."},
}


def parameter_schemas(style: Style) -> dict[str, dict[str, t.Any]]:
    """Return the JSON Schemas of a style's page parameters by name."""
    return {name: SCHEMAS[name] for name in (*_PARAMETERS[style], COUNT)}


def meta_schema(style: Style) -> dict[str, t.Any]:
    """Return the JSON Schema of the ``meta`` of a style's responses."""
    place, length = _POSITION_AND_SIZE[style]
    kind = "string" if style == "cursor" else "integer"
    positions = {name: {"type": [kind, "null"]} for name in (("next", "previous") if style == "cursor" else ("next",))}
    own = {name: {"type": "integer"} for name in (place, length) if name != CURSOR}
    properties = {**own, COUNT: {"type": ["integer", "null"]}, **positions}
    return {"type": "object", "properties": properties, "required": list(properties)}


def without_page_params(style: Style, query: _Pairs) -> list[tuple[str, str]]:
    """Return the parameters of a query apart from those of a page."""
    return [(name, value) for name, value in query if name not in {*_PARAMETERS[style], COUNT, PAGE_NUMBER}]


def encode(style: Style, page: Page) -> dict[str, str]:
    """Return the parameters of a query for a page."""
    query = {name: str(value(page)) for name, value in _PARAMETERS[style].items()}
    return {**query, COUNT: "true"} if page.count else query


def detect_style(query: collections.abc.Container[str]) -> Style:
    """Return the style of a query's page parameters, for servers that support all styles."""
    if CURSOR in query:
        return "cursor"
    return "limit_offset" if LIMIT in query or OFFSET in query else "page_number"


def decode(style: Style, query: collections.abc.Mapping[str, str], most: int | None = MAX_PAGE_SIZE) -> Page:
    """Return the page that a query requests, the inverse of :func:`encode`; missing parameters have defaults.

    The page has at most ``most`` records, whatever number is requested.

    :raises ValueError: a parameter's value is out of range or malformed; the message names the parameter.
    """
    count = _parse_boolean(query, COUNT)
    place, length = _POSITION_AND_SIZE[style]
    size = _parse_number(query, length, default=10, least=1)
    size = size if most is None else min(size, most)
    match style:
        case "cursor":
            return Page(size, 0, count, query.get(place, ""))
        case "limit_offset":
            return Page(size, _parse_number(query, place, default=0, least=0), count)
    name = place if place in query else PAGE_NUMBER
    return Page(size, (_parse_number(query, name, default=1, least=1) - 1) * size, count)


def envelope(
    style: Style, page: Page, data: list[t.Any], count: int | None = None, **places: Page | None
) -> dict[str, t.Any]:
    """Return the response envelope of a page.

    Its ``meta`` includes the positions of the pages in ``places``: of ``next``, which is None for the last page, and
    with cursors also of ``previous``, since clients can't compute cursors.
    """
    meta = {name: value(page) for name, value in _PARAMETERS[style].items() if name != CURSOR}
    place = _PARAMETERS[style][_POSITION_AND_SIZE[style][0]]
    positions = {name: None if other is None else place(other) for name, other in places.items()}
    return {"meta": {**meta, COUNT: count, **positions}, "data": data}


def link(style: Style, query: _Pairs, **pages: Page | None) -> str:
    """Return the header ``Link`` (RFC 8288) that refers to pages by their relations, ``next`` or ``prev``.

    ``query`` is the query for this page; the targets differ from it in the position alone. Targets are relative to
    the page's own URL, so that clients resolve them correctly behind any proxy.
    """
    unchanged = without_page_params(style, query)
    targets = {
        relation: "?" + urllib.parse.urlencode([*unchanged, *encode(style, page).items()])
        for relation, page in pages.items()
        if page is not None
    }
    return link_header.encode(targets)


def total(answer: Envelope, *, resource: str) -> int:
    """Return the number of records in the whole collection, from a page that was requested with ``count``.

    :raises InvalidResponseError: the response doesn't include it.
    """
    count = _find_integer(answer.meta if isinstance(answer.meta, dict) else {}, COUNT)
    if count is None:
        raise InvalidResponseError(resource=resource, detail="it doesn't tell how many records it has")
    return count


class PageIterator:
    """An iteration over all pages of a collection, which always ends or fails.

    Its state is the next page to request, whether there is one, and two earlier pages to detect cycles by: the
    previous page, and one that is stored for ever longer stretches. This is Brent's algorithm, which finds cycles of
    any length in constant memory.
    """

    def __init__(
        self, style: Style, size: int, *, resource: str, offset: int = 0, count: bool = False, cursor: str = ""
    ) -> None:
        self.style: Style = style
        self.is_done = False
        start = 0 if style == "cursor" else offset
        if style == "page_number":
            start -= offset % size
        self._page = Page(size, start, count, cursor)
        self._offset = offset
        self._resource = resource
        self._pages = 0
        self._records_seen = self._page.offset  # the skipped records count as seen
        self._next_checkpoint = 1
        self._previous: Records = []
        self._checkpoint: Records = []

    def next_parameters(self) -> dict[str, str]:
        """Return the parameters of a query for the next page."""
        return encode(self.style, self._page)

    def accept(self, page: Envelope) -> Records:
        """Return the records of the requested page without those before the offset, and advance to the next page.

        :raises InvalidResponseError: the response is another page, repeats an earlier one, or is the last one though
            its ``count`` is greater than the number of records so far.
        """
        meta = page.meta if isinstance(page.meta, dict) else {}
        size = self._check_page_identity(meta)
        if self._restart_with_size(size):
            return []
        self._check_not_repeated(page.data)
        skipped = max(0, self._offset - self._records_seen)
        self._records_seen += len(page.data)
        self.is_done = self._is_last(len(page.data), size, meta)
        step = (size or self._page.limit) if self.style == "page_number" else len(page.data)
        self._page = Page(size or self._page.limit, self._page.offset + step, self._page.count, self._next_cursor(meta))
        return page.data[skipped:]

    def _check_page_identity(self, meta: dict[str, t.Any]) -> int | None:
        """Check that the response is the requested page, and return its size; None if the response doesn't state it."""
        place, length = _POSITION_AND_SIZE[self.style]
        expected, actual = _PARAMETERS[self.style][place](self._page), _find_integer(meta, place)
        if actual not in {None, expected}:
            raise self._invalid_response(f"asked for {place} {expected}, it answered with {place} {actual}")
        size = _find_integer(meta, length)
        if size == 0 or (size and self._pages and self.style == "page_number" and size != self._page.limit):
            raise self._invalid_response(f"asked for {length} {self._page.limit}, it answered with {length} {size}")
        return size

    def _restart_with_size(self, size: int | None) -> bool:
        """Whether the server's pages have another size, so that another page must be requested first."""
        if not size or self.style != "page_number" or size == self._page.limit:
            return False
        if not self._page.offset and self._offset < size:  # the first page is the first of any size
            return False
        self._page = Page(size, self._offset - self._offset % size, self._page.count)
        self._records_seen = self._page.offset
        return True

    def _next_cursor(self, meta: dict[str, t.Any]) -> str:
        """Return the cursor of the next page; empty if there is none."""
        cursor = meta.get("next")
        if self.style != "cursor" or self.is_done:
            return ""
        if not isinstance(cursor, str) or cursor in ("", self._page.cursor):
            raise self._invalid_response("it has no cursor for the next page, or the same one again")
        return cursor

    def _check_not_repeated(self, data: Records) -> None:
        """Check that the page isn't one of the earlier ones."""
        if data and data in (self._previous, self._checkpoint):
            raise self._invalid_response(f"page {self._pages + 1} repeats an earlier one")
        self._previous = data
        self._pages += 1
        if self._pages == self._next_checkpoint:
            self._checkpoint, self._next_checkpoint = data, 2 * self._next_checkpoint

    def _is_last(self, length: int, size: int | None, meta: dict[str, t.Any]) -> bool:
        count = _find_integer(meta, COUNT)
        last = self._is_end(length, size, count, meta)
        if last and count is not None and self._records_seen < count:
            raise self._invalid_response(f"it ended after {self._records_seen} records of {count}")
        return last

    def _is_end(self, length: int, size: int | None, count: int | None, meta: dict[str, t.Any]) -> bool:
        if "next" not in meta:
            return (
                length == 0
                or (size is not None and length < size)
                or (count is not None and self._records_seen >= count)
            )
        if meta["next"] is not None and length == 0:
            raise self._invalid_response("it has a page without records that isn't the last")
        return meta["next"] is None

    def _invalid_response(self, detail: str) -> InvalidResponseError:
        return InvalidResponseError(resource=self._resource, detail=detail)


def _find_integer(meta: dict[str, t.Any], name: str) -> int | None:
    value = meta.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _parse_number(query: collections.abc.Mapping[str, str], name: str, *, default: int, least: int) -> int:
    value = query.get(name, str(default))
    number = int(value) if value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS else -1
    if number < least:
        raise ValueError(f"{name} is a number from {least}, not {value[:40]!r}")
    return number


def _parse_boolean(query: collections.abc.Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in {"true", "false", "1", "0"}:
        raise ValueError(f"{name} is true or false, not {value[:40]!r}")
    return value in {"true", "1"}
