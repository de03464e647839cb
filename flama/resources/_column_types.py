"""Types of columns over HTTP: how their values are sent, answered and filtered by, one row for each kind of type."""

import collections.abc
import enum
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

from flama.memory.kinds import integer_bounds
from flama.resources._scalars import ANSWERED_FLOAT, answered_float, moment, moment_filter
from flama.rest import filters, values
from flama.sqlalchemy.columns import python_type

__all__ = ["ColumnType", "column_type"]

_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]
_Encode: t.TypeAlias = collections.abc.Callable[[t.Any], t.Any]


class ColumnType(t.NamedTuple):
    """How values of a column's type look over HTTP.

    ``sent`` is the annotation that reads them from JSON, as what the column takes; ``answered`` is the one that
    describes them in answers. ``filterable`` is None where databases can't compare them. ``encode`` makes of a value
    what JSON has a form for; None where the encoder of responses knows it.
    """

    sent: t.Any
    answered: t.Any
    filterable: filters.Filterable | None = None
    encode: _Encode | None = None


def column_type(kind: _Type) -> ColumnType | None:
    """Return how values of a type look over HTTP; None for a type of which that is unknown."""
    for known, make in _ROWS:
        if isinstance(kind, known):
            return make(kind)
    return _of_python(python_type(kind))


def _decorated(kind: sa.types.TypeDecorator[t.Any]) -> ColumnType | None:
    """Return what its ``python_type`` says or, if it says nothing else, what its ``impl`` does."""
    inner: _Type = kind.impl_instance
    python = python_type(kind)
    return column_type(inner) if python is python_type(inner) else _of_python(python)


def _of_python(python: t.Any) -> ColumnType | None:
    if python is None:
        return None
    if python is float:
        return ColumnType(pydantic.FiniteFloat, ANSWERED_FLOAT, filters.filterable(float)._replace(read=_finite))
    if issubclass(python, enum.Enum):
        return _members(python)
    if python is bytes:
        return ColumnType(pydantic.Base64Bytes, bytes, filters.filterable(bytes))
    if not _is_known_to_pydantic(python):
        return None
    return ColumnType(python, python, filters.filterable(python) if values.has_text(python) else None)


def _is_known_to_pydantic(python: t.Any) -> bool:
    try:
        pydantic.TypeAdapter(python)
    except pydantic.errors.PydanticUserError:
        return False
    return True


def _limited(limit: t.Callable[[t.Any], t.Any]) -> t.Callable[[t.Any], ColumnType | None]:
    """Return what makes the row of a type whose values are those of its Python type, within a limit."""

    def row(kind: t.Any) -> ColumnType | None:
        made, bound = _of_python(python_type(kind)), limit(kind)
        return made if made is None or bound is None else made._replace(sent=t.Annotated[made.sent, bound])

    return row


def _length(kind: sa.String) -> t.Any:
    return None if kind.length is None else pydantic.Field(max_length=kind.length)


def _digits(kind: sa.Numeric[t.Any]) -> t.Any:
    least = {"ge": 0} if getattr(kind, "unsigned", False) else {}
    if kind.asdecimal and kind.precision is not None and not isinstance(kind, sa.Float):
        return pydantic.Field(max_digits=kind.precision, decimal_places=kind.scale, **t.cast("t.Any", least))
    return pydantic.Field(**t.cast("t.Any", least)) if least else None


def _number(kind: t.Any) -> ColumnType | None:
    made = _limited(_digits)(kind)
    return made if made is None or kind.asdecimal else made._replace(answered=answered_float(kind))


def _integer(kind: sa.Integer) -> ColumnType:
    low, high = integer_bounds(kind)
    return ColumnType(t.Annotated[int, pydantic.Field(ge=low, le=high)], int, filters.filterable(int))


def _natural(most: t.Callable[[t.Any], int]) -> t.Callable[[t.Any], ColumnType]:
    """Return what makes the row of a type that holds integers from 0 on, without being one of SQLAlchemy's own."""

    def row(kind: t.Any) -> ColumnType:
        filterable = filters.filterable(int)._replace(read=_read(int, "whole number"))
        return ColumnType(t.Annotated[int, pydantic.Field(ge=0, le=most(kind))], int, filterable)

    return row


