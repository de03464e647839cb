"""What is done once a unit of work has ended."""

import collections.abc
import dataclasses
import inspect
import logging
import typing as t

__all__ = ["Hook", "Hooks"]

Hook: t.TypeAlias = collections.abc.Callable[[], t.Any]
"""A function or coroutine function without parameters."""

_logger = logging.getLogger("flama.ddd")


@dataclasses.dataclass
class Hooks:
    """What waits for the end of a unit, or of a savepoint in it."""

    committed: list[Hook] = dataclasses.field(default_factory=list)
    rolled_back: list[Hook] = dataclasses.field(default_factory=list)

    def adopt(self, inner: "Hooks") -> None:
        """Let what waited for a savepoint that was kept wait for this."""
        self.committed += inner.committed
        self.rolled_back += inner.rolled_back

    async def run(self, *, committed: bool, error: BaseException | None = None) -> None:
        """Run, once and in order, what waited for this outcome, and forget the rest.

        :raises ExceptionGroup: some of it failed, and there is no ``error`` that ended the unit: all the others ran.
        """
        hooks = self.committed if committed else self.rolled_back
        self.committed, self.rolled_back = [], []
        failures = [failure for failure in [await _run(hook) for hook in hooks] if failure is not None]
        if failures and error is None:
            raise ExceptionGroup(f"The unit of work was {'committed' if committed else 'rolled back'}", failures)
        for failure in failures:
            _logger.error("A hook of a unit of work that was rolled back failed", exc_info=failure)


async def _run(hook: Hook) -> Exception | None:
    try:
        result = hook()
        if inspect.isawaitable(result):
            await result
    except Exception as error:  # noqa: BLE001 - the others have to run; it is raised, or logged, after them
        return error
    return None
