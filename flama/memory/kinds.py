"""How values of a SQLAlchemy type are kept."""

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
from flama.memory.definitions import Kind, anything

__all__ = ["integer_bounds", "kind"]

_Convert: t.TypeAlias = collections.abc.Callable[[t.Any], t.Any]
_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]

_DIALECT: t.Final = DefaultDialect()
_EXACT: t.Final = decimal.Context(prec=2_000, traps=[decimal.InvalidOperation])


def kind(type: _Type) -> Kind:
    """Give how values of a type are kept; what one of the databases refuses is refused."""
    for known, made in _KINDS:
        if isinstance(type, known):
            return made(type)
    return _processed("a value", type)._replace(takes_collections=True)


def _kind(name: str, keep: _Convert, operand: _Convert | None = None, give: _Convert | None = None) -> Kind:
    return Kind(name, _or_null(keep), None if give is None else _or_null(give), _or_null(operand or keep))


def _or_null(convert: _Convert) -> _Convert:
    def converted(value: t.Any) -> t.Any:
        return None if value is None or isinstance(value, elements.Null) else convert(_plain(value))

    return converted


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, sa.ClauseElement) or hasattr(value, "__clause_element__"):
        raise TypeError("memory can't work SQL expressions out")
    return value


def _decorated(type: sa.types.TypeDecorator[t.Any]) -> Kind:
    if isinstance(type, sa.Interval):
        return _kind("a span of time", _instance(datetime.timedelta))
    known: t.Any = sa.types.TypeDecorator
    own: t.Any = type.__class__
    if own.bind_processor is not known.bind_processor or own.result_processor is not known.result_processor:
        return _processed("a value", type)._replace(takes_collections=True)
    inner = kind(type.load_dialect_impl(_DIALECT))
    bind = type.process_bind_param if own.process_bind_param is not known.process_bind_param else _same
    result = type.process_result_value if own.process_result_value is not known.process_result_value else _same
    give = inner.give or _only
    return Kind(
        inner.name,
        _unless_null(lambda value: inner.keep(bind(_plain(value), _DIALECT))),
        lambda value: result(give(value), _DIALECT),
        _unless_null(lambda value: inner.operand(bind(_plain(value), _DIALECT))),
        is_text=inner.is_text,
        takes_collections=True,
        null=inner.null,
    )


def _unless_null(convert: _Convert) -> _Convert:
    # SQL's own null is no value of the type
    return lambda value: None if isinstance(value, elements.Null) else convert(value)


def _same(value: t.Any, dialect: t.Any) -> t.Any:
    return value


def _only(value: t.Any) -> t.Any:
    return value


def _processed(name: str, type: _Type) -> Kind:
    # as SQLAlchemy sends them to a database, and takes them back from there
    bind = type.bind_processor(_DIALECT) or anything.keep
    result = type.result_processor(_DIALECT, None) or anything.keep

    def keep(value: t.Any) -> t.Any:
        kept = bind(_plain(value))
        result(kept)  # says whether it can be taken back
        return kept

    return Kind(name, keep, result, keep)


def _texts(type: sa.String) -> Kind:
    name = f"a text of at most {type.length}" if type.length else "a text"
    return _kind(name, _text(type.length), _text())._replace(is_text=True)


def _text(length: int | None = None) -> _Convert:
    def text(value: t.Any) -> str:
        if not isinstance(value, str):
            raise TypeError("it is no text")
        if length is not None and len(value) > length:
            raise ValueError(f"it has {len(value)} characters")
        if "\0" in value:
            raise ValueError("it has a NUL in it")
        value.encode()  # says whether all of it are characters
        return str.__str__(value)

    return text


def _truth(value: t.Any) -> bool:
    if value not in (True, False):
        raise ValueError("it is neither")
    return bool(value)


def integer_bounds(type: sa.Integer) -> tuple[int, int]:
    """Return the least and the greatest integer that a type holds, on whichever database holds the most."""
    several: list[t.Any] = [type, *type._variant_mapping.values()]
    bounds = [_bounds(each) for each in several if isinstance(each, sa.Integer)]
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def _bounds(type: sa.Integer) -> tuple[int, int]:
    bits = next(bits for known, bits in _BITS if isinstance(type, known))
    if getattr(type, "unsigned", False) or getattr(type, "zerofill", False):  # of MySQL, where the one means the other
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


_BITS: t.Final[tuple[tuple[type[t.Any], int], ...]] = (
    (mysql.TINYINT, 8),
    (sa.SmallInteger, 16),
    (mysql.MEDIUMINT, 24),
    (sa.BigInteger, 64),
    (sa.Integer, 32),
)


def _whole_numbers(type: sa.Integer) -> Kind:
    low, high = integer_bounds(type)

    def keep(value: t.Any) -> int:
        number = operator.index(value)
        if not low <= number <= high:
            raise ValueError("it is out of range")
        return number

    def operand(value: t.Any) -> t.Any:
        return _finite(value) if isinstance(value, float | decimal.Decimal) else keep(_plain(value))

    return _kind(f"a whole number from {low} to {high}", keep, operand)


def _natural(most: int) -> _Convert:
    def natural(value: t.Any) -> int:
        number = operator.index(value)
        if not 0 <= number <= most:
            raise ValueError("it is out of range")
        return number

    return natural


def _labels(type: mysql.SET) -> Kind:
    known = frozenset(type.values)

    def keep(value: t.Any) -> frozenset[str]:
        labels = frozenset(filter(None, value.split(",")) if isinstance(value, str) else value)
        if not labels <= known:
            raise ValueError("it has other labels")
        return labels

    return _kind("a set of " + ", ".join(map(repr, type.values)), keep, give=set)._replace(takes_collections=True)


