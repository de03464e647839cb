"""Stored forms of the values of SQLAlchemy types."""

import collections.abc
import datetime
import decimal
import json
import math
import operator
import typing as t
import uuid

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql import elements

from flama._moments import in_utc, refuse_offset
from flama._private import sqlalchemy as private
from flama.memory.schema import ANY, TypeCodec

__all__ = ["codec_for", "integer_bounds"]

_Convert: t.TypeAlias = collections.abc.Callable[[t.Any], t.Any]
_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]

_DIALECT: t.Final = DefaultDialect()
_EXACT: t.Final = decimal.Context(prec=2_000, traps=[decimal.InvalidOperation])


def codec_for(type: _Type) -> TypeCodec:
    """Return how values of a type are stored; values that one of the databases refuses are refused."""
    for known, make_kind in _CODECS:
        if isinstance(type, known):
            return make_kind(type)
    return _processor_codec("a value", type)._replace(takes_collections=True)


def _make_codec(
    name: str, encode: _Convert, encode_operand: _Convert | None = None, decode: _Convert | None = None
) -> TypeCodec:
    return TypeCodec(
        name, _pass_null(encode), None if decode is None else _pass_null(decode), _pass_null(encode_operand or encode)
    )


def _pass_null(convert: _Convert) -> _Convert:
    def convert_or_none(value: t.Any) -> t.Any:
        return None if value is None or isinstance(value, elements.Null) else convert(_check_not_sql(value))

    return convert_or_none


def _check_not_sql(value: t.Any) -> t.Any:
    if isinstance(value, sa.ClauseElement) or hasattr(value, "__clause_element__"):
        raise TypeError("memory can't work SQL expressions out")
    return value


def _decorator_codec(type: sa.types.TypeDecorator[t.Any]) -> TypeCodec:
    if isinstance(type, sa.Interval):
        return _make_codec("a span of time", _instance_checker(datetime.timedelta))
    known: t.Any = sa.types.TypeDecorator
    own: t.Any = type.__class__
    if own.bind_processor is not known.bind_processor or own.result_processor is not known.result_processor:
        return _processor_codec("a value", type)._replace(takes_collections=True)
    inner = codec_for(type.load_dialect_impl(_DIALECT))
    bind = type.process_bind_param if own.process_bind_param is not known.process_bind_param else _ignore_dialect
    result = (
        type.process_result_value if own.process_result_value is not known.process_result_value else _ignore_dialect
    )
    decode = inner.decode or _identity
    return TypeCodec(
        inner.name,
        _pass_sql_null(lambda value: inner.encode(bind(_check_not_sql(value), _DIALECT))),
        lambda value: result(decode(value), _DIALECT),
        _pass_sql_null(lambda value: inner.encode_operand(bind(_check_not_sql(value), _DIALECT))),
        is_text=inner.is_text,
        takes_collections=True,
        null=inner.null,
    )


def _pass_sql_null(convert: _Convert) -> _Convert:
    # SQL's own null isn't a value of the type
    return lambda value: None if isinstance(value, elements.Null) else convert(value)


def _ignore_dialect(value: t.Any, dialect: t.Any) -> t.Any:
    return value


def _identity(value: t.Any) -> t.Any:
    return value


def _processor_codec(name: str, type: _Type) -> TypeCodec:
    # as SQLAlchemy converts them for a database, and back
    bind = type.bind_processor(_DIALECT) or ANY.encode
    result = type.result_processor(_DIALECT, None) or ANY.encode

    def encode(value: t.Any) -> t.Any:
        kept = bind(_check_not_sql(value))
        result(kept)  # raises for a value that can't be converted back
        return kept

    return TypeCodec(name, encode, result, encode)


def _text_codec(type: sa.String) -> TypeCodec:
    name = f"a text of at most {type.length}" if type.length else "a text"
    return _make_codec(name, _text_converter(type.length), _text_converter())._replace(is_text=True)


