"""Tasks that run to their end despite cancellation: clean-up, and background work after a response."""

import asyncio
import collections.abc
import logging
import math
import typing as t

from flama import types
from flama._private import asyncio as private
from flama._timeouts import get_scheduler

__all__ = [
    "AFTER_RESPONSE",
    "EagerCoroutine",
    "Work",
    "cancel_and_wait",
    "run_all",
    "settle",
    "shield",
    "start",
    "wait_uncancelled",
]

R = t.TypeVar("R")

Work: t.TypeAlias = collections.abc.Callable[[], collections.abc.Coroutine[t.Any, t.Any, None]]
"""Work that runs once in the background, and logs its own errors."""

AFTER_RESPONSE: t.Final = "flama.after_response"
"""The key in a request's scope of the list of works that run after the response has been sent."""

_LIMIT: t.Final = 10.0
_AGAIN: t.Final = (0, 0.5, 1)  # seconds after the limit: the first cancellation makes some drivers wait for the server

_logger = logging.getLogger("flama")

_clean_ups: set[asyncio.Task[t.Any]] = set()  # the loop itself has weak references only
_background: dict[asyncio.Task[None], types.App | None] = {}  # running tasks, with the applications that wait for them


class EagerCoroutine:
    """A coroutine that starts at once, and runs to its end whether or not it is awaited.

    With a task, a unit that writes takes 19 % more instructions. The coroutine may wait for futures only and must not
    need a current task, which is true of drivers' coroutines.
    """

    __slots__ = ("_coroutine", "_error", "_is_done", "_loop", "_waiter")

    _loop: asyncio.AbstractEventLoop

    def __init__(self, coroutine: collections.abc.Coroutine[t.Any, t.Any, t.Any]) -> None:
        self._coroutine = coroutine
        self._is_done = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        if private.HAS["futures"]:
            self._step()
        else:
            self._loop = asyncio.get_running_loop()
            self._loop.create_task(coroutine).add_done_callback(self._end_task)

    async def wait(self, limit: float = math.inf) -> None:
        """Wait for the end of the coroutine, and raise its error.

        A wait may be cancelled, and another started after it; there may be one at a time.

        :raises TimeoutError: the wait took longer than ``limit`` seconds; the coroutine goes on.
        """
        if not self._is_done:
            loop, scheduler = self._loop, get_scheduler(self._loop)
            self._waiter = loop.create_future()
            scheduler.add(self, limit)
            try:
                await self._waiter
            finally:
                scheduler.remove(self)
        if self._error is not None:
            raise self._error

    def expire(self) -> None:
        """End the wait with a TimeoutError."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError("it took too long"))

    def _step(self, _: object = None) -> None:
        try:
            future = self._coroutine.send(None)
        except StopIteration:
            self._end(None)
        except BaseException as error:  # noqa: BLE001 - wait() raises it
            self._end(error)
        else:
            private.accept(future)
            self._loop = future.get_loop()
            future.add_done_callback(self._step)

    def _end_task(self, task: asyncio.Task[t.Any]) -> None:
        self._end(asyncio.CancelledError() if task.cancelled() else task.exception())

    def _end(self, error: BaseException | None) -> None:
        self._is_done, self._error = True, error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def shield(
    clean_up: collections.abc.Coroutine[t.Any, t.Any, R],
    error: BaseException | None = None,
    limit: float = _LIMIT,
) -> R:
    """Run clean-up to its end and return its result, even if the caller is cancelled, once or repeatedly.

    After a cancellation, the clean-up has ``limit`` seconds; then it is cancelled itself. The same holds if ``error``,
    which made the clean-up necessary, is a cancellation. The cancellation is raised at the end; an error of the
    clean-up is then logged.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(clean_up)
    _clean_ups.add(task)
    ended = _create_completion(task, loop)
    if isinstance(error, asyncio.CancelledError):
        await _wait_with_deadline(task, limit)
        raise error
    try:
        await ended
    except asyncio.CancelledError:
        await _wait_with_deadline(task, limit)
        raise
    return task.result()


def _create_completion(task: asyncio.Task[t.Any], loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """Return a future that ends with the task; cancelling it doesn't cancel the task. It is faster than
    asyncio.shield().
    """
    ended: asyncio.Future[None] = loop.create_future()

    def end(task: asyncio.Task[t.Any]) -> None:
        _clean_ups.discard(task)
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(end)
    return ended


async def _wait_with_deadline(task: asyncio.Task[t.Any], limit: float) -> None:
    """Wait for a task, cancel it after ``limit`` seconds, and abandon it after twice as many."""
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(limit + more, task.cancel) for more in _AGAIN]
    try:
        await wait_uncancelled({task}, 2 * limit)
    finally:
        for timer in timers:
            timer.cancel()
        _log_outcome(task, limit)


def _log_outcome(task: asyncio.Task[t.Any], limit: float) -> None:
    if not task.done() or task.cancelled():
        _logger.error("Clean-up after a cancellation was given up: it took longer than %s s", limit)
    elif failure := task.exception():
        _logger.error("Clean-up after a cancellation failed", exc_info=failure)


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel the task, and wait for its end."""
    task.cancel()
    await wait_uncancelled({task})


async def wait_uncancelled(
    futures: collections.abc.Collection[asyncio.Future[t.Any]],
    timeout: float | None = None,
    *,
    first: bool = True,
) -> None:
    """Wait for the first of the futures, or for all, despite cancellation, and then raise the cancellation.

    The wait ends after ``timeout`` seconds; the futures go on.
    """
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    enough, return_when = (any, asyncio.FIRST_COMPLETED) if first else (all, asyncio.ALL_COMPLETED)
    cancelled: asyncio.CancelledError | None = None
    # Checked before each wait: a caller that is cancelled in every iteration of the loop would never see the end.
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
    """Run all works, in order."""
    for work in works:
        await work()


def start(work: Work, app: types.App | None) -> None:
    """Run the work in a task, which the application awaits when it stops."""
    task = asyncio.get_running_loop().create_task(work())
    _background[task] = app
    task.add_done_callback(_background.pop)


async def settle(app: types.App, limit: float = _LIMIT) -> None:
    """Wait for an application's background work, and cancel what takes longer than ``limit`` seconds."""
    loop = asyncio.get_running_loop()
    pending = {task for task, its in _background.items() if its is app and task.get_loop() is loop}
    if not pending:
        return
    await wait_uncancelled(pending, limit, first=False)
    if late := [task for task in pending if not task.done()]:
        _logger.error("The application stops, and gives %d background hooks up after %s s", len(late), limit)
        for task in late:
            task.cancel()
        await wait_uncancelled(late, limit, first=False)
