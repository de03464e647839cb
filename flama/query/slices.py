"""Queries that were not run yet: what of them a page asks for."""

import collections.abc
import typing as t

from flama.query.orders import Order

__all__ = ["Query", "Remote", "Stretch"]


class Stretch(t.NamedTuple):
    """Records from a cursor on, and the cursors of those behind and before them, where there are any."""

    records: list[t.Any]
    next: str | None
    previous: str | None


@t.runtime_checkable
class Query(t.Protocol):
    """The records that a repository is asked for, of which a part can be asked for instead."""

    @property
    def places(self) -> collections.abc.Mapping[Order, t.Any] | None:
        """The order, a key in it, with the type of what each of its fields holds; None where places mean nothing.

        That is so when the query is a slice itself, or is in an order that isn't made of fields.
        """

    def sliced(
        self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None
    ) -> collections.abc.AsyncIterable[t.Any]:
        """Give so many of the records, after an offset, or next to a place: after one record, or before another."""
        ...

    async def count(self) -> int:
        """Give how many records there are."""
        ...


@t.runtime_checkable
class Remote(Query, t.Protocol):
    """A query that a service answers, which may have cursors of its own."""

    @property
    def orders(self) -> tuple[Order, ...]:
        """The order that the service is asked for; what it sorts by besides isn't known."""
        ...

    @property
    def has_cursors(self) -> bool:
        """Whether it can be asked for what is at a cursor."""
        ...

    async def at(self, cursor: str, limit: int) -> Stretch:
        """Give so many of the records from a cursor on; an empty one is where all begins."""
        ...
