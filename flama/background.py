"""Work that is done after a response has been sent."""

import collections.abc
import functools
import typing as t

import anyio.to_process
from starlette.background import BackgroundTask, BackgroundTasks

from flama import concurrency

__all__ = ["BackgroundProcessTask", "BackgroundTask", "BackgroundTasks", "BackgroundThreadTask"]

P = t.ParamSpec("P")


class BackgroundThreadTask(BackgroundTask):
    """A blocking function, run in a thread."""

    def __init__(self, func: collections.abc.Callable[P, t.Any], *args: P.args, **kwargs: P.kwargs) -> None:
        super().__init__(functools.partial(concurrency.run_in_thread, func, *args, **kwargs))


class BackgroundProcessTask(BackgroundTask):
    """A function that computes for long, run in a process of its own; it and its arguments must be picklable."""

    def __init__(self, func: collections.abc.Callable[P, t.Any], *args: P.args, **kwargs: P.kwargs) -> None:
        super().__init__(anyio.to_process.run_sync, functools.partial(func, *args, **kwargs))
