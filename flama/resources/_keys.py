"""Keys of records in paths."""

import datetime
import typing as t
import uuid

__all__ = ["IDS", "PrimaryKey"]

IDS: t.Final = (int, str, uuid.UUID, datetime.date, datetime.datetime)
"""The types of keys that can be a segment of a path."""


class PrimaryKey(t.NamedTuple):
    """The field that identifies a record, and its type."""

    name: str
    type: t.Any
