"""Column types over HTTP: request and response annotations, filters, one row for each type."""

import collections.abc
import datetime
import enum
import functools
import ipaddress
import math
import re
import typing as t
import uuid

import pydantic
import pydantic.errors
import sqlalchemy as sa
import typing_extensions as te
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.dialects.mysql import mariadb
from sqlalchemy.dialects.postgresql import ranges

from flama._numbers import SPELLED
from flama.ddd.repositories.memory._type_codecs import integer_bounds
from flama.rest import filters, moments, value_codecs
from flama.sqlalchemy._dialects import has_zone, storage_type
from flama.sqlalchemy.sql._table_info import python_type

__all__ = ["ColumnType", "column_type", "may_be_infinite"]

_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]
_Encode: t.TypeAlias = collections.abc.Callable[[t.Any], t.Any]

_MYSQL: t.Final = (mysql.DOUBLE, mysql.FLOAT, mysql.REAL)  # can't hold NaN or infinities
_FINITE: t.Final = (
    *(sa.String, sa.Integer, sa.Boolean, sa.DateTime, sa.Date, sa.Time, sa.Interval),
    *(sa.LargeBinary, sa.Uuid, *_MYSQL),
)

_number_or_text: t.Final = {"anyOf": [{"type": "number"}, {"type": "string", "enum": [*SPELLED]}]}
_OUTPUT_FLOAT: t.Final = t.Annotated[float, pydantic.WithJsonSchema(_number_or_text, mode="serialization")]
"""A float in a response: a number, or the text for NaN or an infinity."""


class ColumnType(t.NamedTuple):
    """The form of a column's values over HTTP.

    ``input_type`` is the annotation that parses JSON to a value of the column. ``output_type`` is the annotation of
    values in responses. ``filterable`` is None where databases can't compare them. ``encode`` converts a value to a
    type of JSON; it is None if the response encoder handles the value.
    """

    input_type: t.Any
    output_type: t.Any
    filterable: filters.FieldFilter | None = None
    encode: _Encode | None = None


def column_type(kind: _Type) -> ColumnType | None:
    """Return the form of a type's values over HTTP; None if it is unknown."""
    for known, make in _ROWS:
        if isinstance(kind, known):
            return make(kind)
    return _python_row(python_type(kind))


def may_be_infinite(kind: _Type) -> bool:
    """Whether values of a column of this type may contain NaN or an infinity, which JSON can't represent."""
    match kind:
        case sa.Numeric() | sa.Float():
            return not kind.asdecimal and not isinstance(kind, _MYSQL)
    return not isinstance(kind, _FINITE)


def _type_decorator(kind: sa.types.TypeDecorator[t.Any]) -> ColumnType | None:
    """Return the row of its ``python_type`` or, if that is the same as the ``impl``'s, the row of the ``impl``."""
    inner: _Type = kind.impl_instance
    python = python_type(kind)
    return column_type(inner) if python is python_type(inner) else _python_row(python)


def _python_row(python: t.Any) -> ColumnType | None:
    if python is None:
        return None
    if python is float:
        return ColumnType(pydantic.FiniteFloat, _OUTPUT_FLOAT, filters.field_filter(float)._replace(decode=_finite))
    if issubclass(python, enum.Enum):
        return _members(python)
    if python is bytes:
        return ColumnType(pydantic.Base64Bytes, bytes, filters.field_filter(bytes))
    if not _is_known_to_pydantic(python):
        return None
    return ColumnType(python, python, filters.field_filter(python) if value_codecs.is_encodable(python) else None)


def _is_known_to_pydantic(python: t.Any) -> bool:
    try:
        pydantic.TypeAdapter(python)
    except pydantic.errors.PydanticUserError:
        return False
    return True


def _add_limit(limit: t.Callable[[t.Any], t.Any]) -> t.Callable[[t.Any], ColumnType | None]:
    """Return a function that makes the row of a type: its Python type's, within a limit."""

    def row(kind: t.Any) -> ColumnType | None:
        made, bound = _python_row(python_type(kind)), limit(kind)
        return made if made is None or bound is None else made._replace(input_type=t.Annotated[made.input_type, bound])

    return row


def _length(kind: sa.String) -> t.Any:
    return None if kind.length is None else pydantic.Field(max_length=kind.length)


