"""Timeouts at little cost: one timer for each event loop serves all blocks and waits."""

import asyncio
import math
import threading
import time
import types
import typing as t

__all__ = ["Expiring", "TimeoutScheduler", "get_scheduler", "timeout"]

_AGAIN: t.Final = 0.5  # seconds after which a block that has not ended is cancelled again
_MIN_INTERVAL: t.Final = 0.02  # seconds between runs of the timer, however many blocks expire at different times
_ROUNDING: t.Final = 0.001  # seconds by which an event loop may be early


class Expiring(t.Protocol):
    """A block or a wait that has a timeout."""

    def expire(self) -> None:
        """End the block or the wait after its timeout; called again every half second until it has ended."""


class timeout:
    """Cancel what the block waits for after a number of seconds, and again every half second after that.

    The cancellation is at most 21 ms late, unless the event loop is. This is a cheaper ``asyncio.timeout`` for what
    every unit of work does: one timer serves all blocks of an event loop. It cancels again because drivers handle the
    first cancellation by waiting for the server, some for ten seconds.

    :raises TimeoutError: the block took longer.
    """

    __slots__ = ("_cancellations", "_cancelling", "_scheduler", "_seconds", "_task")

    _cancelling: int
    _task: asyncio.Task[t.Any]
    _scheduler: "TimeoutScheduler"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cancellations = 0

    def __enter__(self) -> None:
        """Start the timeout."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._scheduler = scheduler = get_scheduler(loop)
        scheduler.add(self, self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        """Stop the timeout."""
        self._scheduler.remove(self)
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


class TimeoutScheduler:
    """The timeouts of one event loop, with one timer for the first that expires."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._deadlines: dict[Expiring, float] = {}  # with the time at which each expires, by the monotonic clock
        self._next = math.inf  # when the timer runs, at the latest when the first one expires
        self._timer: asyncio.TimerHandle | None = None

    def add(self, expiring: Expiring, seconds: float) -> None:
        """Start the timeout of a block or a wait, which runs until it is removed."""
        # not the loop's clock: uvloop updates it once an iteration, and the block would end too early
        until = self._deadlines[expiring] = time.monotonic() + seconds
        if until < self._next:  # rare: later additions mostly expire later
            self._schedule(until, seconds)

    def remove(self, expiring: Expiring) -> None:
        """Stop the timeout, if there is one."""
        self._deadlines.pop(expiring, None)

    def _schedule(self, when: float, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self.loop.call_later(seconds + _ROUNDING, self._expire_due)

    def _expire_due(self) -> None:
        now = time.monotonic()
        for expiring in [each for each, until in self._deadlines.items() if until <= now]:
            self._deadlines[expiring] = now + _AGAIN
            expiring.expire()
        self._timer, self._next = None, math.inf
        first = min(self._deadlines.values(), default=math.inf)
        if first < math.inf:
            seconds = max(first - now, _MIN_INTERVAL)
            self._schedule(now + seconds, seconds)


class _ThreadLocal(threading.local):
    scheduler: TimeoutScheduler | None = None  # of the loop that ran last in the thread


_local = _ThreadLocal()


def get_scheduler(loop: asyncio.AbstractEventLoop) -> TimeoutScheduler:
    """Return the timeout scheduler of an event loop that runs in this thread."""
    scheduler = _local.scheduler
    if scheduler is None or scheduler.loop is not loop:
        scheduler = _local.scheduler = TimeoutScheduler(loop)
    return scheduler
