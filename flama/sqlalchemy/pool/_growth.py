"""Growth of a pool: the conditions for opening one more connection."""

import asyncio
import collections.abc
import functools
import typing as t

import sqlalchemy as sa

from flama._semaphore import FairSemaphore

__all__ = ["ConnectError", "Growing", "Growth"]

_EARLY: t.Final = 0.001  # seconds by which uvloop's timers, which count milliseconds, may be early

_Made: t.TypeAlias = asyncio.Task[sa.pool.ConnectionPoolEntry]


class ConnectError(Exception):
    """A connection could not be made; the cause is the reason."""


class Growing(t.Protocol):
    """The part of a pool that its growth uses."""

    @property
    def has_room(self) -> bool:
        """Whether it may have one more connection."""
        ...

    @property
    def is_small(self) -> bool:
        """Whether there are fewer connections than ``pool_size``, including those being made."""
        ...

    def reserve(self) -> None:
        """Count a connection that is about to be made."""
        ...

    def cancel_reservation(self) -> None:
        """Stop counting a connection that could not be made."""
        ...

    def make(self, waited: float) -> collections.abc.Coroutine[t.Any, t.Any, sa.pool.ConnectionPoolEntry]:
        """Make a connection for a task that has waited for ``waited`` seconds."""
        ...

    def add(self, record: sa.pool.ConnectionPoolEntry) -> None:
        """Pass a new connection to the task that has waited longest, or store it as idle."""
        ...


class Growth:
    """The maker of connections for tasks that wait for one, as long as there is room.

    While the pool is small, one is made for each task that has to wait. After that, one is made for each task that has
    waited for more than ``after`` seconds. Most tasks are served earlier, by a connection that another task returns.

    Each connection is made in a task of its own, which no cancellation of a waiter stops. It goes to the task that has
    waited longest by then. If it can't be made, the task that it was begun for gets the error, unless it was served
    meanwhile.
    """

    def __init__(self, pool: Growing, slots: FairSemaphore, after: float) -> None:
        self._pool = pool
        self._slots = slots
        self._after = after
        self._making: dict[asyncio.Future[None], _Made] = {}  # by the waiter they were begun for
        self._timer: asyncio.TimerHandle | None = None  # for the first waiter without a connection being made
        self._loop: t.Any = None  # of the timer, which never fires once that is closed

    @property
    def tasks(self) -> collections.abc.Collection[_Made]:
        """The tasks that are making a connection."""
        return self._making.values()

    def expect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note that one more task waits in the running loop."""
        if (self._timer is None or self._loop is not loop) and self._pool.has_room:
            self.review()

    def review(self) -> None:
        """Start the connections that are due, and set the timer for the next."""
        loop = asyncio.get_running_loop()
        self._set_timer(loop)  # clears it: the timer itself may have called this
        if not self._slots.has_waiters:
            return
        now = loop.time()
        for waiter, since in list(self._slots.waiters.items()):
            if not self._pool.has_room or len(self._making) >= len(self._slots.waiters):
                return
            if waiter in self._making or waiter.done():
                continue
            due = since if self._pool.is_small else since + self._after
            if due > now + _EARLY:
                self._set_timer(loop, due)
                return
            self._begin(waiter, now - since)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, due: float | None = None) -> None:
        if self._timer is not None and self._loop is loop:
            self._timer.cancel()
        self._loop, self._timer = loop, None if due is None else loop.call_at(due, self.review)

    def _begin(self, waiter: asyncio.Future[None], waited: float) -> None:
        self._pool.reserve()
        self._making[waiter] = task = asyncio.create_task(self._pool.make(waited))
        task.add_done_callback(functools.partial(self._end, waiter))

    def _end(self, waiter: asyncio.Future[None], task: _Made) -> None:
        del self._making[waiter]
        if not task.cancelled() and task.exception() is None:
            self._pool.add(task.result())
        else:
            self._pool.cancel_reservation()
            if not task.cancelled():
                error = ConnectError()
                error.__cause__ = task.exception()
                self._slots.fail(waiter, error)
        self.review()
