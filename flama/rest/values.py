"""Values on the wire: of whatever type a field is, as the text that stands for one in a query."""

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import re
import typing as t
import uuid

import msgspec

__all__ = ["Reader", "has_text", "pattern", "reader", "text"]

Reader: t.TypeAlias = collections.abc.Callable[[str], t.Any]

# No column holds more digits, and a number written with an exponent may have more than memory has place for.
_DIGITS: t.Final = 1_000
_SHOWN: t.Final = 40


def text(value: t.Any) -> str:
    """Give the text that stands for a value.

    :raises TypeError: values of its type have none.
    :raises ValueError: it is a number of more digits than anybody reads.
    """
    if isinstance(value, enum.Enum):
        return text(value.value)
    for kind, written in _WRITTEN.items():
        if isinstance(value, kind):
            return written(value)
    if isinstance(value, tuple) or dataclasses.is_dataclass(value):  # of arrays and ranges
        return msgspec.json.encode(value).decode()
    raise TypeError(f"a {type(value).__name__} has no form in a query: {value!r}")


def has_text(annotation: t.Any) -> bool:
    """Tell whether values of a type have a text."""
    return isinstance(annotation, type) and issubclass(annotation, (*_WRITTEN, enum.Enum))


def reader(annotation: t.Any) -> Reader:
    """Give the inverse of :func:`text` for values of a type; it raises :class:`ValueError` for what stands for none.

    Where whole numbers are asked for, one with a fraction is given as a decimal: it compares with them as well.
    """
    read = _READERS.get(annotation) or _converted(annotation)
    name = getattr(annotation, "__name__", str(annotation))

    def checked(given: str) -> t.Any:
        try:
            return read(given)
        except (ValueError, ArithmeticError, RecursionError):
            raise ValueError(f"{given[:_SHOWN]!r} is no {name}") from None

    return checked


def pattern(annotation: t.Any) -> str:
    """Give a regular expression of texts that stand for values of a type: of the usual ones, for people to write."""
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "|".join(re.escape(text(member)) for member in annotation)
    return next((each for kind, each in _PATTERNS.items() if _is(annotation, kind)), "[^\\x00]*")


def _is(annotation: t.Any, kind: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kind)


def _short(value: int | decimal.Decimal) -> int | decimal.Decimal:
    digits = decimal.Decimal(value)
    if not digits.is_finite() or abs(digits.adjusted()) > _DIGITS:
        raise ValueError("it is a number that no field holds")
    return value


def _converted(annotation: t.Any) -> Reader:
    return lambda given: msgspec.convert(given, annotation, strict=False)


def _decimal(given: str) -> decimal.Decimal:
    return t.cast(decimal.Decimal, _short(decimal.Decimal(given)))


def _number(given: str) -> int | decimal.Decimal:
    digits = given[1:] if given[:1] in ("-", "+") else given
    return int(given) if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS else _decimal(given)


def _bytes(given: str) -> bytes:
    return base64.b64decode(given, validate=True)


_ADDRESSES: t.Final = (
    *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Interface, ipaddress.IPv6Interface),
    *(ipaddress.IPv4Network, ipaddress.IPv6Network),
)
_READERS: t.Final[dict[t.Any, Reader]] = {
    **{kind: kind for kind in _ADDRESSES},
    str: str,
    int: _number,
    decimal.Decimal: _decimal,
    bytes: _bytes,
    uuid.UUID: uuid.UUID,
    datetime.date: datetime.date.fromisoformat,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
}

_WRITTEN: t.Final[dict[t.Any, collections.abc.Callable[[t.Any], str]]] = {
    str: str.__str__,
    bool: lambda value: "true" if value else "false",
    int: lambda value: str(_short(value)),
    decimal.Decimal: lambda value: str(_short(value)),
    float: float.__repr__,
    bytes: lambda value: base64.b64encode(value).decode(),
    uuid.UUID: str,
    datetime.date: lambda value: value.isoformat(),  # a datetime is one
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: msgspec.to_builtins,
    **dict.fromkeys(_ADDRESSES, str),
}

_DATE: t.Final = "(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_TIME: t.Final = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_PATTERNS: t.Final[dict[type, str]] = {
    bool: "true|false",
    int: "-?[0-9]{1,9}",
    float: r"-?[0-9]{1,9}(\.[0-9]{1,9})?",
    decimal.Decimal: r"-?[0-9]{1,9}(\.[0-9]{1,9})?",
    uuid.UUID: "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    datetime.datetime: f"{_DATE}T{_TIME}",
    datetime.date: _DATE,
    datetime.time: _TIME,
    datetime.timedelta: "P[0-9]{1,3}D",
    bytes: "([A-Za-z0-9+/]{4})*",
}
