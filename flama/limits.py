"""What may take no longer than so long, watched for next to nothing."""

import asyncio
import math
import threading
import time
import types
import typing as t

__all__ = ["Expiring", "Watch", "limited", "watch_of"]

_AGAIN: t.Final = 0.5  # seconds after which a block that has not ended is cancelled again
_LEAST: t.Final = 0.02  # seconds between looks, however many blocks expire at different times
_ROUNDING: t.Final = 0.001  # seconds by which an event loop may be early


class Expiring(t.Protocol):
    """What is watched: a block or a wait."""

    def expire(self) -> None:
        """Have it end, as its time is over; called again each half of a second until it has."""


class limited:
    """Cancel what the block waits for when it has taken so many seconds, and again each half of a second after that.

    It is late by 21 ms at most, if the event loop isn't. That is ``asyncio.timeout`` for what every unit of work does:
    one timer looks after all blocks of an event loop.
    Drivers answer a first cancellation by waiting for the server, some of them for ten seconds.

    :raises TimeoutError: it took so long.
    """

    __slots__ = ("_cancellations", "_cancelling", "_seconds", "_task", "_watch")

    _cancelling: int
    _task: asyncio.Task[t.Any]
    _watch: "Watch"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cancellations = 0

    def __enter__(self) -> None:
        """Begin to count."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._watch = watch = watch_of(loop)
        watch.add(self, self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        """Stop counting."""
        self._watch.remove(self)
        if not self._cancellations:
            return
        for _ in range(self._cancellations):
            self._task.uncancel()
        if isinstance(error, asyncio.CancelledError) and self._task.cancelling() <= self._cancelling:
            raise TimeoutError(f"it took longer than {self._seconds} s") from error

    def expire(self) -> None:
        """Cancel what the block waits for."""
        self._cancellations += 1
        self._task.cancel()


class Watch:
    """Looks at what is limited in one event loop when the first of it expires."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._watched: dict[Expiring, float] = {}  # with the time at which each expires, by the monotonic clock
        self._next = math.inf  # when the timer looks; no later than the first expires
        self._timer: asyncio.TimerHandle | None = None

    def add(self, expiring: Expiring, seconds: float) -> None:
        """Watch it until it is removed."""
        # not the loop's clock: that of uvloop stands still during a turn, and the block would end too early
        until = self._watched[expiring] = time.monotonic() + seconds
        if until < self._next:  # seldom so: what is added later mostly expires later
            self._look_at(until, seconds)

    def remove(self, expiring: Expiring) -> None:
        """Watch it no more, if it is watched."""
        self._watched.pop(expiring, None)

    def _look_at(self, when: float, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self.loop.call_later(seconds + _ROUNDING, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        for expiring in [each for each, until in self._watched.items() if until <= now]:
            self._watched[expiring] = now + _AGAIN
            expiring.expire()
        self._timer, self._next = None, math.inf
        first = min(self._watched.values(), default=math.inf)
        if first < math.inf:
            seconds = max(first - now, _LEAST)
            self._look_at(now + seconds, seconds)


class _Threads(threading.local):
    watch: Watch | None = None  # that of the loop which ran last in the thread


_threads = _Threads()


def watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """Return the watch of an event loop, which runs in this thread."""
    watch = _threads.watch
    if watch is None or watch.loop is not loop:
        watch = _threads.watch = Watch(loop)
    return watch
