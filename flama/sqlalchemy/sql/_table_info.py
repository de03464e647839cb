"""Facts about a table's columns, needed to write to them."""

import collections.abc
import functools
import typing as t

import sqlalchemy as sa

from flama import exceptions, policies
from flama.sqlalchemy._dialects import has_moments, has_zone, storage_type
from flama.sqlalchemy.sql._where import check_columns_exist

__all__ = [
    "Columns",
    "column_keys",
    "generated_columns",
    "index_condition",
    "json_columns",
    "partial_index",
    "policy_columns",
    "python_type",
    "python_types",
    "unique_columns",
]

Columns: t.TypeAlias = str | sa.Column[t.Any] | collections.abc.Iterable[str | sa.Column[t.Any]]
"""One column of a table, or several: the columns, or their keys."""

_TABLES: t.Final = 1000


def column_keys(table: sa.Table, columns: Columns) -> tuple[str, ...]:
    """Return the keys of columns of a table, without duplicates.

    :raises UnknownColumnError: the table doesn't have them.
    """
    several: t.Any = (columns,) if isinstance(columns, (str, sa.Column)) else columns
    names = tuple(dict.fromkeys(_key(table, column) for column in several))
    check_columns_exist(table, names)
    return names


@functools.lru_cache(_TABLES)
def json_columns(table: sa.Table) -> frozenset[str]:
    """Return the keys of the columns that hold JSON, texts, integers or Booleans: types that JSON has too.

    A model, an Enum or a UUID must be converted to JSON's types for them. The other columns take Python's objects.
    """
    return frozenset(key for key, column in table.columns.items() if _takes_json(column.type))


def python_type(type: sa.types.TypeEngine[t.Any]) -> t.Any:
    """Return the Python type of a column's values, None if it is unknown.

    A TypeDecorator that doesn't declare one has that of its ``impl``.
    """
    try:
        found = type.python_type
    except NotImplementedError:
        found = object
    if found is not object:
        return found
    if isinstance(type, sa.types.TypeDecorator) and not isinstance(type, sa.PickleType):
        return python_type(type.impl_instance)
    return None


@functools.lru_cache(_TABLES)
def python_types(table: sa.Table) -> dict[str, t.Any]:
    """Return the known Python types of the columns' values, by key."""
    return {key: kind for key, column in table.columns.items() if (kind := python_type(column.type)) is not None}


@functools.lru_cache(_TABLES)
def policy_columns(table: sa.Table) -> policies.Columns:
    """Return the properties of a table's columns that policies depend on."""
    return policies.Columns(table.name, {key: _policy_column(column) for key, column in table.columns.items()})


@functools.lru_cache(_TABLES)
def generated_columns(table: sa.Table) -> frozenset[str]:
    """Return the keys of the columns whose values the database alone sets."""
    return frozenset(key for key, column in table.columns.items() if _is_generated(column))


@functools.lru_cache(_TABLES)
def unique_columns(table: sa.Table) -> tuple[frozenset[str], ...]:
    """Return the sets of columns that are unique together, as sets of keys, the primary key first.

    They include those of partial indexes, which permit duplicates among records outside their condition.
    """
    constraints = [each.columns for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    indexes = [index.columns for index in table.indexes if index.unique and _is_on_columns(index)]
    found = [sorted(column.key for column in columns) for columns in (*constraints, *indexes)]
    primary = [column.key for column in table.primary_key]
    return tuple(dict.fromkeys(frozenset(keys) for keys in (primary, *sorted(found)) if keys))


@functools.lru_cache(_TABLES)
def partial_index(table: sa.Table, keys: frozenset[str], dialect: str) -> sa.Index | None:
    """Return the partial index that alone makes these columns unique on this database.

    None if duplicates are refused among all records. A database ignores index conditions written for another one.

    :raises SQLAlchemyError: there are several.
    """
    constraints = [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    indexes = [index for index in table.indexes if index.unique and _is_on_columns(index)]
    candidates: list[t.Any] = [table.primary_key, *constraints, *indexes]
    unique = [each for each in candidates if frozenset(column.key for column in each.columns) == keys]
    partial = [each for each in unique if index_condition(each, dialect) is not None]
    if len(partial) < len(unique):
        return None
    if len(partial) > 1:
        names = ", ".join(sorted(str(each.name) for each in partial))
        raise exceptions.SQLAlchemyError(
            f"Table '{table.name}' has several partial indexes on ({', '.join(sorted(keys))}): "
            f"{names}. Which one is meant can't be told"
        )
    return partial[0] if partial else None


def index_condition(index: t.Any, dialect: str) -> t.Any:
    """Return the condition of a partial index on this database, None for a full index."""
    where = getattr(index, "dialect_kwargs", {}).get(f"{dialect}_where")
    return sa.text(where) if isinstance(where, str) else where


def _policy_column(column: sa.Column[t.Any]) -> policies.Column:
    return policies.Column(
        stores_time=has_moments(column.type),
        stores_zone=has_zone(column.type),
        is_timestamp=isinstance(storage_type(column.type), sa.DateTime),
        is_nullable=bool(column.nullable),
        is_computed=column.computed is not None,
        has_default=column.default is not None or column.server_default is not None,
        has_onupdate=column.onupdate is not None,
        changes_by_itself=any(way is not None for way in (column.onupdate, column.server_onupdate, column.computed)),
    )


def _key(table: sa.Table, column: t.Any) -> str:
    if isinstance(column, sa.Column):
        return str(column.key if column.table is table else column)
    return str(column)


def _is_on_columns(index: sa.Index) -> bool:
    return all(isinstance(each, sa.Column) for each in index.expressions)


def _takes_json(type: sa.types.TypeEngine[t.Any]) -> bool:
    match type:
        case sa.JSON():
            return True
        case sa.ARRAY():
            return _takes_json(type.item_type)
        case sa.types.TypeDecorator():
            return False
    return python_type(type) in (str, int, bool)


def _is_generated(column: sa.Column[t.Any]) -> bool:
    return column.computed is not None or (column.identity is not None and bool(column.identity.always))
