"""Values on the wire: their encoding as the text of a query, for every type of field."""

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

__all__ = ["Decoder", "decoder_for", "encode_value", "is_encodable", "pattern"]

Decoder: t.TypeAlias = collections.abc.Callable[[str], t.Any]

# No column stores more digits, and a number with an exponent may have more digits than fit in memory.
_MAX_DIGITS: t.Final = 1_000
_MAX_SHOWN: t.Final = 40


def encode_value(value: t.Any) -> str:
    """Return the text of a value.

    :raises TypeError: the type has no form in a query.
    :raises ValueError: it is a number with more than 1,000 digits, or isn't finite.
    """
    if isinstance(value, enum.Enum):
        return encode_value(value.value)
    for kind, encode in _ENCODERS.items():
        if isinstance(value, kind):
            return encode(value)
    if isinstance(value, tuple) or dataclasses.is_dataclass(value):  # arrays and ranges
        return msgspec.json.encode(value).decode()
    raise TypeError(f"a {type(value).__name__} has no form in a query: {value!r}")


def is_encodable(annotation: t.Any) -> bool:
    """Whether values of a type have a form in a query."""
    return isinstance(annotation, type) and issubclass(annotation, (*_ENCODERS, enum.Enum))


def decoder_for(annotation: t.Any) -> Decoder:
    """Return the inverse of :func:`encode_value` for a type, a function that raises :class:`ValueError` for other
    texts.

    For ``int``, a number with a fraction is returned as a decimal, since it can be compared with integers.
    """
    read = _DECODERS.get(annotation) or _converter(annotation)
    name = getattr(annotation, "__name__", str(annotation))

    def decode(value: str) -> t.Any:
        try:
            return read(value)
        except (ValueError, ArithmeticError, RecursionError):
            raise ValueError(f"{value[:_MAX_SHOWN]!r} is no {name}") from None

    return decode


def pattern(annotation: t.Any) -> str:
    """Return a regular expression of a type's texts, for documentation: it matches the usual ones."""
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "|".join(re.escape(encode_value(member)) for member in annotation)
    return next((each for kind, each in _PATTERNS.items() if _is_subclass(annotation, kind)), "[^\\x00]*")


def _is_subclass(annotation: t.Any, kind: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kind)


def _check_digits(value: int | decimal.Decimal) -> int | decimal.Decimal:
    digits = decimal.Decimal(value)
    if not digits.is_finite() or abs(digits.adjusted()) > _MAX_DIGITS:
        raise ValueError("it is a number that no field holds")
    return value


def _converter(annotation: t.Any) -> Decoder:
    return lambda value: msgspec.convert(value, annotation, strict=False)


def _decode_decimal(value: str) -> decimal.Decimal:
    return t.cast(decimal.Decimal, _check_digits(decimal.Decimal(value)))


def _decode_number(value: str) -> int | decimal.Decimal:
    digits = value[1:] if value[:1] in ("-", "+") else value
    is_integer = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    return int(value) if is_integer else _decode_decimal(value)


def _decode_bytes(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


_ADDRESSES: t.Final = (
    *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Interface, ipaddress.IPv6Interface),
    *(ipaddress.IPv4Network, ipaddress.IPv6Network),
)
_DECODERS: t.Final[dict[t.Any, Decoder]] = {
    **{kind: kind for kind in _ADDRESSES},
    str: str,
    int: _decode_number,
    decimal.Decimal: _decode_decimal,
    bytes: _decode_bytes,
    uuid.UUID: uuid.UUID,
    datetime.date: datetime.date.fromisoformat,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
}

_ENCODERS: t.Final[dict[t.Any, collections.abc.Callable[[t.Any], str]]] = {
    str: str.__str__,
    bool: lambda value: "true" if value else "false",
    int: lambda value: str(_check_digits(value)),
    decimal.Decimal: lambda value: str(_check_digits(value)),
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
