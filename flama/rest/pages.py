"""Pages on the wire: how a page is asked for, what it comes in, and which one is next."""

import collections.abc
import dataclasses
import typing as t
import urllib.parse

from flama.exceptions import InvalidResponseError
from flama.rest import links
from flama.rest.names import COUNT, CURSOR, LIMIT, OFFSET, PAGE, PAGE_NUMBER, PAGE_SIZE
from flama.rest.operations import Envelope, Records

__all__ = [
    "MOST",
    "Page",
    "SCHEMAS",
    "STYLES",
    "Style",
    "Walk",
    "asked",
    "described",
    "envelope",
    "link",
    "meta_schema",
    "others",
    "parameters",
    "requested",
    "total",
]

Style: t.TypeAlias = t.Literal["page_number", "limit_offset", "cursor"]
STYLES: t.Final[tuple[Style, ...]] = t.get_args(Style)

MOST: t.Final = 1_000
"""How many records a page has at most, however many are asked for, unless its server says otherwise."""

_Pairs: t.TypeAlias = collections.abc.Iterable[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A slice of a collection; with ``count``, its answer tells how many records the whole has.

    It begins after so many records as the ``offset`` says, or at the ``cursor``; an empty one is where all begins.
    """

    limit: int = 10
    offset: int = 0
    count: bool = False
    cursor: str = ""

    @property
    def number(self) -> int:
        """Which page of this size it is, from 1."""
        return self.offset // self.limit + 1

    def following(self) -> "Page":
        """Give the page behind this one; not of a cursor, which only the server knows."""
        return dataclasses.replace(self, offset=self.offset + self.limit)

    def preceding(self) -> "Page":
        """Give the page before this one; not of a cursor."""
        return dataclasses.replace(self, offset=max(0, self.offset - self.limit))


# So that page times page_size fits the integers of every database.
_MAX_DIGITS = 9

# The names that a style asks for a page by, and what of the page each of them is.
_NAMES: dict[Style, dict[str, collections.abc.Callable[[Page], t.Any]]] = {
    "page_number": {PAGE: lambda page: page.number, PAGE_SIZE: lambda page: page.limit},
    "limit_offset": {LIMIT: lambda page: page.limit, OFFSET: lambda page: page.offset},
    "cursor": {CURSOR: lambda page: page.cursor, LIMIT: lambda page: page.limit},
}

# Of these names, the one that says where the page is, and the one that says how long it is.
_PLACE: dict[Style, tuple[str, str]] = {
    "page_number": (PAGE, PAGE_SIZE),
    "limit_offset": (OFFSET, LIMIT),
    "cursor": (CURSOR, LIMIT),
}

_NATURAL: t.Final = {"type": "integer", "minimum": 1, "maximum": 10**_MAX_DIGITS - 1}

#: What of a page each parameter says, as JSON Schema.
SCHEMAS: t.Final[collections.abc.Mapping[str, dict[str, t.Any]]] = {
    PAGE: {**_NATURAL, "default": 1, "description": "Which page, from 1."},
    PAGE_SIZE: {**_NATURAL, "default": 10, "description": "How many records a page has at most."},
    LIMIT: {**_NATURAL, "default": 10, "description": "How many records there are at most."},
    OFFSET: {**_NATURAL, "minimum": 0, "default": 0, "description": "How many records are before them."},
    CURSOR: {"type": "string", "description": "Where to go on: next or previous of a page's meta; empty to begin."},
    COUNT: {"type": "boolean", "default": False, "description": "Whether to tell how many records there are in all."},
}


def described(style: Style) -> dict[str, dict[str, t.Any]]:
    """Give what a page is asked for by, as JSON Schemas by name."""
    return {name: SCHEMAS[name] for name in (*_NAMES[style], COUNT)}


def meta_schema(style: Style) -> dict[str, t.Any]:
    """Give the JSON Schema of what an answer tells of its page."""
    place, length = _PLACE[style]
    kind = "string" if style == "cursor" else "integer"
    told = {"next": {"type": [kind, "null"]}, **({"previous": {"type": [kind, "null"]}} if style == "cursor" else {})}
    own = {name: {"type": "integer"} for name in (place, length) if name != CURSOR}
    properties = {**own, COUNT: {"type": ["integer", "null"]}, **told}
    return {"type": "object", "properties": properties, "required": list(properties)}


def others(style: Style, query: _Pairs) -> list[tuple[str, str]]:
    """Give what a query asks for beside a page."""
    return [(name, value) for name, value in query if name not in {*_NAMES[style], COUNT, PAGE_NUMBER}]


def parameters(style: Style, page: Page) -> dict[str, str]:
    """Give the query that asks for a page."""
    query = {name: str(value(page)) for name, value in _NAMES[style].items()}
    return {**query, COUNT: "true"} if page.count else query


def asked(query: collections.abc.Container[str]) -> Style:
    """Give the style in which a query asks for a page, where all of them are served."""
    if CURSOR in query:
        return "cursor"
    return "limit_offset" if LIMIT in query or OFFSET in query else "page_number"


def requested(style: Style, query: collections.abc.Mapping[str, str], most: int | None = MOST) -> Page:
    """Give the page that a query asks for, the inverse of :func:`parameters`; what it doesn't say has its default.

    It has no more than ``most`` records, however many are asked for.

    :raises ValueError: a parameter is no such number; the message names it.
    """
    count = _boolean(query, COUNT)
    place, length = _PLACE[style]
    size = _number(query, length, default=10, least=1)
    size = size if most is None else min(size, most)
    match style:
        case "cursor":
            return Page(size, 0, count, query.get(place, ""))
        case "limit_offset":
            return Page(size, _number(query, place, default=0, least=0), count)
    name = place if place in query else PAGE_NUMBER
    return Page(size, (_number(query, name, default=1, least=1) - 1) * size, count)


def envelope(
    style: Style, page: Page, data: list[t.Any], count: int | None = None, **places: Page | None
) -> dict[str, t.Any]:
    """Give the answer that a page travels in.

    Its meta tells the ``places`` of others as far as they are given: of the ``next``, which is None when this is the
    last, and where cursors are used, which no client can reckon, of the ``previous``, too.
    """
    meta = {name: value(page) for name, value in _NAMES[style].items() if name != CURSOR}
    place = _NAMES[style][_PLACE[style][0]]
    told = {name: None if other is None else place(other) for name, other in places.items()}
    return {"meta": {**meta, COUNT: count, **told}, "data": data}


def link(style: Style, query: _Pairs, **pages: Page | None) -> str:
    """Give the header ``Link`` (RFC 8288) that refers to pages by their relations, ``next`` or ``prev``.

    ``query`` is the one that asked for this page, of which the others have all but the place. A target is relative to
    the page's own URL: a client resolves it, whatever stands between it and the server.
    """
    kept = others(style, query)
    targets = {
        relation: "?" + urllib.parse.urlencode([*kept, *parameters(style, page).items()])
        for relation, page in pages.items()
        if page is not None
    }
    return links.encode(targets)


def total(answer: Envelope, *, resource: str) -> int:
    """Give how many records the whole collection has, of a page that was asked for with ``count``.

    :raises InvalidResponseError: the server doesn't tell.
    """
    count = _integer(answer.meta if isinstance(answer.meta, dict) else {}, COUNT)
    if count is None:
        raise InvalidResponseError(resource=resource, detail="it doesn't tell how many records it has")
    return count


class Walk:
    """A walk through all pages of a collection, which is sure to end or to fail.

    Its state is the page to ask for next, whether there is one, and what it takes to see that a server goes in
    circles: the page before, and one that is kept for ever longer stretches (Brent's algorithm), so that a circle of
    any length is found in constant memory.
    """

    def __init__(
        self, style: Style, size: int, *, resource: str, offset: int = 0, count: bool = False, cursor: str = ""
    ) -> None:
        self.style: Style = style
        self.ended = False
        start = 0 if style == "cursor" else offset - (offset % size) * (style == "page_number")
        self._page = Page(size, start, count, cursor)
        self._offset = offset
        self._resource = resource
        self._pages = 0
        self._seen = self._page.offset  # which are as good as seen
        self._stretch = 1
        self._previous: Records = []
        self._kept: Records = []

    def parameters(self) -> dict[str, str]:
        """Give the query that asks for the next page."""
        return parameters(self.style, self._page)

    def take(self, answer: Envelope) -> Records:
        """Give the records of the page that was asked for, but those before the offset, and go on to the next.

        :raises InvalidResponseError: it is another page, one that was there before, or the last one though the
            collection is said to hold more.
        """
        meta = answer.meta if isinstance(answer.meta, dict) else {}
        size = self._placed(meta)
        if self._is_misplaced(size):
            return []
        self._new(answer.data)
        skipped = max(0, self._offset - self._seen)
        self._seen += len(answer.data)
        self.ended = self._is_last(len(answer.data), size, meta)
        step = (size or self._page.limit) if self.style == "page_number" else len(answer.data)
        self._page = Page(size or self._page.limit, self._page.offset + step, self._page.count, self._cursor(meta))
        return answer.data[skipped:]

    def _placed(self, meta: dict[str, t.Any]) -> int | None:
        """Check that it is the page that was asked for; give its size, as far as the server tells."""
        place, length = _PLACE[self.style]
        asked, answered = _NAMES[self.style][place](self._page), _integer(meta, place)
        if answered not in {None, asked}:
            raise self._refusal(f"asked for {place} {asked}, it answered with {place} {answered}")
        size = _integer(meta, length)
        if size == 0 or (size and self._pages and self.style == "page_number" and size != self._page.limit):
            raise self._refusal(f"asked for {length} {self._page.limit}, it answered with {length} {size}")
        return size

    def _is_misplaced(self, size: int | None) -> bool:
        """Whether the server's pages are of another size, so that another has to be asked for to begin with."""
        if not size or self.style != "page_number" or size == self._page.limit:
            return False
        if not self._page.offset and self._offset < size:  # the first page is the first of any size
            return False
        self._page = Page(size, self._offset - self._offset % size, self._page.count)
        self._seen = self._page.offset
        return True

    def _cursor(self, meta: dict[str, t.Any]) -> str:
        """Give the cursor of the next page; where there is none, there is no such page."""
        cursor = meta.get("next")
        if self.style != "cursor" or self.ended:
            return ""
        if not isinstance(cursor, str) or cursor in ("", self._page.cursor):
            raise self._refusal("it has no cursor for the next page, or the same one again")
        return cursor

    def _new(self, data: Records) -> None:
        """Check that no such page was there before."""
        if data and data in (self._previous, self._kept):
            raise self._refusal(f"page {self._pages + 1} repeats an earlier one")
        self._previous = data
        self._pages += 1
        if self._pages == self._stretch:
            self._kept, self._stretch = data, 2 * self._stretch

    def _is_last(self, length: int, size: int | None, meta: dict[str, t.Any]) -> bool:
        count = _integer(meta, COUNT)
        last = self._ends(length, size, count, meta)
        if last and count is not None and self._seen < count:
            raise self._refusal(f"it ended after {self._seen} records of {count}")
        return last

    def _ends(self, length: int, size: int | None, count: int | None, meta: dict[str, t.Any]) -> bool:
        if "next" not in meta:
            return length == 0 or (size is not None and length < size) or (count is not None and self._seen >= count)
        if meta["next"] is not None and length == 0:
            raise self._refusal("it has a page without records that isn't the last")
        return meta["next"] is None

    def _refusal(self, detail: str) -> InvalidResponseError:
        return InvalidResponseError(resource=self._resource, detail=detail)


def _integer(meta: dict[str, t.Any], name: str) -> int | None:
    value = meta.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(query: collections.abc.Mapping[str, str], name: str, *, default: int, least: int) -> int:
    value = query.get(name, str(default))
    number = int(value) if value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS else -1
    if number < least:
        raise ValueError(f"{name} is a number from {least}, not {value[:40]!r}")
    return number


def _boolean(query: collections.abc.Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in {"true", "false", "1", "0"}:
        raise ValueError(f"{name} is true or false, not {value[:40]!r}")
    return value in {"true", "1"}
