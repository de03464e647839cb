"""When a pool closes connections that nobody uses."""

import asyncio
import collections.abc
import contextlib
import typing as t
import weakref

__all__ = ["Expiring", "Expiry"]

_LIMIT: t.Final = 5.0  # seconds for the server to take leave
_SHORTEST: t.Final = 0.01  # seconds between two looks
_LONGEST: t.Final = 60.0  # as connections reach the end of their life, however long they may be idle

_Close: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[None]]


class Expiring(t.Protocol):
    """A pool as its expiry sees it."""

    @property
    def is_empty(self) -> bool:
        """Whether it has no connection."""
        ...

    def remove_expired(self, max_idle: float) -> list[_Close]:
        """Remove the idle connections that are to be closed, and return what closes each."""
        ...


class Expiry:
    """Looks at a pool twice in ``max_idle`` seconds, as long as its event loop runs, and closes what has expired.

    The timer doesn't keep the pool in memory, nor the loop running. A pool that is used in another loop is looked at
    there from then on. What closes connections are tasks, for which a shutdown can wait.
    """

    def __init__(self, pool: Expiring, max_idle: float) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None  # in which the pool is looked at
        self.tasks: set[asyncio.Task[None]] = set()  # that close connections now
        self._pool = weakref.ref(pool)
        self._max_idle = max_idle
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look at the pool in the running loop, and in no other."""
        self.loop = asyncio.get_running_loop()
        self.tasks.clear()  # those of another loop have ended with it
        self._set_timer(self.loop)

    def stop(self) -> None:
        """Look no more; the tasks that close connections go on."""
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
