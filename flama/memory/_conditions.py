"""Matching of stored records: conditions, filters and keys."""

import collections.abc
import dataclasses
import typing as t

from flama import exceptions, query
from flama.memory._table_data import RowWithId, TableData
from flama.memory.schema import DefaultNoneDict, Row, Table

__all__ = ["Clauses", "filter_rows", "identity", "matching"]

Clauses: t.TypeAlias = collections.abc.Collection[t.Any]

_Test: t.TypeAlias = collections.abc.Callable[[Row], bool | None]


def matching(rows: TableData, clauses: Clauses, filters: Row) -> list[RowWithId]:
    """Return the records that match all clauses, which are conditions made by ``F``, and all filters.

    :raises UnknownColumnError: the table lacks a column that one names.
    :raises InvalidDataError: a clause is no condition; or a column can't be compared as a clause or a filter does.
    """
    table = rows.table
    table.check_names(filters)
    either = [key for key, value in filters.items() if value is None and table.column(key).codec.null is not None]
    wanted = {key: _encode_filter(table, key, value) for key, value in filters.items() if key not in either}
    tests = [_compile_clause(table, clause) for clause in (*clauses, *[query.compare(key, "isnull") for key in either])]
    found = [placed for placed in rows.candidates(wanted) if _matches(placed[1], wanted)]
    try:
        return [placed for placed in found if all(test(placed[1]) is True for test in tests)]
    except TypeError as error:  # only where the columns' types aren't known
        raise exceptions.InvalidDataError(resource=table.name, detail=str(error)) from error


def filter_rows(
    table: Table, found: collections.abc.Iterable[RowWithId], conditions: collections.abc.Iterable[query.Condition]
) -> list[RowWithId]:
    """Return those of a table's records that match all conditions."""
    tests = [_compile_clause(table, condition) for condition in conditions]
    return [placed for placed in found if all(test(placed[1]) is True for test in tests)]


def identity(table: Table, clauses: Clauses, filters: Row) -> t.Any:
    """Return the key that selects one record: its value, or all values by name. None if the filters are anything else.

    Errors name the record by it.
    """
    if clauses or not table.key or frozenset(filters) != frozenset(table.key):
        return None
    return next(iter(filters.values())) if len(table.key) == 1 else dict(filters)


def _matches(row: Row, wanted: Row) -> bool:
    return all(row.get(key) == value for key, value in wanted.items())


def _encode_filter(table: Table, key: str, value: t.Any) -> t.Any:
    kind = table.column(key).codec
    if isinstance(value, list | tuple | set | frozenset) and not kind.takes_collections:
        detail = f"'{key}' can't be compared with a {type(value).__name__}: say {query.F[key]!r}.in_(...)"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)
    return None if value is None else table.encode_operand(key, value)


def _compile_clause(table: Table, clause: t.Any) -> _Test:
    if not isinstance(clause, query.Condition):
        detail = f"{clause!r} is neither a condition nor an SQLAlchemy clause"
        if hasattr(clause, "__clause_element__") or hasattr(clause, "compile"):
            detail = f"memory can't tell whether {clause} holds: it takes conditions that F makes"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)
    table.check_names(clause.fields)
    test = _encode_condition(table, clause).predicate
    return (lambda row: test(DefaultNoneDict(row))) if table.is_schemaless else test


def _encode_condition(table: Table, condition: query.Condition) -> query.Condition:
    """Return the equivalent condition on stored values."""
    match condition:
        case query.Comparison(field, "isnull") if (null := table.column(field).codec.null) is not None:
            return query.Or((condition, query.compare(field, "eq", null)))
        case query.Comparison(field, operator, operand):
            kept = _encode_operand(table, field, operator, operand)
            is_null = operator == "eq" and kept is None  # the operand may be SQL's null, where there is another
            return query.compare(field, "isnull") if is_null else dataclasses.replace(condition, operand=kept)
        case query.And() | query.Or():
            return type(condition)(tuple(_encode_condition(table, part) for part in condition.parts))
        case query.Not():
            return query.Not(_encode_condition(table, condition.part))
        case query.KeysetCondition():
            pairs = zip(condition.fields, condition.position, strict=True)
            position = (None if value is None else table.encode_operand(field, value) for field, value in pairs)
            return dataclasses.replace(condition, position=tuple(position))
    raise TypeError(f"{condition!r} can't be asked of what is kept in memory")


def _encode_operand(table: Table, field: str, operator: str, operand: t.Any) -> t.Any:
    kind = table.column(field).codec
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
            return tuple(table.encode_operand(field, value) for value in operand)
    return table.encode_operand(field, operand)
