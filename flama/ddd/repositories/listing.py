"""Queries of a repository that were not run yet, as something to take a page of."""

import collections.abc
import dataclasses
import typing as t

from flama import query

__all__ = ["Listing", "Options", "Places"]

Places: t.TypeAlias = collections.abc.Mapping[query.Order, t.Any]


class Options(t.TypedDict):
    """What says, beside the conditions, which records a list has."""

    order_by: t.Any
    order_direction: str
    limit: int | None
    offset: int | None
    fields: t.Any
    lock: t.Any


class _Repository(t.Protocol):
    def list(self, *clauses: t.Any, **options: t.Any) -> collections.abc.AsyncIterator[t.Any]: ...

    async def count(self, *clauses: t.Any, **filters: t.Any) -> int: ...

    def _places(self, order_by: t.Any, order_direction: str) -> Places | None: ...


@dataclasses.dataclass(frozen=True)
class Listing:
    """The records that a repository's ``list`` was asked for."""

    repository: _Repository
    clauses: tuple[t.Any, ...]
    filters: dict[str, t.Any]
    options: Options

    @property
    def places(self) -> Places | None:
        """The order with the types of its fields, where pages can be told by places."""
        options = self.options
        if options["limit"] is not None or options["offset"] or options["fields"] is not None:
            return None
        return self.repository._places(options["order_by"], options["order_direction"])

    def sliced(
        self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None
    ) -> collections.abc.AsyncIterator[t.Any]:
        """Give so many of the records, after an offset, or next to a place."""
        own = self.options["limit"]
        left = limit if own is None else min(limit, max(0, own - offset))
        start = (self.options["offset"] or 0) + offset
        cut = {**self.options, "limit": left, "offset": start or None, "after": after, "before": before}
        return self.repository.list(*self.clauses, **cut, **self.filters)

    async def count(self) -> int:
        """Give how many records there are."""
        every = await self.repository.count(*self.clauses, **self.filters)
        own, here = self.options["limit"], max(0, every - (self.options["offset"] or 0))
        return here if own is None else min(here, own)
