"""NDJSON streams of a resource's records, in batches where the backend allows."""

import collections.abc
import contextlib
import math
import typing as t

from flama import exceptions
from flama.query import Condition, Order
from flama.resources._request import ResourceRequest
from flama.rest import ndjson
from flama.rest.paging import Page

__all__ = ["lines"]

_Conditions: t.TypeAlias = tuple[Condition, ...]
_Orders: t.TypeAlias = tuple[Order, ...]
_Pieces: t.TypeAlias = collections.abc.AsyncGenerator[bytes]

_LINES: t.Final = 100  # in one message, or in the first batch: small, so that the first byte is sent soon
_BATCH: t.Final = 2_000  # records in a batch at most
_BATCH_SIZE: t.Final = 2**18  # bytes that a batch aims at: the memory that a stalled client takes


async def lines(request: ResourceRequest, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Pieces:
    """Yield the lines of the records in pieces; an error after the first piece becomes the last line."""
    is_sent = False
    try:
        async with contextlib.aclosing(_reader(request, orders)(request, conditions, orders, page)) as pieces:
            async for piece in pieces:
                yield piece
                is_sent = True
    except exceptions.ResourceException as error:
        if not is_sent:
            raise
        yield ndjson.encode(error)


def _reader(request: ResourceRequest, orders: _Orders) -> collections.abc.Callable[..., _Pieces]:
    spec, backend = request.spec, request.backend
    mode = "unit" if backend is None else backend.stream_mode
    if mode == "batches":
        fields = [order.field for order in orders]
        served = tuple(fields[: fields.index(spec.key)] if spec.key in fields else fields)
        return _stream_batches if served in spec.batch_orders else _stream_one_unit
    return _stream_all if mode == "whole" else _stream_one_unit


async def _stream_batches(
    request: ResourceRequest, conditions: _Conditions, orders: _Orders, page: Page | None
) -> _Pieces:
    """Read batch by batch, each in a unit of work that ends before the client gets it.

    No transaction is open while a slow client reads.
    """
    encode = request.spec.output.one
    left, offset = (math.inf, 0) if page is None else (page.limit, page.offset)
    size, last = _LINES, None
    while left > 0:
        size = int(min(size, left))
        async with request.stream_unit() as found:
            batch = found.list(conditions, orders).slice(size, offset, after=last)
            records = [record async for record in batch]
        if not records:
            return
        piece = b"".join([ndjson.encode(record, encode) for record in records])
        number, last, offset = len(records), records[-1], 0
        del records  # frees them while the client reads
        yield piece
        if number < size:
            return
        left -= number
        size = max(1, min(_BATCH, _BATCH_SIZE * number // len(piece)))


async def _stream_one_unit(
    request: ResourceRequest, conditions: _Conditions, orders: _Orders, page: Page | None
) -> _Pieces:
    """Read while the client reads, in one unit of work that holds a connection meanwhile."""
    encode, ready, is_sent = request.spec.output.one, list[bytes](), False
    try:
        async with request.stream_unit() as found:
            async for record in found.stream(conditions, orders, page):
                ready.append(ndjson.encode(record, encode))
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


async def _stream_all(request: ResourceRequest, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Pieces:
    """Read all records, which are in memory anyway, and end the unit of work before the client gets any."""
    encode = request.spec.output.one
    async with request.stream_unit() as found:
        records = [record async for record in found.stream(conditions, orders, page)]
    for start in range(0, len(records), _LINES):
        yield b"".join([ndjson.encode(record, encode) for record in records[start : start + _LINES]])