def _text_converter(length: int | None = None) -> _Convert:
    def text(value: t.Any) -> str:
        if not isinstance(value, str):
            raise TypeError("it is no text")
        if length is not None and len(value) > length:
            raise ValueError(f"it has {len(value)} characters")
        if "\0" in value:
            raise ValueError("it has a NUL in it")
        value.encode()  # raises for lone surrogates
        return str.__str__(value)

    return text


def _to_bool(value: t.Any) -> bool:
    if value not in (True, False):
        raise ValueError("it is neither")
    return bool(value)


def integer_bounds(type: sa.Integer) -> tuple[int, int]:
    """Return the least and the greatest integer that a type holds, on the database that holds the most."""
    several = (type, *private.variants(type))
    bounds = [_integer_bounds(each) for each in several if isinstance(each, sa.Integer)]
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def _integer_bounds(type: sa.Integer) -> tuple[int, int]:
    bits = next(bits for known, bits in _BITS if isinstance(type, known))
    if getattr(type, "unsigned", False) or getattr(type, "zerofill", False):  # MySQL's zerofill implies unsigned
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


_BITS: t.Final[tuple[tuple[type[t.Any], int], ...]] = (
    (mysql.TINYINT, 8),
    (sa.SmallInteger, 16),
    (mysql.MEDIUMINT, 24),
    (sa.BigInteger, 64),
    (sa.Integer, 32),
)


def _integer_codec(type: sa.Integer) -> TypeCodec:
    low, high = integer_bounds(type)

    def encode(value: t.Any) -> int:
        number = operator.index(value)
        if not low <= number <= high:
            raise ValueError("it is out of range")
        return number

    def encode_operand(value: t.Any) -> t.Any:
        return _check_finite(value) if isinstance(value, float | decimal.Decimal) else encode(_check_not_sql(value))

    return _make_codec(f"a whole number from {low} to {high}", encode, encode_operand)


def _natural_converter(most: int) -> _Convert:
    def natural(value: t.Any) -> int:
        number = operator.index(value)
        if not 0 <= number <= most:
            raise ValueError("it is out of range")
        return number

    return natural


def _set_codec(type: mysql.SET) -> TypeCodec:
    known = frozenset(type.values)

    def encode(value: t.Any) -> frozenset[str]:
        labels = frozenset(filter(None, value.split(",")) if isinstance(value, str) else value)
        if not labels <= known:
            raise ValueError("it has other labels")
        return labels

    return _make_codec("a set of " + ", ".join(map(repr, type.values)), encode, decode=set)._replace(
        takes_collections=True
    )


def _float_codec(type: sa.Float[t.Any]) -> TypeCodec:
    processed: t.Any = type
    decode = processed.result_processor(_DIALECT, None)
    return _make_codec("a number", lambda value: float(_check_finite(value)), decode=decode)


def _decimal_codec(type: sa.Numeric[t.Any]) -> TypeCodec:
    scale = type.scale if type.scale is not None or type.precision is None else 0
    step = None if scale is None else decimal.Decimal(1).scaleb(-scale)
    most = None if type.precision is None else decimal.Decimal(10) ** (type.precision - (scale or 0))

    def encode_operand(value: t.Any) -> decimal.Decimal:
        number = _check_finite(value)
        return decimal.Decimal(repr(number)) if isinstance(number, float) else decimal.Decimal(number)

    def encode(value: t.Any) -> decimal.Decimal:
        number = encode_operand(value)
        if step is not None:
            number = number.quantize(step, decimal.ROUND_HALF_UP, _EXACT)
        if most is not None and number.copy_abs() >= most:  # abs() would round it
            raise ValueError("it is out of range")
        return number

    return _make_codec("a decimal number", encode, encode_operand, None if type.asdecimal else float)


def _check_finite(value: t.Any) -> t.Any:
    if not isinstance(value, int | float | decimal.Decimal):
        raise TypeError("it is no number")
    if not math.isfinite(value):
        raise ValueError("it is not finite")
    return value


def _datetime_converter(timezone: bool) -> _Convert:
    def moment(value: t.Any) -> datetime.datetime:
        if timezone:
            return t.cast("datetime.datetime", in_utc(_instance_checker(datetime.date)(value)))
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001
        return t.cast("datetime.datetime", refuse_offset(_instance_checker(datetime.datetime)(value)))

    return moment


