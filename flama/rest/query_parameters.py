"""The names of the query parameters that aren't fields."""

import typing as t

__all__ = [
    "COUNT",
    "CURSOR",
    "FILTER",
    "LIMIT",
    "MAX_AFFECTED",
    "OFFSET",
    "ON",
    "ORDER_BY",
    "ORDER_DIRECTION",
    "PAGE",
    "PAGE_NUMBER",
    "PAGE_SIZE",
    "RESERVED",
    "SET",
]

FILTER: t.Final = "filter"
ORDER_BY: t.Final = "order_by"
ORDER_DIRECTION: t.Final = "order_direction"
PAGE: t.Final = "page"
PAGE_NUMBER: t.Final = "page_number"
"""Another name of ``page``, which some clients use."""
PAGE_SIZE: t.Final = "page_size"
LIMIT: t.Final = "limit"
OFFSET: t.Final = "offset"
CURSOR: t.Final = "cursor"
COUNT: t.Final = "count"
MAX_AFFECTED: t.Final = "max_affected"
ON: t.Final = "on"
SET: t.Final = "set"

RESERVED: t.Final = frozenset(
    {
        FILTER,
        ORDER_BY,
        ORDER_DIRECTION,
        PAGE,
        PAGE_NUMBER,
        PAGE_SIZE,
        LIMIT,
        OFFSET,
        CURSOR,
        COUNT,
        MAX_AFFECTED,
        ON,
        SET,
    }
)
"""The reserved names: a field with one of these can be filtered by in groups only."""
