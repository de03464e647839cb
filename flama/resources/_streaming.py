"""Streams of a resource's records, which hold no transaction while a client takes its time, where that can be."""

import collections.abc
import contextlib
import math
import typing as t

from flama import exceptions
from flama.query import Condition, Order
from flama.resources.asked import Asked
from flama.rest import streams
from flama.rest.pages import Page

__all__ = ["lines"]

_Conditions: t.TypeAlias = tuple[Condition, ...]
_Orders: t.TypeAlias = tuple[Order, ...]
_Pieces: t.TypeAlias = collections.abc.AsyncGenerator[bytes]

_LINES: t.Final = 100  # in one message, or in the first batch: the first byte is soon there
_BATCH: t.Final = 2_000  # records in a batch at most
_BATCH_SIZE: t.Final = 2**18  # bytes that a batch aims at: that is what a reader who sleeps has of the memory


async def lines(asked: Asked, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Pieces:
    """Yield the lines of the records, many in a piece; an error after the first piece is the last line."""
    is_sent = False
    try:
        async with contextlib.aclosing(_reader(asked, orders)(asked, conditions, orders, page)) as pieces:
            async for piece in pieces:
                yield piece
                is_sent = True
    except exceptions.ResourceException as error:
        if not is_sent:
            raise
        yield streams.encode(error)


def _reader(asked: Asked, orders: _Orders) -> collections.abc.Callable[..., _Pieces]:
    resource, backend = asked.resource, asked.backend
    mode = "unit" if backend is None else backend.stream_mode
    if mode == "batches":
        fields = [order.field for order in orders]
        served = tuple(fields[: fields.index(resource._id.name)] if resource._id.name in fields else fields)
        return _in_batches if served in resource._keysets else _in_one_unit
    return _whole if mode == "whole" else _in_one_unit


async def _in_batches(asked: Asked, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Pieces:
    """Read a batch after the other, each in a unit of its own that has ended when the client gets it."""
    encode = asked.resource._output.one
    left, offset = (math.inf, 0) if page is None else (page.limit, page.offset)
    size, last = _LINES, None
    while left > 0:
        size = int(min(size, left))
        async with asked.stream_unit() as found:
            batch = found.list(conditions, orders).sliced(size, offset, after=last)
            records = [record async for record in batch]
        if not records:
            return
        piece = b"".join([streams.encode(record, encode) for record in records])
        number, last, offset = len(records), records[-1], 0
        del records  # while the client takes them
        yield piece
        if number < size:
            return
        left -= number
        size = max(1, min(_BATCH, _BATCH_SIZE * number // len(piece)))


async def _in_one_unit(asked: Asked, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Pieces:
    """Read while the client takes what was read, within a unit that has a connection meanwhile."""
    encode, ready, is_sent = asked.resource._output.one, list[bytes](), False
    try:
        async with asked.stream_unit() as found:
            async for record in found.every(conditions, orders, page):
                ready.append(streams.encode(record, encode))
                if len(ready) == _LINES:
                    yield b"".join(ready)
                    is_sent = True
                    ready.clear()
    except exceptions.ResourceException:
        if is_sent and ready:
            yield b"".join(ready)
        raise
    if ready:
        yield b"".join(ready)


async def _whole(asked: Asked, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Pieces:
    """Read all there is, which is in memory anyway, and end the unit before the client gets any of it."""
    encode = asked.resource._output.one
    async with asked.stream_unit() as found:
        records = [record async for record in found.every(conditions, orders, page)]
    for start in range(0, len(records), _LINES):
        yield b"".join([streams.encode(record, encode) for record in records[start : start + _LINES]])
