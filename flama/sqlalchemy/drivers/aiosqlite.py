"""SQLite by way of aiosqlite: whatever a statement takes is one errand to the connection's thread."""

import asyncio
import collections.abc
import functools
import sqlite3
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers.driver import Cursor, Driver
from flama.sqlalchemy.shapes import Reader, Record, Shape

__all__ = ["Aiosqlite"]


class Aiosqlite(Driver):
    """A connection of aiosqlite."""

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        return bool(self._connection.in_transaction)

    async def run(self, connection: AsyncConnection, commands: tuple[str, ...]) -> bool:
        """Run commands that give nothing, and begin nothing for them."""
        try:
            await self._connection._execute(_run, self._connection._conn, commands)
        except BaseException as error:
            await self._broke(connection, "; ".join(commands), error)
            raise
        return True

    def _run(self, shape: Shape, arguments: t.Any, guarded: bool, counts: bool) -> collections.abc.Awaitable[t.Any]:
        # what the connection's own _execute() does, but for a coroutine
        connection = self._connection
        if not connection._running:
            raise ValueError("Connection closed")
        future: asyncio.Future[t.Any] = asyncio.get_running_loop().create_future()
        errand = functools.partial(_count if counts else _records, connection._connection, shape, arguments)
        connection._tx.put_nowait((future, errand))
        return future

    async def _records_of_many(self, shape: Shape, rows: list[t.Any]) -> list[Record]:
        connection = self._connection
        return shape.reader()(await connection._execute(_rows_of_many, connection._conn, shape, rows))

    async def _cursor(self, shape: Shape, arguments: t.Any, number: int) -> tuple[Cursor, list[Record]]:
        connection = self._connection
        cursor, rows = await connection._execute(_first, connection._conn, shape.sql, arguments, number)
        reader = shape.reader()
        return _Cursor(connection, cursor, reader, ended=len(rows) < number), reader(rows)

    async def ended(self, connection: AsyncConnection, *, rollback: bool) -> bool:
        """End the database's transaction."""
        driver = self._connection
        try:
            await driver._execute(driver._conn.rollback if rollback else driver._conn.commit)
        except BaseException as error:
            await self._broke(connection, "ROLLBACK" if rollback else "COMMIT", error)
            raise
        return True

    async def _tell(self, command: str) -> None:
        await self._connection._execute(_tell, self._connection._conn, command)


class _Cursor(Cursor):
    # The errand that comes to the end of the rows closes it.

    def __init__(self, connection: t.Any, cursor: sqlite3.Cursor, reader: Reader, *, ended: bool) -> None:
        self._connection = connection
        self._cursor = cursor
        self._reader = reader
        self._ended = ended

    async def fetch(self, number: int) -> list[Record]:
        rows = await self._connection._execute(_fetched, self._cursor, number)
        self._ended = len(rows) < number
        return self._reader(rows)

    async def close(self) -> None:
        if not self._ended:
            await self._connection._execute(self._cursor.close)


def _records(connection: sqlite3.Connection, shape: Shape, arguments: t.Any) -> list[Record]:
    cursor = _cursor(connection, shape)
    try:
        return shape.reader()(cursor.execute(shape.sql, arguments).fetchall())
    finally:
        cursor.close()


def _count(connection: sqlite3.Connection, shape: Shape, arguments: t.Any) -> int:
    cursor = _cursor(connection, shape)
    try:
        return cursor.execute(shape.sql, arguments).rowcount
    finally:
        cursor.close()


def _rows_of_many(connection: sqlite3.Connection, shape: Shape, rows: collections.abc.Iterable[t.Any]) -> list[t.Any]:
    cursor = _cursor(connection, shape)
    execute, fetchone, sql = cursor.execute, cursor.fetchone, shape.sql
    found = []
    try:
        for arguments in rows:
            execute(sql, arguments)
            if (row := fetchone()) is not None:
                found.append(row)
    finally:
        cursor.close()
    return found


def _cursor(connection: sqlite3.Connection, shape: Shape) -> sqlite3.Cursor:
    # The connection's own is kept track of, and looks at each statement whether a transaction begins with it. This one
    # is closed at once, and the driver itself sees to what begins with such a word.
    return sqlite3.Cursor(connection) if shape.is_plain else connection.cursor()


def _first(
    connection: sqlite3.Connection, sql: str, arguments: t.Any, number: int
) -> tuple[sqlite3.Cursor, list[t.Any]]:
    # one that the connection's own execute made would not be known to it, and not be closed with it
    cursor = connection.cursor().execute(sql, arguments)
    return cursor, _fetched(cursor, number)


def _fetched(cursor: sqlite3.Cursor, number: int) -> list[t.Any]:
    rows = cursor.fetchmany(number)
    if len(rows) < number:
        cursor.close()
    return rows


def _run(connection: sqlite3.Connection, commands: tuple[str, ...]) -> None:
    for command in commands:
        connection.execute(command)


def _tell(connection: sqlite3.Connection, command: str) -> None:
    # a savepoint that is no part of a transaction would commit when it is released
    if not connection.in_transaction and connection.isolation_level is not None:
        connection.execute("BEGIN IMMEDIATE")
    connection.execute(command)
