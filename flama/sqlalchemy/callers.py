"""Who takes a connection: the function of the program, found on the stack at little cost, and for which handler."""

import asyncio
import collections.abc
import inspect
import sys
import types
import typing as t

import greenlet

from flama.injection.plan import planned_for

__all__ = ["Caller", "Handler", "caller", "handler_of"]

_OURS: t.Final = ("anyio.", "asyncio.", "contextlib.", "flama.ddd.", "flama.sqlalchemy.", "flama.tasks.", "sqlalchemy.")
_BETWEEN: t.Final = 5  # frames, from caller() to Pool.connect()
_DEEPEST: t.Final = 1000  # frames in which a handler is looked for
_AWAITING: t.Final = (
    inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE | inspect.CO_GENERATOR
)

Caller: t.TypeAlias = tuple[types.CodeType | None, int]
"""A place in the program: code, if it is known, and the offset of an instruction."""
Handler: t.TypeAlias = collections.abc.Callable[..., t.Any]
"""A handler of an application."""

_kinds: dict[str, str] = {}  # of frames, by file
# Where the outermost of our frames lay when it was last searched for: mostly it lies there again.
_usual: tuple[int, types.CodeType | None] = (_BETWEEN, None)


def caller() -> Caller:
    """Return the innermost function that is neither SQLAlchemy's nor what a unit of work is made of.

    To be called by what the pool calls when it gives a connection. No more of the stack is looked at than has to be:
    each frame that is, Python makes an object of.
    """
    depth, inner = _usual
    try:
        frame: types.FrameType | None = sys._getframe(depth)
    except ValueError:
        frame = None
    frame = frame.f_back if frame is not None and frame.f_code is inner else _beyond_ours() or _waiting()
    while frame is not None and (code := frame.f_code).co_flags & _AWAITING:  # what runs the loop took nothing
        kind = _kinds.get(code.co_filename) or _kind(frame)
        if kind == "user":
            return code, frame.f_lasti
        frame = None if kind == "plan" else frame.f_back
    return None, 0


def handler_of(task: asyncio.Task[t.Any] | None) -> Handler | None:
    """Return the handler that a task runs, or that has called what it runs; None when it runs none any more."""
    frames = [] if task is None else _own_stack() if task is asyncio.current_task() else _stack(task)
    return next((handler for frame in frames if (handler := planned_for(frame)) is not None), None)


def _own_stack() -> list[types.FrameType]:
    frames: list[types.FrameType] = []
    frame: types.FrameType | None = _waiting() or sys._getframe()
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _stack(task: asyncio.Task[t.Any]) -> list[types.FrameType]:
    """Return the frames of the coroutines of a task, each of which waits for the next."""
    frames: list[types.FrameType] = []
    waiting: t.Any = task.get_coro()
    while len(frames) < _DEEPEST and (frame := _frame(waiting)) is not None:
        frames.append(frame)
        waiting = _awaited(waiting, frame)
    return frames


def _frame(waiting: t.Any) -> types.FrameType | None:
    return getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)


def _awaited(waiting: t.Any, frame: types.FrameType) -> t.Any:
    """Return what a coroutine or a generator waits for, which may be a coroutine that the generator runs itself."""
    if inspect.iscoroutine(waiting):
        return waiting.cr_await
    return waiting.gi_yieldfrom or next(filter(inspect.iscoroutine, frame.f_locals.values()), None)


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
    """Return the innermost frame of what waits for this greenlet, which has a stack of its own."""
    parent: t.Any = greenlet.getcurrent().parent
    return None if parent is None else parent.gr_frame


def _kind(frame: types.FrameType) -> str:
    file = frame.f_code.co_filename
    if file not in _kinds:
        name = f"{frame.f_globals.get('__name__', '')}."
        kind = "ours" if name.startswith(_OURS) else "user"
        _kinds[file] = "plan" if planned_for(frame) is not None else kind
    return _kinds[file]
