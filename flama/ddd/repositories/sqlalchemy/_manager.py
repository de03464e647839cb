"""One table of a database on one connection: statements go in, records and data errors come out."""

import collections.abc
import functools
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama._private import sqlalchemy as private
from flama.ddd.repositories._deferred import RecordIterator
from flama.ddd.repositories._typed import Record
from flama.ddd.repositories.sqlalchemy import _select_options
from flama.query import Lock, PageableQuery, Select
from flama.sqlalchemy import drivers
from flama.sqlalchemy.errors import translate_errors
from flama.sqlalchemy.sql import statements

__all__ = ["SQLAlchemyTableManager", "StreamedRecords"]

_Record: t.TypeAlias = dict[str, t.Any]


@functools.lru_cache(1000)
def _make_read_translation(table: sa.Table) -> translate_errors:
    return translate_errors(table.name, table, reads=True)


class SQLAlchemyTableManager:
    """One table on one connection, which runs statements, returns records and raises data errors.

    Database errors in a block of ``with manager.reading`` or ``with manager.translating_write_errors`` are raised as
    data errors of the table.
    """

    def __init__(self, table: sa.Table, connection: AsyncConnection) -> None:
        self.table = table
        self.connection = connection
        self.translating_read_errors = _make_read_translation(table)

    @property
    def translating_write_errors(self) -> translate_errors:
        """The context manager for writes, which translates database errors.

        Within a transaction, nothing is stored before its commit.
        """
        table = self.table
        return translate_errors(table.name, table, leaves_open=functools.partial(drivers.autocommits, self.connection))

    @property
    def resource(self) -> str:
        """The table's name, used in errors."""
        return self.table.name

    async def read(self, statement: statements.Statement) -> list[_Record]:
        """Return the records that a statement selects."""
        with self.translating_read_errors:
            return await drivers.read(self.connection, statement)

    async def acquire_lock(self, lock: Lock) -> None:
        """Validate ``lock``, and take the database lock that SQLite needs for it before records are read.

        :raises InvalidDataError: there is no such lock.
        """
        with self.translating_write_errors:
            await _select_options.acquire_sqlite_lock(self.connection, self.table, lock)


class StreamedRecords(RecordIterator[Record]):
    """The records of a statement, read during the iteration; the statement runs when the first is requested."""

    def __init__(
        self,
        manager: SQLAlchemyTableManager,
        select: Select,
        statement: collections.abc.Callable[[], statements.Statement],
        read: collections.abc.Callable[[list[_Record]], list[Record]],
        make_query: collections.abc.Callable[[Select], PageableQuery | None],
    ) -> None:
        self._select = select
        self._make_query = make_query
        self._stream = drivers.ServerCursor(manager.connection, statement, select.limit)
        self._records = _records(manager, self._stream, read, select.lock)
        self._stream.set_owner(self._records)

    @property
    def query(self) -> PageableQuery | None:
        """The query of these records, to be paginated; None if it has ``after`` or ``before``."""
        return self._make_query(self._select)

    def __aiter__(self) -> collections.abc.AsyncIterator[Record]:
        """Return the underlying generator."""
        return self._records

    def __anext__(self) -> collections.abc.Awaitable[Record]:
        """Return the next record."""
        return self._records.__anext__()

    async def aclose(self) -> None:
        """Close the cursor."""
        await self._records.aclose()
        await self._stream.aclose()


async def _records(
    manager: SQLAlchemyTableManager,
    stream: drivers.ServerCursor,
    read: collections.abc.Callable[[list[_Record]], list[Record]],
    lock: Lock | None,
) -> collections.abc.AsyncGenerator[Record]:
    # A generator takes two thirds of a coroutine's time for each record. It has no cleanup to do when it is dropped,
    # which happens in a task of the event loop.
    _check(manager, stream)
    if lock is not None:
        await manager.acquire_lock(lock)
    with manager.translating_read_errors:
        batch = await drivers.first_batch(stream)
    while batch:
        sync = manager.connection.sync_connection
        for record in read(batch):
            yield record
            if sync is None or private.proxy(sync) is None:  # the connection is closed
                _check(manager, stream)
        with manager.translating_read_errors:
            batch = await stream.batch()


def _check(manager: SQLAlchemyTableManager, stream: drivers.ServerCursor) -> None:
    if stream.closed:
        raise exceptions.SessionClosedError(f"The unit of work of '{manager.resource}' has ended")
