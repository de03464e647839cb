"""Records of the connections in use, formatted only on demand."""

import asyncio
import collections.abc
import time
import types
import typing as t
import weakref

from flama import concurrency
from flama.sqlalchemy.pool._call_site import Caller, Handler, handler_of

__all__ = ["Checkout", "CheckoutRecord", "format_checkouts", "make_checkout"]

_MOST: t.Final = 20

CheckoutRecord: t.TypeAlias = tuple[float, str, weakref.ref[asyncio.Task[t.Any]] | None, Caller]
"""The data for a :class:`Checkout`: the time, the task's name, the task, and the call site.

The reference to the task is weak: a forgotten task returns its connection when it is garbage-collected.
"""


class Checkout(t.NamedTuple):
    """A connection in use: since when, by which task, the call site, and the handler that the task runs."""

    since: float
    task: str
    caller: Caller
    handler: Handler | None

    @property
    def seconds(self) -> float:
        """The seconds since the checkout."""
        return time.monotonic() - self.since

    def __str__(self) -> str:
        return ", ".join([f"task '{self.task}' took it {self.seconds:.1f} s ago", *self._locations()])

    def _locations(self) -> list[str]:
        code, instruction = self.caller
        handling: types.CodeType | None = getattr(concurrency.unwrap(self.handler), "__code__", None)
        if code is not None and code is handling:
            return [f"in the handler {_format_location(code, instruction)}"]
        taken = [f"in {_format_location(code, instruction)}"] if code is not None else []
        called = [f"for the handler {_format_location(handling)}"] if handling is not None else []
        return taken + called


def make_checkout(noted: CheckoutRecord) -> Checkout:
    """Return the checkout described by a record."""
    since, name, task, caller = noted
    return Checkout(since, name, caller, None if task is None else handler_of(task()))


def format_checkouts(holders: collections.abc.Sequence[Checkout]) -> list[str]:
    """Return a line for each of the first 20 checkouts, and one that counts the rest."""
    others = len(holders) - _MOST
    return [*map(str, holders[:_MOST]), *([f"and {others} others"] if others > 0 else [])]


def _format_location(code: types.CodeType, instruction: int = -1) -> str:
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    return f"{code.co_qualname} ({code.co_filename}:{next(lines, None) or code.co_firstlineno})"
