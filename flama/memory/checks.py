"""CHECK constraints that are written as SQLAlchemy expressions, asked of records."""

import collections.abc
import operator
import typing as t

import sqlalchemy as sa
from sqlalchemy.sql import elements, operators

from flama.memory.definitions import Check, Kind, Row

__all__ = ["check", "predicate"]

_Value: t.TypeAlias = collections.abc.Callable[[Row], t.Any]

_BINARY: t.Final[frozenset[t.Any]] = frozenset(
    (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne, operator.add, operator.sub)
) | {operator.mul}


def predicate(
    expression: t.Any, kinds: collections.abc.Mapping[str, Kind]
) -> collections.abc.Callable[[Row], bool | None] | None:
    """Return what tells whether an expression holds of a record with columns of these kinds.

    It is None when the expression is text, or more than comparisons of columns.
    """
    try:
        return _value(expression, kinds)
    except _UnknownError:
        return None


def check(constraint: sa.CheckConstraint, kinds: collections.abc.Mapping[str, Kind]) -> Check | None:
    """Give a constraint on columns of these kinds; None when it is text, or more than comparisons of columns."""
    holds = predicate(constraint.sqltext, kinds)
    if holds is None:
        return None
    name = str(constraint.name) if isinstance(constraint.name, str) else None
    return Check(holds, tuple(column.key for column in constraint.columns), name)


class _UnknownError(Exception):
    """An expression that can't be worked out here."""


def _value(expression: t.Any, kinds: collections.abc.Mapping[str, Kind]) -> _Value:
    match expression:
        case elements.ColumnClause():
            key = str(expression.key)
            if key not in kinds:
                raise _UnknownError
            return lambda row: row[key]
        case elements.BindParameter() if not expression.callable:
            value = expression.value
            return lambda row: value
        case elements.Grouping():
            return _value(expression.element, kinds)
        case elements.BooleanClauseList():
            return _joined(expression, kinds)
        case elements.UnaryExpression(operator=operators.inv):
            inner = _value(expression.element, kinds)
            return lambda row: None if (value := inner(row)) is None else not value
        case elements.BinaryExpression():
            return _compared(expression, kinds)
    raise _UnknownError


def _joined(expression: elements.BooleanClauseList, kinds: collections.abc.Mapping[str, Kind]) -> _Value:
    parts = [_value(clause, kinds) for clause in expression.clauses]
    return _deciding(parts, decisive=expression.operator is operators.or_)


def _deciding(parts: collections.abc.Sequence[_Value], *, decisive: bool) -> _Value:
    def decide(row: Row) -> bool | None:
        values = [part(row) for part in parts]
        if decisive in values:
            return decisive
        return None if None in values else not decisive

    return decide


def _compared(expression: elements.BinaryExpression[t.Any], kinds: collections.abc.Mapping[str, Kind]) -> _Value:
    left, right, how = expression.left, expression.right, expression.operator
    if how in (operators.is_, operators.is_not) and isinstance(right, elements.Null):
        value = _value(left, kinds)
        return lambda row: (value(row) is None) is (how is operators.is_)
    if how is operators.between_op:
        low, high = (_operand(left, bound, kinds) for bound in right.clauses)
        value = _value(left, kinds)
        return _deciding([_strict(value, low, operator.ge), _strict(value, high, operator.le)], decisive=False)
    of = _value(left, kinds), _operand(left, right, kinds)
    if how in (operators.in_op, operators.not_in_op):
        return _strict(*of, lambda one, several: (one in several) is (how is operators.in_op))
    if how in _BINARY:
        return _strict(*of, t.cast("t.Any", how))
    raise _UnknownError


def _operand(left: t.Any, right: t.Any, kinds: collections.abc.Mapping[str, Kind]) -> _Value:
    # a value is compared with the column as it is kept
    if not isinstance(right, elements.BindParameter) or not isinstance(left, elements.ColumnClause):
        return _value(right, kinds)
    if right.callable or left.key not in kinds:
        raise _UnknownError
    kind, given = kinds[left.key], t.cast("t.Any", right.value)
    try:
        operand = [kind.operand(value) for value in given] if right.expanding else kind.operand(given)
    except (TypeError, ValueError, LookupError, ArithmeticError):
        raise _UnknownError from None
    return lambda row: operand


def _strict(left: _Value, right: _Value, how: collections.abc.Callable[[t.Any, t.Any], t.Any]) -> _Value:
    def value(row: Row) -> t.Any:
        one, other = left(row), right(row)
        return None if one is None or other is None else how(one, other)

    return value
