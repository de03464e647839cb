"""One table of a database on one connection: statements go in, records and data errors come out."""

import collections.abc
import functools
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions, query
from flama.ddd.repositories.typed import Record
from flama.sqlalchemy import drivers, readings, statements
from flama.sqlalchemy.errors import translated

__all__ = ["Records", "SQLAlchemyTableManager"]

_Record: t.TypeAlias = dict[str, t.Any]


@functools.lru_cache(1000)
def _reading(table: sa.Table) -> translated:
    return translated(table.name, table)


class SQLAlchemyTableManager:
    """One table on one connection: statements go in, records and data errors come out."""

    def __init__(self, table: sa.Table, connection: AsyncConnection) -> None:
        self.table = table
        self.connection = connection
        self._reading = _reading(table)

    @property
    def resource(self) -> str:
        """The table's name, which errors tell."""
        return self.table.name

    async def read(self, statement: statements.Statement) -> list[_Record]:
        """Give the records that a statement finds."""
        with self._reading:
            return await drivers.records(self.connection, statement)

    async def hold(self, lock: readings.Lock) -> None:
        """Do what has to be done before records can be read and held."""
        with self.translated(write=True):
            await readings.hold(self.connection, self.table, lock)

    def translated(self, *, write: bool = False) -> translated:
        """Give what turns a driver's error into a data error about this table."""
        # within a transaction, nothing that was written is there before it is committed
        if not write or not drivers.autocommits(self.connection):
            return self._reading
        return translated(self.table.name, self.table, write=True)


class Records(collections.abc.AsyncIterator[Record]):
    """The records that a statement finds, read while one iterates; the statement is run when the first is asked for."""

    def __init__(
        self,
        manager: SQLAlchemyTableManager,
        statement: collections.abc.Callable[[], statements.Statement],
        read: collections.abc.Callable[[list[_Record]], list[Record]],
        lock: readings.Lock | None,
        listing: collections.abc.Callable[[], query.Query] | None = None,
    ) -> None:
        self._manager = manager
        self._listing = listing
        self._sync = manager.connection.sync_connection
        self._stream = drivers.Stream(manager.connection, statement)
        self._read = read
        self._lock: readings.Lock | None = lock
        self._batch: collections.abc.Iterator[Record] = iter(())

    @property
    def query(self) -> query.Query | None:
        """What they are found by, to take a page of; None when that can't be said by numbers."""
        return None if self._listing is None else self._listing()

    async def __anext__(self) -> Record:
        """Give the next record."""
        # for every record: that there is a connection is told by one look
        if (self._sync is None or self._sync._dbapi_connection is None) and self._stream.closed:
            raise exceptions.SessionClosedError(f"The unit of work of '{self._manager.resource}' has ended")
        for record in self._batch:
            return record
        if self._lock is not None:
            await self._manager.hold(self._lock)
            self._lock = None
        with self._manager.translated():
            batch = await self._stream.batch()
        self._batch = iter(self._read(batch))
        for record in self._batch:
            return record
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the cursor."""
        self._batch = iter(())
        await self._stream.aclose()
