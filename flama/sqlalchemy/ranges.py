"""Pages that are read as stretches of an index, one behind the other, where no single one has them in their order."""

import collections.abc
import dataclasses
import functools
import typing as t

import sqlalchemy as sa

from flama import query
from flama.sqlalchemy import conditions, texts

__all__ = ["Range", "Ranges", "are_several", "beyond", "whole"]

_Element: t.TypeAlias = sa.ColumnElement[t.Any]
_Orders: t.TypeAlias = tuple[query.Order, ...]

_TABLES: t.Final = 1000
_MYSQL: t.Final = ("mysql", "mariadb")  # which makes several ranges of a condition itself
# whether null is the greatest in an index; None where a whole one is read from its middle, and then from its start
_GREATEST: t.Final = {"postgresql": True, "sqlite": None, **dict.fromkeys(_MYSQL, False)}


class Range(t.NamedTuple):
    """Some of the records of a page: what holds of them alone, and the order of those."""

    conditions: tuple[_Element, ...]
    order: tuple[_Element, ...]


class Ranges(t.NamedTuple):
    """The ranges of a table's records that come one behind the other in an order."""

    table: sa.Table
    orders: _Orders
    parts: collections.abc.Sequence[Range]

    def select(
        self, matching: collections.abc.Sequence[_Element], reach: sa.BindParameter[int], dialect: str
    ) -> sa.Select[t.Any]:
        """Read the first records that match of each range, as many as ``reach`` says, in the order of all.

        Of a single range, all are read.
        """
        columns = self.table.columns
        parts = [sa.select(*columns).where(*matching, *each.conditions).order_by(*each.order) for each in self.parts]
        if len(parts) == 1:
            return parts[0]
        parts = [part.limit(reach) for part in parts]
        if dialect == "sqlite":  # it takes no LIMIT of a part
            parts = [sa.select(*part.subquery().columns) for part in parts]
        source = sa.union_all(*parts).subquery()
        return sa.select(*source.columns).order_by(*_ordered(source, self.orders))


@functools.lru_cache(_TABLES)
def are_several(table: sa.Table, orders: _Orders, dialect: str, *, placed: bool) -> bool:
    """Tell whether no index has the records in this order, or those behind a place in it, in one piece."""
    columns = [table.columns[order.field] for order in orders]
    if dialect not in _GREATEST:  # which may have no LIMIT of a part
        return False
    if placed:
        mixed = len({order.descending for order in orders}) > 1 and dialect not in _MYSQL
        return len(orders) > 1 and (mixed or any(column.nullable for column in columns))
    head, greatest = orders[0], _GREATEST[dialect]
    if greatest is None or not columns[0].nullable or _keeps_nulls_apart(table, head):
        return False
    return (head.nulls == "last") != (greatest != head.descending)


def whole(table: sa.Table, orders: _Orders, dialect: str) -> Ranges:
    """Give the ranges of all records in an order, of which the first column may be null."""
    null = _null(table, orders, dialect)
    there = Range((texts.comparable(table.columns[orders[0].field]).is_not(None),), _present(table, orders))
    return Ranges(table, orders, [there, null] if orders[0].nulls == "last" else [null, there])


def beyond(table: sa.Table, places: collections.abc.Sequence[conditions.Place], dialect: str) -> Ranges:
    """Give the ranges of the records behind a place, the next ones first."""
    parts = _beyond(table, places, dialect) or [Range((conditions.NEVER,), ())]
    return Ranges(table, tuple(place.order for place in places), parts)


def _beyond(table: sa.Table, places: collections.abc.Sequence[conditions.Place], dialect: str) -> list[Range]:
    if not places:
        return []
    head, *rest = places
    orders = tuple(place.order for place in places)
    there = [head._replace(nullable=False), *rest]
    nulls = [_null(table, orders, dialect)] if head.value is not None and head.nulls_follow else []
    if conditions.go_as_rows(there):
        return [Range((conditions.beyond(there),), _present(table, orders)), *nulls]
    lead = _null_lead(table, orders, dialect) if head.value is None else ()
    here = [Range((head.here(), *each.conditions), (*lead, *each.order)) for each in _beyond(table, rest, dialect)]
    further = head.further()
    return [*here, *([] if further is None else [Range((further,), _present(table, orders))]), *nulls]


def _null(table: sa.Table, orders: _Orders, dialect: str) -> Range:
    """Give the range of what is null in the first column."""
    order = (*_null_lead(table, orders, dialect), *_ordered(table, orders[1:]))
    return Range((texts.comparable(table.columns[orders[0].field]).is_(None),), order)


def _null_lead(table: sa.Table, orders: _Orders, dialect: str) -> tuple[_Element, ...]:
    """Give how to sort by a column that is null everywhere.

    PostgreSQL sees no other way that an index has what is null in the order of its other columns.
    """
    if dialect != "postgresql":
        return ()
    return _present(table, (dataclasses.replace(orders[0], descending=_descends(table, orders)),))


def _present(table: sa.Table, orders: _Orders) -> tuple[_Element, ...]:
    """Give an order of records of which none is null in the first column: as a plain index has it, if it can be."""
    if not orders:
        return ()
    head = orders[0]
    first = conditions.ordered(table.columns[head.field], head, present=not _keeps_nulls_apart(table, head))
    return (first, *_ordered(table, orders[1:]))


def _ordered(source: sa.FromClause, orders: _Orders) -> tuple[_Element, ...]:
    return tuple(conditions.ordered(source.columns[order.field], order) for order in orders)


@functools.lru_cache(_TABLES)
def _keeps_nulls_apart(table: sa.Table, order: query.Order) -> bool:
    """Whether an index says of itself that it has its nulls where the order has them, though it wouldn't by default."""
    column = table.columns[order.field]
    if texts.comparable(column) is not column:  # of which SQLAlchemy has no such expression
        return False
    directed = column.desc() if order.descending else column.asc()
    wanted = [each.nulls_last() if order.nulls == "last" else each.nulls_first() for each in (directed, column)]
    heads = [next(iter(index.expressions), None) for index in table.indexes]
    return any(isinstance(head, sa.ColumnElement) and any(map(head.compare, wanted)) for head in heads)


@functools.lru_cache(_TABLES)
def _descends(table: sa.Table, orders: _Orders) -> bool:
    """Whether the first column descends where an index has the second in its order; else it goes as it is said."""
    head, *rest = orders
    known = [tuple(index.expressions) for index in table.indexes]
    for descending in (head.descending, not head.descending):
        way = (dataclasses.replace(head, descending=descending), *rest)
        if any(_goes(table, each, index) for each in (way, query.reverse(way)) for index in known):
            return descending
    return head.descending


def _goes(table: sa.Table, orders: _Orders, index: tuple[t.Any, ...]) -> bool:
    return len(index) >= len(orders) and all(map(functools.partial(_is_way, table), orders, index))


def _is_way(table: sa.Table, order: query.Order, expression: t.Any) -> bool:
    column = table.columns[order.field]
    said = [column.desc()] if order.descending else [column, column.asc()]
    return isinstance(expression, sa.ColumnElement) and any(expression.compare(each) for each in said)
