"""What a column takes, whichever the database: told before one that would take something else for it is asked."""

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
from flama.sqlalchemy.texts import is_text

__all__ = ["PLAIN", "are_plain", "compared", "is_expression"]

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

PLAIN: t.Final[set[type]] = {
    *(str, int, bool, types.NoneType, bytes, uuid.UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
}
"""Of these types, no value is an SQL expression, and each is for the database to judge; all others are looked at.

A driver that gives values of types of its own adds them.
"""


def are_plain(table: sa.Table, names: _Names, values: collections.abc.Collection[t.Any]) -> bool:
    """Tell whether the values of a record, for the columns of these names, are all known: none is an SQL expression.

    :raises InvalidDataError: a value is one that no column of its kind has, but which one of the drivers or databases
        would store as something else: NaN, which SQLite takes for null, or a list, of which psycopg makes a text.
    """
    if PLAIN.issuperset(map(type, values)):
        return True
    plain = True
    closed = _closed(table)
    for name, value in zip(names, values, strict=False):
        if is_expression(value):
            plain = False
        elif name in closed and (found := _odd(value, closed[name])):
            raise exceptions.InvalidDataError(resource=table.name, detail=f"{name!r} can't be {found}")
    return plain


def compared(column: sa.Column[t.Any], value: t.Any) -> None:
    """Make sure that a value is one which a column can be compared with.

    :raises InvalidDataError: it is a collection or a mapping; or a text for a column of numbers or the other way round,
        which some databases refuse, and some compare as what they make of one of the two.
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
    """Tell whether a value is for the database to work out."""
    return isinstance(value, sa.ClauseElement) or hasattr(value, "__clause_element__")


@functools.lru_cache(_TABLES)
def _closed(table: sa.Table) -> dict[str, _Type]:
    """Give the columns that hold no collections, by their keys."""
    return {key: column.type for key, column in table.columns.items() if not _is_open(column.type)}


def _is_open(type: _Type) -> bool:
    return isinstance(type, _OPEN) or any(map(_is_open, type._variant_mapping.values()))


def _odd(value: t.Any, kind: _Type) -> str | None:
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
