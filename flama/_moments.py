"""Moments as they are stored: in UTC where a column keeps a time zone, without an offset where it keeps none."""

import datetime
import typing as t

__all__ = ["UnfitValue", "has_offset", "in_utc", "refuse_offset"]

_ANY_DAY: t.Final = datetime.date(2000, 1, 3)


class UnfitValue(ValueError):
    """A value that a column doesn't take; its message is for whoever sent the value."""


def has_offset(value: datetime.datetime | datetime.time) -> bool:
    """Return whether a moment, or a time of the day, says how far it is from UTC."""
    return value.utcoffset() is not None


def in_utc(value: t.Any) -> t.Any:
    """Return a moment, or a time of the day, in UTC: one without an offset is in UTC already.

    A day is the moment at which it begins. None is None.

    :raises UnfitValue: the value is something else, or has a time zone whose offset depends on the day.
    """
    match value:
        case datetime.datetime():
            return value.astimezone(datetime.UTC) if has_offset(value) else value.replace(tzinfo=datetime.UTC)
        case datetime.time():
            return _time_in_utc(value)
        case datetime.date():
            return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
        case None:
            return None
    raise UnfitValue(f"{value!r} is no moment: a datetime would do")


def refuse_offset(value: t.Any) -> t.Any:
    """Return a value as it is, for a column without a time zone.

    :raises UnfitValue: the value has a time zone, which would be lost.
    """
    if isinstance(value, datetime.datetime | datetime.time) and value.tzinfo is not None:
        raise UnfitValue(
            f"'{value.isoformat()}' has a time zone, and the column has none: "
            "send it without an offset, or declare the column with timezone=True"
        )
    return value


def _time_in_utc(value: datetime.time) -> datetime.time:
    offset = value.utcoffset()
    if offset is None:
        if value.tzinfo is None:
            return value.replace(tzinfo=datetime.UTC)
        raise UnfitValue(f"'{value}' is of {value.tzinfo}, whose offset depends on the day: a fixed offset would do")
    shown = datetime.datetime.combine(_ANY_DAY, value.replace(tzinfo=None)) - offset
    return shown.time().replace(tzinfo=datetime.UTC)
