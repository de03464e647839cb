"""Which slice of a table's records to read, in which order."""

import collections.abc
import typing as t

from flama import exceptions, query
from flama.memory.conditions import Clauses, matching
from flama.memory.definitions import Row, Sparse, Table
from flama.memory.rows import Rows
from flama.memory.rules import Rules

__all__ = ["natural", "page", "places"]

_MOST: t.Final = 2**63 - 1


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
    """Give, in order, those of the records that match which come after one record, before another, or both.

    With a limit, they are the first of them, and when it's only said what they come before, the last of them. An order
    is always brought to a decision by the primary key, which is that of a slice without another; records that are
    given whole, without one, come as they were stored.

    :raises InvalidDataError: an order isn't one, a limit or offset is no natural number, a record lacks a field.
    :raises SQLAlchemyError: a place is named in a table without primary key.
    """
    table = rows.table
    limit, start = natural(table, "limit", limit), natural(table, "offset", offset) or 0
    sliced = not (limit is None and start == 0 and after is None and before is None)
    ordered = sliced or order_by is not None or order_direction != "asc"
    orders = _orders(table, order_by, order_direction) if ordered else ()
    found = [row for _, row in matching(rows, [*clauses, *_places(table, orders, after, before)], filters)]
    end = None if limit is None else start + limit
    if before is not None and after is None and limit is not None:
        return _in_order(table, found, query.reverse(orders))[start:end][::-1]
    return _in_order(table, found, orders)[start:end]


def natural(table: Table, what: str, number: int | None) -> int | None:
    """Give a number of records, or None.

    :raises InvalidDataError: it isn't one; ``what`` says what it was meant for.
    """
    if number is None or (type(number) is int and 0 <= number <= _MOST):
        return number
    raise exceptions.InvalidDataError(resource=table.name, detail=f"{what} is {number!r}: it is a number from 0 on")


def places(rules: Rules, order_by: t.Any, order_direction: str) -> dict[query.Order, t.Any] | None:
    """Give an order, brought to a decision, with the type of what each of its columns holds.

    None where that isn't known, or the table has no primary key.

    :raises InvalidDataError: it is no order.
    """
    orders = _orders(rules.table, order_by, order_direction)
    kinds = rules.kinds
    is_known = bool(rules.table.key) and all(order.field in kinds for order in orders)
    return {order: kinds[order.field] for order in orders} if is_known else None


def _orders(table: Table, order_by: t.Any, direction: str) -> tuple[query.Order, ...]:
    try:
        orders = query.orders(_named(table, order_by), direction, table.key)
    except (TypeError, ValueError) as error:
        raise exceptions.InvalidDataError(resource=table.name, detail=f"order_by: {error}") from error
    table.check_names(order.field for order in orders)
    return orders


def _named(table: Table, order_by: t.Any) -> t.Any:
    match order_by:
        case str() | query.Order() | query.Field():
            return order_by
        case list() | tuple():
            return type(order_by)(_named(table, each) for each in order_by)
    return table.key_of(order_by)


def _places(
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


def _in_order(table: Table, rows: list[Row], orders: tuple[query.Order, ...]) -> list[Row]:
    try:
        return query.in_order([Sparse(row) for row in rows] if table.open else rows, orders)
    except TypeError as error:  # only where nothing is known of the columns
        raise exceptions.InvalidDataError(resource=table.name, detail=f"order_by: {error}") from error
