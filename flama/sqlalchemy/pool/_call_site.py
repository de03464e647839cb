"""Call sites of checkouts: the program's function that checks out a connection, found on the stack at little cost."""

import asyncio
import collections.abc
import inspect
import types
import typing as t

import greenlet

from flama._private.python import get_frame
from flama.injection.plan import handler_of_frame

__all__ = ["Caller", "Handler", "find_call_site", "handler_of"]

_OURS: t.Final = (
    "anyio.",
    "asyncio.",
    "contextlib.",
    "flama.ddd.",
    "flama.sqlalchemy.",
    "flama._shielding.",
    "sqlalchemy.",
)
_BETWEEN: t.Final = 5  # frames, from find_call_site() to Pool.connect()
_DEEPEST: t.Final = 1000  # frames searched for a handler
_AWAITING: t.Final = (
    inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE | inspect.CO_GENERATOR
)

Caller: t.TypeAlias = tuple[types.CodeType | None, int]
"""A place in the program: the code object, if known, and the offset of an instruction."""
Handler: t.TypeAlias = collections.abc.Callable[..., t.Any]
"""A handler of an application."""

_kinds: dict[str, str] = {}  # of frames, by file
# The depth of our outermost frame in the last search: it is usually the same in the next one. A search that makes the
# frames between takes 6 % more instructions of a unit that reads one record by asyncpg.
_last_depth: tuple[int, types.CodeType | None] = (_BETWEEN, None)


def find_call_site() -> Caller:
    """Return the innermost function that belongs neither to SQLAlchemy nor to the unit of work.

    Only what the pool calls at checkout may call this. It inspects as few frames as possible, since Python creates an
    object for each one.
    """
    depth, inner = _last_depth
    try:
        frame = get_frame(depth)
    except ValueError:
        frame = None
    frame = frame.f_back if frame is not None and frame.f_code is inner else _first_user_frame() or _waiting()
    while frame is not None and (code := frame.f_code).co_flags & _AWAITING:  # stops at the event loop
        kind = _kinds.get(code.co_filename) or _kind(frame)
        if kind == "user":
            return code, frame.f_lasti
        frame = None if kind == "plan" else frame.f_back
    return None, 0


def handler_of(task: asyncio.Task[t.Any] | None) -> Handler | None:
    """Return the handler that a task runs, or that called what it runs; None when it no longer runs one."""
    frames = [] if task is None else _current_stack() if task is asyncio.current_task() else _stack(task)
    return next((handler for frame in frames if (handler := handler_of_frame(frame)) is not None), None)


def _current_stack() -> list[types.FrameType]:
    frames: list[types.FrameType] = []
    frame: types.FrameType | None = _waiting() or get_frame()
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _stack(task: asyncio.Task[t.Any]) -> list[types.FrameType]:
    """Return the frames of a task's coroutines, where each coroutine waits for the next."""
    frames: list[types.FrameType] = []
    waiting: t.Any = task.get_coro()
    while len(frames) < _DEEPEST and (frame := _frame(waiting)) is not None:
        frames.append(frame)
        waiting = _next_awaitable(waiting, frame)
    return frames


def _frame(waiting: t.Any) -> types.FrameType | None:
    return getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)


def _next_awaitable(waiting: t.Any, frame: types.FrameType) -> t.Any:
    """Return what a coroutine or generator waits for, which may be a coroutine that the generator runs itself."""
    if inspect.iscoroutine(waiting):
        return waiting.cr_await
    return waiting.gi_yieldfrom or next(filter(inspect.iscoroutine, frame.f_locals.values()), None)


def _first_user_frame() -> types.FrameType | None:
    global _last_depth  # noqa: PLW0603 - only a cache
    depth, inner = _BETWEEN, get_frame(_BETWEEN + 1)
    while inner is not None and (frame := inner.f_back) is not None:
        if _kind(frame) != "ours":
            if frame.f_code.co_flags & _AWAITING:  # what is below the event loop may be below other checkouts as well
                _last_depth = depth, inner.f_code
            return frame
        depth, inner = depth + 1, frame
    return None


def _waiting() -> types.FrameType | None:
    """Return the innermost frame that waits for this greenlet, which has a stack of its own."""
    parent: t.Any = greenlet.getcurrent().parent
    return None if parent is None else parent.gr_frame


def _kind(frame: types.FrameType) -> str:
    file = frame.f_code.co_filename
    if file not in _kinds:
        name = f"{frame.f_globals.get('__name__', '')}."
        kind = "ours" if name.startswith(_OURS) else "user"
        _kinds[file] = "plan" if handler_of_frame(frame) is not None else kind
    return _kinds[file]
