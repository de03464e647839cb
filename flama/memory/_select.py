"""Slices of a table's records, in order."""

import collections.abc
import typing as t

from flama import exceptions, query
from flama.memory._conditions import Clauses, matching
from flama.memory._table_data import TableData
from flama.memory.schema import DefaultNoneDict, Row, Table
from flama.query.select import check_non_negative_int

__all__ = ["keyset_columns", "select_page"]


def select_page(rows: TableData, conditions: Clauses, select: query.Select) -> list[Row]:
    """Return the records that match a query and further conditions, in its order and slice.

    The primary key breaks the ties of every order, and is the order of a slice without another. All records without an
    order come in insertion order.

    :raises InvalidDataError: an order is invalid, a limit or offset is no natural number, or a record lacks a field.
    :raises SQLAlchemyError: the slice is next to a record, and the table has no primary key.
    """
    table = rows.table
    limit, start = (
        check_non_negative_int(table.name, "limit", select.limit),
        check_non_negative_int(table.name, "offset", select.offset) or 0,
    )
    is_ordered = select.is_slice or select.order_by is not None or select.order_direction != "asc"
    orders = _parse_orders(table, select.order_by, select.order_direction) if is_ordered else ()
    clauses = [*conditions, *select.clauses, *_keyset_conditions(table, orders, select.after, select.before)]
    found = [row for _, row in matching(rows, clauses, select.filters)]
    end = None if limit is None else start + limit
    if select.is_last_slice:
        return _sort(table, found, query.reverse(orders))[start:end][::-1]
    return _sort(table, found, orders)[start:end]


def keyset_columns(
    table: Table, types: collections.abc.Mapping[str, t.Any], select: query.Select
) -> dict[query.Order, t.Any] | None:
    """Return the order of a query, whose ties the primary key breaks, with the type of each column's values.

    Return None where a type isn't known, or the table has no primary key.

    :raises InvalidDataError: the order is invalid.
    """
    orders = _parse_orders(table, select.order_by, select.order_direction)
    is_known = bool(table.key) and all(order.field in types for order in orders)
    return {order: types[order.field] for order in orders} if is_known else None


def _parse_orders(table: Table, order_by: t.Any, direction: str) -> tuple[query.Order, ...]:
    try:
        orders = query.parse_order(_resolve_columns(table, order_by), direction, table.key)
    except (TypeError, ValueError) as error:
        raise exceptions.InvalidDataError(resource=table.name, detail=f"order_by: {error}") from error
    table.check_names(order.field for order in orders)
    return orders


def _resolve_columns(table: Table, order_by: t.Any) -> t.Any:
    match order_by:
        case str() | query.Order() | query.Field():
            return order_by
        case list() | tuple():
            return type(order_by)(_resolve_columns(table, each) for each in order_by)
    return table.key_of(order_by)


def _keyset_conditions(
    table: Table, orders: tuple[query.Order, ...], after: t.Any, before: t.Any
) -> collections.abc.Iterator[query.Condition]:
    for place, record in ((query.after, after), (query.before, before)):
        if record is None:
            continue
        if not table.key:
            raise exceptions.SQLAlchemyError(f"Table '{table.name}' has no primary key, and so no places to go on from")
        try:
            yield place(orders, record)
        except (LookupError, TypeError, ValueError) as error:
            raise exceptions.InvalidDataError(resource=table.name, detail=f"{place.__name__}: {error}") from error


def _sort(table: Table, rows: list[Row], orders: tuple[query.Order, ...]) -> list[Row]:
    try:
        return query.sort_records([DefaultNoneDict(row) for row in rows] if table.is_schemaless else rows, orders)
    except TypeError as error:  # only where the columns' types aren't known
        raise exceptions.InvalidDataError(resource=table.name, detail=f"order_by: {error}") from error
