"""Streaming of a statement's records while it runs."""

import collections.abc
import functools
import typing as t
import weakref

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncResult

from flama._private import sqlalchemy as private
from flama.sqlalchemy._dialects import use_portable
from flama.sqlalchemy.drivers import _aborted
from flama.sqlalchemy.drivers._asyncmy_workaround import reject_non_finite
from flama.sqlalchemy.drivers._driver import Cursor
from flama.sqlalchemy.drivers._lifecycle import ensure_checked_out
from flama.sqlalchemy.drivers._resolve import resolve_driver
from flama.sqlalchemy.sql.statements import Statement

__all__ = ["ServerCursor", "close_streams", "has_more_to_end", "has_open_cursors", "prepare_for_statement"]

_Record: t.TypeAlias = dict[str, t.Any]

# A short result is read at once; a long one in few round trips, and in little memory.
_FIRST: t.Final = 250
_BATCH: t.Final = 1000
_SHORT: t.Final = 2000  # results limited to this are read at once, without a cursor and its transaction
_STREAMS: t.Final = "flama_streams"  # an attribute of SQLAlchemy's connection, discarded with it
# their protocol has no cursor that stays open while another statement runs
_ONE_AT_A_TIME: t.Final = frozenset(("mysql", "mariadb"))


class ServerCursor:
    """The records of a statement, in batches; it runs when the first is requested.

    Its cursor closes with the last row, with :meth:`aclose` or with the transaction. One that was dropped unfinished
    closes before the connection's next statement. One that ``is_short`` by its limit needs no cursor.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        statement: collections.abc.Callable[[], Statement],
        limit: int | None = None,
    ) -> None:
        self.connection = self._connection = connection
        self._make = statement
        self._reader: collections.abc.Callable[[], t.Any] = lambda: None
        self._cursor: Cursor | None = None
        self._ahead: list[_Record] = []
        self._size = _FIRST
        self.is_short = type(limit) is int and limit <= _SHORT  # other values are rejected later
        self._ended = False

    @functools.cached_property
    def statement(self) -> Statement:
        """The statement, built on first use."""
        return self._make()

    def set_owner(self, reader: t.Any) -> None:
        """Set the object that reads the records: once it is garbage-collected, the cursor is abandoned."""
        self._reader = weakref.ref(reader)

    @property
    def is_abandoned(self) -> bool:
        """Whether the owner is gone, so that no more records will be requested."""
        return self._reader() is None

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, and with it the cursor."""
        sync = self._connection.sync_connection
        return sync is None or sync.closed

    def end(self) -> None:
        """Record that the records were read in another way."""
        self._ended = True

    async def batch(self) -> list[_Record]:
        """Return the next records, or an empty list when there are no more."""
        if self._ahead:
            ahead, self._ahead = self._ahead, []
            return ahead
        if self._ended:
            return []
        size, self._size = self._size, _BATCH
        try:
            cursor = self._cursor or await self._open()
            records = await cursor.fetch(size)
        except BaseException:
            self._forget()  # a fetch that fails or is cancelled closes the cursor
            raise
        if len(records) < size:
            await self._close()
        return records

    async def aclose(self) -> None:
        """Close the cursor."""
        self._ahead = []
        await self._close()

    async def read_ahead(self) -> None:
        """Read the remaining records into memory, so that the connection is free for another statement."""
        ahead: list[_Record] = []
        while records := await self.batch():
            ahead += records
        self._ahead = ahead

    async def _open(self) -> Cursor:
        connection, statement = self._connection, self.statement
        await prepare_for_statement(connection)
        driver = resolve_driver(connection)
        shape = driver.shapes.get(statement) if driver is not None else None
        if driver is not None and shape is not None:
            cursor = await driver.cursor(connection, shape, statement.values)
        else:
            if connection.dialect.driver == "asyncmy":
                reject_non_finite(connection)
            try:
                cursor = _ByCore(
                    await connection.stream(statement.build(), execution_options=statement.execution_options),
                    statement.keys,
                    is_asyncpg=connection.dialect.driver == "asyncpg",
                )
            except Exception as error:  # SQLAlchemy calls no error listeners for asyncpg's cursors
                _aborted.prepare_anew(connection.dialect, error)
                raise
        self._cursor = cursor
        _streams(connection)[cursor] = weakref.ref(self)
        return cursor

    async def _close(self) -> None:
        if cursor := self._forget():
            await cursor.close()

    def _forget(self) -> Cursor | None:
        self._ended = True
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            _streams(self._connection).pop(cursor, None)
        return cursor


async def close_streams(connection: AsyncConnection) -> None:
    """Close every cursor that is open on the connection."""
    if not has_open_cursors(connection):
        return
    streams = _streams(connection)
    while streams:
        cursor, _ = streams.popitem()
        if connection.invalidated:
            cursor.give_up()
        else:
            await cursor.close()


def _streams(connection: AsyncConnection) -> dict[Cursor, weakref.ref[ServerCursor]]:
    """Return the connection's open cursors, each with its stream, which may have been dropped."""
    sync: t.Any = connection.sync_connection
    streams: dict[Cursor, weakref.ref[ServerCursor]] = {} if sync is None else vars(sync).setdefault(_STREAMS, {})
    return streams


def has_open_cursors(connection: AsyncConnection) -> bool:
    """Return whether a cursor is open on the connection."""
    return bool(getattr(connection.sync_connection, _STREAMS, None))


def has_more_to_end(connection: AsyncConnection) -> bool:
    """Return whether there is more to end than a transaction: a cursor is open, or a statement failed."""
    notes = vars(connection.sync_connection) if connection.sync_connection is not None else {}
    return bool(notes.get(_STREAMS)) or (_aborted.FAILED in notes and _aborted.is_aborted(connection))


async def prepare_for_statement(connection: AsyncConnection) -> None:
    """Make the connection free for a statement: close dropped cursors, and read ahead if necessary.

    A lazy connection is checked out.
    """
    use_portable(connection)
    sync = connection.sync_connection
    if sync is not None and private.proxy(sync) is None:
        await ensure_checked_out(connection)
    if not has_open_cursors(connection):
        return
    streams = _streams(connection)
    for cursor, reference in list(streams.items()):
        stream = reference()
        if stream is None or stream.is_abandoned:
            del streams[cursor]
            await cursor.close()
        elif connection.dialect.name in _ONE_AT_A_TIME:
            await stream.read_ahead()


class _ByCore(Cursor):
    def __init__(self, result: AsyncResult[t.Any], keys: tuple[str, ...], *, is_asyncpg: bool) -> None:
        self._result = result
        self._keys = keys
        self._is_asyncpg = is_asyncpg

    async def fetch(self, number: int) -> list[_Record]:
        return [dict(zip(self._keys, row, strict=True)) for row in await self._result.fetchmany(number)]

    async def close(self) -> None:
        if self._is_asyncpg:  # SQLAlchemy drops its cursor, which stays open on the server until the transaction ends
            # asyncpg is installed only with PostgreSQL's extra
            from flama._private import asyncpg  # noqa: PLC0415

            cursor = private.driver_cursor(self._result)
            if cursor is not None and asyncpg.has_portal(cursor):
                await asyncpg.close_portal(cursor)
        await self._result.close()
