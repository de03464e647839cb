"""A pool that nobody waits for in vain."""

import asyncio
import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.util.concurrency import await_, greenlet_spawn

__all__ = ["FairPool"]

_discards: set[asyncio.Task[t.Any]] = set()  # the loop itself holds tasks by weak references only


class FairPool(sa.AsyncAdaptedQueuePool):
    """A pool that serves in the order of asking, each within the pool's time limit.

    SQLAlchemy's own lets one who comes by take what a waiter was woken for, and leaves waiters waiting when a
    connection that was being made fails, though there is room for another. Here one waits for one's turn first: who
    has it finds a connection, or room to make one. A connection that is being made is made to the end, within the
    time limit, and closed if whoever asked for it was cancelled meanwhile: drivers that are cancelled half-way leave
    sockets and failed futures behind.
    """

    def __init__(
        self,
        creator: t.Any,
        pool_size: int = 5,
        max_overflow: int = 10,
        timeout: float = 30.0,
        **options: t.Any,
    ) -> None:
        whole = creator if isinstance(creator, _Whole) else _Whole(creator, timeout)
        super().__init__(whole, pool_size, max_overflow, timeout, **options)
        limited = pool_size > 0 and max_overflow >= 0
        self._turns = asyncio.Semaphore(pool_size + max_overflow) if limited else None

    def _do_get(self) -> sa.pool.ConnectionPoolEntry:
        if self._turns is not None:
            await_(self._turn(self._turns))
        try:
            return super()._do_get()
        except BaseException:
            self._release()
            raise

    def _do_return_conn(self, record: sa.pool.ConnectionPoolEntry) -> None:
        try:
            super()._do_return_conn(record)
        finally:
            self._release()

    def _release(self) -> None:
        if self._turns is not None:
            self._turns.release()

    async def _turn(self, turns: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await turns.acquire()
        except TimeoutError as error:
            message = (
                f"Each of the pool's {self.size() + self._max_overflow} connections was in use for {self._timeout} s"
            )
            raise exc.TimeoutError(message) from error


class _Whole:
    def __init__(self, creator: collections.abc.Callable[..., t.Any], limit: float) -> None:
        self.creator = creator
        self.limit = limit

    def __call__(self) -> t.Any:
        return await_(self._made())

    async def _made(self) -> t.Any:
        making = asyncio.create_task(asyncio.wait_for(greenlet_spawn(self.creator), self.limit))
        cancelled: asyncio.CancelledError | None = None
        while not making.done():
            try:
                await asyncio.wait((making,))
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is None:
            return making.result()
        if making.exception() is None:
            discard = asyncio.create_task(greenlet_spawn(making.result().close))
            _discards.add(discard)
            discard.add_done_callback(_discards.discard)
        raise cancelled
