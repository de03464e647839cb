"""Who takes a connection: the function of the program, found on the stack at little cost."""

import collections.abc
import inspect
import sys
import types
import typing as t

import greenlet

from flama.injection.plan import planned_for

__all__ = ["Caller", "caller"]

_OURS: t.Final = ("anyio.", "asyncio.", "contextlib.", "flama.ddd.", "flama.sqlalchemy.", "flama.tasks.", "sqlalchemy.")
_BETWEEN: t.Final = 5  # frames, from caller() to Pool.connect()
_AWAITING: t.Final = (
    inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE | inspect.CO_GENERATOR
)

Caller: t.TypeAlias = tuple[types.CodeType | None, int, collections.abc.Callable[..., t.Any] | None]
"""A place in the program, and the handler that was called on the way to it, if one was."""

_kinds: dict[str, str] = {}  # of frames, by file
# Where the outermost of our frames lay when it was last searched for: mostly it lies there again.
_usual: tuple[int, types.CodeType | None] = (_BETWEEN, None)


def caller() -> Caller:
    """Give the innermost function that is neither SQLAlchemy's nor what a unit of work is made of.

    To be called by what the pool calls when it gives a connection.
    """
    depth, inner = _usual
    try:
        frame: types.FrameType | None = sys._getframe(depth)
    except ValueError:
        frame = None
    frame = frame.f_back if frame is not None and frame.f_code is inner else _beyond_ours() or _waiting()
    taker: types.CodeType | None = None
    instruction = 0
    while frame is not None and (code := frame.f_code).co_flags & _AWAITING:  # what runs the loop took nothing
        kind = _kinds.get(code.co_filename) or _kind(frame)
        if kind == "plan":
            return taker, instruction, planned_for(frame)
        if kind == "user" and taker is None:
            taker, instruction = code, frame.f_lasti
        frame = frame.f_back
    return taker, instruction, None


def _beyond_ours() -> types.FrameType | None:
    global _usual  # noqa: PLW0603 - a memory of no consequence
    depth, inner = _BETWEEN, sys._getframe(_BETWEEN + 1)
    while (frame := inner.f_back) is not None:
        if _kind(frame) != "ours":
            _usual = depth, inner.f_code
            return frame
        depth, inner = depth + 1, frame
    return None


def _waiting() -> types.FrameType | None:
    """Give the innermost frame of what waits for this greenlet, which has a stack of its own."""
    parent: t.Any = greenlet.getcurrent().parent
    return None if parent is None else parent.gr_frame


def _kind(frame: types.FrameType) -> str:
    file = frame.f_code.co_filename
    if file not in _kinds:
        name = f"{frame.f_globals.get('__name__', '')}."
        kind = "ours" if name.startswith(_OURS) else "user"
        _kinds[file] = "plan" if planned_for(frame) is not None else kind
    return _kinds[file]
