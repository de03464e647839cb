"""Hooks that run once a unit of work has ended."""

import asyncio
import collections.abc
import functools
import inspect
import logging
import typing as t

from flama._shielding import Work

__all__ = ["Committed", "Hook", "Hooks"]

Hook: t.TypeAlias = collections.abc.Callable[[], t.Any]
"""A function or coroutine function without parameters."""

_logger = logging.getLogger("flama.ddd")


_Start: t.TypeAlias = collections.abc.Callable[[Work], None]


class Committed(t.NamedTuple):
    """A hook that runs after a commit, in the background or before the unit is left, which ``raises`` lets it fail."""

    hook: Hook
    raises: bool = False
    background: bool = False


class Hooks:
    """The hooks of a unit, or of a savepoint in it.

    ``start`` runs work in the background.
    """

    __slots__ = ("_start", "committed", "rolled_back")

    def __init__(self, start: _Start) -> None:
        self.committed: list[Committed] = []
        self.rolled_back: list[Hook] = []
        self._start = start

    def __bool__(self) -> bool:
        return bool(self.committed or self.rolled_back)

    def extend(self, inner: "Hooks") -> None:
        """Add the hooks of a savepoint that was released."""
        self.committed += inner.committed
        self.rolled_back += inner.rolled_back

    async def run(self, *, committed: bool, error: BaseException | None = None) -> None:
        """Run the hooks for this outcome, once and in order, and discard the rest.

        A failure is logged, unless it is to be raised and no ``error`` has ended the unit.

        :raises ExceptionGroup: hooks whose failures are raised failed; all the others ran.
        """
        after_commit, after_rollback = self.committed, self.rolled_back
        self.clear()
        if not committed:
            failures = await _failures(after_rollback, "rolled back")
            _raise_or_log(list(failures.values()), "rolled back", error)
            return
        if background := [each.hook for each in after_commit if each.background]:
            self._start(functools.partial(_run_all, background))
        waited_for = [each for each in after_commit if not each.background]
        failures = await _failures([each.hook for each in waited_for], "committed")
        raised = [failures[index] for index, each in enumerate(waited_for) if each.raises and index in failures]
        _log([failure for failure in failures.values() if failure not in raised], "committed")
        _raise_or_log(raised, "committed", error)

    def clear(self) -> None:
        """Discard all hooks."""
        self.committed, self.rolled_back = [], []


def _raise_or_log(failures: list[Exception], outcome: str, error: BaseException | None) -> None:
    if failures and error is None:
        raise ExceptionGroup(f"The unit of work was {outcome}", failures)
    _log(failures, outcome)


def _log(failures: collections.abc.Iterable[Exception], outcome: str) -> None:
    for failure in failures:
        _logger.error("A hook of a unit of work that was %s failed", outcome, exc_info=failure)


async def _run_all(hooks: collections.abc.Sequence[Hook]) -> None:
    _log((await _failures(hooks, "committed")).values(), "committed")


async def _failures(hooks: collections.abc.Sequence[Hook], outcome: str) -> dict[int, Exception]:
    """Run all hooks, and return the errors of those that failed, by their index."""
    failures: dict[int, Exception] = {}
    for place, hook in enumerate(hooks):
        try:
            await _run(hook)
        except Exception as error:  # noqa: BLE001 - the others have to run; it is raised, or logged, after them
            failures[place] = error
        except BaseException:
            left = len(hooks) - place - 1
            _logger.exception("A hook of a unit of work that was %s was given up, %d more did not run", outcome, left)
            raise
    return failures


async def _run(hook: Hook) -> None:
    task = asyncio.current_task()
    cancelling = 0 if task is None else task.cancelling()
    try:
        result = hook()
        if inspect.isawaitable(result):
            await result
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > cancelling:
            raise
        raise RuntimeError(f"{hook!r} awaited what was cancelled") from error
