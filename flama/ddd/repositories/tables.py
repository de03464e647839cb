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
    return translated(table.name, table, reads=True)


class SQLAlchemyTableManager:
    """One table on one connection: statements go in, records and data errors come out.

    What goes wrong in a block of ``with manager.reading``, or ``writing``, is told as a data error about the table.
    """

    def __init__(self, table: sa.Table, connection: AsyncConnection) -> None:
        self.table = table
        self.connection = connection
        self.reading = _reading(table)

    @property
    def writing(self) -> translated:
        """What goes wrong in a block that writes; within a transaction, nothing is there before it is committed."""
        table = self.table
        return translated(table.name, table, leaves_open=functools.partial(drivers.autocommits, self.connection))

    @property
    def resource(self) -> str:
        """The table's name, which errors tell."""
        return self.table.name

    async def read(self, statement: statements.Statement) -> list[_Record]:
        """Give the records that a statement finds."""
        with self.reading:
            return await drivers.read(self.connection, statement)

    async def hold(self, lock: readings.Lock) -> None:
        """Do what has to be done before records can be read and held."""
        with self.writing:
            await readings.hold(self.connection, self.table, lock)


class Records(collections.abc.AsyncIterator[Record]):
    """The records that a statement finds, read while one iterates; the statement is run when the first is asked for."""

    def __init__(
        self,
        manager: SQLAlchemyTableManager,
        statement: collections.abc.Callable[[], statements.Statement],
        read: collections.abc.Callable[[list[_Record]], list[Record]],
        lock: readings.Lock | None,
        listing: collections.abc.Callable[[], query.Query] | None = None,
        *,
        limit: int | None = None,
    ) -> None:
        self._listing = listing
        self._stream = drivers.Stream(manager.connection, statement, limit)
        self._records = _records(manager, self._stream, read, lock)
        self._stream.is_for(self._records)

    @property
    def query(self) -> query.Query | None:
        """What they are found by, to take a page of; None when that can't be said by numbers."""
        return None if self._listing is None else self._listing()

    def __aiter__(self) -> collections.abc.AsyncIterator[Record]:
        """Give what asks for one after the other."""
        return self._records

    def __anext__(self) -> collections.abc.Awaitable[Record]:
        """Give the next record."""
        return self._records.__anext__()

    async def aclose(self) -> None:
        """Close the cursor."""
        await self._records.aclose()
        await self._stream.aclose()


async def _records(
    manager: SQLAlchemyTableManager,
    stream: drivers.Stream,
    read: collections.abc.Callable[[list[_Record]], list[Record]],
    lock: readings.Lock | None,
) -> collections.abc.AsyncGenerator[Record]:
    # A generator, as that gives a record in two thirds of the time that a coroutine takes. It has nothing to do when it
    # is dropped, which happens in a task of the event loop's.
    _check(manager, stream)
    if lock is not None:
        await manager.hold(lock)
    with manager.reading:
        batch = await drivers.first_batch(stream)
    while batch:
        sync = manager.connection.sync_connection
        for record in read(batch):
            yield record
            # for every record: that there is a connection is told by one look
            if sync is None or sync._dbapi_connection is None:
                _check(manager, stream)
        with manager.reading:
            batch = await stream.batch()


def _check(manager: SQLAlchemyTableManager, stream: drivers.Stream) -> None:
    if stream.closed:
        raise exceptions.SessionClosedError(f"The unit of work of '{manager.resource}' has ended")
