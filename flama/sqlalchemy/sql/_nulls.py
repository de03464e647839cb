"""The two nulls of a JSON column: SQL's and JSON's own.

Both are read as None, and None as a filter matches either. ``sa.null()`` and ``sa.JSON.NULL`` each match one.
"""

import typing as t

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from flama._private import sqlalchemy as private
from flama.sqlalchemy._dialects import storage_type
from flama.sqlalchemy.sql import _collation

__all__ = ["holds_json", "is_null", "is_null_value"]

_Element: t.TypeAlias = sa.ColumnElement[t.Any]
_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]


def holds_json(type: _Type) -> bool:
    """Whether a column of this type holds JSON, in any of the databases."""
    return any(isinstance(storage_type(each), sa.JSON) for each in (type, *private.variants(type)))


def is_null_value(column: sa.Column[t.Any], value: t.Any) -> bool:
    """Whether a value is null, or one of the two nulls of a column that holds JSON."""
    if value is None:
        return True
    return (value is sa.JSON.NULL or isinstance(value, sa.Null)) and holds_json(column.type)


def is_null(column: sa.Column[t.Any], value: t.Any = None) -> _Element:
    """Return the condition that a column is the null that the value stands for."""
    if value is sa.JSON.NULL:
        return _JSONNull(column)
    if value is None and holds_json(column.type):
        return sa.or_(column.is_(None), _JSONNull(column))
    return _collation.comparable(column).is_(None)


class _JSONNull(_collation.DialectSpecific):
    # the condition that a column is JSON's null
    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        (column,) = self.parts
        kept = column.type.dialect_impl(dialect)
        while isinstance(kept, sa.types.TypeDecorator):
            kept = kept.impl_instance.dialect_impl(dialect)
        match dialect.name:
            case _ if not isinstance(kept, sa.JSON):
                return sa.literal_column("(1 = 0)")
            case "postgresql":
                kind = sa.func.jsonb_typeof if isinstance(kept, postgresql.JSONB) else sa.func.json_typeof
                return kind(column) == sa.literal_column("'null'")
            case "mysql" | "mariadb":
                return sa.func.json_type(column) == sa.literal_column("'NULL'")
        return sa.type_coerce(column, sa.String) == sa.literal_column("'null'")
