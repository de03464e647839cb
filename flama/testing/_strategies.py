"""Strategies of Hypothesis: records, conditions and orderings."""

import typing as t

import hypothesis
from hypothesis import strategies as st

from flama import query
from flama.query import F

__all__ = ["CONDITIONS", "EXAMPLES", "ORDERINGS", "RECORDS"]

EXAMPLES: t.Final = hypothesis.settings(
    max_examples=15,
    deadline=None,
    # Every example begins with an empty collection, and a test is the same in every subclass.
    suppress_health_check=[
        hypothesis.HealthCheck.differing_executors,
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)

_COMPARISONS: t.Final = ("eq", "gt", "gte", "lt", "lte")
_TEXT_OPERATORS: t.Final = (
    *("contains", "startswith", "endswith", "like"),
    *("icontains", "istartswith", "iendswith", "ilike"),
)
# Few values, so that records often match and tie.
_FIELDS: t.Final[dict[str, st.SearchStrategy[t.Any]]] = {
    "name": st.sampled_from(["", " ", "A", "a", "a ", "b", "á", "%"]),
    "age": st.none() | st.sampled_from([0, 1, 20]),
    "note": st.none() | st.sampled_from(["", "x", "X", "x%", "x_y"]),
    "points": st.none() | st.integers(-1, 1),
}


def _build_comparisons(name: str) -> st.SearchStrategy[query.Condition]:
    operators = (*_COMPARISONS, *_TEXT_OPERATORS) if name in ("name", "note") else _COMPARISONS
    value = _FIELDS[name].filter(lambda value: value is not None)
    comparison = st.builds(query.compare, st.just(name), st.sampled_from(operators), value)
    return comparison | st.lists(value, max_size=3).map(F[name].in_) | st.just(F[name].isnull())


def _combine(conditions: st.SearchStrategy[query.Condition]) -> st.SearchStrategy[query.Condition]:
    either = st.builds(lambda a, b: a | b, conditions, conditions)
    both = st.builds(lambda a, b: a & b, conditions, conditions)
    return conditions.map(lambda condition: ~condition) | both | either


RECORDS: t.Final = st.lists(st.fixed_dictionaries(_FIELDS), max_size=7)
CONDITIONS: t.Final = st.recursive(st.sampled_from(sorted(_FIELDS)).flatmap(_build_comparisons), _combine, max_leaves=4)
ORDERINGS: t.Final = st.lists(
    st.builds(query.Order, st.sampled_from(sorted(_FIELDS)), st.booleans(), st.sampled_from(["first", "last"])),
    max_size=2,
)
