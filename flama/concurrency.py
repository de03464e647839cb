"""Whether a callable is asynchronous, decided once: how it is then run beside the event loop."""

import asyncio
import collections.abc
import functools
import inspect
import sys
import typing as t

import anyio.to_thread

__all__ = ["is_async", "is_async_generator", "is_generator", "run_in_thread", "underlying"]

P = t.ParamSpec("P")
R = t.TypeVar("R")

# asyncio's knows functions that are marked as such, which inspect's does from 3.12 on; asyncio's is deprecated in 3.14.
_is_coroutine_function: collections.abc.Callable[[t.Any], bool] = (
    inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction
)


def is_async(function: t.Any) -> bool:
    """Tell whether calling this gives a coroutine, also through ``partial`` and ``__call__``."""
    return _holds(_is_coroutine_function, function)


def is_async_generator(function: t.Any) -> bool:
    """Tell whether calling this gives an asynchronous generator."""
    return _holds(inspect.isasyncgenfunction, function)


def is_generator(function: t.Any) -> bool:
    """Tell whether calling this gives a generator."""
    return _holds(inspect.isgeneratorfunction, function)


def underlying(function: t.Any) -> t.Any:
    """Give the function that is called in the end, beneath ``partial`` and ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__


def _holds(kind: collections.abc.Callable[[t.Any], bool], function: t.Any) -> bool:
    return kind(underlying(function))


async def run_in_thread(function: collections.abc.Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a blocking callable in a worker thread, with the caller's context variables, and give its result.

    A thread can't be interrupted: a caller that is cancelled waits for it to end first.
    """
    return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs))
