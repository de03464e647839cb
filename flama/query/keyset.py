"""Keyset pagination: conditions on what comes after a record in an order, or before it."""

import collections.abc
import dataclasses
import functools
import typing as t

from flama.query.conditions import And, Comparison, Condition, Or, Predicate, as_mapping, compare, field
from flama.query.ordering import Order, reverse

__all__ = ["KeysetCondition", "after", "before"]


@dataclasses.dataclass(frozen=True)
class KeysetCondition(Condition):
    """A condition on what comes after a position in an order: the values of the orders' fields there."""

    orders: tuple[Order, ...]
    position: tuple[t.Any, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(order.field for order in self.orders)

    @property
    def cache_key(self) -> collections.abc.Hashable:
        return ("Beyond", self.orders, tuple(map(type, self.position)))

    @property
    def values(self) -> tuple[t.Any, ...]:
        return tuple(value for value in self.position if value is not None)

    def _compile(self) -> Predicate:
        return self.as_comparisons.predicate

    @property
    def columns(self) -> list[tuple[Order, t.Any]]:
        """Each order, with the position's value of its field."""
        return list(zip(self.orders, self.position, strict=True))

    @functools.cached_property
    def as_comparisons(self) -> Condition:
        """The equivalent condition in comparisons of single fields."""
        pairs = self.columns
        beyond = ((index, _compare_after(*pair)) for index, pair in enumerate(pairs))
        ways = [
            (*(_compare_equal(*pair) for pair in pairs[:index]), further)
            for index, further in beyond
            if further is not None
        ]
        return Or(tuple(And(way) for way in ways))


def after(orders: collections.abc.Sequence[Order], record: t.Any) -> KeysetCondition:
    """Return the condition on what comes after a record.

    With a key among the orders, every other record comes either before or after it.

    :raises LookupError: the record lacks one of the orders' fields.
    :raises TypeError: a field's value can't be ordered.
    :raises ValueError: a field is NaN.
    """
    position = {order.field: field(as_mapping(record), order.field) for order in orders}
    for name, value in position.items():
        if value is not None:
            compare(name, "eq", value)
    return KeysetCondition(tuple(orders), tuple(position.values()))


def before(orders: collections.abc.Sequence[Order], record: t.Any) -> KeysetCondition:
    """Return the condition on what comes before a record, like :func:`after`."""
    return after(reverse(orders), record)


def _compare_equal(order: Order, value: t.Any) -> Condition:
    return Comparison(order.field, "isnull") if value is None else Comparison(order.field, "eq", value)


def _compare_after(order: Order, value: t.Any) -> Condition | None:
    less, null = order.descending, Comparison(order.field, "isnull")
    if value is None:
        return None if order.nulls == "last" else ~null
    further = Comparison(order.field, "lt" if less else "gt", value)
    return further | null if order.nulls == "last" else further