def _to_date(value: t.Any) -> datetime.date:
    return value.date() if isinstance(value, datetime.datetime) else _instance_checker(datetime.date)(value)


def _time_converter(timezone: bool) -> _Convert:
    def time(value: t.Any) -> datetime.time:
        found = _instance_checker(datetime.time)(value)
        return t.cast("datetime.time", in_utc(found) if timezone else refuse_offset(found))

    return time


def _instance_checker(type: type) -> _Convert:
    def instance(value: t.Any) -> t.Any:
        if not isinstance(value, type):
            raise TypeError(f"it is no {type.__name__}")
        return value

    return instance


def _to_bytes(value: t.Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("they are none")
    return bytes(value)


def _json_codec(type: sa.JSON) -> TypeCodec:
    # JSON's null isn't SQL's, and both are None in Python

    def encode(value: t.Any) -> str | None:
        if isinstance(value, elements.Null) or (value is None and type.none_as_null):
            return None
        return json.dumps(None if value is sa.JSON.NULL else _check_not_sql(value), allow_nan=False)

    return TypeCodec("JSON", encode, _pass_null(json.loads), encode, takes_collections=True, null="null")


def _check_uuid(value: t.Any) -> uuid.UUID:
    return t.cast("uuid.UUID", _instance_checker(uuid.UUID)(value))


def _normalize_uuid(value: t.Any) -> str:
    return str(uuid.UUID(_instance_checker(str)(value)))


def _array_codec(type: sa.ARRAY[t.Any]) -> TypeCodec:
    item = codec_for(type.item_type)
    decode = item.decode or _identity

    def encode(values: t.Any) -> t.Any:
        if isinstance(values, list | tuple):
            return tuple(encode(value) for value in values)
        return item.encode(values)

    def decode_items(values: t.Any) -> t.Any:
        return [decode_items(value) for value in values] if isinstance(values, tuple) else decode(values)

    def encode_list(values: t.Any) -> t.Any:
        if not isinstance(_check_not_sql(values), list | tuple):
            raise TypeError("it is no list")
        return encode(values)

    return _make_codec("a list", encode_list, decode=decode_items)._replace(takes_collections=True)


def _to_tuple(values: t.Any) -> tuple[t.Any, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError("it is no list")
    return tuple(values)


_MULTIRANGES: t.Final = _make_codec("a list of ranges", _to_tuple, decode=postgresql.ranges.MultiRange)._replace(
    takes_collections=True
)

# the first that fits: an Enum is a String
_CODECS: t.Final[tuple[tuple[type[_Type], collections.abc.Callable[[t.Any], TypeCodec]], ...]] = (
    (sa.types.TypeDecorator, _decorator_codec),
    (postgresql.DOMAIN, lambda type: codec_for(type.data_type)),
    (sa.Enum, lambda type: _processor_codec("one of " + ", ".join(map(repr, type.enums)), type)),
    (mysql.SET, _set_codec),
    (mysql.BIT, lambda type: _make_codec("bits, as a number", _natural_converter(2 ** (type.length or 1) - 1))),
    (mysql.YEAR, lambda _: _make_codec("a year", _natural_converter(2155))),
    (sa.String, _text_codec),
    (sa.Boolean, lambda _: _make_codec("true or false", _to_bool)),
    (sa.Integer, _integer_codec),
    (sa.Float, _float_codec),
    (sa.Numeric, _decimal_codec),
    (sa.DateTime, lambda type: _make_codec("a moment", _datetime_converter(type.timezone))),
    (sa.Date, lambda _: _make_codec("a day", _to_date)),
    (sa.Time, lambda type: _make_codec("a time of day", _time_converter(type.timezone))),
    (sa.LargeBinary, lambda _: _make_codec("bytes", _to_bytes)),
    (sa.JSON, _json_codec),
    (sa.Uuid, lambda type: _make_codec("a UUID", _check_uuid if type.as_uuid else _normalize_uuid)),
    (sa.ARRAY, _array_codec),
    (postgresql.ranges.AbstractMultiRange, lambda _: _MULTIRANGES),
)
