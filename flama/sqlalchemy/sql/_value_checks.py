"""Checks of values for columns that hold for all databases, made before a database converts a wrong value silently."""

import collections.abc
import datetime
import decimal
import functools
import math
import types
import typing as t
import uuid

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from flama import exceptions, query
from flama._private import sqlalchemy as private
from flama.sqlalchemy.sql._collation import is_text

__all__ = ["SCALAR_TYPES", "check_comparable", "check_values", "is_expression"]

_Names: t.TypeAlias = collections.abc.Iterable[str]
_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]

_COLLECTIONS: t.Final = (list, tuple, set, frozenset)
_NUMBERS: t.Final = (int, float, decimal.Decimal)
_MOMENTS: t.Final = (datetime.date, datetime.time, datetime.timedelta)
_SCALARS: t.Final = (types.NoneType, str, *_NUMBERS, *_MOMENTS, bytes, bytearray, memoryview, uuid.UUID)
_NUMERIC: t.Final = (sa.Integer, sa.Numeric, sa.Boolean)
# types whose values may be of any class, or are collections
_OPEN: t.Final = (
    *(sa.ARRAY, sa.JSON, sa.types.NullType, sa.types.TypeDecorator, sa.types.UserDefinedType),
    *(postgresql.HSTORE, postgresql.ranges.AbstractMultiRange, mysql.SET),
)
_TABLES: t.Final = 1000

SCALAR_TYPES: t.Final[set[type]] = {
    *(str, int, bool, types.NoneType, bytes, uuid.UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
}
"""Types whose values are no SQL expressions and are validated by the database; values of all others are checked here.

A driver that returns values of its own types adds them.
"""


def check_values(table: sa.Table, names: _Names, values: collections.abc.Collection[t.Any]) -> bool:
    """Return whether all values of a record, for the columns of these names, are plain: none is an SQL expression.

    :raises InvalidDataError: the column can't hold a value, but one of the drivers or databases would store something
        else for it: SQLite stores NaN as null, psycopg a list as a text.
    """
    if SCALAR_TYPES.issuperset(map(type, values)):
        return True
    plain = True
    closed = _scalar_columns(table)
    for name, value in zip(names, values, strict=False):
        if is_expression(value):
            plain = False
        elif name in closed and (found := _reject_reason(value, closed[name])):
            raise exceptions.InvalidDataError(resource=table.name, detail=f"{name!r} can't be {found}")
    return plain


def check_comparable(column: sa.Column[t.Any], value: t.Any) -> None:
    """Check that a column can be compared with a value.

    :raises InvalidDataError: it is a collection or a mapping, a text for a column of numbers, or a number for one of
        texts. Some databases refuse the latter two, others convert one of the sides.
    """
    type = column.type
    if isinstance(value, _COLLECTIONS) and not isinstance(type, _OPEN):
        told = f"say {query.F[column.key]!r}.in_(...)"
    elif isinstance(value, dict) and not isinstance(type, _OPEN):
        told = "it holds no mappings"
    elif isinstance(value, str) and isinstance(type, _NUMERIC):
        told = "it is a number"
    elif isinstance(value, _NUMBERS) and is_text(type) and not isinstance(type, _OPEN):
        told = "it is a text"
    else:
        return
    detail = f"'{column.key}' can't be compared with a {value.__class__.__name__}: {told}"
    raise exceptions.InvalidDataError(resource=column.table.name, detail=detail)


def is_expression(value: t.Any) -> bool:
    """Whether a value is an SQL expression, which the database evaluates."""
    return isinstance(value, sa.ClauseElement) or hasattr(value, "__clause_element__")


@functools.lru_cache(_TABLES)
def _scalar_columns(table: sa.Table) -> dict[str, _Type]:
    """Return the types of the columns that hold no collections, by key."""
    return {key: column.type for key, column in table.columns.items() if not _is_open(column.type)}


def _is_open(type: _Type) -> bool:
    return any(isinstance(each, _OPEN) for each in (type, *private.variants(type)))


def _reject_reason(value: t.Any, kind: _Type) -> str | None:
    match value:
        case float() | decimal.Decimal() if not _is_finite(value):
            return str(value) if isinstance(kind, sa.Integer) or "nan" in str(value).lower() else None
        case dict() | list() | tuple() | set() | frozenset():
            return f"a {type(value).__name__}"
        case _ if is_text(kind) and not isinstance(value, _SCALARS):
            return f"a {type(value).__name__}"
    return None


def _is_finite(number: float | decimal.Decimal) -> bool:
    return number.is_finite() if isinstance(number, decimal.Decimal) else math.isfinite(number)
