"""Orders of records, as values that any backend can read."""

import collections.abc
import dataclasses
import typing as t

from flama.query.conditions import field

__all__ = ["Nulls", "Order", "in_order", "orders", "reverse"]

Nulls: t.TypeAlias = t.Literal["first", "last"]

_Record = t.TypeVar("_Record", bound=collections.abc.Mapping[str, t.Any])

_DIRECTIONS: t.Final = {"asc": False, "desc": True}
_OTHER: t.Final[dict[Nulls, Nulls]] = {"first": "last", "last": "first"}


@dataclasses.dataclass(frozen=True)
class Order:
    """By which field, in which direction, and where those come that have none.

    Texts go by their characters' code points, whatever the database is set to. Only where it is ``native`` do they go
    as the backend itself has them, which its index serves: so do keys that merely tell apart what would be the same.
    """

    field: str
    descending: bool = False
    nulls: Nulls = "last"
    native: bool = False

    def __post_init__(self) -> None:
        if self.nulls not in _OTHER:
            raise ValueError(f"nulls are {self.nulls!r}: they are 'first' or 'last'")

    def reversed(self) -> t.Self:
        """Give the order that is this one from its end."""
        return dataclasses.replace(self, descending=not self.descending, nulls=_OTHER[self.nulls])


def orders(
    order_by: t.Any = None, direction: str = "asc", keys: collections.abc.Iterable[str] = ()
) -> tuple[Order, ...]:
    """Read an order, whichever way it is said; what it leaves open is decided by the keys.

    It is a name, a name behind ``-`` for descending, a pair of name and direction, a field, an :class:`Order`, or a
    sequence of them. ``direction`` is that of what says none: of names, and of the keys when there is nothing else.

    :raises TypeError: it is something else.
    :raises ValueError: a direction is neither ``asc`` nor ``desc``.
    """
    descending = _descending(direction)
    said = [_order(each, descending) for each in _sequence(order_by)]
    ties = [Order(key, descending and not said, native=True) for key in keys]
    first: dict[str, Order] = {}  # what is said of a field again can't change anything
    for order in (*said, *ties):
        first.setdefault(order.field, order)
    return tuple(first.values())


def reverse(orders: collections.abc.Iterable[Order]) -> tuple[Order, ...]:
    """Give an order from its end."""
    return tuple(order.reversed() for order in orders)


def in_order(records: collections.abc.Iterable[_Record], orders: collections.abc.Sequence[Order]) -> list[_Record]:
    """Give records in an order."""
    found = list(records)
    for order in reversed(orders):
        found.sort(key=_key(order), reverse=order.descending)
    return found


def _sequence(order_by: t.Any) -> collections.abc.Sequence[t.Any]:
    match order_by:
        case None:
            return ()
        case str() | Order():
            return (order_by,)
        case (str(), "asc" | "desc") if isinstance(order_by, tuple):
            return (order_by,)
        case collections.abc.Sequence():
            return order_by
    return (order_by,)


def _order(each: t.Any, descending: bool) -> Order:
    match each:
        case Order():
            return each
        case str() if each.startswith("-"):
            return Order(each[1:], descending=True)
        case str():
            return Order(each, descending)
        case (str(name), str(direction)):
            return Order(name, _descending(direction))
    # a field, which is made of orders and so can't be known here
    ordered = getattr(each, "desc" if descending else "asc", lambda: None)()
    if isinstance(ordered, Order):
        return ordered
    raise TypeError(f"an order is a name, a pair of name and direction, or a field, not {each!r}")


def _descending(direction: t.Any) -> bool:
    if not isinstance(direction, str) or direction not in _DIRECTIONS:
        raise ValueError(f"an order's direction is {direction!r}: it is 'asc' or 'desc'")
    return _DIRECTIONS[direction]


def _key(order: Order) -> collections.abc.Callable[[collections.abc.Mapping[str, t.Any]], t.Any]:
    # sorting in reverse turns this round, too
    null, present = ((1,), 0) if (order.nulls == "last") != order.descending else ((0,), 1)

    def key(record: collections.abc.Mapping[str, t.Any]) -> t.Any:
        value = field(record, order.field)
        return null if value is None else (present, value)

    return key
