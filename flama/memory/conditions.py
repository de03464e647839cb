"""Which records are meant, asked of them as they are kept."""

import collections.abc
import dataclasses
import typing as t

from flama import exceptions, query
from flama.memory.definitions import Row, Sparse, Table
from flama.memory.rows import Placed, Rows

__all__ = ["Clauses", "holding", "identity", "matching"]

Clauses: t.TypeAlias = collections.abc.Collection[t.Any]

_Test: t.TypeAlias = collections.abc.Callable[[Row], bool | None]


def matching(rows: Rows, clauses: Clauses, filters: Row) -> list[Placed]:
    """Give the records on which all clauses, conditions made by ``F``, and filters hold.

    :raises UnknownColumnError: one is about what the table doesn't have.
    :raises InvalidDataError: a clause is no condition; or it, or a filter, asks of a column what can't be asked of it.
    """
    table = rows.table
    table.check_names(filters)
    either = [key for key, value in filters.items() if value is None and table.column(key).kind.null is not None]
    wanted = {key: _equal(table, key, value) for key, value in filters.items() if key not in either}
    tests = [_test(table, clause) for clause in (*clauses, *[query.compare(key, "isnull") for key in either])]
    found = [placed for placed in rows.among(wanted) if _has(placed[1], wanted)]
    try:
        return [placed for placed in found if all(test(placed[1]) is True for test in tests)]
    except TypeError as error:  # only where nothing is known of the columns
        raise exceptions.InvalidDataError(resource=table.name, detail=str(error)) from error


def holding(
    table: Table, found: collections.abc.Iterable[Placed], conditions: collections.abc.Iterable[query.Condition]
) -> list[Placed]:
    """Return those of a table's records on which all conditions hold."""
    tests = [_test(table, condition) for condition in conditions]
    return [placed for placed in found if all(test(placed[1]) is True for test in tests)]


def identity(table: Table, clauses: Clauses, filters: Row) -> t.Any:
    """Give the key of the one record that is asked for: its value, or all by name; None when it isn't asked for by key.

    It is what errors tell of the record.
    """
    if clauses or not table.key or frozenset(filters) != frozenset(table.key):
        return None
    return next(iter(filters.values())) if len(table.key) == 1 else dict(filters)


def _has(row: Row, wanted: Row) -> bool:
    return all(row.get(key) == value for key, value in wanted.items())


def _equal(table: Table, key: str, value: t.Any) -> t.Any:
    kind = table.column(key).kind
    if isinstance(value, list | tuple | set | frozenset) and not kind.takes_collections:
        detail = f"'{key}' can't be compared with a {type(value).__name__}: say {query.F[key]!r}.in_(...)"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)
    return None if value is None else table.operand(key, value)


def _test(table: Table, clause: t.Any) -> _Test:
    if not isinstance(clause, query.Condition):
        detail = f"{clause!r} is neither a condition nor an SQLAlchemy clause"
        if hasattr(clause, "__clause_element__") or hasattr(clause, "compile"):
            detail = f"memory can't tell whether {clause} holds: it takes conditions that F makes"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)
    table.check_names(clause.fields)
    test = _kept(table, clause).predicate
    return (lambda row: test(Sparse(row))) if table.open else test


def _kept(table: Table, condition: query.Condition) -> query.Condition:
    """Give the condition that says of records as they are kept what this one says of them as they are given."""
    match condition:
        case query.Comparison(field, "isnull") if (null := table.column(field).kind.null) is not None:
            return query.Or((condition, query.compare(field, "eq", null)))
        case query.Comparison(field, operator, operand):
            kept = _operand(table, field, operator, operand)
            is_null = operator == "eq" and kept is None  # as it is for one of two nulls
            return query.compare(field, "isnull") if is_null else dataclasses.replace(condition, operand=kept)
        case query.And() | query.Or():
            return type(condition)(tuple(_kept(table, part) for part in condition.parts))
        case query.Not():
            return query.Not(_kept(table, condition.part))
        case query.Beyond():
            pairs = zip(condition.fields, condition.position, strict=True)
            position = (None if value is None else table.operand(field, value) for field, value in pairs)
            return dataclasses.replace(condition, position=tuple(position))
    raise TypeError(f"{condition!r} can't be asked of what is kept in memory")


def _operand(table: Table, field: str, operator: str, operand: t.Any) -> t.Any:
    kind = table.column(field).kind
    if query.OPERATORS[operator].pattern is not None:
        if not kind.is_text:
            detail = f"'{field}' is no text: {operator} can't be asked of it"
            raise exceptions.InvalidDataError(resource=table.name, detail=detail)
        if "\0" in operand:
            raise exceptions.InvalidDataError(resource=table.name, detail=f"a pattern has no NUL: {operand!r}")
        return operand
    match operator:
        case "isnull":
            return None
        case "in":
            return tuple(table.operand(field, value) for value in operand)
    return table.operand(field, operand)
