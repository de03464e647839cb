"""Tasks that have to end, whatever is cancelled meanwhile, or whoever doesn't wait for them."""

import asyncio
import collections.abc
import logging
import math
import typing as t

from flama import types
from flama.limits import watch_of

__all__ = ["AFTER_RESPONSE", "Begun", "Work", "finished", "outlast", "run_all", "settle", "start", "stop"]

R = t.TypeVar("R")

Work: t.TypeAlias = collections.abc.Callable[[], collections.abc.Coroutine[t.Any, t.Any, None]]
"""What runs once in the background; what fails in it, it logs itself."""

AFTER_RESPONSE: t.Final = "flama.after_response"
"""The key in a request's scope of the list of what runs when the response has been sent."""

_LIMIT: t.Final = 10.0
_AGAIN: t.Final = (0, 0.5, 1)  # seconds after that: a first cancellation makes some drivers wait for their server

_logger = logging.getLogger("flama")

_clean_ups: set[asyncio.Task[t.Any]] = set()  # the loop itself holds tasks by weak references only
_background: dict[asyncio.Task[None], types.App | None] = {}  # that run, with the applications which wait for them


class Begun:
    """A coroutine that has begun, and goes to its end whether or not somebody waits for it.

    It is for coroutines that wait for futures and ask nothing about tasks, as drivers' are: one that is begun so costs
    a fraction of a task, which it needs only when who waits for it goes away.
    """

    __slots__ = ("_coroutine", "_error", "_is_done", "_loop", "_waiter")

    _loop: asyncio.AbstractEventLoop

    def __init__(self, coroutine: collections.abc.Coroutine[t.Any, t.Any, t.Any]) -> None:
        self._coroutine = coroutine
        self._is_done = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._go_on()

    async def wait(self, limit: float = math.inf) -> None:
        """Wait for its end, and raise what it raises. The wait may be cancelled, and another begin; one at a time.

        :raises TimeoutError: it took longer than ``limit`` seconds; the coroutine goes on.
        """
        if not self._is_done:
            loop, watch = self._loop, watch_of(self._loop)
            self._waiter = loop.create_future()
            watch.add(self, limit)
            try:
                await self._waiter
            finally:
                watch.remove(self)
        if self._error is not None:
            raise self._error

    def expire(self) -> None:
        """End the wait by a TimeoutError."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError("it took too long"))

    def _go_on(self, _: object = None) -> None:
        try:
            future = self._coroutine.send(None)
        except StopIteration:
            self._end(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where one waits
            self._end(error)
        else:
            future._asyncio_future_blocking = False  # by which a task knows that it is to wait
            self._loop = future.get_loop()
            future.add_done_callback(self._go_on)

    def _end(self, error: BaseException | None) -> None:
        self._is_done, self._error = True, error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def finished(
    clean_up: collections.abc.Coroutine[t.Any, t.Any, R],
    error: BaseException | None = None,
    limit: float = _LIMIT,
) -> R:
    """Run clean-up to its end though the caller is cancelled, perhaps again and again; then let the cancellation on.

    Once there is a cancellation, be it the ``error`` that made the clean-up necessary, the clean-up has ``limit``
    seconds; after that it is cancelled itself. The cancellation is what is raised then; how the clean-up failed is
    logged.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(clean_up)
    _clean_ups.add(task)
    ended = _ended(task, loop)
    if isinstance(error, asyncio.CancelledError):
        await _bounded(task, limit)
        raise error
    try:
        await ended
    except asyncio.CancelledError:
        await _bounded(task, limit)
        raise
    return task.result()


def _ended(task: asyncio.Task[t.Any], loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """Give what waits for a task that isn't cancelled with it: what asyncio.shield gives takes longer."""
    ended: asyncio.Future[None] = loop.create_future()

    def end(task: asyncio.Task[t.Any]) -> None:
        _clean_ups.discard(task)
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(end)
    return ended


async def _bounded(task: asyncio.Task[t.Any], limit: float) -> None:
    """Wait for a task, cancel it when its time is over, and leave it to itself when that doesn't help either."""
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(limit + more, task.cancel) for more in _AGAIN]
    try:
        await outlast({task}, 2 * limit)
    finally:
        for timer in timers:
            timer.cancel()
        _tell(task, limit)


def _tell(task: asyncio.Task[t.Any], limit: float) -> None:
    if not task.done() or task.cancelled():
        _logger.error("Clean-up after a cancellation was given up: it took longer than %s s", limit)
    elif failure := task.exception():
        _logger.error("Clean-up after a cancellation failed", exc_info=failure)


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel the task, and wait for its end."""
    task.cancel()
    await outlast({task})


async def outlast(
    futures: collections.abc.Collection[asyncio.Future[t.Any]],
    timeout: float | None = None,
    *,
    first: bool = True,
) -> None:
    """Wait for the first of them, or for all, through any cancellation; then raise that cancellation."""
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    enough, return_when = (any, asyncio.FIRST_COMPLETED) if first else (all, asyncio.ALL_COMPLETED)
    cancelled: asyncio.CancelledError | None = None
    # Looked at before each wait: who is cancelled at every turn of the loop would never come to see the end.
    while not enough(future.done() for future in futures):
        remaining = None if deadline is None else max(0, deadline - loop.time())
        if remaining == 0:
            break
        try:
            await asyncio.wait(futures, timeout=remaining, return_when=return_when)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def run_all(works: collections.abc.Iterable[Work]) -> None:
    """Run all, in order."""
    for work in works:
        await work()


def start(work: Work, app: types.App | None) -> None:
    """Run it in a task of its own, for which the application waits when it stops."""
    task = asyncio.get_running_loop().create_task(work())
    _background[task] = app
    task.add_done_callback(_background.pop)


async def settle(app: types.App, limit: float = _LIMIT) -> None:
    """Wait for what was started for an application; cancel what takes longer than that."""
    loop = asyncio.get_running_loop()
    pending = {task for task, its in _background.items() if its is app and task.get_loop() is loop}
    if not pending:
        return
    await outlast(pending, limit, first=False)
    if late := [task for task in pending if not task.done()]:
        _logger.error("The application stops, and gives %d background hooks up after %s s", len(late), limit)
        for task in late:
            task.cancel()
        await outlast(late, limit, first=False)
