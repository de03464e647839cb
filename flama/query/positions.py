"""Places in an ordered collection, from which it goes on."""

import collections.abc
import dataclasses
import functools
import typing as t

from flama.query.conditions import And, Comparison, Condition, Or, Predicate, as_mapping, compare, field
from flama.query.orders import Order, reverse

__all__ = ["Beyond", "after", "before"]


@dataclasses.dataclass(frozen=True)
class Beyond(Condition):
    """What comes behind a place in an order: the place where these fields have this position."""

    orders: tuple[Order, ...]
    position: tuple[t.Any, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(order.field for order in self.orders)

    @property
    def shape(self) -> collections.abc.Hashable:
        return ("Beyond", self.orders, tuple(map(type, self.position)))

    @property
    def values(self) -> tuple[t.Any, ...]:
        return tuple(value for value in self.position if value is not None)

    def _compiled(self) -> Predicate:
        return self.expanded.predicate

    @property
    def places(self) -> list[tuple[Order, t.Any]]:
        """Each order, with what the place has there."""
        return list(zip(self.orders, self.position, strict=True))

    @functools.cached_property
    def expanded(self) -> Condition:
        """The same, said by comparisons of single fields."""
        pairs = self.places
        beyond = ((index, _beyond(*pair)) for index, pair in enumerate(pairs))
        ways = [
            (*(_same(*pair) for pair in pairs[:index]), further) for index, further in beyond if further is not None
        ]
        return Or(tuple(And(way) for way in ways))


def after(orders: collections.abc.Sequence[Order], record: t.Any) -> Beyond:
    """Give the condition of what comes after a record; with a key among the orders, all others are before or after it.

    :raises LookupError: the record lacks one of the orders' fields.
    :raises TypeError: a field holds what has no place in an order.
    :raises ValueError: so does NaN.
    """
    position = {order.field: field(as_mapping(record), order.field) for order in orders}
    for name, value in position.items():
        if value is not None:
            compare(name, "eq", value)
    return Beyond(tuple(orders), tuple(position.values()))


def before(orders: collections.abc.Sequence[Order], record: t.Any) -> Beyond:
    """Give the condition of what comes before a record, as :func:`after` does."""
    return after(reverse(orders), record)


def _same(order: Order, value: t.Any) -> Condition:
    return Comparison(order.field, "isnull") if value is None else Comparison(order.field, "eq", value)


def _beyond(order: Order, value: t.Any) -> Condition | None:
    less, null = order.descending, Comparison(order.field, "isnull")
    if value is None:
        return None if order.nulls == "last" else ~null
    further = Comparison(order.field, "lt" if less else "gt", value)
    return further | null if order.nulls == "last" else further
