"""Slices: the records of one page, read from wherever they are with no more than it takes."""

import collections.abc
import dataclasses
import typing as t

from flama.query import Order, Query, Remote
from flama.query.conditions import as_mapping, field
from flama.rest import values
from flama.rest.cursors import Place, QueryCursors
from flama.rest.pages import Page, Style

__all__ = ["Slice", "of", "of_query"]

_Places: t.TypeAlias = collections.abc.Mapping[Order, t.Any]
_Check: t.TypeAlias = collections.abc.Callable[[tuple[str, ...], type], None]
_NUMBERED: t.Final = (values.reader(int),)
_ELSEWHERE: t.Final = (values.reader(str),)


def _any_order(fields: tuple[str, ...], record: type) -> None:
    """Accept any order."""


@dataclasses.dataclass(frozen=True, slots=True)
class Slice:
    """The records of a page; how many there are in all, if that was asked; the pages before and after."""

    data: list[t.Any]
    count: int | None = None
    next: Page | None = None
    previous: Page | None = None


async def of(style: Style, page: Page, source: t.Any, cursors: QueryCursors, check_order: _Check = _any_order) -> Slice:
    """Return the slice of a list, of what can be iterated over asynchronously, or of what a repository lists.

    ``check_order`` raises what is wrong with readable cursors of an order by these fields, of records of this class.

    :raises InvalidCursorError: the page's cursor is none of the query's.
    """
    if (query := getattr(source, "query", None)) is not None:
        return await of_query(style, page, query, cursors, check_order)
    numbered = _numbered(page, cursors) if style == "cursor" else page
    if isinstance(source, collections.abc.AsyncIterable):
        found, count = await _read(source, numbered)
    else:
        whole = source if isinstance(source, collections.abc.Sequence) else list(source)
        found, count = list(whole[numbered.offset : numbered.offset + page.limit + 1]), len(whole)
    return _slice(style, numbered, found, count if page.count else None, cursors)


async def of_query(
    style: Style, page: Page, query: Query, cursors: QueryCursors, check_order: _Check = _any_order
) -> Slice:
    """Return the slice of a query, reading no more of it than one record beyond.

    :raises InvalidCursorError: the page's cursor is none of the query's.
    """
    check = _any_order if cursors.codec.is_secret else check_order
    if style == "cursor" and getattr(query, "has_cursors", False):
        found = await _at_cursor(page, t.cast(Remote, query), cursors, check)
        return dataclasses.replace(found, count=await query.count()) if page.count else found
    places = query.places if style == "cursor" else None
    if places is not None and all(values.has_text(kind) for kind in places.values()):
        found = await _at_place(page, query, places, cursors, check)
    else:
        numbered = _numbered(page, cursors) if style == "cursor" else page
        records = [record async for record in query.sliced(page.limit + 1, numbered.offset)]
        found = _slice(style, numbered, records, None, cursors)
    return dataclasses.replace(found, count=await query.count()) if page.count else found


async def _read(source: collections.abc.AsyncIterable[t.Any], page: Page) -> tuple[list[t.Any], int]:
    """Read a page, and one record more; all of them when they are to be counted, though these alone are kept."""
    found: list[t.Any] = []
    number, end = 0, page.offset + page.limit
    iterator = aiter(source)
    try:
        async for record in iterator:
            if page.offset <= number <= end:
                found.append(record)
            number += 1
            if number > end and not page.count:
                break
    finally:
        if aclose := getattr(iterator, "aclose", None):
            await aclose()
    return found, number


async def _at_cursor(page: Page, query: Remote, cursors: QueryCursors, check: _Check) -> Slice:
    """Read what is at a cursor of another service, which comes in one of ours."""
    check(tuple(order.field for order in query.orders), dict)
    (cursor,) = cursors.decode(page.cursor, _ELSEWHERE, "elsewhere").position if page.cursor else ("",)
    found = await query.at(cursor or "", page.limit)

    def beside(cursor: str | None) -> Page | None:
        return None if cursor is None else _with_cursor(page, cursors, cursor, "elsewhere")

    return Slice(found.records, next=beside(found.next), previous=beside(found.previous))


async def _at_place(page: Page, query: Query, places: _Places, cursors: QueryCursors, check: _Check) -> Slice:
    in_order, fields = repr(tuple(places)), tuple(order.field for order in places)
    check(fields, dict)  # also where there is no record yet
    readers = [values.reader(kind) for kind in places.values()]
    place = cursors.decode(page.cursor, readers, in_order) if page.cursor else Place(())
    at = {order.field: value for order, value in zip(places, place.position, strict=False)} or None
    if place.backward:
        records = [record async for record in query.sliced(page.limit + 1, before=at)]
        data, has_next, has_previous = records[-page.limit :], True, len(records) > page.limit
    else:
        records = [record async for record in query.sliced(page.limit + 1, after=at)]
        data, has_next, has_previous = records[: page.limit], len(records) > page.limit, at is not None
    if data:
        check(fields, type(data[0]))

    def beside(record: t.Any, *, backward: bool) -> Page:
        position = tuple(field(as_mapping(record), order.field) for order in places)
        return dataclasses.replace(page, cursor=cursors.encode(Place(position, backward), in_order))

    return Slice(
        data,
        next=beside(data[-1], backward=False) if data and has_next else None,
        previous=beside(data[0], backward=True) if data and has_previous else None,
    )


def _slice(style: Style, page: Page, found: list[t.Any], count: int | None, cursors: QueryCursors) -> Slice:
    """Give the slice of records that were found at an offset, one more among them if there is one."""
    next = page.following() if len(found) > page.limit else None
    if style != "cursor":
        return Slice(found[: page.limit], count, next)
    before = page.preceding() if page.offset else None
    beside = (each and _with_cursor(each, cursors, each.offset) for each in (next, before))
    return Slice(found[: page.limit], count, *beside)


def _numbered(page: Page, cursors: QueryCursors) -> Page:
    """Give a page with the offset that its cursor stands for, where places mean nothing."""
    if not page.cursor:
        return page
    (offset,) = cursors.decode(page.cursor, _NUMBERED).position
    return dataclasses.replace(page, offset=offset)


def _with_cursor(page: Page, cursors: QueryCursors, value: int | str, order: str = "") -> Page:
    return dataclasses.replace(page, cursor=cursors.encode(Place((value,)), order))
