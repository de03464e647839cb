"""Operators that conditions compare by, one row each."""

import collections.abc
import decimal
import math
import operator
import re
import typing as t

from flama.query import patterns

__all__ = ["OPERATORS", "Operator"]

# Every database accepts patterns of this length: SQLite at most 50,000 bytes, PCRE at most 64 kB of its own code.
_MAX_LENGTH: t.Final = 4_000


class Operator(t.NamedTuple):
    """A comparison operator.

    ``name`` is its name on the wire, ``python`` its name on a field. ``validate_operand`` returns an operand as a
    condition stores it, and raises TypeError or ValueError for an invalid one. ``make_predicate`` returns, for an
    operand, the predicate of a value that isn't null. Text operators have a ``pattern``; with ``ignore_case``, they
    ignore the case of A to Z.
    """

    name: str
    python: str
    validate_operand: collections.abc.Callable[[t.Any], t.Any]
    make_predicate: collections.abc.Callable[[t.Any], collections.abc.Callable[[t.Any], bool]]
    pattern: collections.abc.Callable[[str], patterns.Pattern] | None = None
    ignore_case: bool = False


def _check_value(value: t.Any) -> t.Any:
    if value is None:
        raise ValueError("null compares with nothing: say is_(None)")
    if isinstance(value, float | decimal.Decimal) and math.isnan(value):
        raise ValueError("NaN compares with nothing")
    if not isinstance(value, collections.abc.Hashable):
        raise TypeError(f"a {type(value).__name__} can change, and a condition can't")
    hash(value)  # raises for a tuple that contains a list
    return value


def _check_values(values: t.Any) -> tuple[t.Any, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, collections.abc.Iterable):
        raise TypeError(f"it takes a collection of values, not {values!r}")
    return tuple(_check_value(value) for value in values)


def _check_text(value: t.Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"it takes a text, not {value!r}")
    if len(value) > _MAX_LENGTH:
        raise ValueError(f"it takes a text of at most {_MAX_LENGTH} characters, not {len(value)}")
    return value


def _check_pattern(value: t.Any) -> str:
    patterns.parse_like(_check_text(value))
    return t.cast("str", value)


def _check_no_operand(value: t.Any) -> None:
    if value is not None:
        raise TypeError("it takes no value")


def _membership_test(values: tuple[t.Any, ...]) -> collections.abc.Callable[[t.Any], bool]:
    known = frozenset(values)
    # what can't be hashed equals none of those that can
    return lambda value: isinstance(value, collections.abc.Hashable) and value in known


def _comparison_operator(
    name: str, python: str, compare: collections.abc.Callable[[t.Any, t.Any], bool]
) -> tuple[str, Operator]:
    return name, Operator(name, python, _check_value, lambda operand: lambda value: compare(value, operand))


def _text_operator(
    name: str, pattern: collections.abc.Callable[[str], patterns.Pattern], ignore_case: bool
) -> tuple[str, Operator]:
    def make_predicate(operand: str) -> collections.abc.Callable[[t.Any], bool]:
        search = re.compile(patterns.to_regex(pattern(operand), ignore_case=ignore_case)).search
        return lambda value: search(value) is not None

    return name, Operator(
        name,
        name,
        _check_pattern if pattern is patterns.parse_like else _check_text,
        make_predicate,
        pattern,
        ignore_case,
    )


OPERATORS: t.Final[collections.abc.Mapping[str, Operator]] = dict(
    (
        _comparison_operator("eq", "==", operator.eq),
        _comparison_operator("gt", ">", operator.gt),
        _comparison_operator("gte", ">=", operator.ge),
        _comparison_operator("lt", "<", operator.lt),
        _comparison_operator("lte", "<=", operator.le),
        ("in", Operator("in", "in_", _check_values, _membership_test)),
        # the predicate is only called with a value that isn't null
        ("isnull", Operator("isnull", "isnull", _check_no_operand, lambda _: lambda _: False)),
        _text_operator("contains", patterns.contains, ignore_case=False),
        _text_operator("startswith", patterns.startswith, ignore_case=False),
        _text_operator("endswith", patterns.endswith, ignore_case=False),
        _text_operator("icontains", patterns.contains, ignore_case=True),
        _text_operator("istartswith", patterns.startswith, ignore_case=True),
        _text_operator("iendswith", patterns.endswith, ignore_case=True),
        _text_operator("like", patterns.parse_like, ignore_case=False),
        _text_operator("ilike", patterns.parse_like, ignore_case=True),
    )
)
