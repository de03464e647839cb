"""Orderings on the wire: the fields by which records are sorted, as the parameters of a query.

``order_by=name`` sorts by one field, in descending order with ``order_direction=desc``. ``order_by=-age,name`` sorts by
several fields, where ``-`` means descending. ``-age:nulls_first`` puts records without an age first.
"""

import collections.abc
import typing as t
import urllib.parse

from flama.exceptions import UnknownColumnError
from flama.query import Order, parse_order
from flama.rest.query_parameters import ORDER_BY, ORDER_DIRECTION

__all__ = ["decode", "decode_fields", "encode", "encode_fields"]

_Pairs: t.TypeAlias = collections.abc.Iterable[tuple[str, str]]

_NULLS_FIRST: t.Final = ":nulls_first"
_NULLS_LAST: t.Final = ":nulls_last"
_MAX_FIELDS: t.Final = 20


def encode(order: collections.abc.Sequence[Order]) -> list[tuple[str, str]]:
    """Return the parameters of a query for records in this order.

    The direction of a single field is sent as ``order_direction``, which all servers support.
    """
    match order:
        case []:
            return []
        case [Order(field, descending, "last")]:
            return [(ORDER_BY, _quote(field)), *([(ORDER_DIRECTION, "desc")] if descending else ())]
    return [(ORDER_BY, ",".join(map(_encode_order, order)))]


def encode_fields(order_by: collections.abc.Collection[str]) -> str:
    """Return nonempty field names as the value of one parameter; :func:`decode_fields` is the inverse."""
    return ",".join(map(_quote, order_by))


def decode_fields(value: str) -> list[str]:
    """Return the field names in the value of one parameter."""
    return [urllib.parse.unquote(name) for name in value.split(",")] if value else []


def decode(pairs: _Pairs, allowed: collections.abc.Collection[str], *, resource: str) -> tuple[Order, ...]:
    """Return the order of a query, the inverse of :func:`encode`; empty if the query has none.

    :raises ValueError: a parameter is malformed; the message names it.
    :raises UnknownColumnError: records can't be sorted by one of the fields.
    """
    direction, terms = "asc", list[str]()
    for name, value in pairs:
        if name == ORDER_BY:
            terms += value.split(",")
        elif name == ORDER_DIRECTION:
            direction = value.lower()
    if direction not in ("asc", "desc"):
        raise ValueError(f"{ORDER_DIRECTION} is asc or desc, not {direction[:40]!r}")
    if len(terms) > _MAX_FIELDS:
        raise ValueError(f"{ORDER_BY} names more than {_MAX_FIELDS} fields")
    read = [_parse_order(each, descending=direction == "desc") for each in terms]
    if unknown := [each.field for each in read if each.field not in allowed]:
        raise UnknownColumnError(resource=resource, names=unknown, columns=allowed)
    return parse_order(read)


def _encode_order(order: Order) -> str:
    return f"{'-' if order.descending else ''}{_quote(order.field)}{_NULLS_FIRST if order.nulls == 'first' else ''}"


def _parse_order(term: str, *, descending: bool) -> Order:
    name = term.removesuffix(_NULLS_FIRST).removesuffix(_NULLS_LAST)
    is_negative = name.startswith("-")
    field = urllib.parse.unquote(name[1:] if is_negative else name)
    return Order(field, descending or is_negative, "first" if term.endswith(_NULLS_FIRST) else "last")


def _quote(name: str) -> str:
    quoted = urllib.parse.quote(name, safe=" ")
    return f"%2D{quoted[1:]}" if quoted.startswith("-") else quoted
