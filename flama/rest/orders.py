"""Orders on the wire: by which fields records are sorted, as the parameters of a query.

``order_by=name`` sorts by one field, and ``order_direction=desc`` says the other direction; ``order_by=-age,name``
sorts by several, ``-`` being descending. ``-age:nulls_first`` has those without an age come first.
"""

import collections.abc
import typing as t
import urllib.parse

from flama.exceptions import UnknownColumnError
from flama.query import Order, orders
from flama.rest.names import ORDER_BY, ORDER_DIRECTION

__all__ = ["decode", "encode", "listed", "names"]

_Pairs: t.TypeAlias = collections.abc.Iterable[tuple[str, str]]

_FIRST: t.Final = ":nulls_first"
_LAST: t.Final = ":nulls_last"
_MOST: t.Final = 20


def encode(order: collections.abc.Sequence[Order]) -> list[tuple[str, str]]:
    """Give the parameters that ask for records in this order.

    An order by one field is said by ``order_direction``, which servers that know no other way understand.
    """
    match order:
        case []:
            return []
        case [Order(field, descending, "last")]:
            return [(ORDER_BY, _quoted(field)), *([(ORDER_DIRECTION, "desc")] if descending else ())]
    return [(ORDER_BY, ",".join(map(_text, order)))]


def names(order_by: collections.abc.Collection[str]) -> str:
    """Give field names, of which none is empty, as one parameter holds them; :func:`listed` is the inverse."""
    return ",".join(map(_quoted, order_by))


def listed(value: str) -> list[str]:
    """Give the field names that one parameter holds."""
    return [urllib.parse.unquote(name) for name in value.split(",")] if value else []


def decode(pairs: _Pairs, allowed: collections.abc.Collection[str], *, resource: str) -> tuple[Order, ...]:
    """Give the order that a query asks for, the inverse of :func:`encode`; of what it doesn't say, nothing.

    :raises ValueError: it is no order; the message names the parameter.
    :raises UnknownColumnError: records aren't ordered by such a field.
    """
    direction, said = "asc", list[str]()
    for name, value in pairs:
        if name == ORDER_BY:
            said += value.split(",")
        elif name == ORDER_DIRECTION:
            direction = value.lower()
    if direction not in ("asc", "desc"):
        raise ValueError(f"{ORDER_DIRECTION} is asc or desc, not {direction[:40]!r}")
    if len(said) > _MOST:
        raise ValueError(f"{ORDER_BY} names more than {_MOST} fields")
    read = [_order(each, descending=direction == "desc") for each in said]
    if unknown := [each.field for each in read if each.field not in allowed]:
        raise UnknownColumnError(resource=resource, names=unknown, columns=allowed)
    return orders(read)


def _text(order: Order) -> str:
    return f"{'-' if order.descending else ''}{_quoted(order.field)}{_FIRST if order.nulls == 'first' else ''}"


def _order(said: str, *, descending: bool) -> Order:
    name = said.removesuffix(_FIRST).removesuffix(_LAST)
    is_negative = name.startswith("-")
    field = urllib.parse.unquote(name[1:] if is_negative else name)
    return Order(field, descending or is_negative, "first" if said.endswith(_FIRST) else "last")


def _quoted(name: str) -> str:
    quoted = urllib.parse.quote(name, safe=" ")
    return f"%2D{quoted[1:]}" if quoted.startswith("-") else quoted
