"""State that the tasks of one request share."""

import contextvars
import typing as t

__all__ = ["copy_state", "get_state"]

_state: contextvars.ContextVar[dict[t.Any, t.Any]] = contextvars.ContextVar("state")


def copy_state() -> None:
    """Begin a state that this task shares with the tasks that it starts from now on; it begins as a copy."""
    _state.set({**_state.get({})})


def get_state() -> dict[t.Any, t.Any]:
    """Return the state that the task shares with others, keyed by its owners. Replace its values, never mutate them."""
    if (found := _state.get(None)) is None:
        found = {}
        _state.set(found)
    return found
