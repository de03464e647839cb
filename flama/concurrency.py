"""Asynchronous or blocking callables: tests of their kind, and execution in a thread."""

import asyncio
import collections.abc
import functools
import inspect
import sys
import typing as t

import anyio.to_thread

__all__ = ["is_async", "is_async_generator", "is_generator", "run_in_thread", "unwrap"]

P = t.ParamSpec("P")
R = t.TypeVar("R")

# asyncio's recognizes functions marked as coroutine functions; inspect's does from 3.12 on. asyncio's is deprecated in
# 3.14.
_is_coroutine_function: collections.abc.Callable[[t.Any], bool] = (
    inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction
)


def is_async(function: t.Any) -> bool:
    """Whether a call of this returns a coroutine, also through ``partial`` and ``__call__``."""
    return _matches(_is_coroutine_function, function)


def is_async_generator(function: t.Any) -> bool:
    """Whether a call of this returns an asynchronous generator."""
    return _matches(inspect.isasyncgenfunction, function)


def is_generator(function: t.Any) -> bool:
    """Whether a call of this returns a generator."""
    return _matches(inspect.isgeneratorfunction, function)


def unwrap(function: t.Any) -> t.Any:
    """Return the function that is called in the end, beneath ``partial`` and ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__


def _matches(kind: collections.abc.Callable[[t.Any], bool], function: t.Any) -> bool:
    return kind(unwrap(function))


async def run_in_thread(function: collections.abc.Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a blocking callable in a worker thread, with the caller's context variables, and return its result.

    A thread can't be interrupted: a cancelled caller waits for its end.
    """
    return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs))