def _digits(kind: sa.Numeric[t.Any]) -> t.Any:
    least = {"ge": 0} if getattr(kind, "unsigned", False) else {}
    if kind.asdecimal and kind.precision is not None and not isinstance(kind, sa.Float):
        return pydantic.Field(max_digits=kind.precision, decimal_places=kind.scale, **t.cast("t.Any", least))
    return pydantic.Field(**t.cast("t.Any", least)) if least else None


def _number(kind: t.Any) -> ColumnType | None:
    made = _add_limit(_digits)(kind)
    if made is None or kind.asdecimal:
        return made
    return made._replace(output_type=pydantic.FiniteFloat if isinstance(storage_type(kind), _MYSQL) else _OUTPUT_FLOAT)


def _integer(kind: sa.Integer) -> ColumnType:
    low, high = integer_bounds(kind)
    return ColumnType(t.Annotated[int, pydantic.Field(ge=low, le=high)], int, filters.field_filter(int))


def _make_unsigned(most: t.Callable[[t.Any], int]) -> t.Callable[[t.Any], ColumnType]:
    """Return a function that makes the row of an unsigned integer type that isn't an ``sa.Integer``."""

    def row(kind: t.Any) -> ColumnType:
        filterable = filters.field_filter(int)._replace(decode=_read(int, "whole number"))
        return ColumnType(t.Annotated[int, pydantic.Field(ge=0, le=most(kind))], int, filterable)

    return row


def _moment(kind: _Type) -> ColumnType:
    """Return the row of a type of dates or times, whose values have a UTC offset if it has a time zone."""
    python: moments.Kind = datetime.datetime if isinstance(storage_type(kind), sa.DateTime) else datetime.time
    zone, made = has_zone(kind), filters.field_filter(python)

    def read(text: str) -> t.Any:
        value = made.decode(text.upper())  # a lower-case "z" is an offset, too
        if (value.utcoffset() is not None) is not zone:
            raise ValueError(f"{text[:40]!r} {'must' if zone else 'must not'} have an offset")
        return value

    schema = pydantic.WithJsonSchema(moments.schema(python, zone=zone))
    parse = pydantic.PlainValidator(functools.partial(moments.read, python, zone=zone))
    annotation: t.Any = t.Annotated[python, parse, schema]
    return ColumnType(
        annotation, annotation, made._replace(decode=read, pattern=value_codecs.pattern(python) + ("Z" if zone else ""))
    )


def _labels(kind: sa.Enum) -> ColumnType:
    if kind.enum_class is not None:
        return _members(kind.enum_class)
    literal = _literal(kind.enums)
    return ColumnType(literal, literal, _equality(literal, "|".join(map(re.escape, kind.enums))))


def _members(kind: type[enum.Enum]) -> ColumnType:
    """Return the row of an Enum: members by value if all are texts or integers, or else by name."""
    if {type(member.value) for member in kind} in ({str}, {int}):
        return ColumnType(kind, kind, filters.field_filter(kind))
    names = _literal(kind.__members__)
    input_type: t.Any = t.Annotated[names, pydantic.AfterValidator(kind.__getitem__)]
    pattern = "|".join(map(re.escape, kind.__members__))
    return ColumnType(input_type, names, _equality(input_type, pattern), lambda member: member.name)


def _literal(labels: collections.abc.Iterable[str]) -> t.Any:
    literal: t.Any = t.Literal
    return literal[tuple(labels)]


def _set(kind: mysql.SET) -> ColumnType:
    listed: t.Any = list.__class_getitem__(_literal(kind.values))
    input_type = t.Annotated[listed, pydantic.AfterValidator(set)]

    def in_order(labels: collections.abc.Container[str]) -> list[str]:
        return [label for label in kind.values if label in labels]

    read = _read_json(listed, "list of the labels")
    filterable = filters.FieldFilter(lambda text: ",".join(in_order(read(text))), filters.EQUALITY, r"\[\]")
    return ColumnType(input_type, listed, filterable, in_order)


def _array(kind: sa.ARRAY[t.Any]) -> ColumnType | None:
    item = column_type(kind.item_type)
    if item is None:
        return None
    input_type: t.Any = t.Optional[item.input_type]  # noqa: UP045 - of a type that is made here
    output_type: t.Any = t.Optional[item.output_type]  # noqa: UP045
    encode = item.encode
    for _ in range(kind.dimensions or 1):
        input_type, output_type = list.__class_getitem__(input_type), list.__class_getitem__(output_type)
        encode = None if encode is None else _encode_items(encode)
    filterable = None if item.filterable is None else _json_equality(input_type, "list", r"\[\]")
    return ColumnType(input_type, output_type, filterable, encode)


