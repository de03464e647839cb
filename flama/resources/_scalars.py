"""Scalar values over HTTP: how columns of moments and floats are sent, answered and filtered by."""

import datetime
import typing as t

import pydantic
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from flama._numbers import SPELLED
from flama.rest import filters, moments, values
from flama.sqlalchemy._dialects import has_zone, kept_type

__all__ = ["ANSWERED_FLOAT", "answered_float", "may_be_infinite", "moment", "moment_filter"]

_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]

_MYSQL: t.Final = (mysql.DOUBLE, mysql.FLOAT, mysql.REAL)  # which hold no infinity
_FINITE: t.Final = (
    *(sa.String, sa.Integer, sa.Boolean, sa.DateTime, sa.Date, sa.Time, sa.Interval),
    *(sa.LargeBinary, sa.Uuid, *_MYSQL),
)

_number_or_text: t.Final = {"anyOf": [{"type": "number"}, {"type": "string", "enum": [*SPELLED]}]}
ANSWERED_FLOAT: t.Final = t.Annotated[float, pydantic.WithJsonSchema(_number_or_text, mode="serialization")]
"""A float in a response: a number, or the text that stands for one that JSON has no form for."""


def moment(kind: _Type) -> t.Any:
    """Return the annotation of moments, or times of the day, as a column of this type takes and gives them."""
    python, zone = _python_type(kind), has_zone(kind)

    def read(value: t.Any) -> t.Any:
        return moments.read(python, value, zone=zone)

    return t.Annotated[
        python, pydantic.PlainValidator(read), pydantic.WithJsonSchema(moments.schema(python, zone=zone))
    ]


def moment_filter(kind: _Type) -> filters.Filterable:
    """Return what a column of moments, or times of the day, can be filtered by."""
    python, zone = _python_type(kind), has_zone(kind)
    made, end = filters.filterable(python), "with" if zone else "without"

    def read(text: str) -> t.Any:
        value = made.read(text.upper())  # "z", too, is an offset
        if (value.utcoffset() is not None) is not zone:
            raise ValueError(f"{text[:40]!r} has to be {end} an offset")
        return value

    return made._replace(read=read, pattern=f"{values.pattern(python)}Z" if zone else values.pattern(python))


def answered_float(kind: _Type) -> t.Any:
    """Return the annotation of floats as a column of this type gives them."""
    return pydantic.FiniteFloat if isinstance(kept_type(kind), _MYSQL) else ANSWERED_FLOAT


def may_be_infinite(kind: _Type) -> bool:
    """Return whether a value that a column of this type gives may hold a number that JSON has no form for."""
    match kind:
        case sa.Numeric() | sa.Float():
            return not kind.asdecimal and not isinstance(kind, _MYSQL)
    return not isinstance(kind, _FINITE)


def _python_type(kind: _Type) -> moments.Kind:
    return datetime.datetime if isinstance(kept_type(kind), sa.DateTime) else datetime.time
