"""The records of a remote collection, while they arrive."""

import asyncio
import collections.abc
import dataclasses
import typing as t

from flama.ddd.repositories.listing import Listing
from flama.ddd.repositories.resources import HTTPResourceManager
from flama.exceptions import InvalidResponseError, ResourceException
from flama.limits import limited
from flama.query import Order, Stretch, orders
from flama.rest import streams
from flama.rest.operations import Envelope
from flama.rest.pages import Walk
from flama.tasks import outlast

__all__ = ["Records", "RemoteListing", "backwards", "paged", "streamed"]

R = t.TypeVar("R")
_Pairs: t.TypeAlias = list[tuple[str, str]]
_Read: t.TypeAlias = collections.abc.Callable[[list[dict[str, t.Any]]], list[R]]

_BATCH: t.Final = 100  # lines of a stream that are made records at a time, at most


@dataclasses.dataclass(frozen=True)
class RemoteListing(Listing):
    """The records that a remote repository's ``list`` was asked for: their places are the service's own affair.

    ``turned`` gives what is at one of its cursors, where it has any.
    """

    turned: collections.abc.Callable[[str, int], collections.abc.Awaitable[Stretch]] | None = None

    @property
    def places(self) -> None:
        """None."""
        return None

    @property
    def orders(self) -> tuple[Order, ...]:
        """The order that the service is asked for."""
        return orders(self.options["order_by"], self.options["order_direction"])

    @property
    def has_cursors(self) -> bool:
        """Whether it can be asked for what is at a cursor: when its records are no slice themselves."""
        return self.turned is not None and self.options["limit"] is None and not self.options["offset"]

    async def at(self, cursor: str, limit: int) -> Stretch:
        """Give so many of the records from a cursor on."""
        return t.cast(Stretch, await t.cast(t.Any, self.turned)(cursor, limit))


class Records(collections.abc.AsyncIterator[R]):
    """Records that arrive, with what they were asked for by."""

    def __init__(self, arriving: collections.abc.AsyncGenerator[R], listing: RemoteListing | None) -> None:
        self._arriving = arriving
        self.query = listing  # to take a page of; None when that can't be said by numbers

    def __aiter__(self) -> collections.abc.AsyncGenerator[R]:
        """Give what iterates over them: itself does so too, with one step more for each."""
        return self._arriving

    def __anext__(self) -> collections.abc.Awaitable[R]:
        """Give the next record."""
        return anext(self._arriving)

    async def aclose(self) -> None:
        """Leave the rest, and what it would take."""
        await self._arriving.aclose()


async def backwards(arriving: collections.abc.AsyncGenerator[R]) -> collections.abc.AsyncGenerator[R]:
    """Give records in the reverse order of their arrival."""
    for record in reversed([record async for record in arriving]):
        yield record


async def paged(
    manager: HTTPResourceManager, walk: Walk, query: _Pairs, read: _Read[R], limit: int | None
) -> collections.abc.AsyncGenerator[R]:
    """Give the records of the pages that a query asks for, up to ``limit``.

    A page is asked for when half of the one before it is used: the service looks for it meanwhile.
    """
    ahead: asyncio.Task[Envelope] | None = None
    client, left = manager.client, limit
    try:
        while not walk.ended and left != 0:
            answer = await (_page(manager, walk, query) if ahead is None else ahead)
            ahead = None
            records = read(walk.take(answer))[:left]
            left = None if left is None else left - len(records)
            for record in records[: len(records) // 2]:
                if client.ended:
                    manager.check_open()
                yield record
            if left != 0 and not walk.ended:
                ahead = asyncio.create_task(_page(manager, walk, query))
            for record in records[len(records) // 2 :]:
                if client.ended:
                    manager.check_open()
                yield record
    finally:
        if ahead is not None:
            await _given_up(ahead)


async def streamed(manager: HTTPResourceManager, query: _Pairs, read: _Read[R]) -> collections.abc.AsyncGenerator[R]:
    """Yield the records of a stream, which is read as fast as they are wanted.

    Each is waited for as long as a call may take, however slowly its bytes arrive.

    :raises InvalidResponseError: the service doesn't stream, or ends amid a record.
    :raises UnavailableError: the next record doesn't arrive in time.
    """
    reader = streams.LineReader()
    async with manager.stream("list", query, streams.MEDIA_TYPE) as chunks:
        while (lines := await _next_lines(manager, reader, chunks)) is not None:
            for record in _records(manager, lines, read):
                yield record
    for record in _records(manager, reader.end(), read):  # the response is whole: so is a line without a line feed
        yield record


async def _next_lines(
    manager: HTTPResourceManager, reader: streams.LineReader, chunks: collections.abc.AsyncIterator[bytes]
) -> list[bytes] | None:
    """Return the lines that arrive next, one at least; None at the end of the stream."""
    with limited(manager.client.policy.deadline):
        async for chunk in chunks:
            lines = reader.read(chunk)
            manager.check_size(reader.size)
            if lines:
                return lines
    return None


def _page(manager: HTTPResourceManager, walk: Walk, query: _Pairs) -> collections.abc.Coroutine[t.Any, t.Any, Envelope]:
    return manager.call("list", query=[*query, *walk.parameters().items()])


async def _given_up(ahead: asyncio.Task[Envelope]) -> None:
    ahead.cancel()
    await outlast({ahead})
    if not ahead.cancelled():
        ahead.exception()  # nobody asks for it any more


def _records(manager: HTTPResourceManager, lines: list[bytes], read: _Read[R]) -> collections.abc.Iterator[R]:
    """Yield the records of lines, as long as the unit of work goes on.

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
        decoded = [streams.decode(line, resource=resource) for line in lines]
    except ValueError as error:
        raise InvalidResponseError(resource=resource, detail=str(error)) from error
    records = [each for each in decoded if not isinstance(each, ResourceException)]
    yield from read(records)
    yield from (each for each in decoded if isinstance(each, ResourceException))
