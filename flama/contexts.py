"""What the tasks of one request know together."""

import contextvars
import typing as t

__all__ = ["begin", "known"]

_known: contextvars.ContextVar[dict[t.Any, t.Any]] = contextvars.ContextVar("known")


def begin() -> None:
    """Let the task, and those that it starts from now on, share what they learn, and go on from what it knows."""
    _known.set({**_known.get({})})


def known() -> dict[t.Any, t.Any]:
    """Give what the task knows together with others, by who needs it. Its values aren't changed, but replaced."""
    if (found := _known.get(None)) is None:
        found = {}
        _known.set(found)
    return found
