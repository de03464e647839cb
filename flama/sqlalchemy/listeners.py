"""Whether anybody listens to an event of SQLAlchemy's."""

import typing as t

from sqlalchemy.event.attr import _EmptyListener

__all__ = ["are_heard"]


def are_heard(*events: t.Any) -> bool:
    """Tell whether somebody listens to one of these events; an event that nobody ever listened to isn't asked."""
    for event in events:  # noqa: SIM110 - any() takes longer
        if type(event) is not _EmptyListener and event:
            return True
    return False
