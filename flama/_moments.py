"""Moments as they are stored: in UTC if the column has a time zone, otherwise without an offset."""

import datetime
import typing as t

__all__ = ["UnfitValue", "has_offset", "in_utc", "refuse_offset"]

_ANY_DAY: t.Final = datetime.date(2000, 1, 3)


class UnfitValue(ValueError):
    """A column can't store the value; the message is for the client that sent it."""


def has_offset(value: datetime.datetime | datetime.time) -> bool:
    """Whether a datetime or a time has an offset from UTC."""
    return value.utcoffset() is not None


def in_utc(value: t.Any) -> t.Any:
    """Return a datetime or a time in UTC; one without an offset is taken as UTC.

    A date is converted to the datetime at which it begins. None is returned unchanged.

    :raises UnfitValue: the value is something else, or a time in a time zone whose offset depends on the day.
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
    """Return a value unchanged, for a column without a time zone.

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
