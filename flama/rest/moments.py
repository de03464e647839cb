"""Moments on the wire: datetimes and times in the format of RFC 3339, with an offset if the field has a time zone.

The JSON Schema formats ``date-time`` and ``time`` require an offset. Values without one are ``date-time-local`` and
``time-local`` in the registry of OpenAPI's formats; each has a pattern of exactly the accepted strings.
"""

import collections.abc
import datetime
import re
import typing as t

__all__ = ["Kind", "read", "schema"]

Kind: t.TypeAlias = type[datetime.datetime] | type[datetime.time]


class _Form(t.NamedTuple):
    format: str
    pattern: str
    example: str
    read: collections.abc.Callable[[str], t.Any]

    @property
    def schema(self) -> dict[str, t.Any]:
        described = {"type": "string", "format": self.format, "examples": [self.example]}
        return described if self.format in _STANDARD else {**described, "pattern": f"^{self.pattern}$"}


def read(kind: Kind, value: t.Any, *, zone: bool) -> t.Any:
    """Return the datetime or time of a JSON string; with ``zone``, the string has an offset, otherwise none.

    :raises ValueError: the string isn't of that format.
    """
    form = _FORMS[kind, zone]
    if isinstance(value, str) and re.fullmatch(form.pattern, value, re.ASCII):
        try:
            return form.read(value)
        except ValueError:
            pass
    with_offset = "with" if zone else "without"
    raise ValueError(f"{str(value)[:40]!r} is no {_NAMES[kind]} {with_offset} an offset, as is {form.example}")


def schema(kind: Kind, *, zone: bool) -> dict[str, t.Any]:
    """Return the JSON Schema of the strings that :func:`read` accepts."""
    return _FORMS[kind, zone].schema


_NAMES: t.Final[dict[Kind, str]] = {datetime.datetime: "moment", datetime.time: "time of the day"}
_STANDARD: t.Final = ("date-time", "time")

_YEAR: t.Final = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR: t.Final = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"  # without 0000
_DAY: t.Final = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_DATE: t.Final = f"({_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29)"
_TIME: t.Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_LONG_TIME: t.Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?"
_OFFSET: t.Final = "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"

_FORMS: t.Final[dict[tuple[Kind, bool], _Form]] = {
    (datetime.datetime, False): _Form(
        "date-time-local", f"{_DATE}T{_TIME}", "2024-05-06T07:08:09", datetime.datetime.fromisoformat
    ),
    (datetime.datetime, True): _Form(
        "date-time",
        f"{_DATE}[Tt]{_LONG_TIME}{_OFFSET}",
        "2024-05-06T07:08:09Z",
        lambda text: datetime.datetime.fromisoformat(text.upper()),
    ),
    (datetime.time, False): _Form("time-local", _TIME, "07:08:09", datetime.time.fromisoformat),
    (datetime.time, True): _Form(
        "time", f"{_LONG_TIME}{_OFFSET}", "07:08:09Z", lambda text: datetime.time.fromisoformat(text.upper())
    ),
}
