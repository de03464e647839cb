"""Who holds a connection: noted when it is taken, told when it is asked for."""

import asyncio
import collections.abc
import time
import types
import typing as t
import weakref

from flama import concurrency
from flama.sqlalchemy.callers import Caller, Handler, handler_of

__all__ = ["Holder", "Noted", "holder", "listed"]

_MOST: t.Final = 20

Noted: t.TypeAlias = tuple[float, str, weakref.ref[asyncio.Task[t.Any]] | None, Caller]
"""What a :class:`Holder` is made of when somebody asks: the time, a task, its name, a place in the program.

It keeps no task alive: one that is forgotten while it holds a connection gives that back when it is collected.
"""


class Holder(t.NamedTuple):
    """Who holds a connection: since when, its task, where in the program it was taken, the handler that task runs."""

    since: float
    task: str
    caller: Caller
    handler: Handler | None

    @property
    def seconds(self) -> float:
        """For how long it was held."""
        return time.monotonic() - self.since

    def __str__(self) -> str:
        return ", ".join([f"task '{self.task}' took it {self.seconds:.1f} s ago", *self._places()])

    def _places(self) -> list[str]:
        code, instruction = self.caller
        handling: types.CodeType | None = getattr(concurrency.underlying(self.handler), "__code__", None)
        if code is not None and code is handling:
            return [f"in the handler {_place(code, instruction)}"]
        taken = [f"in {_place(code, instruction)}"] if code is not None else []
        called = [f"for the handler {_place(handling)}"] if handling is not None else []
        return taken + called


def holder(noted: Noted) -> Holder:
    """Return the holder of a connection from what was noted when it was taken."""
    since, name, task, caller = noted
    return Holder(since, name, caller, None if task is None else handler_of(task()))


def listed(holders: collections.abc.Sequence[Holder]) -> list[str]:
    """Give a line for each of the holders, or for so many of them as anybody reads."""
    others = len(holders) - _MOST
    return [*map(str, holders[:_MOST]), *([f"and {others} others"] if others > 0 else [])]


def _place(code: types.CodeType, instruction: int = -1) -> str:
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    return f"{code.co_qualname} ({code.co_filename}:{next(lines, None) or code.co_firstlineno})"
