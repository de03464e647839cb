"""Slices: the records of one page, read from a list, an async iterable, or a query."""

import collections.abc
import dataclasses
import typing as t

from flama.query import CursorQuery, Order, PageableQuery
from flama.query.conditions import as_mapping, field
from flama.rest import value_codecs
from flama.rest.cursors import CursorPosition, QueryCursors
from flama.rest.paging import Page, Style

__all__ = ["PageResult", "fetch_page", "fetch_query_page"]

_Places: t.TypeAlias = collections.abc.Mapping[Order, t.Any]
_Check: t.TypeAlias = collections.abc.Callable[[tuple[str, ...], type], None]
_OFFSET_READERS: t.Final = (value_codecs.decoder_for(int),)
_REMOTE_READERS: t.Final = (value_codecs.decoder_for(str),)


def _any_order(fields: tuple[str, ...], record: type) -> None:
    """Accept any order."""


@dataclasses.dataclass(frozen=True, slots=True)
class PageResult:
    """The records of a page, their total number if requested, and the next and previous pages."""

    data: list[t.Any]
    count: int | None = None
    next: Page | None = None
    previous: Page | None = None


async def fetch_page(
    style: Style, page: Page, source: t.Any, cursors: QueryCursors, check_order: _Check = _any_order
) -> PageResult:
    """Return the page of a list, an async iterable, or the result of a repository's ``list``.

    ``check_order`` takes the fields of the order and the class of the records. It raises an error if readable cursors
    must not hold these fields.

    :raises InvalidCursorError: the page's cursor doesn't belong to the query.
    """
    if (query := getattr(source, "query", None)) is not None:
        return await fetch_query_page(style, page, query, cursors, check_order)
    numbered = _decode_offset(page, cursors) if style == "cursor" else page
    if isinstance(source, collections.abc.AsyncIterable):
        found, count = await _read(source, numbered)
    else:
        whole = source if isinstance(source, collections.abc.Sequence) else list(source)
        found, count = list(whole[numbered.offset : numbered.offset + page.limit + 1]), len(whole)
    return _build_result(style, numbered, found, count if page.count else None, cursors)


async def fetch_query_page(
    style: Style, page: Page, query: PageableQuery, cursors: QueryCursors, check_order: _Check = _any_order
) -> PageResult:
    """Return the page of a query, and read at most one record more than that.

    :raises InvalidCursorError: the page's cursor doesn't belong to the query.
    """
    check = _any_order if cursors.codec.is_secret else check_order
    if style == "cursor" and getattr(query, "has_cursors", False):
        found = await _fetch_remote_cursor(page, t.cast(CursorQuery, query), cursors, check)
        return dataclasses.replace(found, count=await query.count()) if page.count else found
    places = query.keyset_columns if style == "cursor" else None
    if places is not None and all(value_codecs.is_encodable(kind) for kind in places.values()):
        found = await _fetch_keyset(page, query, places, cursors, check)
    else:
        numbered = _decode_offset(page, cursors) if style == "cursor" else page
        records = [record async for record in query.slice(page.limit + 1, numbered.offset)]
        found = _build_result(style, numbered, records, None, cursors)
    return dataclasses.replace(found, count=await query.count()) if page.count else found


async def _read(source: collections.abc.AsyncIterable[t.Any], page: Page) -> tuple[list[t.Any], int]:
    """Read a page and one record more; to count, read all records, but hold only these."""
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


async def _fetch_remote_cursor(page: Page, query: CursorQuery, cursors: QueryCursors, check: _Check) -> PageResult:
    """Read the page at the cursor of a remote service, which is wrapped in one of ours."""
    check(tuple(order.field for order in query.orders), dict)
    (cursor,) = cursors.decode(page.cursor, _REMOTE_READERS, "elsewhere").values if page.cursor else ("",)
    found = await query.fetch_page(cursor or "", page.limit)

    def neighbour(cursor: str | None) -> Page | None:
        return None if cursor is None else _set_cursor(page, cursors, cursor, "elsewhere")

    return PageResult(found.records, next=neighbour(found.next), previous=neighbour(found.previous))


async def _fetch_keyset(
    page: Page, query: PageableQuery, places: _Places, cursors: QueryCursors, check: _Check
) -> PageResult:
    in_order, fields = repr(tuple(places)), tuple(order.field for order in places)
    check(fields, dict)  # even if there are no records
    readers = [value_codecs.decoder_for(kind) for kind in places.values()]
    place = cursors.decode(page.cursor, readers, in_order) if page.cursor else CursorPosition(())
    at = {order.field: value for order, value in zip(places, place.values, strict=False)} or None
    if place.backward:
        records = [record async for record in query.slice(page.limit + 1, before=at)]
        data, has_next, has_previous = records[-page.limit :], True, len(records) > page.limit
    else:
        records = [record async for record in query.slice(page.limit + 1, after=at)]
        data, has_next, has_previous = records[: page.limit], len(records) > page.limit, at is not None
    if data:
        check(fields, type(data[0]))

    def neighbour(record: t.Any, *, backward: bool) -> Page:
        position = tuple(field(as_mapping(record), order.field) for order in places)
        return dataclasses.replace(page, cursor=cursors.encode(CursorPosition(position, backward), in_order))

    return PageResult(
        data,
        next=neighbour(data[-1], backward=False) if data and has_next else None,
        previous=neighbour(data[0], backward=True) if data and has_previous else None,
    )


def _build_result(style: Style, page: Page, found: list[t.Any], count: int | None, cursors: QueryCursors) -> PageResult:
    """Return the slice of records read at an offset, one more than the page if there are more."""
    next = page.next_page() if len(found) > page.limit else None
    if style != "cursor":
        return PageResult(found[: page.limit], count, next)
    before = page.previous_page() if page.offset else None
    neighbours = (each and _set_cursor(each, cursors, each.offset) for each in (next, before))
    return PageResult(found[: page.limit], count, *neighbours)


def _decode_offset(page: Page, cursors: QueryCursors) -> Page:
    """Return a page with the offset in its cursor, for a source without keyset pages."""
    if not page.cursor:
        return page
    (offset,) = cursors.decode(page.cursor, _OFFSET_READERS).values
    return dataclasses.replace(page, offset=offset)


def _set_cursor(page: Page, cursors: QueryCursors, value: int | str, order: str = "") -> Page:
    return dataclasses.replace(page, cursor=cursors.encode(CursorPosition((value,)), order))