def _labels(kind: sa.Enum) -> ColumnType:
    if kind.enum_class is not None:
        return _members(kind.enum_class)
    literal = _one_of(kind.enums)
    return ColumnType(literal, literal, _equality(literal, "|".join(map(re.escape, kind.enums))))


def _members(kind: type[enum.Enum]) -> ColumnType:
    """Return the row of an Enum: its members by their values or, if these aren't texts or integers, by their names."""
    if {type(member.value) for member in kind} in ({str}, {int}):
        return ColumnType(kind, kind, filters.filterable(kind))
    names = _one_of(kind.__members__)
    sent: t.Any = t.Annotated[names, pydantic.AfterValidator(kind.__getitem__)]
    pattern = "|".join(map(re.escape, kind.__members__))
    return ColumnType(sent, names, _equality(sent, pattern), lambda member: member.name)


def _one_of(labels: collections.abc.Iterable[str]) -> t.Any:
    literal: t.Any = t.Literal
    return literal[tuple(labels)]


def _set(kind: mysql.SET) -> ColumnType:
    listed: t.Any = list.__class_getitem__(_one_of(kind.values))
    sent = t.Annotated[listed, pydantic.AfterValidator(set)]

    def in_order(labels: collections.abc.Container[str]) -> list[str]:
        return [label for label in kind.values if label in labels]

    read = _read_json(listed, "list of the labels")
    filterable = filters.Filterable(lambda text: ",".join(in_order(read(text))), filters.EQUALITY, r"\[\]")
    return ColumnType(sent, listed, filterable, in_order)


def _array(kind: sa.ARRAY[t.Any]) -> ColumnType | None:
    item = column_type(kind.item_type)
    if item is None:
        return None
    sent: t.Any = t.Optional[item.sent]  # noqa: UP045 - of a type that is made here
    answered: t.Any = t.Optional[item.answered]  # noqa: UP045
    encode = item.encode
    for _ in range(kind.dimensions or 1):
        sent, answered = list.__class_getitem__(sent), list.__class_getitem__(answered)
        encode = None if encode is None else _each(encode)
    filterable = None if item.filterable is None else _json_equality(sent, "list", r"\[\]")
    return ColumnType(sent, answered, filterable, encode)


def _each(encode: _Encode) -> _Encode:
    return lambda several: [None if each is None else encode(each) for each in several]


def _range(kind: ranges.AbstractSingleRange[t.Any]) -> ColumnType:
    item = t.cast(ColumnType, column_type(_BOUNDS[kind.__visit_name__]))
    sent: t.Any = t.Annotated[
        _bounded(f"{kind.__visit_name__}Input", item.sent, total=False), pydantic.AfterValidator(_as_range)
    ]
    answered = _bounded(kind.__visit_name__, item.answered, total=True)
    return ColumnType(sent, answered, _json_equality(sent, "range", r"\{\"empty\": true\}"))


def _bounded(name: str, bound: t.Any, *, total: bool) -> t.Any:
    optional = t.Optional[bound]  # noqa: UP045 - of a type that is made here
    bounds = t.Literal["[)", "(]", "()", "[]"]
    make: t.Any = te.TypedDict  # of a name that is known here alone
    return make(name, {"lower": optional, "upper": optional, "bounds": bounds, "empty": bool}, total=total)


def _as_range(given: t.Any) -> t.Any:
    return postgresql.Range(**given)


def _multirange(kind: ranges.AbstractMultiRange[t.Any]) -> ColumnType:
    one = _range(_SINGLE[type(kind)]())
    sent, answered = list.__class_getitem__(one.sent), list.__class_getitem__(one.answered)
    return ColumnType(sent, answered, _json_equality(sent, "list of ranges", r"\[\]"))


def _bits(kind: postgresql.BIT) -> ColumnType:
    length = {} if kind.length is None else {"max_length": kind.length}
    if not kind.varying:
        length = {"min_length": kind.length or 1, "max_length": kind.length or 1}
    limit = pydantic.Field(pattern="^[01]*$", **t.cast("t.Any", length))
    sent = t.Annotated[str, limit, pydantic.AfterValidator(postgresql.BitString)]
    return ColumnType(sent, str, _equality(sent, "[01]*"))


