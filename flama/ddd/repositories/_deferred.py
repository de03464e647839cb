"""Queries of a repository that have not been run yet, to be paginated."""

import collections.abc
import dataclasses
import typing as t

from flama import query

__all__ = ["DeferredQuery", "Options", "Places"]

Places: t.TypeAlias = collections.abc.Mapping[query.Order, t.Any]


class Options(t.TypedDict):
    """The options of a ``list`` call other than its conditions."""

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
class DeferredQuery:
    """The arguments of a repository's ``list`` call, to be run later."""

    repository: _Repository
    clauses: tuple[t.Any, ...]
    filters: dict[str, t.Any]
    options: Options

    @property
    def places(self) -> Places | None:
        """The order and the types of its fields, if pages can be defined by the values of their records; else None."""
        options = self.options
        if options["limit"] is not None or options["offset"] or options["fields"] is not None:
            return None
        return self.repository._places(options["order_by"], options["order_direction"])

    def sliced(
        self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None
    ) -> collections.abc.AsyncIterator[t.Any]:
        """Return at most ``limit`` of the records, after an offset or next to a record's position."""
        own = self.options["limit"]
        left = limit if own is None else min(limit, max(0, own - offset))
        start = (self.options["offset"] or 0) + offset
        cut = {**self.options, "limit": left, "offset": start or None, "after": after, "before": before}
        return self.repository.list(*self.clauses, **cut, **self.filters)

    async def count(self) -> int:
        """Return the number of records."""
        every = await self.repository.count(*self.clauses, **self.filters)
        own, here = self.options["limit"], max(0, every - (self.options["offset"] or 0))
        return here if own is None else min(here, own)
