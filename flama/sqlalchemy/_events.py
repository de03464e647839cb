"""Detection of listeners to SQLAlchemy's events."""

import typing as t

from sqlalchemy.event.attr import _EmptyListener

__all__ = ["has_listeners"]


def has_listeners(*events: t.Any) -> bool:
    """Whether any of these events has a listener; one that never had any isn't evaluated, which is faster."""
    for event in events:  # noqa: SIM110 - any() takes longer
        if type(event) is not _EmptyListener and event:
            return True
    return False
