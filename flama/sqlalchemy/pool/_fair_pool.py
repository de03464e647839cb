"""A connection pool that serves waiting tasks in order."""

import asyncio
import collections.abc
import contextlib
import contextvars
import functools
import logging
import math
import random
import time
import typing as t
import weakref

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.util.concurrency import await_, greenlet_spawn, in_greenlet

from flama._private import sqlalchemy as private
from flama._semaphore import AcquireTimeout, FairSemaphore
from flama.sqlalchemy._events import has_listeners
from flama.sqlalchemy.pool._call_site import find_call_site
from flama.sqlalchemy.pool._checkouts import Checkout, CheckoutRecord, format_checkouts, make_checkout
from flama.sqlalchemy.pool._connect import connect, ping
from flama.sqlalchemy.pool._expiry import Expiry
from flama.sqlalchemy.pool._growth import ConnectError, Growth
from flama.sqlalchemy.pool._idle_queue import IdleQueue
from flama.sqlalchemy.pool._socket import ConnectionSocket

__all__ = ["FairPool"]

_SELDOM: t.Final = 1.0  # seconds, at least, between two equal log messages
_JITTER: t.Final = 0.1  # the fraction by which a connection's maximum age may be reduced
_NOTICE: t.Final = 0.5  # seconds that a shutdown waits for connections that are being made
_LINE: t.Final = "flama.line"
_PROXY: t.Final = "flama.proxy"  # a weak reference, None until SQLAlchemy has made the proxy

_logger = logging.getLogger("flama.sqlalchemy")
_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)


