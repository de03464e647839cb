"""Columns of moments and numbers over HTTP: how their values are sent, answered and filtered by."""

import datetime
import typing as t

import pydantic
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from flama.rest import filters, moments, values
from flama.sqlalchemy._dialects import has_zone, kept_type

__all__ = ["Scalar", "has_numbers", "scalar"]

_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]

_MYSQL: t.Final = (mysql.DOUBLE, mysql.FLOAT, mysql.REAL)  # which hold no infinity
_BESIDE_NUMBERS: t.Final = {"type": "string", "enum": ["Infinity", "-Infinity", "NaN"]}


class Scalar(t.NamedTuple):
    """How values of a column look over HTTP: the annotations of what is sent and answered, and what it is filtered by.

    ``filterable`` is None where it is as the type of its values says.
    """

    sent: t.Any
    answered: t.Any
    filterable: filters.Filterable | None = None


def scalar(kind: _Type) -> Scalar | None:
    """Return how the values of a type look over HTTP; None where it holds neither moments nor floats."""
    match kept_type(kind):
        case sa.DateTime():
            return _moment(datetime.datetime, has_zone(kind))
        case sa.Time():
            return _moment(datetime.time, has_zone(kind))
        case (sa.Numeric() | sa.Float()) as number if not number.asdecimal:
            return _FINITE if isinstance(number, _MYSQL) else _FLOAT
    return None


def has_numbers(kind: _Type) -> bool:
    """Return whether a value of a type may hold a number that JSON has no form for."""
    match kept_type(kind):
        case (sa.Numeric() | sa.Float()) as number:
            return not number.asdecimal
        case sa.String() | sa.Integer() | sa.Boolean() | sa.DateTime() | sa.Date() | sa.Time() | sa.Uuid():
            return False
        case sa.LargeBinary() | sa.Interval():
            return False
    return True


def _moment(python: moments.Kind, zone: bool) -> Scalar:
    def read(value: t.Any) -> t.Any:
        return moments.read(python, value, zone=zone)

    schema = pydantic.WithJsonSchema(moments.schema(python, zone=zone))
    annotation = t.Annotated[python, pydantic.PlainValidator(read), schema]
    return Scalar(annotation, annotation, _filterable(python, zone))


def _filterable(python: moments.Kind, zone: bool) -> filters.Filterable:
    made = filters.filterable(python)
    end = "with" if zone else "without"

    def read(text: str) -> t.Any:
        value = made.read(text)
        if (value.utcoffset() is not None) is not zone:
            raise ValueError(f"{text[:40]!r} has to be {end} an offset")
        return value

    return made._replace(read=read, pattern=f"{values.pattern(python)}Z" if zone else values.pattern(python))


_answered_float: t.Final = t.Annotated[
    float, pydantic.WithJsonSchema({"anyOf": [{"type": "number"}, _BESIDE_NUMBERS]}, mode="serialization")
]
_FINITE: t.Final = Scalar(pydantic.FiniteFloat, pydantic.FiniteFloat)
_FLOAT: t.Final = Scalar(pydantic.FiniteFloat, _answered_float)
