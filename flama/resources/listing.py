"""Lists of a resource's records: in pages, or as a stream."""

import collections.abc
import typing as t

from flama import http, pagination
from flama.query import Order
from flama.resources import _streaming
from flama.resources.asked import Asked
from flama.rest import accept, cursors, orders, pages, streams

__all__ = ["records"]

_Pairs: t.TypeAlias = list[tuple[str, str]]


async def records(asked: Asked) -> http.Response:
    """Return a page of the records, or a stream of all where the request prefers that."""
    resource, query = asked.resource, asked.query
    conditions, order = asked.conditions(), _order(asked, query)
    style = pages.asked(dict(query))
    page, bound = pagination.requested(style, asked.scope, query, resource.max_page_size, caller_scope=asked.scope_key)
    if accept.is_preferred(asked.header("accept"), streams.MEDIA_TYPE):
        return await _streamed(_streaming.lines(asked, conditions, order, page if _is_paged(query) else None))
    async with asked.unit() as found:
        try:
            part = await pagination.of_query(style, page, found.list(conditions, order), bound)
        except cursors.InvalidCursorError as error:
            raise pagination.refused(error) from error
    return pagination.answer(style, page, part, query, resource._output.many)


def _order(asked: Asked, query: _Pairs) -> tuple[Order, ...]:
    try:
        return orders.decode(query, asked.resource._ordering, resource=asked.resource._called) or asked.resource._order
    except ValueError as error:
        raise pagination.refused(error) from error


def _is_paged(query: _Pairs) -> bool:
    return any(name in pages.SCHEMAS for name, _ in query)


async def _streamed(lines: collections.abc.AsyncGenerator[bytes]) -> http.Response:
    """Give the answer that brings lines while they are read; an error before the first is answered as one."""
    return http.StreamingResponse(_Lines(await anext(lines, b""), lines), media_type=streams.MEDIA_TYPE)


class _Lines(collections.abc.AsyncIterator[bytes]):
    """The lines of a stream of which the first is there."""

    def __init__(self, first: bytes, rest: collections.abc.AsyncGenerator[bytes]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        await self._rest.aclose()
