"""SQLAlchemy statements that read or write records, separate from their values."""

import collections.abc
import datetime
import functools
import itertools
import typing as t

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import Grouping

from flama import exceptions, query
from flama.sqlalchemy._dialects import has_moments
from flama.sqlalchemy.sql._nulls import is_null, is_null_value
from flama.sqlalchemy.sql._value_checks import SCALAR_TYPES, check_comparable, check_values, is_expression
from flama.sqlalchemy.sql._where import check_columns_exist, compile_condition

__all__ = [
    "Clauses",
    "Filters",
    "NO_SIGNATURE",
    "Signature",
    "Statement",
    "bind_name",
    "cache_key",
    "check_sa_expression",
    "delete",
    "delete_one",
    "identity",
    "insert",
    "is_by_primary_key",
    "keys_of",
    "matching",
    "record_keys",
    "select",
    "signature",
    "soft_delete",
    "update",
    "values",
    "values_of_all",
]

Clauses: t.TypeAlias = collections.abc.Collection[t.Any]
Filters: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]

_LARGE: t.Final = 300  # names, operators and values: such a statement takes some 200 kB compiled, and as much prepared
_TABLES: t.Final = 1000
_ABSENT: t.Final = object()


class Statement(t.NamedTuple):
    """A statement: the cache key of its shape, its values, and the function that builds it.

    Statements with the same ``key`` differ in their values alone, so one of them, compiled, serves for all. The key is
    None if the shape is unknown. ``build`` returns SQLAlchemy's statement with its values, each as a parameter. The
    values of ``data`` come first, named by their column's key; the others are named by :func:`bind_name`. If a value
    other than None has no parameter of that name, the shape is unknown too. ``keys`` are the keys of the returned
    records, in the order of the statement's columns.

    :raises UnknownColumnError: by ``build``: a filter names a column that the table doesn't have.
    :raises InvalidDataError: by ``build``: a clause isn't one, or a filter compares a column with a collection.
    """

    key: collections.abc.Hashable | None
    values: tuple[t.Any, ...]
    build: collections.abc.Callable[[], t.Any]
    data: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of its names, operators and values: the cost to compile and cache it grows with that."""
        return len(self.values) if self.key is None else _leaves(self.key)

    @property
    def is_large(self) -> bool:
        """Whether it is too large for caches that are limited by the number of statements."""
        return self.size > _LARGE

    @property
    def execution_options(self) -> dict[str, t.Any]:
        """The execution options with which SQLAlchemy runs the statement: a large one isn't cached compiled."""
        return {"compiled_cache": None} if self.is_large else {}


def _leaves(key: t.Any) -> int:
    return sum(map(_leaves, key)) if isinstance(key, tuple) else 1


Signature: t.TypeAlias = tuple[collections.abc.Hashable, tuple[t.Any, ...]]
"""The cache key of a statement's shape, known before the statement is built, or None; and the statement's values."""
NO_SIGNATURE: t.Final[Signature] = (None, ())


def signature(verb: str, table: sa.Table, data: _Data, clauses: Clauses, filters: Filters) -> Signature:
    """Return the signature of the statement of a verb with these arguments alone.

    It costs a fraction of the statement. With clauses, or with values that must be checked one by one, it is
    :data:`NO_SIGNATURE`. It includes the data's types, so a statement's shape has several signatures.
    """
    values = (*data.values(), *filters.values())
    types = tuple(map(type, values))
    if clauses or not SCALAR_TYPES.issuperset(types):
        return NO_SIGNATURE
    return (verb, table, tuple(data), tuple(filters), types), values


def bind_name(index: int) -> str:
    """Return the parameter name of a value that isn't part of ``data``, by its index among all values."""
    return f"flama_{index}"


@functools.lru_cache(_TABLES)
def record_keys(table: sa.Table) -> tuple[str, ...]:
    """Return the keys of a record of this table, in the order in which the statements here return its columns."""
    return tuple(map(str, table.columns.keys()))  # encoders don't accept SQLAlchemy's own class of strings as text


def select(table: sa.Table, clauses: Clauses, filters: Filters, *, limit: int | None = None) -> Statement:
    """Return a query for the matching records, at most ``limit``, which is part of the shape and no parameter."""
    key, given = cache_key("select", table, clauses, filters, limit)
    return Statement(key, given, lambda: _select(table, clauses, filters, limit), (), record_keys(table))


def insert(table: sa.Table, row: _Data) -> Statement:
    """Return a statement that inserts a record, and returns it."""
    names, given = tuple(row), tuple(row.values())
    key = ("insert", table, names) if check_values(table, names, given) else None
    return Statement(
        key, given, lambda: sa.insert(table).values(row).returning(*table.columns), names, record_keys(table)
    )


