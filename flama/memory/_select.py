"""Slices of a table's records, in order."""

import collections.abc
import typing as t

from flama import exceptions, query
from flama.memory._conditions import Clauses, matching
from flama.memory._policies import Rules
from flama.memory._table_data import Rows
from flama.memory.schema import Row, Sparse, Table

__all__ = ["natural", "page", "places"]

_MAX_INTEGER: t.Final = 2**63 - 1


def page(
    rows: Rows,
    clauses: Clauses,
    filters: Row,
    *,
    order_by: t.Any = None,
    order_direction: str = "asc",
    limit: int | None = None,
    offset: int | None = None,
    after: t.Any = None,
    before: t.Any = None,
) -> list[Row]:
    """Return, in order, the matching records that come after one record, before another, or both.

    With a limit, they are the first of them; with ``before`` alone, the last. The primary key breaks the ties of every
    order, and is the order of a slice without another. All records without an order come in insertion order.

    :raises InvalidDataError: an order is invalid, a limit or offset is no natural number, or a record lacks a field.
    :raises SQLAlchemyError: ``after`` or ``before`` is used on a table without primary key.
    """
    table = rows.table
    limit, start = natural(table, "limit", limit), natural(table, "offset", offset) or 0
    sliced = not (limit is None and start == 0 and after is None and before is None)
    ordered = sliced or order_by is not None or order_direction != "asc"
    orders = _parse_orders(table, order_by, order_direction) if ordered else ()
    found = [row for _, row in matching(rows, [*clauses, *_keyset_conditions(table, orders, after, before)], filters)]
    end = None if limit is None else start + limit
    if before is not None and after is None and limit is not None:
        return _sort(table, found, query.reverse(orders))[start:end][::-1]
    return _sort(table, found, orders)[start:end]


def natural(table: Table, what: str, number: int | None) -> int | None:
    """Return a number of records, or None.

    :raises InvalidDataError: it isn't a number from 0 on; the error calls it ``what``.
    """
    if number is None or (type(number) is int and 0 <= number <= _MAX_INTEGER):
        return number
    raise exceptions.InvalidDataError(resource=table.name, detail=f"{what} is {number!r}: it is a number from 0 on")


def places(rules: Rules, order_by: t.Any, order_direction: str) -> dict[query.Order, t.Any] | None:
    """Return an order, whose ties the primary key breaks, with the type of each column's values.

    Return None where a type isn't known, or the table has no primary key.

    :raises InvalidDataError: the order is invalid.
    """
    orders = _parse_orders(rules.table, order_by, order_direction)
    kinds = rules.kinds
    is_known = bool(rules.table.key) and all(order.field in kinds for order in orders)
    return {order: kinds[order.field] for order in orders} if is_known else None


def _parse_orders(table: Table, order_by: t.Any, direction: str) -> tuple[query.Order, ...]:
    try:
        orders = query.orders(_resolve_columns(table, order_by), direction, table.key)
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
        return query.in_order([Sparse(row) for row in rows] if table.open else rows, orders)
    except TypeError as error:  # only where the columns' types aren't known
        raise exceptions.InvalidDataError(resource=table.name, detail=f"order_by: {error}") from error
