"""What to read or write, as SQLAlchemy statements apart from their values."""

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
from flama.sqlalchemy._nulls import is_null, is_null_value
from flama.sqlalchemy.conditions import known, where
from flama.sqlalchemy.values import PLAIN, are_plain, compared, is_expression

__all__ = [
    "Clauses",
    "Filters",
    "NO_SIGNATURE",
    "Signature",
    "Statement",
    "delete",
    "delete_one",
    "identity",
    "insert",
    "keys_of",
    "mark",
    "matching",
    "native",
    "record_keys",
    "select",
    "shaped",
    "signature",
    "tells_one",
    "update",
    "value_name",
    "values",
    "values_of_all",
]

Clauses: t.TypeAlias = collections.abc.Collection[t.Any]
Filters: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]

_LARGE: t.Final = 300  # names, operators and values: compiled, such a statement takes some 200 kB, prepared as much
_TABLES: t.Final = 1000
_ABSENT: t.Final = object()


class Statement(t.NamedTuple):
    """A statement: what tells its shape, the values in it, and what makes the whole of it.

    Statements of one ``key`` differ in their values alone, so that one of them, compiled, serves for all; None when
    that can't be told. ``build`` gives SQLAlchemy's statement, values and all: each of them is a parameter, those of
    ``data`` under their column's key, and the others, which follow, under :func:`value_name`. A value whose parameter
    isn't there by that name, None apart, is one whose shape can't be told either. ``keys`` are those of the records
    that the statement returns, in the order of its columns.

    :raises UnknownColumnError: by ``build``: a filter names what the table doesn't have.
    :raises InvalidDataError: by ``build``: a clause isn't one, or a filter compares a column with a collection.
    """

    key: collections.abc.Hashable | None
    values: tuple[t.Any, ...]
    build: collections.abc.Callable[[], t.Any]
    data: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many names, operators and values it is made of: what it takes to compile and keep it grows with that."""
        return len(self.values) if self.key is None else _leaves(self.key)

    @property
    def is_large(self) -> bool:
        """Whether it is too large for the caches that are bounded by the number of statements."""
        return self.size > _LARGE

    @property
    def execution_options(self) -> dict[str, t.Any]:
        """What SQLAlchemy is told when it runs the statement itself: not to keep a large one compiled."""
        return {"compiled_cache": None} if self.is_large else {}


def _leaves(key: t.Any) -> int:
    return sum(map(_leaves, key)) if isinstance(key, tuple) else 1


Signature: t.TypeAlias = tuple[collections.abc.Hashable, tuple[t.Any, ...]]
"""What tells a statement's shape before the statement is made, None when that can't be told, and its values."""
NO_SIGNATURE: t.Final[Signature] = (None, ())


def signature(verb: str, table: sa.Table, data: _Data, clauses: Clauses, filters: Filters) -> Signature:
    """Give the signature of the statement of a verb that takes no more than this.

    It costs a fraction of what the statement does. With clauses, or with values that have to be looked at one by one,
    there is none. Of one shape there are several, as the data's types are in it.
    """
    values = (*data.values(), *filters.values())
    types = tuple(map(type, values))
    if clauses or not PLAIN.issuperset(types):
        return NO_SIGNATURE
    return (verb, table, tuple(data), tuple(filters), types), values


def value_name(index: int) -> str:
    """Give the name of a statement's parameter for a value that is no data, by its place among all values."""
    return f"flama_{index}"


@functools.lru_cache(_TABLES)
def record_keys(table: sa.Table) -> tuple[str, ...]:
    """Give the keys of a record of this table, in the order in which every statement here returns its columns."""
    return tuple(map(str, table.columns.keys()))  # SQLAlchemy's own are of a class that encoders don't take for text


def select(table: sa.Table, clauses: Clauses, filters: Filters, *, limit: int | None = None) -> Statement:
    """Read the records that match, or so many of them: a number of the program's, and of its shape."""
    key, given = shaped("select", table, clauses, filters, limit)
    return Statement(key, given, lambda: _select(table, clauses, filters, limit), (), record_keys(table))


def insert(table: sa.Table, row: _Data) -> Statement:
    """Store a record, and return it."""
    names, given = tuple(row), tuple(row.values())
    key = ("insert", table, names) if are_plain(table, names, given) else None
    return Statement(
        key, given, lambda: sa.insert(table).values(row).returning(*table.columns), names, record_keys(table)
    )


def values_of_all(table: sa.Table, rows: collections.abc.Sequence[_Data]) -> list[tuple[t.Any, ...]] | None:
    """Give the values of rows that have the same columns, as those of :func:`insert`; None with an SQL expression."""
    names, found = tuple(rows[0]), [tuple(row.values()) for row in rows]
    plain = [are_plain(table, names, given) for given in found]  # each is looked at before one is stored
    return found if all(plain) else None


def update(table: sa.Table, data: _Data, clauses: Clauses, filters: Filters) -> Statement:
    """Change the records that match, and return them."""
    names, changes = tuple(data), tuple(data.values())
    key, given = shaped("update", table, clauses if are_plain(table, names, changes) else (None,), filters, names)
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
    """Delete the records that match."""
    key, given = shaped("delete", table, clauses, filters)
    return Statement(key, given, lambda: sa.delete(table).where(*matching(table, clauses, filters)))


def mark(table: sa.Table, marks: _Data, clauses: Clauses, filters: Filters) -> Statement:
    """Change the records that match, and return none."""
    names = tuple(marks)
    key, given = shaped("mark", table, clauses, filters, names)
    return Statement(
        key,
        (*marks.values(), *given),
        lambda: sa.update(table).where(*matching(table, clauses, filters, len(names))).values(dict(marks)),
        names,
    )


