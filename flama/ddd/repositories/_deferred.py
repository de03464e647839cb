"""Results of a repository's ``list``: an iterator over records, or a query to be paginated."""

import abc
import collections.abc
import dataclasses
import typing as t

from flama import query

__all__ = ["DeferredQuery", "KeysetColumns", "RecordIterator"]

R = t.TypeVar("R")

KeysetColumns: t.TypeAlias = collections.abc.Mapping[query.Order, t.Any]
"""An order that identifies positions, with the type of each field's values."""


@dataclasses.dataclass(frozen=True)
class DeferredQuery:
    """A query of a repository, to be run later by the repository's hooks."""

    select: query.Select
    iterate: collections.abc.Callable[[query.Select], collections.abc.AsyncIterator[t.Any]]
    count_matches: collections.abc.Callable[[query.Select], collections.abc.Awaitable[int]]
    find_keyset_columns: collections.abc.Callable[[query.Select], KeysetColumns | None]

    @property
    def keyset_columns(self) -> KeysetColumns | None:
        """The order and the types of its fields, if pages can be defined by the values of their records; else None."""
        select = self.select
        return None if select.is_slice or select.fields is not None else self.find_keyset_columns(select)

    def slice(
        self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None
    ) -> collections.abc.AsyncIterator[t.Any]:
        """Return at most ``limit`` of the records, after an offset or next to a record's position."""
        return self.iterate(self.select.slice(limit, offset, after=after, before=before))

    async def count(self) -> int:
        """Return the number of records."""
        select = self.select
        found = await self.count_matches(query.Select("count", select.clauses, select.filters))
        here = max(0, found - (select.offset or 0))
        return here if select.limit is None else min(here, select.limit)


class RecordIterator(collections.abc.AsyncIterator[R]):
    """An iterator over the records of a query, which runs when the first one is requested."""

    @property
    @abc.abstractmethod
    def query(self) -> query.PageableQuery | None:
        """The query, to be paginated; None if it has ``after`` or ``before``."""

    async def all(self) -> list[R]:
        """Return all records."""
        return [record async for record in self]

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Stop the iteration and release its resources."""
