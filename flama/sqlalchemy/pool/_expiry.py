"""Closing of a pool's expired connections on a timer."""

import asyncio
import collections.abc
import contextlib
import typing as t
import weakref

__all__ = ["Expiring", "Expiry"]

_LIMIT: t.Final = 5.0  # seconds for the server to close its side
_SHORTEST: t.Final = 0.01  # seconds between two checks
_LONGEST: t.Final = 60.0  # seconds: connections reach their maximum age whatever the idle limit is

_Close: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[None]]


class Expiring(t.Protocol):
    """The part of a pool that its expiry uses."""

    @property
    def is_empty(self) -> bool:
        """Whether it has no connection."""
        ...

    def remove_expired(self, max_idle: float) -> list[_Close]:
        """Remove the idle connections that have expired, and return a function that closes each."""
        ...


class Expiry:
    """A timer that closes a pool's expired connections, checking them twice in ``max_idle`` seconds.

    The timer keeps neither the pool in memory nor the loop running. When the pool is used in another event loop, the
    timer moves there. Connections are closed by tasks, which a shutdown can wait for.
    """

    def __init__(self, pool: Expiring, max_idle: float) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None  # in which the pool is checked
        self.tasks: set[asyncio.Task[None]] = set()  # that are closing connections
        self._pool = weakref.ref(pool)
        self._max_idle = max_idle
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Check the pool in the running loop, and in no other."""
        self.loop = asyncio.get_running_loop()
        self.tasks.clear()  # those of another loop have ended with it
        self._set_timer(self.loop)

    def stop(self) -> None:
        """Stop the timer; the tasks that close connections continue."""
        if self._timer is not None:
            self._timer.cancel()
        self.loop = self._timer = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(min(max(self._max_idle / 2, _SHORTEST), _LONGEST), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        pool = self._pool()
        if pool is None or self.loop is not loop:
            return
        for close in pool.remove_expired(self._max_idle):
            task = loop.create_task(_close_in_time(close))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if pool.is_empty:
            self.loop = self._timer = None
        else:
            self._set_timer(loop)


async def _close_in_time(close: _Close) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LIMIT):
            await close()
