"""A pool that nobody waits for in vain."""

import asyncio
import collections.abc
import contextlib
import time
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.util.concurrency import await_, greenlet_spawn, in_greenlet

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

    @property
    def has_idle(self) -> bool:
        """Whether a connection is there to be had without waiting, unless it is stale: that is an error then."""
        if self._pre_ping or self.dispatch.checkout or self.checkedin() <= 0:
            return False
        return self._turns is None or not self._turns.locked()

    @property
    def has_room(self) -> bool:
        """Whether a connection that is given back is kept, so that there is nothing to wait for."""
        return self.checkedin() < self.size() and not (self.dispatch.checkin or self.dispatch.reset)

    def _do_get(self) -> sa.pool.ConnectionPoolEntry:
        if self._turns is not None and not _taken(self._turns):
            await_(self._turn(self._turns))
        try:
            record = super()._do_get()
        except BaseException:
            self._release()
            raise
        if not in_greenlet() and self._is_stale(record):
            self._do_return_conn(record)
            raise exc.MissingGreenlet("A connection has to be made")
        return record

    def _is_stale(self, record: t.Any) -> bool:
        made: float = record.starttime
        if record.dbapi_connection is None or max(self._invalidate_time, record._soft_invalidate_time) > made:
            return True
        return self._recycle > -1 and time.time() - made > self._recycle

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


def _taken(turns: asyncio.Semaphore) -> bool:
    """Take a turn if there is one to be had at once."""
    if turns.locked():
        return False
    with contextlib.suppress(StopIteration):  # it has nothing to wait for
        turns.acquire().send(None)
    return True


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
