"""Keys of records, as a path has them."""

import datetime
import typing as t
import uuid

__all__ = ["IDS", "Key"]

IDS: t.Final = (int, str, uuid.UUID, datetime.date, datetime.datetime)
"""The types of what can be a segment of a path."""


class Key(t.NamedTuple):
    """The field that tells records apart, and the type of what it holds."""

    name: str
    type: t.Any