def _uuid(kind: sa.Uuid[t.Any]) -> ColumnType:
    made = ColumnType(uuid.UUID, uuid.UUID, filters.filterable(uuid.UUID))
    if kind.as_uuid:
        return made
    sent = t.Annotated[uuid.UUID, pydantic.AfterValidator(str)]
    return made._replace(sent=sent, filterable=filters.filterable(uuid.UUID)._replace(read=_read(sent, "UUID")))


def _text(kind: t.Any = None) -> ColumnType:
    return ColumnType(str, str, _equality(str, "[^\\x00]*"))


def _checked(check: collections.abc.Callable[[str], t.Any], example: str) -> t.Callable[[t.Any], ColumnType]:
    """Return what makes the row of a type whose values are texts that a function can read."""

    def checked(text: str) -> str:
        check(text)
        return text

    sent = t.Annotated[str, pydantic.AfterValidator(checked), pydantic.Field(examples=[example])]
    return lambda _: ColumnType(sent, str, _equality(sent, re.escape(example)))


def _equality(annotation: t.Any, pattern: str) -> filters.Filterable:
    return filters.Filterable(_read(annotation, "value of the field"), filters.EQUALITY, pattern)


def _json_equality(annotation: t.Any, name: str, pattern: str) -> filters.Filterable:
    return filters.Filterable(_read_json(annotation, name), filters.EQUALITY, pattern)


def _read(annotation: t.Any, name: str) -> values.Reader:
    return _reading(pydantic.TypeAdapter(annotation).validate_python, name)


def _read_json(annotation: t.Any, name: str) -> values.Reader:
    return _reading(lambda text: _hashable(pydantic.TypeAdapter(annotation).validate_json(text)), name)


def _reading(read: collections.abc.Callable[[str], t.Any], name: str) -> values.Reader:
    def checked(text: str) -> t.Any:
        try:
            return read(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{text[:40]!r} is no {name}") from None

    return checked


class _List(list[t.Any]):
    """A list that a condition can hold: nobody changes it."""

    def __hash__(self) -> int:  # type: ignore[override]
        return len(self)


class _Mapping(dict[str, t.Any]):
    """A mapping that a condition can hold: nobody changes it."""

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
    if not math.isfinite(number):  # which MariaDB, for one, has no form for
        raise ValueError(f"{given[:40]!r} is no finite number")
    return t.cast(float, number)


_read_float: t.Final = values.reader(float)

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
_address: t.Final = _checked(ipaddress.ip_interface, "10.0.0.1")
_network: t.Final = _checked(ipaddress.ip_network, "10.0.0.0/8")
_address4: t.Final = _checked(ipaddress.IPv4Address, "10.0.0.1")
_address6: t.Final = _checked(ipaddress.IPv6Address, "2001:db8::1")

# the first that fits: an Enum is a String, as is a SET
_ROWS: t.Final[
    tuple[tuple[type[t.Any] | tuple[type[t.Any], ...], collections.abc.Callable[[t.Any], ColumnType | None]], ...]
] = (
    (sa.PickleType, lambda _: ColumnType(t.Any, t.Any)),  # whatever JSON has
    (sa.types.TypeDecorator, _decorated),
    (postgresql.DOMAIN, lambda kind: column_type(kind.data_type)),
    (sa.Enum, _labels),
    (mysql.SET, _set),
    (sa.String, _limited(_length)),
    (sa.Integer, _integer),
    (sa.types.NumericCommon, _number),
    ((sa.DateTime, sa.Time), lambda kind: ColumnType(moment(kind), moment(kind), moment_filter(kind))),
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
    (postgresql.OID, _natural(lambda _: 2**32 - 1)),
    (mysql.BIT, _natural(lambda kind: 2 ** (kind.length or 1) - 1)),
    (mysql.YEAR, _natural(lambda _: 2155)),
    ((postgresql.MACADDR, postgresql.MACADDR8, postgresql.MONEY, postgresql.REGCLASS, postgresql.REGCONFIG), _text),
    ((postgresql.TSVECTOR, postgresql.TSQUERY), _text),
)
