"""Detection of listeners to SQLAlchemy's events, and of its log."""

import logging
import typing as t

import sqlalchemy as sa

__all__ = ["has_listeners", "is_logged"]


def has_listeners(*events: t.Any) -> bool:
    """Return whether any of these events of a pool or a dialect has a listener."""
    for event in events:  # noqa: SIM110 - any() takes longer, and so does the event's own __bool__()
        if event.listeners or event.parent_listeners:
            return True
    return False


def is_logged(connection: sa.Connection) -> bool:
    """Return whether SQLAlchemy logs a connection's statements."""
    return connection.engine.logger.isEnabledFor(logging.INFO)