def values_of_all(table: sa.Table, rows: collections.abc.Sequence[_Data]) -> list[tuple[t.Any, ...]] | None:
    """Return the values of rows with the same columns, as for :func:`insert`; None if any is an SQL expression."""
    names, found = tuple(rows[0]), [tuple(row.values()) for row in rows]
    plain = [check_values(table, names, given) for given in found]  # all are checked before any is stored
    return found if all(plain) else None


def update(table: sa.Table, data: _Data, clauses: Clauses, filters: Filters) -> Statement:
    """Return a statement that updates the matching records, and returns them."""
    names, changes = tuple(data), tuple(data.values())
    key, given = cache_key("update", table, clauses if check_values(table, names, changes) else (None,), filters, names)
    return Statement(
        key,
        changes + given,
        lambda: (
            sa.update(table)
            .where(*matching(table, clauses, filters, len(names)))
            .values(dict(data))
            .returning(*table.columns)
        ),
        names,
        record_keys(table),
    )


def delete(table: sa.Table, clauses: Clauses, filters: Filters) -> Statement:
    """Return a statement that deletes the matching records."""
    key, given = cache_key("delete", table, clauses, filters)
    return Statement(key, given, lambda: sa.delete(table).where(*matching(table, clauses, filters)))


def soft_delete(table: sa.Table, marks: _Data, clauses: Clauses, filters: Filters) -> Statement:
    """Return a statement that marks the matching records as deleted, and returns no records."""
    names = tuple(marks)
    key, given = cache_key("mark", table, clauses, filters, names)
    return Statement(
        key,
        (*marks.values(), *given),
        lambda: sa.update(table).where(*matching(table, clauses, filters, len(names))).values(dict(marks)),
        names,
    )


def delete_one(table: sa.Table, clauses: Clauses, filters: Filters) -> Statement:
    """Return a statement that deletes the matching record if it is the only one, else none."""
    key, given = cache_key("delete_one", table, clauses, filters)
    return Statement(key, given, lambda: _delete_one(table, matching(table, clauses, filters)))


def matching(
    table: sa.Table, clauses: Clauses, filters: Filters, first: int = 0
) -> collections.abc.Sequence[sa.ColumnElement[t.Any]]:
    """Return the conditions of clauses and filters; a record matches if it meets them all.

    The values of the filters, then of the conditions among the clauses, are parameters named by :func:`bind_name`,
    counted from ``first``.

    :raises UnknownColumnError: a filter names a column that the table doesn't have, or a clause is about another table.
    :raises InvalidDataError: a clause isn't one, or a filter compares a column with a collection.
    """
    check_columns_exist(table, filters)
    names = map(bind_name, itertools.count(first))
    return [
        *[_equal(table, key, value, next(names)) for key, value in filters.items()],
        *[_clause(table, clause, names) for clause in clauses],
    ]


def values(table: sa.Table, data: t.Any) -> _Data:
    """Return the data to write; a primary key of None is left out, for the database to set.

    :raises UnknownColumnError: the data name a column that the table doesn't have.
    :raises InvalidDataError: the data are no mapping.
    """
    if type(data) is not dict and not isinstance(data, collections.abc.Mapping):
        raise exceptions.InvalidDataError(resource=table.name, detail=f"a record is a mapping, not {data!r}")
    columns, never_null = _columns_of(table)
    if not columns.issuperset(data):
        check_columns_exist(table, data)
    for name in never_null:
        if data.get(name, _ABSENT) is None:
            return {name: value for name, value in data.items() if value is not None or name not in never_null}
    return data


def cache_key(
    verb: str, table: sa.Table, clauses: Clauses, filters: Filters, *more: t.Any
) -> tuple[collections.abc.Hashable | None, tuple[t.Any, ...]]:
    """Return the cache key and the values of a statement on matching records; ``more`` are other parts of its shape."""
    # the type of a value determines whether it is null, and how it is compared
    given = tuple(filters.values())
    types = tuple(map(type, given))
    if not clauses:
        return (verb, table, tuple(filters), types, (), *more), given
    conditions = [clause for clause in clauses if isinstance(clause, query.Condition)]
    given = sum((condition.values for condition in conditions), given)
    if len(conditions) != len(clauses):
        return None, given
    return (verb, table, tuple(filters), types, tuple([each.cache_key for each in conditions]), *more), given


