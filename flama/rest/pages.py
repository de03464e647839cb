"""Pages on the wire: how a page is asked for, what it comes in, and which one is next."""

import collections.abc
import dataclasses
import typing as t

from flama.exceptions import InvalidResponseError
from flama.rest.operations import Envelope, Records

__all__ = ["Page", "STYLES", "Style", "Walk", "envelope", "parameters", "requested"]

Style: t.TypeAlias = t.Literal["page_number", "limit_offset"]
STYLES: t.Final[tuple[Style, ...]] = t.get_args(Style)


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A slice of a collection; with ``count``, its answer tells how many records the whole has."""

    limit: int = 10
    offset: int = 0
    count: bool = False

    @property
    def number(self) -> int:
        """Which page of this size it is, from 1."""
        return self.offset // self.limit + 1


# So that page times page_size fits the integers of every database.
_MAX_DIGITS = 9

# The names that a style asks for a page by, and what of the page each of them is.
_NAMES: dict[Style, dict[str, collections.abc.Callable[[Page], int]]] = {
    "page_number": {"page": lambda page: page.number, "page_size": lambda page: page.limit},
    "limit_offset": {"limit": lambda page: page.limit, "offset": lambda page: page.offset},
}

# Of these names, the one that says where the page is, and the one that says how long it is.
_PLACE: dict[Style, tuple[str, str]] = {"page_number": ("page", "page_size"), "limit_offset": ("offset", "limit")}


def parameters(style: Style, page: Page) -> dict[str, str]:
    """Give the query that asks for a page."""
    query = {name: str(value(page)) for name, value in _NAMES[style].items()}
    return {**query, "count": "true"} if page.count else query


def requested(style: Style, query: collections.abc.Mapping[str, str]) -> Page:
    """Give the page that a query asks for, the inverse of :func:`parameters`; what it doesn't say has its default.

    :raises ValueError: a parameter is no such number; the message names it.
    """
    count = _boolean(query, "count")
    if style == "page_number":
        size = _number(query, "page_size", default=10, least=1)
        return Page(size, (_number(query, "page", default=1, least=1) - 1) * size, count)
    limit = _number(query, "limit", default=10, least=1)
    return Page(limit, _number(query, "offset", default=0, least=0), count)


def envelope(style: Style, page: Page, data: list[t.Any], count: int | None = None) -> dict[str, t.Any]:
    """Give the answer that a page travels in."""
    meta: dict[str, int | None] = {name: value(page) for name, value in _NAMES[style].items()}
    return {"meta": {**meta, "count": count}, "data": data}


class Walk:
    """A walk through all pages of a collection, which is sure to end or to fail.

    Its state is the page to ask for next, whether there is one, and what it takes to see that a server goes in
    circles: the page before, and one that is kept for ever longer stretches (Brent's algorithm), so that a circle of
    any length is found in constant memory.
    """

    def __init__(self, style: Style, size: int, *, resource: str) -> None:
        self.style: Style = style
        self.ended = False
        self._page = Page(size)
        self._resource = resource
        self._seen = self._pages = 0
        self._stretch = 1
        self._previous: Records = []
        self._kept: Records = []

    def parameters(self) -> dict[str, str]:
        """Give the query that asks for the next page."""
        return parameters(self.style, self._page)

    def take(self, answer: Envelope) -> Records:
        """Give the records of the page that was asked for, and go on to the next.

        :raises InvalidResponseError: it is another page, one that was there before, or the last one though the
            collection is said to hold more.
        """
        meta = answer.meta if isinstance(answer.meta, dict) else {}
        size = self._placed(meta)
        self._new(answer.data)
        self._seen += len(answer.data)
        self.ended = self._is_last(len(answer.data), size, _integer(meta, "count"))
        step = (size or self._page.limit) if self.style == "page_number" else len(answer.data)
        self._page = Page(size or self._page.limit, self._page.offset + step)
        return answer.data

    def _placed(self, meta: dict[str, t.Any]) -> int | None:
        """Check that it is the page that was asked for; give its size, as far as the server tells."""
        place, length = _PLACE[self.style]
        asked, answered = _NAMES[self.style][place](self._page), _integer(meta, place)
        if answered not in {None, asked}:
            raise self._refusal(f"asked for {place} {asked}, it answered with {place} {answered}")
        size = _integer(meta, length)
        if size == 0 or (size and self._seen and self.style == "page_number" and size != self._page.limit):
            raise self._refusal(f"asked for {length} {self._page.limit}, it answered with {length} {size}")
        return size

    def _new(self, data: Records) -> None:
        """Check that no such page was there before."""
        if data and data in (self._previous, self._kept):
            raise self._refusal(f"page {self._pages + 1} repeats an earlier one")
        self._previous = data
        self._pages += 1
        if self._pages == self._stretch:
            self._kept, self._stretch = data, 2 * self._stretch

    def _is_last(self, length: int, size: int | None, count: int | None) -> bool:
        last = length == 0 or (size is not None and length < size) or (count is not None and self._seen >= count)
        if last and count is not None and self._seen < count:
            raise self._refusal(f"it ended after {self._seen} records of {count}")
        return last

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
