"""Statements that read pages of a table's records, separate from their values."""

import collections.abc
import functools
import itertools
import typing as t

import sqlalchemy as sa

from flama import exceptions, query
from flama.query.select import check_non_negative_int
from flama.sqlalchemy.sql import _keyset_union, _where
from flama.sqlalchemy.sql._table_info import python_types
from flama.sqlalchemy.sql.statements import (
    Clauses,
    Filters,
    Statement,
    bind_name,
    cache_key,
    check_sa_expression,
    matching,
    record_keys,
)

__all__ = ["OrderBy", "count", "exists", "keyset_columns", "select_page"]

OrderBy: t.TypeAlias = (
    str | query.Field | query.Order | sa.ColumnElement[t.Any] | collections.abc.Sequence[t.Any] | None
)
"""A column, by name (descending after a dash), as a pair with its direction, or itself; or a sequence of them."""

_Term: t.TypeAlias = query.Order | sa.ColumnElement[t.Any]

_ORDERS: t.Final = 1000
_REACH: t.Final = 10_000  # farther from the start of a range, reading it as one is faster


def select_page(
    table: sa.Table,
    clauses: Clauses,
    select: query.Select,
    *,
    dialect: str | None = None,
) -> Statement:
    """Return a query for the records that match the clauses and the filters of a select, in its order and slice.

    With a limit, these are the first ones; with ``before`` alone, the last ones. The primary key breaks the ties of
    every order, and is the order of a slice without another. Without slice or order, the records are unordered.
    With a ``dialect``, the query is the fastest one for it. Without, its form also permits row locks.

    :raises InvalidDataError: an order isn't one, a limit or offset is no natural number, a record lacks a field.
    :raises SQLAlchemyError: a place is named in a table without primary key.
    """
    limit = check_non_negative_int(table.name, "limit", select.limit)
    offset = check_non_negative_int(table.name, "offset", select.offset) or None
    filters, is_ordered = select.filters, select.order_by is not None or select.order_direction != "asc"
    terms = _terms(table, select.order_by, select.order_direction) if is_ordered or select.is_slice else ()
    has_bounds = select.after is not None or select.before is not None
    placed = tuple(_keyset_conditions(table, terms, select.after, select.before)) if has_bounds else ()
    backwards = select.is_last_slice
    cut = {name: number for name, number in (("limit", limit), ("offset", offset)) if number is not None}
    split = dialect is not None and len(terms) > 1 and _is_split(table, terms, placed, cut, dialect)
    if split and offset is not None:
        cut["reach"] = cut["limit"] + offset
    every = [*clauses, *placed] if all(isinstance(term, query.Order) for term in terms) else [*clauses, *placed, None]
    key, given = cache_key("page", table, every, filters, terms, limit is None, offset is None, backwards, split)

    def build() -> sa.Select[t.Any]:
        names = map(bind_name, itertools.count(len(given)))
        numbers = {name: sa.bindparam(next(names), number, sa.BigInteger) for name, number in cut.items()}
        orders = query.reverse(_by_name(table, terms)) if backwards else terms
        if split:
            found = _split(_PageSpec(table, clauses, filters, placed, len(given)), orders, numbers, str(dialect))
        else:
            matches = matching(table, [*clauses, *placed], filters)
            found = sa.select(*table.columns).where(*matches).order_by(*_order_by(table, orders))
        found = found.limit(numbers.get("limit")).offset(numbers.get("offset"))
        return _reverse_outer(found, terms) if backwards else found

    return Statement(key, (*given, *cut.values()), build, (), record_keys(table))


def count(table: sa.Table, clauses: Clauses, filters: Filters) -> Statement:
    """Return a query that counts the matching records."""
    key, given = cache_key("count", table, clauses, filters)
    return Statement(
        key,
        given,
        lambda: sa.select(sa.func.count()).select_from(table).where(*matching(table, clauses, filters)),
        (),
        ("count",),
    )


def exists(table: sa.Table, clauses: Clauses, filters: Filters) -> Statement:
    """Return a query with one row if any record matches, else none."""
    key, given = cache_key("exists", table, clauses, filters)
    return Statement(
        key,
        given,
        lambda: sa.select(sa.literal_column("1")).select_from(table).where(*matching(table, clauses, filters)).limit(1),
        (),
        ("exists",),
    )


def keyset_columns(table: sa.Table, order_by: OrderBy, order_direction: str) -> dict[query.Order, t.Any] | None:
    """Return an order, completed by the primary key, with the Python type of each of its columns.

    None if it isn't an order by columns of known types, or the table has no primary key.

    :raises InvalidDataError: it is no order.
    """
    terms = _terms(table, order_by, order_direction)
    kinds = python_types(table)
    if not table.primary_key or not all(isinstance(term, query.Order) and term.field in kinds for term in terms):
        return None
    return {order: kinds[order.field] for order in _by_name(table, terms)}