class FairPool(sa.AsyncAdaptedQueuePool):
    """A pool that serves tasks in the order of their requests, each within the pool's time limit.

    SQLAlchemy's own pool lets a new task take the connection that a waiter was woken for. It leaves waiters waiting
    when a connection attempt fails, though there is room for another. It closes each connection beyond ``pool_size`` as
    soon as it is returned. In this pool a slot represents an idle connection: a task first waits for a slot, and then
    finds a connection.

    Up to ``pool_size`` connections are made when a task has to wait. ``max_overflow`` more are made when a task has
    waited for more than ``pool_grow_after`` seconds, as :class:`Growth` describes. Connections idle for
    ``pool_max_idle`` seconds are closed until ``pool_size`` are left. Each is replaced after ``recycle`` seconds, or up
    to a tenth earlier, so that connections made together don't end together. The most recently used is used next,
    unless ``use_lifo`` is False: few connections are busy, and the others can be closed.

    A connection that the server has closed is replaced before it is checked out. The server is pinged only when a
    connection was idle for more than ``ping_after`` seconds, as a device in between may have dropped it silently.
    """

    ping_after: t.ClassVar[float] = 30.0

    _queue_class = IdleQueue

    def __init__(  # noqa: PLR0917 - as SQLAlchemy's own
        self,
        creator: t.Any,
        pool_size: int = 5,
        max_overflow: int = 10,
        timeout: float = 30.0,
        use_lifo: bool = True,
        recycle: float = 3600,
        pool_max_idle: float = 30.0,
        pool_grow_after: float = 0.002,
        **options: t.Any,
    ) -> None:
        # recycle isn't passed to SQLAlchemy: it would replace connections at checkout, where waiting isn't possible
        super().__init__(creator, pool_size, max_overflow, timeout, use_lifo, **options)
        self._idle = t.cast(IdleQueue, self._pool)
        self._create = self._invoke_creator
        self._invoke_creator = self._create_within_limit
        limited = pool_size > 0 and max_overflow >= 0
        self._limit = pool_size + max_overflow if limited else math.inf
        self._slots = FairSemaphore(0, timeout)  # one for each idle connection not assigned to a waiter
        self.set_limits(pool_max_idle, pool_grow_after, recycle if recycle >= 0 else math.inf)
        self._since: float | None = None  # when the task that checks out next began to wait for its slot
        self._failure: BaseException | None = None  # why there is no connection for that task
        self._chosen: sa.pool.ConnectionPoolEntry | None = None  # the connection for that task, if known
        self._held: dict[sa.pool.ConnectionPoolEntry, CheckoutRecord] = {}  # in use
        self._loop: asyncio.AbstractEventLoop  # in which its connections are made
        self._returned: asyncio.Event | None = None  # set while a task waits for all to be returned
        self._last_logged_at = -_SELDOM  # when a full pool was last logged
        self._disposed = False  # whether the engine has another pool, though connections of this one may be in use
        self._closed = False

    @property
    def holders(self) -> list[Checkout]:
        """The connections in use, ordered by the time of checkout, oldest first."""
        return list(map(make_checkout, self._held.values()))

    async def acquire_slot(self) -> None:
        """Wait for a slot. A connection must be checked out for it immediately afterwards.

        :raises TimeoutError: none is released in time.
        """
        since = time.monotonic()
        try:
            await self._wait()
        except ConnectError as error:
            self._failure = error.__cause__  # which SQLAlchemy translates at checkout
        self._since = since

    def acquire_slot_nowait(self) -> bool:
        """Acquire a slot if one is available, and return whether it was."""
        if not self._slots.acquire_nowait():
            return False
        self._since = time.monotonic()
        return True

    def checkout_nowait(self, engine: sa.Engine) -> sa.Connection | None:
        """Return a connection for the acquired slot; None if it can't be checked out without waiting."""
        idle, now = self._idle, time.monotonic()
        if (
            self._failure is not None
            or self._pre_ping
            or has_listeners(self.dispatch.checkout)
            or (record := idle.next) is None
            or not self._is_fresh(record, now)
        ):
            return None
        if (proxy := idle.unpark(record)) is None:
            self._chosen = idle.get()
            return engine.connect()
        self._since = None
        self._note(record, now)
        return private.pooled_connection(engine, proxy)

    def checkin_nowait(self, connection: sa.Connection) -> bool:
        """Return a connection to the pool if that needs no waiting; return whether this was done."""
        proxy, record = private.checkout(connection)
        if record is None or has_listeners(self.dispatch.checkin, self.dispatch.reset):
            return False
        if (begun := connection.get_transaction()) is not None:
            begun.is_active = False  # there is nothing to undo
        if record.finalize_callback or (line := record.info.get(_LINE)) is None:
            connection.close()
            return True
        private.detach_proxy(connection)
        connection.close()  # it has no DBAPI connection to return
        self._held.pop(record, None)
        line.idle_since = time.monotonic()
        self._idle.park(record, proxy)
        self._notify_returned()
        return True

    def connect(self) -> sa.PoolProxiedConnection:
        """Check a connection out, and return SQLAlchemy's proxy for it."""
        proxy = super().connect()
        proxy.info[_PROXY] = weakref.ref(proxy)
        return proxy

    def release_slot(self) -> None:
        """Release the slot if no connection was checked out with it."""
        if self._since is None:
            return
        self._since = None
        chosen, self._chosen = self._chosen, None
        if self._failure is not None:
            self._failure = None
        elif chosen is None:
            self._slots.release()
        else:
            self._take_back(chosen)

    async def wait_for_returns(self) -> None:
        """Wait until no connection is in use and no task waits for one."""
        self._returned = asyncio.Event()
        try:
            while self._held or self._slots.has_waiters:
                await self._returned.wait()
                self._returned.clear()
        finally:
            self._returned = None

    def hang_up(self) -> None:
        """End the connections in use: tasks that wait for the server get an error."""
        for record in self._held:
            if line := _line(record):
                line.shutdown()

    async def close(self) -> None:
        """Close all connections, and refuse further checkouts; for those in use, the server isn't waited for."""
        self._closed = True
        self._expiry.stop()
        if making := [*self._growth.tasks]:
            await asyncio.wait(making, timeout=_NOTICE)
        self._slots.open()
        idle = [self._idle.get() for _ in range(self.checkedin())]
        leaving = [greenlet_spawn(record.invalidate) for record in idle]
        await asyncio.gather(
            *self._expiry.tasks, *leaving, *(greenlet_spawn(_abandon, record) for record in self._held)
        )

    def dispose(self) -> None:
        """Close idle connections; those being made are closed when ready, unless a task waits for one."""
        self._disposed = True
        self._expiry.stop()
        idle = self.checkedin()
        for _ in range(idle):
            self._slots.acquire_nowait()
        left = self._overflow - idle
        super().dispose()
        self._overflow = left  # SQLAlchemy forgets those that are in use
        if self._expiry.tasks and in_greenlet():  # the loop may end after this
            await_(asyncio.wait([*self._expiry.tasks]))

    def recreate(self) -> t.Self:
        """Return a new pool with the same options."""
        pool = t.cast("t.Self", super().recreate())
        pool.set_limits(*self._limits)
        return pool

    def checkedout(self) -> int:
        """Return the number of connections in use; those being made don't count."""
        return super().checkedout() - len(self._growth.tasks)

    @property
    def limit(self) -> float:
        """The maximum number of connections; infinite where the pool has no limit."""
        return self._limit

    @property
    def is_empty(self) -> bool:
        """Whether there is no connection: idle, in use or being made."""
        return self._count == 0

    @property
    def is_small(self) -> bool:
        """Whether there are fewer connections than ``pool_size``, including those being made."""
        return self._count < max(1, self.size())

    @property
    def has_room(self) -> bool:
        """Whether there may be one more connection."""
        return self._count < self._limit and not self._closed

    def reserve(self) -> None:
        """Count a connection that is about to be made."""
        self._inc_overflow()

    def cancel_reservation(self) -> None:
        """Stop counting a connection that could not be made."""
        self._dec_overflow()
        if self._returned is not None:
            self._returned.set()

    async def make(self, waited: float) -> sa.pool.ConnectionPoolEntry:
        """Make a connection for a task that has waited for ``waited`` seconds.

        :raises TimeoutError: the rest of the pool's time limit was too short.
        """
        limit = max(0.0, self._timeout - waited)
        _deadline.set(time.monotonic() + limit)  # in the context of a task that does nothing else
        try:
            async with asyncio.timeout(limit):
                record = await greenlet_spawn(self._create_connection)
        except TimeoutError as error:
            raise self._no_response_error() from error
        self._describe(record)
        if self._closed or (self._disposed and not self._slots.has_waiters):
            await greenlet_spawn(_abandon, record)
            raise _pool_closed_error()
        return record

    def add(self, record: sa.pool.ConnectionPoolEntry) -> None:
        """Pass a new connection to the task that has waited longest, or store it as idle."""
        self._take_back(record)

    def remove_expired(self, max_idle: float) -> list[collections.abc.Callable[[], t.Any]]:
        """Remove the idle connections that have expired, and return a function that closes each."""
        now, surplus = time.monotonic(), self._count - self.size()
        closes: list[collections.abc.Callable[[], t.Any]] = []
        for record in list(self._idle):
            line = _line(record)
            is_stale = self._is_stale(record, line, now)
            is_idle = surplus > 0 and line is not None and now - line.idle_since >= max_idle
            if not (is_stale or is_idle):
                continue
            if not self._slots.acquire_nowait():  # the rest are assigned to tasks that waited
                break
            self._idle.remove(record)
            self._dec_overflow()
            surplus -= 1
            is_lost = line is None or line.is_closed_by_peer(now)
            closes.append(functools.partial(greenlet_spawn, *((_abandon, record) if is_lost else (record.close,))))
        return closes

    def set_limits(self, max_idle: float, grow_after: float, longest_life: float) -> None:
        """Set the seconds after which connections are closed, made, and replaced."""
        self._limits = max_idle, grow_after, longest_life
        self._longest_life = longest_life
        self._growth = Growth(self, self._slots, min(grow_after, self._timeout / 2))
        self._expiry = Expiry(self, max_idle)

    @property
    def _count(self) -> int:
        return self.size() + self._overflow

    def _do_get(self) -> sa.pool.ConnectionPoolEntry:
        since, self._since = self._since, None
        record, self._chosen = self._chosen, None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if record is None:
            record = (self._get_nowait() if since is None else None) or await_(self._get_within_limit(since))
        record.info[_PROXY] = None
        self._note(record, time.monotonic())
        return record

    def _note(self, record: sa.pool.ConnectionPoolEntry, now: float) -> None:
        """Record the checkout, its task and the event loop."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        name = "none" if task is None else task.get_name()
        self._held[record] = now, name, None if task is None else weakref.ref(task), find_call_site()
        if self._expiry.loop is not loop:
            self._expiry.start()

    def _get_nowait(self) -> sa.pool.ConnectionPoolEntry | None:
        """Acquire a slot, and return a connection for it; None if either would have to wait."""
        record = self._pop_fresh(time.monotonic()) if self._slots.available else None
        if record is not None:
            self._slots.acquire_nowait()
        return record

    def _pop_fresh(self, now: float) -> sa.pool.ConnectionPoolEntry | None:
        """Return the next idle connection for the acquired slot; None if it must be checked first."""
        record = self._idle.next
        return self._idle.get() if record is not None and self._is_fresh(record, now) else None

    def _is_fresh(self, record: t.Any, now: float) -> bool:
        line: ConnectionSocket | None = record.info.get(_LINE)  # not by _line(): each checkout does this
        return line is not None and now - line.idle_since <= self.ping_after and not self._is_stale(record, line, now)

    def _is_stale(self, record: t.Any, line: ConnectionSocket | None, now: float) -> bool:
        if private.is_invalidated(record):
            return True
        return line is not None and (now >= line.expires or line.is_closed_by_peer(now))

    async def _get_within_limit(self, since: float | None) -> sa.pool.ConnectionPoolEntry:
        """Return a connection for the slot waited for since ``since``, or for one that is acquired first."""
        if since is None:
            since = time.monotonic()
            try:
                if not self._slots.acquire_nowait():
                    await self._wait()
            except ConnectError as error:
                raise t.cast(BaseException, error.__cause__) from None
        now = time.monotonic()
        if record := self._pop_fresh(now):  # usually one that was just returned
            return record
        until = self._timeout + since
        deadline = _deadline.set(until)
        try:
            async with asyncio.timeout(until - now):
                return await self._replace_if_stale(await self._next())
        except TimeoutError as error:
            raise self._no_response_error() from error
        finally:
            _deadline.reset(deadline)

    async def _wait(self) -> None:
        """Wait for a slot, and have another connection made if that takes a while."""
        self._loop = loop = asyncio.get_running_loop()
        waiter = self._slots.enqueue()
        self._growth.expect(loop)
        try:
            await self._slots.wait_for(waiter)
        except AcquireTimeout as error:
            raise (self._no_response_error() if self._growth.tasks else self._pool_timeout_error()) from error
        self._refuse_if_closed()  # the engine has another pool by now

    async def _next(self) -> sa.pool.ConnectionPoolEntry:
        """Return the next idle connection; SQLAlchemy makes one if the pool was disposed of meanwhile."""
        self._refuse_if_closed()
        return await greenlet_spawn(super()._do_get)

    async def _replace_if_stale(self, record: t.Any) -> sa.pool.ConnectionPoolEntry:
        """Return a connection that isn't stale: this one, or a new one in its place."""
        try:
            if record.dbapi_connection is not None and self._has_expired(record):
                await greenlet_spawn(record.close)
            if record.dbapi_connection is not None and await self._is_lost(record):
                await greenlet_spawn(_abandon, record)
            await greenlet_spawn(record.get_connection)
            self._refuse_if_closed()
            self._describe(record)
        except BaseException:
            try:
                await greenlet_spawn(_abandon, record)
            finally:
                self._do_return_conn(record)
            raise
        return t.cast(sa.pool.ConnectionPoolEntry, record)

    def _describe(self, record: t.Any) -> None:
        """Record the socket of a new connection, and when the connection expires."""
        if _line(record) is None:
            dialect, now = t.cast("t.Any", self._dialect), time.monotonic()
            life = self._longest_life * random.uniform(1 - _JITTER, 1)  # noqa: S311
            record.info[_LINE] = ConnectionSocket(dialect.driver, record.driver_connection, now, now + life)

    def _has_expired(self, record: t.Any) -> bool:
        """Whether an otherwise intact connection has reached its maximum age."""
        line, now = _line(record), time.monotonic()
        return line is not None and now >= line.expires and not line.is_closed_by_peer(now)

    async def _is_lost(self, record: t.Any) -> bool:
        line, now = _line(record), time.monotonic()
        if self._is_stale(record, line, now):
            return True
        if line is None or now - line.idle_since <= self.ping_after:
            return False
        if await ping(self._dialect, record.dbapi_connection, line):
            return False
        self._invalidate_time = time.time()  # others are likely to be lost for the same reason
        return True

    def _do_return_conn(self, record: t.Any) -> None:
        noted, line = self._held.pop(record, None), _line(record)
        if record.dbapi_connection is not None:
            if line is not None:
                line.idle_since = time.monotonic()
            self._take_back(record)
            return
        record.info.pop(_LINE, None)  # it was closed, detached, or left to the garbage collector
        if noted is not None and _is_collected(record):
            with contextlib.suppress(RuntimeError):  # the loop is closed: no task waits any more
                self._loop.call_soon_threadsafe(self._reclaim, record, noted, line)
        else:
            self._drop()

    def _take_back(self, record: sa.pool.ConnectionPoolEntry) -> None:
        self._idle.put(record)
        self._notify_returned()

    def _drop(self) -> None:
        """Make room for another connection in place of one that is gone."""
        self._dec_overflow()
        if self._returned is not None:
            self._returned.set()
        self._growth.review()

    def _notify_returned(self) -> None:
        self._slots.release()
        if self._returned is not None:
            self._returned.set()

    def _reclaim(
        self, record: sa.pool.ConnectionPoolEntry, noted: CheckoutRecord, line: ConnectionSocket | None
    ) -> None:
        _logger.warning("A connection was never given back, and is closed: %s", make_checkout(noted))
        if line is not None:
            line.terminate()
        self._drop()

    def _pool_timeout_error(self) -> exc.TimeoutError:
        """Return the error for a full pool: a first line with the number of connections, then their holders."""
        number = self.size() + self._max_overflow
        summary = f"each of the pool's {number} connections was in use for {self._timeout} s"
        message, now = "\n  ".join([summary, *format_checkouts(self.holders)]), time.monotonic()
        if now - self._last_logged_at >= _SELDOM:
            self._last_logged_at = now
            _logger.warning("No connection was to be had: %s", message)
        return exc.TimeoutError(message)

    def _no_response_error(self) -> TimeoutError:
        return TimeoutError(f"The server gave no connection within {self._timeout} s")

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise _pool_closed_error()

    def _create_within_limit(self, rec: t.Any) -> t.Any:
        deadline = _deadline.get()
        limit = self._timeout if deadline is None else max(0.0, deadline - time.monotonic())
        return await_(connect(lambda: self._create(rec), limit))


def _is_collected(record: sa.pool.ConnectionPoolEntry) -> bool:
    """Return whether the garbage collector is returning a connection: in any thread, at any step of any code."""
    proxy: weakref.ref[t.Any] | None = record.info.get(_PROXY)
    return proxy is not None and proxy() is None


def _pool_closed_error() -> ConnectionError:
    return ConnectionError("The connections were closed for good")


def _line(record: t.Any) -> ConnectionSocket | None:
    line: ConnectionSocket | None = record.info.get(_LINE)
    return line


def _abandon(record: t.Any) -> None:
    """Close a connection without waiting for the server; must run in a greenlet."""
    if line := _line(record):
        line.terminate()
    record.invalidate()  # the socket is closed, so this doesn't wait