def _encode_items(encode: _Encode) -> _Encode:
    return lambda several: [None if each is None else encode(each) for each in several]


def _range(kind: ranges.AbstractSingleRange[t.Any]) -> ColumnType:
    item = t.cast(ColumnType, column_type(_BOUNDS[kind.__visit_name__]))
    input_type: t.Any = t.Annotated[
        _range_schema(f"{kind.__visit_name__}Input", item.input_type, total=False),
        pydantic.AfterValidator(lambda fields: postgresql.Range(**fields)),
    ]
    output_type = _range_schema(kind.__visit_name__, item.output_type, total=True)
    return ColumnType(input_type, output_type, _json_equality(input_type, "range", r"\{\"empty\": true\}"))


def _range_schema(name: str, bound: t.Any, *, total: bool) -> t.Any:
    optional = t.Optional[bound]  # noqa: UP045 - of a type that is made here
    bounds = t.Literal["[)", "(]", "()", "[]"]
    make: t.Any = te.TypedDict  # type checkers reject a name that isn't literal
    return make(name, {"lower": optional, "upper": optional, "bounds": bounds, "empty": bool}, total=total)


def _multirange(kind: ranges.AbstractMultiRange[t.Any]) -> ColumnType:
    one = _range(_SINGLE[type(kind)]())
    input_type, output_type = list.__class_getitem__(one.input_type), list.__class_getitem__(one.output_type)
    return ColumnType(input_type, output_type, _json_equality(input_type, "list of ranges", r"\[\]"))


def _bits(kind: postgresql.BIT) -> ColumnType:
    length = {} if kind.length is None else {"max_length": kind.length}
    if not kind.varying:
        length = {"min_length": kind.length or 1, "max_length": kind.length or 1}
    limit = pydantic.Field(pattern="^[01]*$", **t.cast("t.Any", length))
    input_type = t.Annotated[str, limit, pydantic.AfterValidator(postgresql.BitString)]
    return ColumnType(input_type, str, _equality(input_type, "[01]*"))


def _uuid(kind: sa.Uuid[t.Any]) -> ColumnType:
    made = ColumnType(uuid.UUID, uuid.UUID, filters.field_filter(uuid.UUID))
    if kind.as_uuid:
        return made
    input_type = t.Annotated[uuid.UUID, pydantic.AfterValidator(str)]
    return made._replace(
        input_type=input_type, filterable=filters.field_filter(uuid.UUID)._replace(decode=_read(input_type, "UUID"))
    )


def _text(kind: t.Any = None) -> ColumnType:
    return ColumnType(str, str, _equality(str, "[^\\x00]*"))


def _make_text(check: collections.abc.Callable[[str], t.Any], example: str) -> t.Callable[[t.Any], ColumnType]:
    """Return a function that makes the row of a type whose values are texts that ``check`` accepts."""

    def check_text(text: str) -> str:
        check(text)
        return text

    input_type = t.Annotated[str, pydantic.AfterValidator(check_text), pydantic.Field(examples=[example])]
    return lambda _: ColumnType(input_type, str, _equality(input_type, re.escape(example)))


def _equality(annotation: t.Any, pattern: str) -> filters.FieldFilter:
    return filters.FieldFilter(_read(annotation, "value of the field"), filters.EQUALITY, pattern)


def _json_equality(annotation: t.Any, name: str, pattern: str) -> filters.FieldFilter:
    return filters.FieldFilter(_read_json(annotation, name), filters.EQUALITY, pattern)


def _read(annotation: t.Any, name: str) -> value_codecs.Decoder:
    return _make_reader(pydantic.TypeAdapter(annotation).validate_python, name)


def _read_json(annotation: t.Any, name: str) -> value_codecs.Decoder:
    return _make_reader(lambda text: _hashable(pydantic.TypeAdapter(annotation).validate_json(text)), name)


