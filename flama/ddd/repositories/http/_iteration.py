"""Iteration over the records of a remote collection while they arrive."""

import asyncio
import collections.abc
import dataclasses
import typing as t

from flama._shielding import wait_uncancelled
from flama._timeouts import timeout
from flama.ddd.repositories._deferred import DeferredQuery, RecordIterator
from flama.ddd.repositories.http._manager import HTTPResourceManager
from flama.exceptions import InvalidResponseError, ResourceException
from flama.query import CursorPage, Order, parse_order
from flama.rest import ndjson
from flama.rest.operations import Envelope
from flama.rest.paging import PageIterator

__all__ = ["ArrivingRecords", "RemoteQuery", "iter_pages", "iter_stream", "reverse"]

R = t.TypeVar("R")
_Pairs: t.TypeAlias = list[tuple[str, str]]
_Read: t.TypeAlias = collections.abc.Callable[[list[dict[str, t.Any]]], list[R]]

_BATCH: t.Final = 100  # the most lines of a stream that are decoded at a time


@dataclasses.dataclass(frozen=True)
class RemoteQuery(DeferredQuery):
    """A query of a remote repository; the service alone determines the positions of records.

    ``fetch_at_cursor`` fetches the records at one of the service's cursors, if it supports cursors.
    """

    fetch_at_cursor: collections.abc.Callable[[str, int], collections.abc.Awaitable[CursorPage]] | None = None

    @property
    def keyset_columns(self) -> None:
        """Always None: the service determines the positions."""
        return None

    @property
    def orders(self) -> tuple[Order, ...]:
        """The order that is requested from the service."""
        return parse_order(self.select.order_by, self.select.order_direction)

    @property
    def has_cursors(self) -> bool:
        """Whether pages can be requested by cursor: not if the query has a limit or an offset itself."""
        return self.fetch_at_cursor is not None and not self.select.is_slice

    async def fetch_page(self, cursor: str, limit: int) -> CursorPage:
        """Return at most ``limit`` of the records from a cursor on."""
        return t.cast(CursorPage, await t.cast(t.Any, self.fetch_at_cursor)(cursor, limit))


class ArrivingRecords(RecordIterator[R]):
    """An iterator over arriving records, with the query that selects them."""

    def __init__(self, arriving: collections.abc.AsyncGenerator[R], query: RemoteQuery | None) -> None:
        self._arriving = arriving
        self._query = query

    @property
    def query(self) -> RemoteQuery | None:
        """The query, to be paginated; None if it has ``after`` or ``before``."""
        return self._query

    def __aiter__(self) -> collections.abc.AsyncGenerator[R]:
        """Return the underlying generator, which takes one step less for each record than this iterator."""
        return self._arriving

    def __anext__(self) -> collections.abc.Awaitable[R]:
        """Return the next record."""
        return anext(self._arriving)

    async def aclose(self) -> None:
        """Stop the iteration and release its resources."""
        await self._arriving.aclose()


async def reverse(arriving: collections.abc.AsyncGenerator[R]) -> collections.abc.AsyncGenerator[R]:
    """Yield records in the reverse order of their arrival, once all have arrived."""
    for record in reversed([record async for record in arriving]):
        yield record


async def iter_pages(
    manager: HTTPResourceManager, pages: PageIterator, query: _Pairs, read: _Read[R], limit: int | None
) -> collections.abc.AsyncGenerator[R]:
    """Yield the records of a query's pages, up to ``limit``.

    The next page is requested when half of the current one is consumed, so the service prepares it meanwhile.
    """
    ahead: asyncio.Task[Envelope] | None = None
    client, left = manager.client, limit
    try:
        while not pages.is_done and left != 0:
            page = await (_page(manager, pages, query) if ahead is None else ahead)
            ahead = None
            records = read(pages.accept(page))[:left]
            left = None if left is None else left - len(records)
            for record in records[: len(records) // 2]:
                if client.ended:
                    manager.check_open()
                yield record
            if left != 0 and not pages.is_done:
                ahead = asyncio.create_task(_page(manager, pages, query))
            for record in records[len(records) // 2 :]:
                if client.ended:
                    manager.check_open()
                yield record
    finally:
        if ahead is not None:
            await _cancel_prefetch(ahead)


async def iter_stream(manager: HTTPResourceManager, query: _Pairs, read: _Read[R]) -> collections.abc.AsyncGenerator[R]:
    """Yield the records of a stream, which is read as fast as they are consumed.

    The deadline of a call applies to each record, however slowly its bytes arrive.

    :raises InvalidResponseError: the service doesn't stream, or the stream ends within a record.
    :raises UnavailableError: the next record doesn't arrive in time.
    """
    reader = ndjson.LineReader()
    async with manager.stream("list", query, ndjson.MEDIA_TYPE) as chunks:
        while (lines := await _next_lines(manager, reader, chunks)) is not None:
            for record in _records(manager, lines, read):
                yield record
    for record in _records(manager, reader.end(), read):  # at the end of the response, a line may lack its line feed
        yield record


async def _next_lines(
    manager: HTTPResourceManager, reader: ndjson.LineReader, chunks: collections.abc.AsyncIterator[bytes]
) -> list[bytes] | None:
    """Return the next lines that arrive, at least one; None at the end of the stream."""
    with timeout(manager.client.policy.deadline):
        async for chunk in chunks:
            lines = reader.read(chunk)
            manager.check_size(reader.size)
            if lines:
                return lines
    return None


def _page(
    manager: HTTPResourceManager, pages: PageIterator, query: _Pairs
) -> collections.abc.Coroutine[t.Any, t.Any, Envelope]:
    return manager.call("list", query=[*query, *pages.next_parameters().items()])


async def _cancel_prefetch(ahead: asyncio.Task[Envelope]) -> None:
    ahead.cancel()
    await wait_uncancelled({ahead})
    if not ahead.cancelled():
        ahead.exception()  # retrieved, or asyncio logs it as unhandled


def _records(manager: HTTPResourceManager, lines: list[bytes], read: _Read[R]) -> collections.abc.Iterator[R]:
    """Yield the records of lines while the unit of work is open.

    :raises ResourceException: a line is the error that ended the stream.
    """
    for start in range(0, len(lines), _BATCH):
        for record in _batch(manager.name, lines[start : start + _BATCH], read):
            manager.check_open()
            if isinstance(record, ResourceException):
                raise record
            yield record


def _batch(resource: str, lines: list[bytes], read: _Read[R]) -> collections.abc.Iterator[R | ResourceException]:
    try:
        decoded = [ndjson.decode(line, resource=resource) for line in lines]
    except ValueError as error:
        raise InvalidResponseError(resource=resource, detail=str(error)) from error
    records = [each for each in decoded if not isinstance(each, ResourceException)]
    yield from read(records)
    yield from (each for each in decoded if isinstance(each, ResourceException))