def delete_one(table: sa.Table, clauses: Clauses, filters: Filters) -> Statement:
    """Delete the record that matches when it is the only one, else none."""
    key, given = shaped("delete_one", table, clauses, filters)
    return Statement(key, given, lambda: _delete_one(table, matching(table, clauses, filters)))


def matching(
    table: sa.Table, clauses: Clauses, filters: Filters, first: int = 0
) -> collections.abc.Sequence[sa.ColumnElement[t.Any]]:
    """Give the conditions that clauses and filters put, all of which must hold.

    The filters' values, and then those of the conditions among the clauses, are parameters under their
    :func:`value_name`, counted from ``first``.

    :raises UnknownColumnError: a filter names what the table doesn't have, or a clause is about another table.
    :raises InvalidDataError: a clause isn't one, or a filter compares a column with a collection.
    """
    known(table, filters)
    names = map(value_name, itertools.count(first))
    return [
        *[_equal(table, key, value, next(names)) for key, value in filters.items()],
        *[_clause(table, clause, names) for clause in clauses],
    ]


def values(table: sa.Table, data: t.Any) -> _Data:
    """Give what to write: None as the key of a record means that there is none yet.

    :raises UnknownColumnError: the data name what the table doesn't have.
    """
    if type(data) is not dict and not isinstance(data, collections.abc.Mapping):
        raise exceptions.InvalidDataError(resource=table.name, detail=f"a record is a mapping, not {data!r}")
    columns, never_null = _columns_of(table)
    if not columns.issuperset(data):
        known(table, data)
    for name in never_null:
        if data.get(name, _ABSENT) is None:
            return {name: value for name, value in data.items() if value is not None or name not in never_null}
    return data


def shaped(
    verb: str, table: sa.Table, clauses: Clauses, filters: Filters, *more: t.Any
) -> tuple[collections.abc.Hashable | None, tuple[t.Any, ...]]:
    """Give the key and the values of a statement that does something with what matches; ``more`` tells what else."""
    # by a value's type it is told whether it is null, and how it is compared
    given = tuple(filters.values())
    types = tuple(map(type, given))
    if not clauses:
        return (verb, table, tuple(filters), types, (), *more), given
    conditions = [clause for clause in clauses if isinstance(clause, query.Condition)]
    given = sum((condition.values for condition in conditions), given)
    if len(conditions) != len(clauses):
        return None, given
    return (verb, table, tuple(filters), types, tuple([each.shape for each in conditions]), *more), given


def native(table: sa.Table, clause: t.Any) -> sa.ColumnElement[t.Any]:
    """Give an expression of SQLAlchemy's, which is about the table's columns alone.

    :raises UnknownColumnError: it is about those of another.
    :raises InvalidDataError: it isn't one.
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
    """Give the columns that tell one record of the table from another.

    :raises SQLAlchemyError: it has no primary key.
    """
    columns = list(table.primary_key.columns)
    if not columns:
        raise exceptions.SQLAlchemyError(f"Table '{table.name}' has no primary key, which this database needs for this")
    return columns


def identity(table: sa.Table, clauses: Clauses, filters: Filters) -> t.Any:
    """Give the key of the one record that is asked for: its value, or all by name; None when it isn't asked for by key.

    It is what errors tell of the record.
    """
    keys = _keys_of(table)
    if clauses or not keys or frozenset(filters) != keys:
        return None
    return next(iter(filters.values())) if len(keys) == 1 else dict(filters)


def tells_one(table: sa.Table, filters: Filters) -> bool:
    """Tell whether filters give the whole key of a record."""
    keys = _keys_of(table)
    return bool(keys) and all(filters.get(key) is not None and not is_expression(filters[key]) for key in keys)


def _select(table: sa.Table, clauses: Clauses, filters: Filters, limit: int | None) -> sa.Select[t.Any]:
    found = sa.select(*table.columns).where(*matching(table, clauses, filters))
    return found if limit is None else _few(found, limit)


def _few(found: sa.Select[t.Any], limit: int) -> sa.Select[t.Any]:
    # SQLite's LIMIT comes with an OFFSET, which would be a parameter
    return found.limit(_number(limit)).offset(_number(0))


def _number(number: int) -> sa.ColumnElement[int]:
    # that is the same in all statements of a shape, and so needs no parameter
    return sa.literal_column(str(number), sa.Integer)


def _delete_one(table: sa.Table, conditions: collections.abc.Sequence[sa.ColumnElement[t.Any]]) -> sa.Delete:
    # LIMIT: that there are two is all that has to be known of a million. The subquery's own FROM hides the outer one.
    few = _few(sa.select(_number(1)).select_from(table).where(*conditions), 2).correlate(None).subquery()
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
    compared(column, value)
    # a value of another kind than the column's is compared as what it is: that depends on the value
    # (a day, too, is compared with moments in UTC, not in the session's time zone)
    is_day = isinstance(value, datetime.date) and has_moments(column.type)
    as_column = is_day or column.type.coerce_compared_value(operators.eq, value) is column.type
    named = as_column and not is_expression(value)
    return column == (sa.bindparam(name, value, column.type) if named else value)


def _clause(table: sa.Table, clause: t.Any, names: collections.abc.Iterator[str]) -> sa.ColumnElement[t.Any]:
    if isinstance(clause, query.Condition):
        return where(table, clause, names)
    return Grouping(native(table, clause))  # SQLAlchemy puts no brackets around a text, and it may have an OR in it


def _columns(element: t.Any) -> collections.abc.Iterator[sa.ColumnClause[t.Any]]:
    # a subquery's columns are its own affair
    if isinstance(element, sa.ColumnClause) and element.table is not None:
        yield element
    elif not isinstance(element, sa.SelectBase):
        for child in element.get_children():
            yield from _columns(child)