def _make_reader(read: collections.abc.Callable[[str], t.Any], name: str) -> value_codecs.Decoder:
    def read_value(text: str) -> t.Any:
        try:
            return read(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{text[:40]!r} is no {name}") from None

    return read_value


class _List(list[t.Any]):
    """A list that is hashable, so that a condition can hold it; it must not change."""

    def __hash__(self) -> int:  # type: ignore[override]
        return len(self)


class _Mapping(dict[str, t.Any]):
    """A dict that is hashable, so that a condition can hold it; it must not change."""

    def __hash__(self) -> int:  # type: ignore[override]
        return len(self)


def _hashable(value: t.Any) -> t.Any:
    match value:
        case list():
            return _List(value)
        case dict():
            return _Mapping(value)
    return value


def _finite(given: str) -> float:
    number = _read_float(given)
    if not math.isfinite(number):  # MariaDB, for one, can't represent it
        raise ValueError(f"{given[:40]!r} is no finite number")
    return t.cast(float, number)


_read_float: t.Final = value_codecs.decoder_for(float)

_BOUNDS: t.Final[dict[str, _Type]] = {
    "INT4RANGE": sa.Integer(),
    "INT8RANGE": sa.BigInteger(),
    "NUMRANGE": sa.Numeric(),
    "DATERANGE": sa.Date(),
    "TSRANGE": sa.DateTime(),
    "TSTZRANGE": sa.DateTime(timezone=True),
}
"""The types of the bounds of ranges."""

_SINGLE: t.Final[dict[type, type[ranges.AbstractSingleRange[t.Any]]]] = {
    postgresql.INT4MULTIRANGE: postgresql.INT4RANGE,
    postgresql.INT8MULTIRANGE: postgresql.INT8RANGE,
    postgresql.NUMMULTIRANGE: postgresql.NUMRANGE,
    postgresql.DATEMULTIRANGE: postgresql.DATERANGE,
    postgresql.TSMULTIRANGE: postgresql.TSRANGE,
    postgresql.TSTZMULTIRANGE: postgresql.TSTZRANGE,
}

_JSONB: t.Final = ColumnType(t.Any, t.Any, _json_equality(t.Any, "JSON", "(true|false|[0-9]{1,9})"))
_HSTORE_VALUES: t.Final = dict[str, str | None]
_HSTORE: t.Final = ColumnType(_HSTORE_VALUES, _HSTORE_VALUES, _json_equality(_HSTORE_VALUES, "mapping", r"\{\}"))
_address: t.Final = _make_text(ipaddress.ip_interface, "10.0.0.1")
_network: t.Final = _make_text(ipaddress.ip_network, "10.0.0.0/8")
_address4: t.Final = _make_text(ipaddress.IPv4Address, "10.0.0.1")
_address6: t.Final = _make_text(ipaddress.IPv6Address, "2001:db8::1")

# the first match wins: Enum and SET are subclasses of String
_ROWS: t.Final[
    tuple[tuple[type[t.Any] | tuple[type[t.Any], ...], collections.abc.Callable[[t.Any], ColumnType | None]], ...]
] = (
    (sa.PickleType, lambda _: ColumnType(t.Any, t.Any)),  # any JSON value
    (sa.types.TypeDecorator, _type_decorator),
    (postgresql.DOMAIN, lambda kind: column_type(kind.data_type)),
    (sa.Enum, _labels),
    (mysql.SET, _set),
    (sa.String, _add_limit(_length)),
    (sa.Integer, _integer),
    (sa.types.NumericCommon, _number),
    ((sa.DateTime, sa.Time), _moment),
    (sa.Uuid, _uuid),
    (postgresql.JSONB, lambda _: _JSONB),
    (postgresql.JSONPATH, lambda _: ColumnType(str, str)),
    (sa.JSON, lambda _: ColumnType(t.Any, t.Any)),
    (sa.ARRAY, _array),
    (ranges.AbstractMultiRange, _multirange),
    (ranges.AbstractSingleRange, _range),
    (postgresql.HSTORE, lambda _: _HSTORE),
    (postgresql.BIT, _bits),
    (postgresql.INET, _address),
    (postgresql.CIDR, _network),
    (mariadb.INET4, _address4),
    (mariadb.INET6, _address6),
    (postgresql.OID, _make_unsigned(lambda _: 2**32 - 1)),
    (mysql.BIT, _make_unsigned(lambda kind: 2 ** (kind.length or 1) - 1)),
    (mysql.YEAR, _make_unsigned(lambda _: 2155)),
    ((postgresql.MACADDR, postgresql.MACADDR8, postgresql.MONEY, postgresql.REGCLASS, postgresql.REGCONFIG), _text),
    ((postgresql.TSVECTOR, postgresql.TSQUERY), _text),
)
