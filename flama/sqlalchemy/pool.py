"""A pool that nobody waits for in vain."""

import asyncio
import contextlib
import contextvars
import logging
import math
import sys
import time
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.util.concurrency import await_, greenlet_spawn

from flama.sqlalchemy.connecting import answers, made
from flama.sqlalchemy.holders import Holder, Noted, listed, noted
from flama.sqlalchemy.idle import Idle
from flama.sqlalchemy.lines import Line
from flama.sqlalchemy.listeners import are_heard
from flama.sqlalchemy.turns import Turns

__all__ = ["FairPool"]

_SELDOM: t.Final = 1.0  # seconds, at least, between one line in the log and the next that tells the same
_LINE: t.Final = "flama.line"

_logger = logging.getLogger("flama.sqlalchemy")
_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)


class FairPool(sa.AsyncAdaptedQueuePool):
    """A pool that serves in the order of asking, each within the pool's time limit.

    SQLAlchemy's own lets one who comes by take what a waiter was woken for, and leaves waiters waiting when a
    connection that was being made fails, though there is room for another. Here one waits for one's turn first: who
    has it finds a connection, or room to make one. A connection that is being made is made to the end, within the
    time limit, and closed if whoever asked for it was cancelled meanwhile.

    A connection that the server has hung up on is replaced by a new one before anybody is given it. The server is
    asked only where a connection was idle for more than ``ping_after`` seconds, as what stands in between may have
    forgotten it without a word.
    """

    ping_after: t.ClassVar[float] = 30.0

    _queue_class = Idle

    def __init__(
        self,
        creator: t.Any,
        pool_size: int = 5,
        max_overflow: int = 10,
        timeout: float = 30.0,
        **options: t.Any,
    ) -> None:
        super().__init__(creator, pool_size, max_overflow, timeout, **options)
        self._idle = t.cast(Idle, self._pool)
        self._create = self._invoke_creator
        self._invoke_creator = self._made
        limited = pool_size > 0 and max_overflow >= 0
        self._turns = Turns(pool_size + max_overflow if limited else math.inf, timeout)
        self._since: float | None = None  # when who has the turn, and takes a connection next, began to wait for it
        self._chosen: sa.pool.ConnectionPoolEntry | None = None  # which that is, if it is known
        self._held: dict[sa.pool.ConnectionPoolEntry, Noted] = {}  # by whom
        self._loop: asyncio.AbstractEventLoop  # in which its connections are made
        self._given_back: asyncio.Event | None = None  # while somebody waits until all are
        self._told = -_SELDOM  # when it was last told that all are in use
        self._closed = False

    @property
    def holders(self) -> list[Holder]:
        """Who holds a connection now, the one who took it first coming first."""
        return [Holder(*noted) for noted in self._held.values()]

    async def turn(self) -> None:
        """Wait for one's turn. A connection has to be taken right then, before anything else is waited for.

        :raises TimeoutError: it didn't come in time.
        """
        since = time.monotonic()
        if not self._turns.take():
            await self._waited()
        self._since = since

    def taken(self, engine: sa.Engine) -> sa.Connection | None:
        """Give a connection to who has the turn, if one is to be had without waiting."""
        idle, now = self._idle, time.monotonic()
        if self._pre_ping or are_heard(self.dispatch.checkout) or not (idle.qsize() and self._is_good(idle.next, now)):
            return None
        if (proxy := idle.wake()) is None:
            self._chosen = idle.get()
            return engine.connect()
        self._since = None
        self._held[proxy._connection_record] = noted(now)
        return sa.Connection(engine, proxy)

    def close_at_once(self, connection: sa.Connection) -> bool:
        """Close a connection that needs nothing, if there is nothing to wait for; tell whether that was done."""
        proxy: t.Any = connection._dbapi_connection
        record = proxy._connection_record
        if record is None or self._idle.is_full or are_heard(self.dispatch.checkin, self.dispatch.reset):
            return False
        if record.finalize_callback or (line := _line(record)) is None:
            connection.close()
            return True
        if (begun := connection._transaction) is not None:
            begun.is_active, connection._transaction = False, None  # there is nothing to be undone
        connection._dbapi_connection = None
        connection.close()  # which has nothing to give back
        self._held.pop(record, None)
        line.idle_since = time.monotonic()
        self._idle.rest(proxy)
        self._tell_of_return()
        return True

    def end_turn(self) -> None:
        """Give the turn back if no connection was taken."""
        if self._since is None:
            return
        self._since = None
        chosen, self._chosen = self._chosen, None
        if chosen is None:
            self._turns.give_back()
        else:
            self._take_back(chosen)

    async def all_returned(self) -> None:
        """Wait until nobody holds a connection, or waits for one."""
        self._given_back = asyncio.Event()
        try:
            while self._held or self._turns.are_wanted:
                await self._given_back.wait()
                self._given_back.clear()
        finally:
            self._given_back = None

    def hang_up(self) -> None:
        """End the connections that somebody holds: who waits for the server has an error."""
        for record in self._held:
            if line := _line(record):
                line.hang_up()

    async def close(self) -> None:
        """Close all connections, without waiting for the server where somebody holds one, and give no more."""
        self._closed = True
        self._turns.let_all_pass()
        idle = [self._idle.get() for _ in range(self.checkedin())]
        leaving = [greenlet_spawn(record.invalidate) for record in idle]
        await asyncio.gather(*leaving, *(greenlet_spawn(_abandon, record) for record in self._held))

    def _do_get(self) -> sa.pool.ConnectionPoolEntry:
        since, self._since = self._since, None
        record, self._chosen = self._chosen, None
        if record is None:
            record = (self._at_once() if since is None else None) or await_(self._in_time(since))
        self._held[record] = noted(time.monotonic())
        return record

    def _at_once(self) -> sa.pool.ConnectionPoolEntry | None:
        """Give a connection, and the turn, if there is nothing to wait for."""
        record = self._good(time.monotonic()) if self._turns.are_free else None
        if record is not None:
            self._turns.take()
        return record

    def _good(self, now: float) -> sa.pool.ConnectionPoolEntry | None:
        """Give the next idle connection, for which one has the turn, unless it has to be looked after first."""
        idle = self._idle
        return idle.get() if idle.qsize() and self._is_good(idle.next, now) else None

    def _is_good(self, record: t.Any, now: float) -> bool:
        if record._is_hard_or_soft_invalidated():
            return False
        if self._recycle > -1 and time.time() - record.starttime > self._recycle:
            return False
        line: Line | None = record.info.get(_LINE)
        return line is not None and now - line.idle_since <= self.ping_after and not line.is_lost(now)

    async def _in_time(self, since: float | None) -> sa.pool.ConnectionPoolEntry:
        """Give a connection to who has the turn, or waits for it first."""
        self._loop = asyncio.get_running_loop()
        if since is None:
            since = time.monotonic()
            await self._waited()
        now = time.monotonic()
        if record := self._good(now):  # mostly it is one that was given back just now
            return record
        until = self._timeout + since
        deadline = _deadline.set(until)
        try:
            async with asyncio.timeout(until - now):
                return await self._mended(await self._taken_or_made())
        except TimeoutError as error:
            raise TimeoutError(f"The server gave no connection within {self._timeout} s") from error
        finally:
            _deadline.reset(deadline)

    async def _waited(self) -> None:
        try:
            await self._turns.wait()
        except TimeoutError as error:
            raise self._exhausted() from error

    async def _taken_or_made(self) -> sa.pool.ConnectionPoolEntry:
        try:
            self._refuse_if_closed()
            return await greenlet_spawn(super()._do_get)
        except BaseException:
            self._turns.give_back()
            raise

    async def _mended(self, record: t.Any) -> sa.pool.ConnectionPoolEntry:
        """Give a connection that isn't stale: this one, or a new one in its place."""
        try:
            if record.dbapi_connection is not None and await self._is_lost(record):
                await greenlet_spawn(_abandon, record)
            await greenlet_spawn(record.get_connection)
            self._refuse_if_closed()
            if _line(record) is None:
                dialect: t.Any = self._dialect
                record.info[_LINE] = Line(dialect.driver, record.driver_connection, time.monotonic())
        except BaseException:
            try:
                await greenlet_spawn(_abandon, record)
            finally:
                self._do_return_conn(record)
            raise
        return t.cast(sa.pool.ConnectionPoolEntry, record)

    async def _is_lost(self, record: t.Any) -> bool:
        line, now = _line(record), time.monotonic()
        if self._invalidate_time > record.starttime or (line is not None and line.is_lost(now)):
            return True
        if line is None or now - line.idle_since <= self.ping_after:
            return False
        if await answers(self._dialect, record.dbapi_connection, line):
            return False
        self._invalidate_time = time.time()  # what has happened to this one has happened to others
        return True

    def _do_return_conn(self, record: t.Any) -> None:
        holder, line = self._held.pop(record, None), _line(record)
        if record.dbapi_connection is not None:
            if line is not None:
                line.idle_since = time.monotonic()
            self._take_back(record)
            return
        record.info.pop(_LINE, None)  # it was closed, detached, or left to the garbage collector
        if holder is not None and _is_collected():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._reclaim, record, holder, line)
        else:
            self._take_back(record)

    def _take_back(self, record: sa.pool.ConnectionPoolEntry) -> None:
        try:
            super()._do_return_conn(record)
        finally:
            self._tell_of_return()

    def _tell_of_return(self) -> None:
        self._turns.give_back()
        if self._given_back is not None:
            self._given_back.set()

    def _reclaim(self, record: sa.pool.ConnectionPoolEntry, holder: Noted, line: Line | None) -> None:
        _logger.warning("A connection was never given back, and is closed: %s", Holder(*holder))
        if line is not None:
            line.finish()
        self._take_back(record)

    def _exhausted(self) -> exc.TimeoutError:
        """Give the error for having waited in vain: its first line says how many there are, the others who has them."""
        number = self.size() + self._max_overflow
        summary = f"each of the pool's {number} connections was in use for {self._timeout} s"
        message, now = "\n  ".join([summary, *listed(self.holders)]), time.monotonic()
        if now - self._told >= _SELDOM:
            self._told = now
            _logger.warning("No connection was to be had: %s", message)
        return exc.TimeoutError(message)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ConnectionError("The connections were closed for good")

    def _made(self, rec: t.Any) -> t.Any:
        deadline = _deadline.get()
        limit = self._timeout if deadline is None else max(0.0, deadline - time.monotonic())
        return await_(made(lambda: self._create(rec), limit))


def _is_collected() -> bool:
    """Tell whether the garbage collector has a connection returned: in any thread, at any step of any code."""
    # Pool._do_return_conn() < detach() < _finalize_fairy(): SQLAlchemy tells it in no other way that costs nothing
    return sys._getframe(3).f_code.co_name == "_finalize_fairy"


def _line(record: t.Any) -> Line | None:
    line: Line | None = record.info.get(_LINE)
    return line


def _abandon(record: t.Any) -> None:
    """Close a connection without waiting for the server; within a greenlet."""
    if line := _line(record):
        line.finish()
    record.invalidate()  # which finds nothing to wait for
