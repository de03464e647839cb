"""Dates, times, floats over HTTP: request and response annotations of columns, and their filters."""

import datetime
import typing as t

import pydantic
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from flama._numbers import SPELLED
from flama.rest import filters, moments, value_codecs
from flama.sqlalchemy._dialects import has_zone, kept_type

__all__ = ["OUTPUT_FLOAT", "may_be_infinite", "moment", "moment_filter", "output_float"]

_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]

_MYSQL: t.Final = (mysql.DOUBLE, mysql.FLOAT, mysql.REAL)  # can't hold NaN or infinities
_FINITE: t.Final = (
    *(sa.String, sa.Integer, sa.Boolean, sa.DateTime, sa.Date, sa.Time, sa.Interval),
    *(sa.LargeBinary, sa.Uuid, *_MYSQL),
)

_number_or_text: t.Final = {"anyOf": [{"type": "number"}, {"type": "string", "enum": [*SPELLED]}]}
OUTPUT_FLOAT: t.Final = t.Annotated[float, pydantic.WithJsonSchema(_number_or_text, mode="serialization")]
"""A float in a response: a number, or the text for NaN or an infinity."""


def moment(kind: _Type) -> t.Any:
    """Return the annotation of dates or times in requests and responses of a column of this type."""
    python, zone = _python_type(kind), has_zone(kind)

    def read(value: t.Any) -> t.Any:
        return moments.read(python, value, zone=zone)

    return t.Annotated[
        python, pydantic.PlainValidator(read), pydantic.WithJsonSchema(moments.schema(python, zone=zone))
    ]


def moment_filter(kind: _Type) -> filters.Filterable:
    """Return the filter of a column of dates or times."""
    python, zone = _python_type(kind), has_zone(kind)
    made, requirement = filters.filterable(python), "must have an offset" if zone else "must not have an offset"

    def read(text: str) -> t.Any:
        value = made.read(text.upper())  # a lower-case "z" is an offset, too
        if (value.utcoffset() is not None) is not zone:
            raise ValueError(f"{text[:40]!r} {requirement}")
        return value

    return made._replace(
        read=read, pattern=f"{value_codecs.pattern(python)}Z" if zone else value_codecs.pattern(python)
    )


def output_float(kind: _Type) -> t.Any:
    """Return the annotation of floats in responses of a column of this type."""
    return pydantic.FiniteFloat if isinstance(kept_type(kind), _MYSQL) else OUTPUT_FLOAT


def may_be_infinite(kind: _Type) -> bool:
    """Whether values of a column of this type may contain NaN or an infinity, which JSON can't represent."""
    match kind:
        case sa.Numeric() | sa.Float():
            return not kind.asdecimal and not isinstance(kind, _MYSQL)
    return not isinstance(kind, _FINITE)


def _python_type(kind: _Type) -> moments.Kind:
    return datetime.datetime if isinstance(kept_type(kind), sa.DateTime) else datetime.time