def _numbers(type: sa.Float[t.Any]) -> Kind:
    processed: t.Any = type
    give = processed.result_processor(_DIALECT, None)
    return _kind("a number", lambda value: float(_finite(value)), give=give)


def _decimals(type: sa.Numeric[t.Any]) -> Kind:
    scale = type.scale if type.scale is not None or type.precision is None else 0
    step = None if scale is None else decimal.Decimal(1).scaleb(-scale)
    most = None if type.precision is None else decimal.Decimal(10) ** (type.precision - (scale or 0))

    def operand(value: t.Any) -> decimal.Decimal:
        number = _finite(value)
        return decimal.Decimal(repr(number)) if isinstance(number, float) else decimal.Decimal(number)

    def keep(value: t.Any) -> decimal.Decimal:
        number = operand(value)
        if step is not None:
            number = number.quantize(step, decimal.ROUND_HALF_UP, _EXACT)
        if most is not None and number.copy_abs() >= most:  # abs() would round it
            raise ValueError("it is out of range")
        return number

    return _kind("a decimal number", keep, operand, None if type.asdecimal else float)


def _finite(value: t.Any) -> t.Any:
    if not isinstance(value, int | float | decimal.Decimal):
        raise TypeError("it is no number")
    if not math.isfinite(value):
        raise ValueError("it is not finite")
    return value


def _moment(timezone: bool) -> _Convert:
    def moment(value: t.Any) -> datetime.datetime:
        if timezone:
            return t.cast("datetime.datetime", in_utc(_instance(datetime.date)(value)))
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001
        return t.cast("datetime.datetime", refuse_offset(_instance(datetime.datetime)(value)))

    return moment


def _day(value: t.Any) -> datetime.date:
    return value.date() if isinstance(value, datetime.datetime) else _instance(datetime.date)(value)


def _time(timezone: bool) -> _Convert:
    def time(value: t.Any) -> datetime.time:
        found = _instance(datetime.time)(value)
        return t.cast("datetime.time", in_utc(found) if timezone else refuse_offset(found))

    return time


def _instance(type: type) -> _Convert:
    def instance(value: t.Any) -> t.Any:
        if not isinstance(value, type):
            raise TypeError(f"it is no {type.__name__}")
        return value

    return instance


def _bytes(value: t.Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("they are none")
    return bytes(value)


def _json(type: sa.JSON) -> Kind:
    # a null of JSON is no null of SQL's, and both are None

    def keep(value: t.Any) -> str | None:
        if isinstance(value, elements.Null) or (value is None and type.none_as_null):
            return None
        return json.dumps(None if value is sa.JSON.NULL else _plain(value), allow_nan=False)

    return Kind("JSON", keep, _or_null(json.loads), keep, takes_collections=True, null="null")


def _uuid(value: t.Any) -> uuid.UUID:
    return t.cast("uuid.UUID", _instance(uuid.UUID)(value))


def _uuid_as_text(value: t.Any) -> str:
    return str(uuid.UUID(_instance(str)(value)))


def _array(type: sa.ARRAY[t.Any]) -> Kind:
    item = kind(type.item_type)
    give = item.give or _only

    def keep(values: t.Any) -> t.Any:
        if isinstance(values, list | tuple):
            return tuple(keep(value) for value in values)
        return item.keep(values)

    def given(values: t.Any) -> t.Any:
        return [given(value) for value in values] if isinstance(values, tuple) else give(values)

    def whole(values: t.Any) -> t.Any:
        if not isinstance(_plain(values), list | tuple):
            raise TypeError("it is no list")
        return keep(values)

    return _kind("a list", whole, give=given)._replace(takes_collections=True)


def _several(values: t.Any) -> tuple[t.Any, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError("it is no list")
    return tuple(values)


_ranges: t.Final = _kind("a list of ranges", _several, give=postgresql.ranges.MultiRange)._replace(
    takes_collections=True
)

# the first that fits: an Enum is a String
_KINDS: t.Final[tuple[tuple[type[_Type], collections.abc.Callable[[t.Any], Kind]], ...]] = (
    (sa.types.TypeDecorator, _decorated),
    (postgresql.DOMAIN, lambda type: kind(type.data_type)),
    (sa.Enum, lambda type: _processed("one of " + ", ".join(map(repr, type.enums)), type)),
    (mysql.SET, _labels),
    (mysql.BIT, lambda type: _kind("bits, as a number", _natural(2 ** (type.length or 1) - 1))),
    (mysql.YEAR, lambda _: _kind("a year", _natural(2155))),
    (sa.String, _texts),
    (sa.Boolean, lambda _: _kind("true or false", _truth)),
    (sa.Integer, _whole_numbers),
    (sa.Float, _numbers),
    (sa.Numeric, _decimals),
    (sa.DateTime, lambda type: _kind("a moment", _moment(type.timezone))),
    (sa.Date, lambda _: _kind("a day", _day)),
    (sa.Time, lambda type: _kind("a time of day", _time(type.timezone))),
    (sa.LargeBinary, lambda _: _kind("bytes", _bytes)),
    (sa.JSON, _json),
    (sa.Uuid, lambda type: _kind("a UUID", _uuid if type.as_uuid else _uuid_as_text)),
    (sa.ARRAY, _array),
    (postgresql.ranges.AbstractMultiRange, lambda _: _ranges),
)
