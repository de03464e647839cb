"""Queries as plain values: conditions, orders and keyset positions, which each backend compiles."""

from flama.query.conditions import And, Comparison, Condition, Not, Or, compare, equal_fields, equals
from flama.query.fields import F, Field, Fields
from flama.query.keyset import Beyond, after, before
from flama.query.operators import OPERATORS, Operator
from flama.query.ordering import Order, in_order, orders, reverse
from flama.query.protocols import Query, Remote, Stretch
from flama.query.select import Lock, Select

__all__ = [
    "And",
    "Beyond",
    "Comparison",
    "Condition",
    "F",
    "Field",
    "Fields",
    "Lock",
    "Not",
    "OPERATORS",
    "Operator",
    "Or",
    "Order",
    "Query",
    "Remote",
    "Select",
    "Stretch",
    "after",
    "before",
    "compare",
    "equal_fields",
    "equals",
    "in_order",
    "orders",
    "reverse",
]
