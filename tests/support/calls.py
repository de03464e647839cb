"""The calls from one room of the package to another while a piece of the program runs."""

import collections.abc
import contextvars
import dataclasses
import gc
import itertools
import sys
import types
import typing as t

__all__ = ["DATABASE", "Call", "Recorder", "Row", "rows"]

DATABASE: t.Final = "database"


@dataclasses.dataclass(eq=False)
class Call:
    """A call of a function in another room than its caller's."""

    room: str
    function: str = ""
    caller: "Call | None" = None
    is_leaf: bool = True


Room: t.TypeAlias = collections.abc.Callable[[types.FrameType], str | None]
"""Returns a frame's room; an empty text where it counts as its caller's, None where it isn't the program's."""

Row: t.TypeAlias = tuple[str, str, list[str]]


class Recorder:
    """Records the calls between rooms within a ``with`` block, in this thread and in all tasks."""

    def __init__(self, room: Room, outside: str) -> None:
        self.calls: list[Call] = []
        self._room = room
        self._last = Call(outside)
        self._call_of: dict[types.FrameType | None, Call] = {}
        # A new task has no caller on its stack; it copies the context of the function that creates it.
        self._current = contextvars.ContextVar("current", default=self._last)

    def __enter__(self) -> t.Self:
        gc.disable()  # finalizers would be recorded
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def statement(self, sql: str) -> None:
        """Record a statement that the last call has sent to the database."""
        self._append(Call(DATABASE, " ".join(sql.split()), self._last))

    def _profile(self, frame: types.FrameType, event: str, _: object) -> None:
        if event != "call" or frame in self._call_of:  # a coroutine that is resumed is called again
            return
        caller, room = self._call_of.get(frame.f_back), self._room(frame)
        if room is not None:
            self._call_of[frame] = self._enter(frame, room, caller or self._current.get())
        elif caller is not None:
            self._call_of[frame] = caller

    def _enter(self, frame: types.FrameType, room: str, caller: Call) -> Call:
        caller.is_leaf = False
        call = caller
        if room not in ("", caller.room):
            call = self._append(Call(room, frame.f_code.co_qualname.replace("<locals>.", ""), caller))
        self._current.set(call)
        self._last = call
        return call

    def _append(self, call: Call) -> Call:
        self.calls.append(call)
        return call


def rows(calls: collections.abc.Iterable[Call]) -> list[Row]:
    """Return caller, callee and functions, a row for successive calls between the same rooms.

    Functions that call nothing of the program's are left out of a row with others.
    """
    return [
        (*rooms, list(dict.fromkeys(call.function for call in _significant([*group]))))
        for rooms, group in itertools.groupby(calls, lambda call: (call.caller.room if call.caller else "", call.room))
    ]


def _significant(calls: list[Call]) -> list[Call]:
    return [call for call in calls if not call.is_leaf] or calls
