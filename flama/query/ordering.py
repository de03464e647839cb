"""Orders of records, as values that any backend can read."""

import collections.abc
import dataclasses
import typing as t

from flama.query.conditions import field

__all__ = ["Nulls", "Order", "parse_order", "reverse", "sort_records"]

Nulls: t.TypeAlias = t.Literal["first", "last"]

_Record = t.TypeVar("_Record", bound=collections.abc.Mapping[str, t.Any])

_DIRECTIONS: t.Final = {"asc": False, "desc": True}
_OPPOSITE_NULLS: t.Final[dict[Nulls, Nulls]] = {"first": "last", "last": "first"}


@dataclasses.dataclass(frozen=True)
class Order:
    """An order by one field: its direction, and where nulls come.

    Texts are ordered by code point, whatever the database's collation. A ``native`` order is the backend's own, which
    its indexes serve. Keys that only break ties are native, too.
    """

    field: str
    descending: bool = False
    nulls: Nulls = "last"
    native: bool = False

    def __post_init__(self) -> None:
        if self.nulls not in _OPPOSITE_NULLS:
            raise ValueError(f"nulls are {self.nulls!r}: they are 'first' or 'last'")

    def reverse(self) -> t.Self:
        """Return this order reversed, nulls included."""
        return dataclasses.replace(self, descending=not self.descending, nulls=_OPPOSITE_NULLS[self.nulls])


def parse_order(
    order_by: t.Any = None, direction: str = "asc", keys: collections.abc.Iterable[str] = ()
) -> tuple[Order, ...]:
    """Return the orders that ``order_by`` names, followed by the keys, which break ties.

    ``order_by`` is a name, a name behind ``-`` for descending, a pair of name and direction, a field, an
    :class:`Order`, or a sequence of them. ``direction`` is that of names without one, and of the keys when there is no
    other order.

    :raises TypeError: ``order_by`` is something else.
    :raises ValueError: a direction is neither ``asc`` nor ``desc``.
    """
    descending = _is_descending(direction)
    explicit = [_parse_order(each, descending) for each in _as_sequence(order_by)]
    ties = [Order(key, descending and not explicit, native=True) for key in keys]
    first: dict[str, Order] = {}  # a second order by a field changes nothing
    for order in (*explicit, *ties):
        first.setdefault(order.field, order)
    return tuple(first.values())


def reverse(orders: collections.abc.Iterable[Order]) -> tuple[Order, ...]:
    """Return an order reversed."""
    return tuple(order.reverse() for order in orders)


def sort_records(records: collections.abc.Iterable[_Record], orders: collections.abc.Sequence[Order]) -> list[_Record]:
    """Return records sorted by an order."""
    found = list(records)
    for order in reversed(orders):
        found.sort(key=_sort_key(order), reverse=order.descending)
    return found


def _as_sequence(order_by: t.Any) -> collections.abc.Sequence[t.Any]:
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


def _parse_order(each: t.Any, descending: bool) -> Order:
    match each:
        case Order():
            return each
        case str() if each.startswith("-"):
            return Order(each[1:], descending=True)
        case str():
            return Order(each, descending)
        case (str(name), str(direction)):
            return Order(name, _is_descending(direction))
    # a Field: its module imports this one, so that it can't be matched by class
    ordered = getattr(each, "desc" if descending else "asc", lambda: None)()
    if isinstance(ordered, Order):
        return ordered
    raise TypeError(f"an order is a name, a pair of name and direction, or a field, not {each!r}")


def _is_descending(direction: t.Any) -> bool:
    if not isinstance(direction, str) or direction not in _DIRECTIONS:
        raise ValueError(f"an order's direction is {direction!r}: it is 'asc' or 'desc'")
    return _DIRECTIONS[direction]


def _sort_key(order: Order) -> collections.abc.Callable[[collections.abc.Mapping[str, t.Any]], t.Any]:
    # a reverse sort reverses this, too
    null, present = ((1,), 0) if (order.nulls == "last") != order.descending else ((0,), 1)

    def key(record: collections.abc.Mapping[str, t.Any]) -> t.Any:
        value = field(record, order.field)
        return null if value is None else (present, value)

    return key
