"""CHECK constraints written as SQLAlchemy expressions, evaluated in Python."""

import collections.abc
import operator
import typing as t

import sqlalchemy as sa
from sqlalchemy.sql import elements, operators

from flama.memory.schema import Check, Row, TypeCodec

__all__ = ["compile_check", "compile_predicate"]

_Value: t.TypeAlias = collections.abc.Callable[[Row], t.Any]

_BINARY: t.Final[frozenset[t.Any]] = frozenset(
    (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne, operator.add, operator.sub)
) | {operator.mul}


def compile_predicate(
    expression: t.Any, kinds: collections.abc.Mapping[str, TypeCodec]
) -> collections.abc.Callable[[Row], bool | None] | None:
    """Return the predicate that evaluates an expression on a record with columns of these kinds.

    It is None when the expression is SQL text, or more than comparisons of columns.
    """
    try:
        return _compile(expression, kinds)
    except _UnknownError:
        return None


def compile_check(constraint: sa.CheckConstraint, kinds: collections.abc.Mapping[str, TypeCodec]) -> Check | None:
    """Return a constraint on columns of these kinds; None when it is SQL text, or more than comparisons of columns."""
    holds = compile_predicate(constraint.sqltext, kinds)
    if holds is None:
        return None
    name = str(constraint.name) if isinstance(constraint.name, str) else None
    return Check(holds, tuple(column.key for column in constraint.columns), name)


class _UnknownError(Exception):
    """An expression that can't be evaluated here."""


def _compile(expression: t.Any, kinds: collections.abc.Mapping[str, TypeCodec]) -> _Value:
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
            return _compile(expression.element, kinds)
        case elements.BooleanClauseList():
            return _compile_boolean(expression, kinds)
        case elements.UnaryExpression(operator=operators.inv):
            inner = _compile(expression.element, kinds)
            return lambda row: None if (value := inner(row)) is None else not value
        case elements.BinaryExpression():
            return _compile_comparison(expression, kinds)
    raise _UnknownError


def _compile_boolean(expression: elements.BooleanClauseList, kinds: collections.abc.Mapping[str, TypeCodec]) -> _Value:
    parts = [_compile(clause, kinds) for clause in expression.clauses]
    return _fold_three_valued(parts, decisive=expression.operator is operators.or_)


def _fold_three_valued(parts: collections.abc.Sequence[_Value], *, decisive: bool) -> _Value:
    def decide(row: Row) -> bool | None:
        values = [part(row) for part in parts]
        if decisive in values:
            return decisive
        return None if None in values else not decisive

    return decide


def _compile_comparison(
    expression: elements.BinaryExpression[t.Any], kinds: collections.abc.Mapping[str, TypeCodec]
) -> _Value:
    left, right, how = expression.left, expression.right, expression.operator
    if how in (operators.is_, operators.is_not) and isinstance(right, elements.Null):
        value = _compile(left, kinds)
        return lambda row: (value(row) is None) is (how is operators.is_)
    if how is operators.between_op:
        low, high = (_compile_operand(left, bound, kinds) for bound in right.clauses)
        value = _compile(left, kinds)
        return _fold_three_valued(
            [_propagate_null(value, low, operator.ge), _propagate_null(value, high, operator.le)], decisive=False
        )
    operands = _compile(left, kinds), _compile_operand(left, right, kinds)
    if how in (operators.in_op, operators.not_in_op):
        return _propagate_null(*operands, lambda one, several: (one in several) is (how is operators.in_op))
    if how in _BINARY:
        return _propagate_null(*operands, t.cast("t.Any", how))
    raise _UnknownError


def _compile_operand(left: t.Any, right: t.Any, kinds: collections.abc.Mapping[str, TypeCodec]) -> _Value:
    # a value is compared in the column's stored form
    if not isinstance(right, elements.BindParameter) or not isinstance(left, elements.ColumnClause):
        return _compile(right, kinds)
    if right.callable or left.key not in kinds:
        raise _UnknownError
    kind, given = kinds[left.key], t.cast("t.Any", right.value)
    try:
        operand = [kind.encode_operand(value) for value in given] if right.expanding else kind.encode_operand(given)
    except (TypeError, ValueError, LookupError, ArithmeticError):
        raise _UnknownError from None
    return lambda row: operand


def _propagate_null(left: _Value, right: _Value, how: collections.abc.Callable[[t.Any, t.Any], t.Any]) -> _Value:
    def value(row: Row) -> t.Any:
        one, other = left(row), right(row)
        return None if one is None or other is None else how(one, other)

    return value
