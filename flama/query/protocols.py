"""Protocols of queries that have not run yet, for pagination."""

import collections.abc
import typing as t

from flama.query.ordering import Order

__all__ = ["CursorPage", "CursorQuery", "PageableQuery"]


class CursorPage(t.NamedTuple):
    """Records from a cursor on, and the cursors of the next and the previous page, where there are any."""

    records: list[t.Any]
    next: str | None
    previous: str | None


@t.runtime_checkable
class PageableQuery(t.Protocol):
    """A query that has not run yet, which can be sliced and counted."""

    @property
    def keyset_columns(self) -> collections.abc.Mapping[Order, t.Any] | None:
        """The order, including a key, with the type of each field's values; None where keyset positions have no
        meaning.

        That is so when the query is itself a slice, or its order isn't made of fields.
        """

    def slice(
        self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None
    ) -> collections.abc.AsyncIterable[t.Any]:
        """Return at most ``limit`` records after an offset, or next to a position: after or before a record."""
        ...

    async def count(self) -> int:
        """Return the number of records."""
        ...


@t.runtime_checkable
class CursorQuery(PageableQuery, t.Protocol):
    """A query that a service runs, which may have cursors of its own."""

    @property
    def orders(self) -> tuple[Order, ...]:
        """The order that the request names; what else the service sorts by isn't known."""
        ...

    @property
    def has_cursors(self) -> bool:
        """Whether it can be read from a cursor on."""
        ...

    async def fetch_page(self, cursor: str, limit: int) -> CursorPage:
        """Return at most ``limit`` records from a cursor on; an empty cursor is the beginning."""
        ...