def check_sa_expression(table: sa.Table, clause: t.Any) -> sa.ColumnElement[t.Any]:
    """Return an SQLAlchemy expression after a check that it is about the table's columns alone.

    :raises UnknownColumnError: it is about columns of another table.
    :raises InvalidDataError: it isn't an SQLAlchemy expression.
    """
    if not isinstance(clause, (sa.ColumnElement, sa.TextClause)):
        raise exceptions.InvalidDataError(
            resource=table.name, detail=f"{clause!r} is neither a condition nor an SQLAlchemy clause"
        )
    foreign = [str(column) for column in _columns(clause) if column.table is not table]
    if foreign:
        raise exceptions.UnknownColumnError(resource=table.name, names=foreign, columns=table.columns.keys())
    return t.cast("sa.ColumnElement[t.Any]", clause)


def keys_of(table: sa.Table) -> list[sa.Column[t.Any]]:
    """Return the primary key's columns of a table.

    :raises SQLAlchemyError: it has no primary key.
    """
    columns = list(table.primary_key.columns)
    if not columns:
        raise exceptions.SQLAlchemyError(f"Table '{table.name}' has no primary key, which this database needs for this")
    return columns


def identity(table: sa.Table, clauses: Clauses, filters: Filters) -> t.Any:
    """Return the primary key by which filters select a record: its value, or a mapping if it has several columns.

    None if they don't select by the key alone. Errors name the record by it.
    """
    keys = _keys_of(table)
    if clauses or not keys or frozenset(filters) != keys:
        return None
    return next(iter(filters.values())) if len(keys) == 1 else dict(filters)


def is_by_primary_key(table: sa.Table, filters: Filters) -> bool:
    """Whether filters contain the whole primary key of a record."""
    keys = _keys_of(table)
    return bool(keys) and all(filters.get(key) is not None and not is_expression(filters[key]) for key in keys)


def _select(table: sa.Table, clauses: Clauses, filters: Filters, limit: int | None) -> sa.Select[t.Any]:
    found = sa.select(*table.columns).where(*matching(table, clauses, filters))
    return found if limit is None else _limit_rows(found, limit)


def _limit_rows(found: sa.Select[t.Any], limit: int) -> sa.Select[t.Any]:
    # SQLite's LIMIT comes with an OFFSET, which would be a parameter
    return found.limit(_number(limit)).offset(_number(0))


def _number(number: int) -> sa.ColumnElement[int]:
    # the same in all statements of a shape, so it needs no parameter
    return sa.literal_column(str(number), sa.Integer)


def _delete_one(table: sa.Table, conditions: collections.abc.Sequence[sa.ColumnElement[t.Any]]) -> sa.Delete:
    # the LIMIT stops the count at two, though a million match; the subquery's own FROM hides the outer one
    few = _limit_rows(sa.select(_number(1)).select_from(table).where(*conditions), 2).correlate(None).subquery()
    only = sa.select(sa.func.count()).select_from(few).scalar_subquery() == _number(1)
    return sa.delete(table).where(*conditions, only)


@functools.lru_cache(_TABLES)
def _keys_of(table: sa.Table) -> frozenset[str]:
    return frozenset(column.key for column in table.primary_key.columns)


@functools.lru_cache(_TABLES)
def _columns_of(table: sa.Table) -> tuple[frozenset[str], tuple[str, ...]]:
    columns = table.columns
    never_null = (name for name, column in columns.items() if column.primary_key and not column.nullable)
    return frozenset(columns.keys()), tuple(never_null)


def _equal(table: sa.Table, key: str, value: t.Any, name: str) -> sa.ColumnElement[bool]:
    column = table.columns[key]
    if is_null_value(column, value):
        return is_null(column, value)
    check_comparable(column, value)
    # a value of another kind than the column's is compared by its own type, so no parameter can stand for it
    # (a day, too, is compared with moments in UTC, not in the session's time zone)
    is_day = isinstance(value, datetime.date) and has_moments(column.type)
    as_column = is_day or column.type.coerce_compared_value(operators.eq, value) is column.type
    named = as_column and not is_expression(value)
    return column == (sa.bindparam(name, value, column.type) if named else value)


def _clause(table: sa.Table, clause: t.Any, names: collections.abc.Iterator[str]) -> sa.ColumnElement[t.Any]:
    if isinstance(clause, query.Condition):
        return compile_condition(table, clause, names)
    return Grouping(
        check_sa_expression(table, clause)
    )  # SQLAlchemy puts no brackets around a text, which may contain an OR


def _columns(element: t.Any) -> collections.abc.Iterator[sa.ColumnClause[t.Any]]:
    # a subquery may use columns of any table
    if isinstance(element, sa.ColumnClause) and element.table is not None:
        yield element
    elif not isinstance(element, sa.SelectBase):
        for child in element.get_children():
            yield from _columns(child)