def _is_split(
    table: sa.Table,
    terms: tuple[_Term, ...],
    placed: tuple[query.KeysetCondition, ...],
    cut: collections.abc.Mapping[str, int],
    dialect: str,
) -> bool:
    """Whether the page is read as several ranges, each at most as far as the page reaches."""
    is_near = "limit" in cut and sum(cut.values()) <= _REACH
    if not is_near or len(placed) > 1 or (placed and "offset" in cut):
        return False
    orders = tuple(term for term in terms if isinstance(term, query.Order))
    return len(orders) == len(terms) and _keyset_union.needs_split(
        table, placed[0].orders if placed else orders, dialect, placed=bool(placed)
    )


class _PageSpec(t.NamedTuple):
    """The records of a page: table, conditions, place to go on from, and the number of values."""

    table: sa.Table
    clauses: Clauses
    filters: Filters
    placed: tuple[query.KeysetCondition, ...]
    values: int


def _split(
    page: _PageSpec, orders: tuple[_Term, ...], numbers: dict[str, sa.BindParameter[int]], dialect: str
) -> sa.Select[t.Any]:
    table, place = page.table, next(iter(page.placed), None)
    if place is None:
        parts = _keyset_union.all_ranges(table, t.cast("tuple[query.Order, ...]", orders), dialect)
    else:
        names = map(bind_name, itertools.count(page.values - len(place.values)))
        parts = _keyset_union.ranges_after(table, _where.keyset_columns(table, place, names), dialect)
    reach = numbers.get("reach", numbers["limit"])
    return parts.select(matching(table, page.clauses, page.filters), reach, dialect)


def _reverse_outer(found: sa.Select[t.Any], terms: tuple[_Term, ...]) -> sa.Select[t.Any]:
    last = found.subquery()
    whole: sa.Select[t.Any] = sa.select(*last.columns)
    return whole.order_by(*_order_by(last, terms))


def _keyset_conditions(
    table: sa.Table, terms: tuple[_Term, ...], after: t.Any, before: t.Any
) -> collections.abc.Iterator[query.KeysetCondition]:
    if not table.primary_key:
        raise exceptions.SQLAlchemyError(f"Table '{table.name}' has no primary key, and so no places to go on from")
    orders = _by_name(table, terms)
    for place, record in ((query.after, after), (query.before, before)):
        if record is not None:
            try:
                yield place(orders, record)
            except (LookupError, TypeError, ValueError) as error:
                raise exceptions.InvalidDataError(resource=table.name, detail=f"{place.__name__}: {error}") from error


def _by_name(table: sa.Table, terms: tuple[_Term, ...]) -> tuple[query.Order, ...]:
    natives = [term for term in terms if not isinstance(term, query.Order)]
    if natives:
        raise exceptions.InvalidDataError(
            resource=table.name, detail=f"after and before take an order by columns, not by {natives[0]}"
        )
    return t.cast("tuple[query.Order, ...]", terms)


def _order_by(source: sa.FromClause, terms: tuple[_Term, ...]) -> list[sa.ColumnElement[t.Any]]:
    return [
        _where.order_by_term(source.columns[term.field], term) if isinstance(term, query.Order) else term
        for term in terms
    ]


def _terms(table: sa.Table, order_by: OrderBy, direction: str) -> tuple[_Term, ...]:
    try:
        return _parse_order(table, _freeze(order_by, direction), direction)
    except (TypeError, ValueError) as error:
        raise exceptions.InvalidDataError(resource=table.name, detail=f"order_by: {error}") from error


def _freeze(order_by: t.Any, direction: str) -> t.Any:
    match order_by:
        case list() | tuple():
            return tuple(_freeze(each, direction) for each in order_by)
        case query.Field():
            return query.parse_order(order_by, direction)[0]
    return order_by


@functools.lru_cache(_ORDERS)
def _parse_order(table: sa.Table, order_by: t.Any, direction: str) -> tuple[_Term, ...]:
    keys = [column.key for column in table.primary_key.columns]
    said = order_by if isinstance(order_by, tuple) and not _is_pair(order_by) else (order_by,)
    terms = [_normalize_term(table, each) for each in said if each is not None]
    if any(_is_native(term) for term in terms):
        orders = _parse_terms(terms, direction) + query.parse_order(keys=keys)
    else:
        orders = query.parse_order(terms, direction, keys)
    _where.check_columns_exist(table, (order.field for order in orders if isinstance(order, query.Order)))
    return orders


def _parse_terms(terms: list[t.Any], direction: str) -> tuple[_Term, ...]:
    # SQLAlchemy's own terms stay unchanged
    each_read = [(term,) if _is_native(term) else query.parse_order([term], direction) for term in terms]
    return tuple(itertools.chain.from_iterable(each_read))


def _normalize_term(table: sa.Table, each: t.Any) -> t.Any:
    match each:
        case (sa.Column() as column, direction):
            return _normalize_term(table, column), direction
        case sa.Column() if each.table is table:
            return each.key
        case sa.ClauseElement():
            return check_sa_expression(table, each)
    return each


def _is_native(term: t.Any) -> bool:
    return isinstance(term, sa.ClauseElement)


def _is_pair(order_by: tuple[t.Any, ...]) -> bool:
    match order_by:
        case (str() | sa.Column(), "asc" | "desc"):
            return True
    return False
