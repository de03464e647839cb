"""Detection of listeners to SQLAlchemy's events."""

import typing as t

__all__ = ["has_listeners"]


def has_listeners(*events: t.Any) -> bool:
    """Return whether any of these events of a pool or a dialect has a listener."""
    for event in events:  # noqa: SIM110 - any() takes longer, and so does the event's own __bool__()
        if event.listeners or event.parent_listeners:
            return True
    return False
