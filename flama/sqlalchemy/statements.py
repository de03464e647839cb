"""What to read or write, as SQLAlchemy statements: filters, clauses, orders."""

import collections.abc
import typing as t

import sqlalchemy as sa

from flama import exceptions

__all__ = [
    "Clauses",
    "Filters",
    "delete",
    "delete_one",
    "keys_of",
    "matching",
    "record_keys",
    "select",
    "update",
    "values",
]

Clauses: t.TypeAlias = collections.abc.Iterable[t.Any]
Filters: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]

_COLLECTIONS: t.Final = (list, tuple, set, frozenset)
_TAKES_COLLECTIONS: t.Final = (sa.ARRAY, sa.JSON, sa.types.TypeDecorator, sa.types.UserDefinedType)
_DIRECTIONS: t.Final = {"asc": sa.asc, "desc": sa.desc}


def record_keys(table: sa.Table) -> tuple[str, ...]:
    """Give the keys of a record of this table, in the order in which every statement here returns its columns."""
    return tuple(table.columns.keys())


def select(
    table: sa.Table,
    clauses: Clauses,
    filters: Filters,
    *,
    order_by: str | None = None,
    order_direction: str = "asc",
    limit: int | None = None,
) -> sa.Select[t.Any]:
    """Read the records that match."""
    statement = sa.select(*table.columns).where(*matching(table, clauses, filters)).limit(limit)
    if order_direction not in _DIRECTIONS:
        raise exceptions.InvalidDataError(
            resource=table.name, detail=f"order_direction is {order_direction!r}: it is 'asc' or 'desc'"
        )
    if order_by is None:
        return statement
    _known(table, (order_by,))
    return statement.order_by(_DIRECTIONS[order_direction](table.columns[order_by]))


def update(table: sa.Table, data: _Data, conditions: collections.abc.Sequence[t.Any]) -> sa.Update:
    """Change the records on which the conditions hold."""
    return sa.update(table).where(*conditions).values(dict(data))


def delete(table: sa.Table, clauses: Clauses, filters: Filters) -> sa.Delete:
    """Delete the records that match."""
    return sa.delete(table).where(*matching(table, clauses, filters))


def delete_one(table: sa.Table, clauses: Clauses, filters: Filters) -> sa.Delete:
    """Delete the record that matches when it is the only one, else none."""
    conditions = matching(table, clauses, filters)
    # LIMIT: that there are two is all that has to be known of a million. The subquery's own FROM hides the outer one.
    few = sa.select(sa.literal_column("1")).select_from(table).where(*conditions).limit(2).correlate(None).subquery()
    only = sa.select(sa.func.count()).select_from(few).scalar_subquery() == 1
    return sa.delete(table).where(*conditions, only)


def matching(table: sa.Table, clauses: Clauses, filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Give the conditions that clauses and filters put, all of which must hold.

    :raises UnknownColumnError: a filter names what the table doesn't have, or a clause is about another table.
    :raises InvalidDataError: a clause isn't one, or a filter compares a column with a collection.
    """
    _known(table, filters)
    return [
        *(_clause(table, clause) for clause in clauses),
        *(_equal(table, table.columns[name], value) for name, value in filters.items()),
    ]


def values(table: sa.Table, data: t.Any) -> dict[str, t.Any]:
    """Give what to write: None as the key of a record means that there is none yet.

    :raises UnknownColumnError: the data name what the table doesn't have.
    """
    if not isinstance(data, collections.abc.Mapping):
        raise exceptions.InvalidDataError(resource=table.name, detail=f"a record is a mapping, not {data!r}")
    _known(table, data)
    columns = table.columns
    return {
        name: value
        for name, value in data.items()
        if value is not None or not columns[name].primary_key or columns[name].nullable
    }


def keys_of(table: sa.Table) -> list[sa.Column[t.Any]]:
    """Give the columns that tell one record of the table from another.

    :raises SQLAlchemyError: it has no primary key.
    """
    columns = list(table.primary_key.columns)
    if not columns:
        raise exceptions.SQLAlchemyError(f"Table '{table.name}' has no primary key, which this database needs for this")
    return columns


def _known(table: sa.Table, names: collections.abc.Iterable[str]) -> None:
    columns = table.columns
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise exceptions.UnknownColumnError(resource=table.name, names=unknown, columns=columns.keys())


def _equal(table: sa.Table, column: sa.Column[t.Any], value: t.Any) -> sa.ColumnElement[bool]:
    if isinstance(value, _COLLECTIONS) and not isinstance(column.type, _TAKES_COLLECTIONS):
        raise exceptions.InvalidDataError(
            resource=table.name,
            detail=f"'{column.key}' can't equal a {type(value).__name__}: say table.c.{column.key}.in_(...)",
        )
    return t.cast("sa.ColumnElement[bool]", column == value)


def _clause(table: sa.Table, clause: t.Any) -> sa.ColumnElement[bool]:
    if not isinstance(clause, (sa.ColumnElement, sa.TextClause)):
        raise exceptions.InvalidDataError(resource=table.name, detail=f"{clause!r} isn't an SQLAlchemy clause")
    foreign = [str(column) for column in _columns(clause) if column.table is not table]
    if foreign:
        raise exceptions.UnknownColumnError(resource=table.name, names=foreign, columns=table.columns.keys())
    return t.cast("sa.ColumnElement[bool]", clause)


def _columns(element: t.Any) -> collections.abc.Iterator[sa.ColumnClause[t.Any]]:
    # a subquery's columns are its own affair
    if isinstance(element, sa.ColumnClause) and element.table is not None:
        yield element
    elif not isinstance(element, sa.SelectBase):
        for child in element.get_children():
            yield from _columns(child)
