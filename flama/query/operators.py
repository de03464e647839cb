"""What a condition can ask of a field, one row an operator."""

import collections.abc
import decimal
import math
import operator
import re
import typing as t

from flama.query import patterns

__all__ = ["OPERATORS", "Operator"]

# What every database takes as a pattern: SQLite no more than 50,000 bytes, PCRE no more than 64 kB of its own code.
_LONGEST: t.Final = 4_000


class Operator(t.NamedTuple):
    """One operator.

    ``name`` is what it's called on the wire, ``python`` what it's called on a field. ``frozen`` gives an operand as a
    condition keeps it, or says what is wrong with it by a TypeError or ValueError. ``holds`` gives, for an operand, the
    test of a value that isn't null. Those about text have a ``pattern``, and ``fold`` when A to Z are a to z to them.
    """

    name: str
    python: str
    frozen: collections.abc.Callable[[t.Any], t.Any]
    holds: collections.abc.Callable[[t.Any], collections.abc.Callable[[t.Any], bool]]
    pattern: collections.abc.Callable[[str], patterns.Pattern] | None = None
    fold: bool = False


def _value(value: t.Any) -> t.Any:
    if value is None:
        raise ValueError("null compares with nothing: say is_(None)")
    if isinstance(value, float | decimal.Decimal) and math.isnan(value):
        raise ValueError("NaN compares with nothing")
    if not isinstance(value, collections.abc.Hashable):
        raise TypeError(f"a {type(value).__name__} can change, and a condition can't")
    hash(value)  # a tuple says here that it holds a list
    return value


def _values(values: t.Any) -> tuple[t.Any, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, collections.abc.Iterable):
        raise TypeError(f"it takes a collection of values, not {values!r}")
    return tuple(_value(value) for value in values)


def _text(value: t.Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"it takes a text, not {value!r}")
    if len(value) > _LONGEST:
        raise ValueError(f"it takes a text of at most {_LONGEST} characters, not {len(value)}")
    return value


def _pattern(value: t.Any) -> str:
    patterns.parsed(_text(value))
    return t.cast("str", value)


def _nothing(value: t.Any) -> None:
    if value is not None:
        raise TypeError("it takes no value")


def _among(values: tuple[t.Any, ...]) -> collections.abc.Callable[[t.Any], bool]:
    known = frozenset(values)
    # what can't be hashed is none of those that were
    return lambda value: isinstance(value, collections.abc.Hashable) and value in known


def _comparison(
    name: str, python: str, compare: collections.abc.Callable[[t.Any, t.Any], bool]
) -> tuple[str, Operator]:
    return name, Operator(name, python, _value, lambda operand: lambda value: compare(value, operand))


def _textual(name: str, pattern: collections.abc.Callable[[str], patterns.Pattern], fold: bool) -> tuple[str, Operator]:
    def holds(operand: str) -> collections.abc.Callable[[t.Any], bool]:
        search = re.compile(patterns.expression(pattern(operand), fold=fold)).search
        return lambda value: search(value) is not None

    return name, Operator(name, name, _pattern if pattern is patterns.parsed else _text, holds, pattern, fold)


OPERATORS: t.Final[collections.abc.Mapping[str, Operator]] = dict(
    (
        _comparison("eq", "==", operator.eq),
        _comparison("gt", ">", operator.gt),
        _comparison("gte", ">=", operator.ge),
        _comparison("lt", "<", operator.lt),
        _comparison("lte", "<=", operator.le),
        ("in", Operator("in", "in_", _values, _among)),
        # a value that isn't null
        ("isnull", Operator("isnull", "isnull", _nothing, lambda _: lambda _: False)),
        _textual("contains", patterns.contains, fold=False),
        _textual("startswith", patterns.startswith, fold=False),
        _textual("endswith", patterns.endswith, fold=False),
        _textual("icontains", patterns.contains, fold=True),
        _textual("istartswith", patterns.startswith, fold=True),
        _textual("iendswith", patterns.endswith, fold=True),
        _textual("like", patterns.parsed, fold=False),
        _textual("ilike", patterns.parsed, fold=True),
    )
)
