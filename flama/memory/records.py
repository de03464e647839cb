"""Records of a table that are found when the first of them is asked for."""

import collections.abc
import typing as t

from flama.memory.definitions import Table
from flama.memory.store import Session
from flama.query import Query

__all__ = ["Records"]


class Records(collections.abc.AsyncIterator[t.Any]):
    """The records that a function finds, as they are when the first is asked for."""

    def __init__(
        self,
        session: Session,
        table: Table,
        found: collections.abc.Callable[[], list[t.Any]],
        listing: collections.abc.Callable[[], Query] | None,
    ) -> None:
        self._session = session
        self._table = table
        self._found: collections.abc.Callable[[], list[t.Any]] | None = found
        self._listing = listing
        self._records: collections.abc.Iterator[t.Any] = iter(())

    @property
    def query(self) -> Query | None:
        """What they are found by, to take a page of; None when that can't be said by numbers."""
        return None if self._listing is None else self._listing()

    async def __anext__(self) -> t.Any:
        """Give the next record."""
        self._session.check_open(self._table)
        if self._found is not None:
            found, self._found = self._found, None
            await self._session.reach("list", self._table)
            self._records = iter(found())
        for record in self._records:
            return record
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Forget the rest."""
        self._found, self._records = None, iter(())
