"""Blocks that may take no longer than so long, watched for next to nothing."""

import asyncio
import threading
import types
import typing as t

__all__ = ["limited"]

_TICK: t.Final = 0.5  # seconds between looks


class limited:
    """Cancel what the block waits for when it has taken so many seconds, and again each half of a second after that.

    That is ``asyncio.timeout`` for what every unit of work does: one timer looks after all blocks of an event loop.
    Drivers answer a first cancellation by waiting for the server, some of them for ten seconds.

    :raises TimeoutError: it took so long.
    """

    __slots__ = ("_cancellations", "_cancelling", "_seconds", "_task", "_watch")

    _cancelling: int
    _task: asyncio.Task[t.Any]
    _watch: "_Watch"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cancellations = 0

    def __enter__(self) -> None:
        """Begin to count."""
        loop = asyncio.get_running_loop()
        self._watch = _watch_of(loop)
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

    def cancel(self) -> None:
        """Cancel what the block waits for."""
        self._cancellations += 1
        self._task.cancel()


class _Watch:
    # its state: the blocks of one loop with the time at which each is cancelled, and whether the timer runs

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._blocks: dict[limited, float] = {}
        self._looks = False

    def add(self, block: limited, until: float) -> None:
        self._blocks[block] = until
        if not self._looks:
            self._looks = True
            self.loop.call_later(_TICK, self._look)

    def remove(self, block: limited) -> None:
        del self._blocks[block]

    def _look(self) -> None:
        now = self.loop.time()
        for block, until in self._blocks.items():
            if until <= now:
                block.cancel()
        self._looks = bool(self._blocks)
        if self._looks:
            self.loop.call_later(_TICK, self._look)


class _Threads(threading.local):
    watch: _Watch | None = None  # that of the loop which ran last in the thread


_threads = _Threads()


def _watch_of(loop: asyncio.AbstractEventLoop) -> _Watch:
    watch = _threads.watch
    if watch is None or watch.loop is not loop:
        watch = _threads.watch = _Watch(loop)
    return watch
