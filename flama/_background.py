"""Work that goes on when its task doesn't wait for it: after a response, or until the application stops."""

import asyncio
import collections.abc
import logging
import typing as t

from flama import types
from flama.tasks import outlast

__all__ = ["AFTER_RESPONSE", "Work", "run", "settle", "start"]

Work: t.TypeAlias = collections.abc.Callable[[], collections.abc.Coroutine[t.Any, t.Any, None]]
"""What runs once; it says by itself, in the log, what fails in it."""

AFTER_RESPONSE: t.Final = "flama.after_response"
"""The key in a request's scope of the list of what runs when the response has been sent."""

_LIMIT: t.Final = 10.0  # seconds that an application waits for it at shutdown

_logger = logging.getLogger("flama")

_tasks: dict[asyncio.Task[None], types.App | None] = {}  # that run, with the applications which wait for them


async def run(works: collections.abc.Iterable[Work]) -> None:
    """Run all, in order."""
    for work in works:
        await work()


def start(work: Work, app: types.App | None) -> None:
    """Run it in a task of its own, for which the application waits when it stops."""
    task = asyncio.get_running_loop().create_task(work())
    _tasks[task] = app
    task.add_done_callback(_tasks.pop)


async def settle(app: types.App, limit: float = _LIMIT) -> None:
    """Wait for what was started for an application; cancel what takes longer than that."""
    loop = asyncio.get_running_loop()
    pending = {task for task, its in _tasks.items() if its is app and task.get_loop() is loop}
    if not pending:
        return
    await outlast(pending, limit, first=False)
    if late := [task for task in pending if not task.done()]:
        _logger.error("The application stops, and gives %d background hooks up after %s s", len(late), limit)
        for task in late:
            task.cancel()
        await outlast(late, limit, first=False)
