"""Results of queries that run when their first record is read."""

import collections.abc
import typing as t

from flama.memory._store import Session
from flama.memory.schema import Table
from flama.query import Query

__all__ = ["Records"]


class Records(collections.abc.AsyncIterator[t.Any]):
    """An iterator over the records that a function finds, as they are when the first is read."""

    def __init__(
        self,
        session: Session,
        table: Table,
        find: collections.abc.Callable[[], list[t.Any]],
        make_query: collections.abc.Callable[[], Query] | None,
    ) -> None:
        self._session = session
        self._table = table
        self._find: collections.abc.Callable[[], list[t.Any]] | None = find
        self._make_query = make_query
        self._records: collections.abc.Iterator[t.Any] = iter(())

    @property
    def query(self) -> Query | None:
        """The query that can be read by page instead; None when it can't be."""
        return None if self._make_query is None else self._make_query()

    async def __anext__(self) -> t.Any:
        self._session.check_open(self._table)
        if self._find is not None:
            find, self._find = self._find, None
            await self._session.reach("list", self._table)
            self._records = iter(find())
        for record in self._records:
            return record
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Discard the remaining records."""
        self._find, self._records = None, iter(())
