"""Queries as plain values: conditions, orders and keyset positions, which each backend compiles."""

from flama.query.conditions import And, Comparison, Condition, Not, Or, compare, equal_fields, equals
from flama.query.fields import F, Field, Fields
from flama.query.keyset import KeysetCondition, after, before
from flama.query.operators import OPERATORS, Operator
from flama.query.ordering import Order, parse_order, reverse, sort_records
from flama.query.protocols import CursorPage, CursorQuery, PageableQuery
from flama.query.select import Lock, Select

__all__ = [
    "And",
    "Comparison",
    "Condition",
    "CursorPage",
    "CursorQuery",
    "F",
    "Field",
    "Fields",
    "KeysetCondition",
    "Lock",
    "Not",
    "OPERATORS",
    "Operator",
    "Or",
    "Order",
    "PageableQuery",
    "Select",
    "after",
    "before",
    "compare",
    "equal_fields",
    "equals",
    "parse_order",
    "reverse",
    "sort_records",
]
