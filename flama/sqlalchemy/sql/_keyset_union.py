"""Pages that are read as consecutive ranges of an index, where no single range has their order."""

import collections.abc
import dataclasses
import functools
import typing as t

import sqlalchemy as sa

from flama import query
from flama.sqlalchemy.sql import _collation, _where

__all__ = ["Range", "Ranges", "all_ranges", "needs_split", "ranges_after"]

_Element: t.TypeAlias = sa.ColumnElement[t.Any]
_Orders: t.TypeAlias = tuple[query.Order, ...]

_TABLES: t.Final = 1000
_MYSQL: t.Final = ("mysql", "mariadb")  # they split a condition into ranges themselves
# whether null sorts greatest in an index; None: the database reads an index from its middle, then from its start
_GREATEST: t.Final = {"postgresql": True, "sqlite": None, **dict.fromkeys(_MYSQL, False)}


class Range(t.NamedTuple):
    """A part of a page's records: the conditions that select it, and its order."""

    conditions: tuple[_Element, ...]
    order: tuple[_Element, ...]


class Ranges(t.NamedTuple):
    """The consecutive ranges of a table's records in an order."""

    table: sa.Table
    orders: _Orders
    parts: collections.abc.Sequence[Range]

    def select(
        self, matching: collections.abc.Sequence[_Element], reach: sa.BindParameter[int], dialect: str
    ) -> sa.Select[t.Any]:
        """Return a query for the first ``reach`` matching records of each range, in the common order.

        A single range is read without this limit.
        """
        columns = self.table.columns
        parts = [sa.select(*columns).where(*matching, *each.conditions).order_by(*each.order) for each in self.parts]
        if len(parts) == 1:
            return parts[0]
        parts = [part.limit(reach) for part in parts]
        if dialect == "sqlite":  # a part of a UNION can't have a LIMIT
            parts = [sa.select(*part.subquery().columns) for part in parts]
        source = sa.union_all(*parts).subquery()
        return sa.select(*source.columns).order_by(*_order_by(source, self.orders))


@functools.lru_cache(_TABLES)
def needs_split(table: sa.Table, orders: _Orders, dialect: str, *, placed: bool) -> bool:
    """Whether no index has the records in this order, or those after a place in it, in one range."""
    columns = [table.columns[order.field] for order in orders]
    if dialect not in _GREATEST:  # it may not support a LIMIT of a part
        return False
    if placed:
        mixed = len({order.descending for order in orders}) > 1 and dialect not in _MYSQL
        return len(orders) > 1 and (mixed or any(column.nullable for column in columns))
    head, greatest = orders[0], _GREATEST[dialect]
    if greatest is None or not columns[0].nullable or _keeps_nulls_apart(table, head):
        return False
    return (head.nulls == "last") != (greatest != head.descending)


def all_ranges(table: sa.Table, orders: _Orders, dialect: str) -> Ranges:
    """Return the ranges of all records in an order whose first column is nullable."""
    null = _null(table, orders, dialect)
    there = Range((_collation.comparable(table.columns[orders[0].field]).is_not(None),), _present(table, orders))
    return Ranges(table, orders, [there, null] if orders[0].nulls == "last" else [null, there])


def ranges_after(table: sa.Table, places: collections.abc.Sequence[_where.KeysetColumn], dialect: str) -> Ranges:
    """Return the ranges of the records after a place, the nearest first."""
    parts = _ranges_after(table, places, dialect) or [Range((_where.NEVER,), ())]
    return Ranges(table, tuple(place.order for place in places), parts)


def _ranges_after(table: sa.Table, places: collections.abc.Sequence[_where.KeysetColumn], dialect: str) -> list[Range]:
    if not places:
        return []
    head, *rest = places
    orders = tuple(place.order for place in places)
    there = [head._replace(nullable=False), *rest]
    nulls = [_null(table, orders, dialect)] if head.value is not None and head.nulls_follow else []
    if _where.can_compare_as_row(there):
        return [Range((_where.keyset_condition(there),), _present(table, orders)), *nulls]
    lead = _null_group_order(table, orders, dialect) if head.value is None else ()
    here = [
        Range((head.equals(), *each.conditions), (*lead, *each.order)) for each in _ranges_after(table, rest, dialect)
    ]
    further = head.strictly_after()
    return [*here, *([] if further is None else [Range((further,), _present(table, orders))]), *nulls]


def _null(table: sa.Table, orders: _Orders, dialect: str) -> Range:
    """Return the range of the records whose first column is null."""
    order = (*_null_group_order(table, orders, dialect), *_order_by(table, orders[1:]))
    return Range((_collation.comparable(table.columns[orders[0].field]).is_(None),), order)


def _null_group_order(table: sa.Table, orders: _Orders, dialect: str) -> tuple[_Element, ...]:
    """Return the sort terms of a column that is null in all the records.

    Without them, PostgreSQL doesn't recognize that an index sorts these records by its other columns.
    """
    if dialect != "postgresql":
        return ()
    return _present(table, (dataclasses.replace(orders[0], descending=_descends(table, orders)),))


def _present(table: sa.Table, orders: _Orders) -> tuple[_Element, ...]:
    """Return the order of records whose first column isn't null, as a plain index has it where possible."""
    if not orders:
        return ()
    head = orders[0]
    first = _where.order_by_term(table.columns[head.field], head, present=not _keeps_nulls_apart(table, head))
    return (first, *_order_by(table, orders[1:]))


def _order_by(source: sa.FromClause, orders: _Orders) -> tuple[_Element, ...]:
    return tuple(_where.order_by_term(source.columns[order.field], order) for order in orders)


@functools.lru_cache(_TABLES)
def _keeps_nulls_apart(table: sa.Table, order: query.Order) -> bool:
    """Whether an index declares its nulls where the order has them, against the default."""
    column = table.columns[order.field]
    if _collation.comparable(column) is not column:  # SQLAlchemy has no such expression for it
        return False
    directed = column.desc() if order.descending else column.asc()
    wanted = [each.nulls_last() if order.nulls == "last" else each.nulls_first() for each in (directed, column)]
    heads = [next(iter(index.expressions), None) for index in table.indexes]
    return any(isinstance(head, sa.ColumnElement) and any(map(head.compare, wanted)) for head in heads)


@functools.lru_cache(_TABLES)
def _descends(table: sa.Table, orders: _Orders) -> bool:
    """Whether the first column descends in an index that has this order's other columns.

    Without such an index, it is the order's own direction.
    """
    head, *rest = orders
    known = [tuple(index.expressions) for index in table.indexes]
    for descending in (head.descending, not head.descending):
        way = (dataclasses.replace(head, descending=descending), *rest)
        if any(_index_matches(table, each, index) for each in (way, query.reverse(way)) for index in known):
            return descending
    return head.descending


def _index_matches(table: sa.Table, orders: _Orders, index: tuple[t.Any, ...]) -> bool:
    return len(index) >= len(orders) and all(map(functools.partial(_column_matches, table), orders, index))


def _column_matches(table: sa.Table, order: query.Order, expression: t.Any) -> bool:
    column = table.columns[order.field]
    said = [column.desc()] if order.descending else [column, column.asc()]
    return isinstance(expression, sa.ColumnElement) and any(expression.compare(each) for each in said)
