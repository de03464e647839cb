"""A limit on the connections of an engine that streams use at a time."""

import collections.abc
import contextlib
import math
import typing as t

from sqlalchemy.ext.asyncio import AsyncEngine

from flama import exceptions
from flama._semaphore import AcquireTimeout, FairSemaphore
from flama.sqlalchemy.pool._fair_pool import FairPool

__all__ = ["StreamSlots"]

_TIMEOUT: t.Final = 30.0  # seconds, where the pool has no limit of its own


class StreamSlots:
    """The slots for connections in use by streams, acquired in order, within the pool's time limit.

    The default is half of the pool's limit, and at least one. A pool without a limit has a slot for each stream.

    :raises ApplicationError: the number exceeds the pool's limit.
    """

    def __init__(self, engine: AsyncEngine, number: int | None = None) -> None:
        pool = engine.pool
        limit = pool.limit if isinstance(pool, FairPool) else math.inf
        if number is not None and number > limit:
            raise exceptions.ApplicationError(f"'stream_connections' is {number}: the pool has {limit} connections")
        half = limit if math.isinf(limit) else max(1, limit // 2)
        self.number = half if number is None else number
        self._timeout = float(pool.timeout()) if isinstance(pool, FairPool) else _TIMEOUT
        self._slots = FairSemaphore(self.number, self._timeout)

    @contextlib.asynccontextmanager
    async def slot(self) -> collections.abc.AsyncGenerator[None]:
        """Wait for a slot, and hold it until the context exits.

        :raises UnavailableError: other streams held all slots for the pool's whole time limit.
        """
        try:
            await self._slots.acquire()
        except AcquireTimeout as error:
            detail = f"each of the {self.number} connections for streams was in use for {self._timeout} s"
            raise exceptions.UnavailableError(resource="stream", detail=detail, retry_after=self._timeout) from error
        try:
            yield
        finally:
            self._slots.release()
