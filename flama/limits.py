"""What may take no longer than so long, watched for next to nothing."""

import asyncio
import threading
import types
import typing as t

__all__ = ["Expiring", "Watch", "limited", "watch_of"]

_TICK: t.Final = 0.5  # seconds between looks


class Expiring(t.Protocol):
    """What is watched: a block or a wait."""

    def expire(self) -> None:
        """Have it end, as its time is over; called again each half of a second until it has."""


class limited:
    """Cancel what the block waits for when it has taken so many seconds, and again each half of a second after that.

    That is ``asyncio.timeout`` for what every unit of work does: one timer looks after all blocks of an event loop.
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
        self._watch = watch_of(loop)
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._cancelling = self._task.cancelling()
        self._watch.add(self, loop.time() + self._seconds)

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
    """Looks twice a second at what is limited in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._watched: dict[Expiring, float] = {}  # with the loop's time at which each expires
        self._looks = False  # whether the timer runs

    def add(self, expiring: Expiring, until: float) -> None:
        """Watch it until it is removed."""
        self._watched[expiring] = until
        if not self._looks:
            self._looks = True
            self.loop.call_later(_TICK, self._look)

    def remove(self, expiring: Expiring) -> None:
        """Watch it no more."""
        del self._watched[expiring]

    def discard(self, expiring: Expiring) -> None:
        """Watch it no more, if it is watched."""
        self._watched.pop(expiring, None)

    def _look(self) -> None:
        now = self.loop.time()
        for expiring, until in self._watched.items():
            if until <= now:
                expiring.expire()
        self._looks = bool(self._watched)
        if self._looks:
            self.loop.call_later(_TICK, self._look)


class _Threads(threading.local):
    watch: Watch | None = None  # that of the loop which ran last in the thread


_threads = _Threads()


def watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """Return the watch of an event loop, which runs in this thread."""
    watch = _threads.watch
    if watch is None or watch.loop is not loop:
        watch = _threads.watch = Watch(loop)
    return watch
