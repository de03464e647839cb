"""Background tasks, which run after a response has been sent."""

import collections.abc
import functools
import typing as t

import anyio.to_process
from starlette.background import BackgroundTask, BackgroundTasks

from flama import concurrency

__all__ = ["BackgroundProcessTask", "BackgroundTask", "BackgroundTasks", "BackgroundThreadTask"]

P = t.ParamSpec("P")


class BackgroundThreadTask(BackgroundTask):
    """A background task that runs a blocking function in a thread."""

    def __init__(self, func: collections.abc.Callable[P, t.Any], *args: P.args, **kwargs: P.kwargs) -> None:
        super().__init__(functools.partial(concurrency.run_in_thread, func, *args, **kwargs))


class BackgroundProcessTask(BackgroundTask):
    """A background task that runs a CPU-bound function in a process; it and its arguments must be picklable."""

    def __init__(self, func: collections.abc.Callable[P, t.Any], *args: P.args, **kwargs: P.kwargs) -> None:
        super().__init__(anyio.to_process.run_sync, functools.partial(func, *args, **kwargs))
