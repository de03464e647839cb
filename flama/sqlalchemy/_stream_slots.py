"""How many of an engine's connections streams may have at a time."""

import collections.abc
import contextlib
import math
import typing as t

from sqlalchemy.ext.asyncio import AsyncEngine

from flama import exceptions
from flama._semaphore import AcquireTimeout, FairSemaphore
from flama.sqlalchemy.pool import FairPool

__all__ = ["StreamSlots"]

_TIMEOUT: t.Final = 30.0  # seconds, where the pool has no limit of its own


class StreamSlots:
    """The connections that streams may have at a time, taken in the order of asking, within the pool's time limit.

    By default they are half of those that the pool may have, and at least one. A pool without a limit has one for each.

    :raises ApplicationError: it is to be more than the pool has.
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
        """Wait for a slot, and have it for as long as this is open.

        :raises UnavailableError: other streams had them all for as long as one waits for a connection.
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
