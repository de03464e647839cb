"""The private parts of asyncio that are used here; without them, a coroutine is run by a task."""

import asyncio
import typing as t

from flama._private import Private, exist

__all__ = ["HAS", "NAMES", "accept"]

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "futures": (
        Private(asyncio.Future, "_asyncio_future_blocking", "A COMMIT is awaited by a task. See asyncio.Task's step."),
    ),
}  # fmt: skip
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


def accept(future: t.Any) -> None:
    """Record that a coroutine's future is waited for, as a task does; otherwise awaiting it again is an error."""
    future._asyncio_future_blocking = False
