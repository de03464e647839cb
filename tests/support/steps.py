"""A cancellation at a chosen await of a coroutine, or of a task that it has started."""

import asyncio
import collections.abc
import contextlib
import contextvars
import gc
import types
import typing as t

__all__ = ["Steps", "stepped"]

_Coroutine: t.TypeAlias = collections.abc.Coroutine[t.Any, t.Any, t.Any]

_steps: contextvars.ContextVar["Steps | None"] = contextvars.ContextVar("steps", default=None)


class Steps:
    """Counts the awaits at which a coroutine, or a task that it has started, gives up control.

    At the one with the number ``at``, ``act`` is called, and ``place`` is told: the names of the functions that wait,
    the outermost first. With ``late``, ``act`` is called when what is waited for has come, before the task sees it.
    With ``then``, it is called once more, so many awaits later.
    """

    def __init__(
        self, at: int, act: collections.abc.Callable[[], t.Any], *, late: bool = False, then: int | None = None
    ) -> None:
        self.count = 0
        self.place: tuple[str, ...] = ()
        self._at = at
        self._again = None if then is None else at + then
        self._act = act
        self._late = late

    @property
    def reached(self) -> bool:
        """Whether there was such an await."""
        return self.count > self._at

    async def run(self, coroutine: collections.abc.Coroutine[t.Any, t.Any, t.Any]) -> t.Any:
        """Give what the coroutine gives."""
        token = _steps.set(self)
        try:
            return await _passed(coroutine, self.note)
        finally:
            _steps.reset(token)

    def note(self, coroutine: t.Any, future: t.Any) -> None:
        if self.count == self._at:
            self.place = tuple(_names(coroutine))
        if self.count in (self._at, self._again):
            if self._late and future is not None:
                future.add_done_callback(lambda _: self._act())
            else:
                asyncio.get_running_loop().call_soon(self._act)
        self.count += 1


@contextlib.contextmanager
def stepped() -> collections.abc.Iterator[None]:
    """Let the awaits of tasks be counted that a counted coroutine starts."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(_started)
    try:
        yield
    finally:
        loop.set_task_factory(before)


def _started(loop: asyncio.AbstractEventLoop, coroutine: t.Any, **options: t.Any) -> asyncio.Task[t.Any]:
    steps = _steps.get()
    if steps is not None:
        coroutine = _run(coroutine, steps.note)
    return asyncio.Task(coroutine, loop=loop, **options)


async def _run(coroutine: _Coroutine, note: collections.abc.Callable[[t.Any, t.Any], None]) -> t.Any:
    return await _passed(coroutine, note)


@types.coroutine
def _passed(
    coroutine: _Coroutine, note: collections.abc.Callable[[t.Any, t.Any], None]
) -> collections.abc.Generator[t.Any, t.Any, t.Any]:
    error: BaseException | None = None
    while True:
        try:
            future = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration as end:
            return end.value
        note(coroutine, future)
        try:
            yield future
        except BaseException as raised:  # noqa: BLE001 - it is the coroutine's to see
            error = raised
        else:
            error = None


def _names(waiting: t.Any) -> collections.abc.Iterator[str]:
    while waiting is not None:
        if isinstance(waiting, types.CoroutineType | types.GeneratorType | types.AsyncGeneratorType):
            prefix = {types.CoroutineType: "cr", types.GeneratorType: "gi", types.AsyncGeneratorType: "ag"}
            kind = prefix[type(waiting)]
            code, frame = getattr(waiting, f"{kind}_code"), getattr(waiting, f"{kind}_frame")
            yield code.co_qualname
            if code.co_name == "greenlet_spawn":
                yield from _greenlet_names(frame)
            waiting = getattr(waiting, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
        else:  # what is between an async generator and who iterates over it, or a driver's own in C
            found = gc.get_referents(waiting)
            waiting = next((each for each in found if isinstance(each, types.AsyncGeneratorType)), None)


def _greenlet_names(frame: types.FrameType) -> list[str]:
    inner = frame.f_locals["context"].gr_frame
    names: list[str] = []
    while inner is not None:
        names.append(inner.f_code.co_qualname)
        inner = inner.f_back
    return names[::-1]
