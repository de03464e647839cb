"""What is done once a unit of work has ended."""

import asyncio
import collections.abc
import inspect
import logging
import typing as t

__all__ = ["Hook", "Hooks"]

Hook: t.TypeAlias = collections.abc.Callable[[], t.Any]
"""A function or coroutine function without parameters."""

_logger = logging.getLogger("flama.ddd")


class Hooks:
    """What waits for the end of a unit, or of a savepoint in it."""

    __slots__ = ("committed", "rolled_back")

    def __init__(self) -> None:
        self.committed: list[Hook] = []
        self.rolled_back: list[Hook] = []

    def __bool__(self) -> bool:
        return bool(self.committed or self.rolled_back)

    def adopt(self, inner: "Hooks") -> None:
        """Let what waited for a savepoint that was kept wait for this."""
        self.committed += inner.committed
        self.rolled_back += inner.rolled_back

    async def run(self, *, committed: bool, error: BaseException | None = None) -> None:
        """Run, once and in order, what waited for this outcome, and forget the rest.

        :raises ExceptionGroup: some of it failed, and there is no ``error`` that ended the unit: all the others ran.
        """
        hooks = self.committed if committed else self.rolled_back
        self.forget()
        outcome = "committed" if committed else "rolled back"
        failures = await _failures(hooks, outcome)
        if failures and error is None:
            raise ExceptionGroup(f"The unit of work was {outcome}", failures)
        for failure in failures:
            _logger.error("A hook of a unit of work that was %s failed", outcome, exc_info=failure)

    def forget(self) -> None:
        """Let nothing wait any more."""
        self.committed, self.rolled_back = [], []


async def _failures(hooks: list[Hook], outcome: str) -> list[Exception]:
    failures: list[Exception] = []
    for ran, hook in enumerate(hooks):
        try:
            await _run(hook)
        except Exception as error:  # noqa: BLE001 - the others have to run; it is raised, or logged, after them
            failures.append(error)
        except BaseException:
            left = len(hooks) - ran - 1
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
