"""The driver for SQLite through aiosqlite: each statement is one call to the connection's thread."""

import collections.abc
import sqlite3
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama._private import aiosqlite as private
from flama._shielding import EagerCoroutine
from flama.sqlalchemy.drivers._compiled_cache import CompiledStatement, Record, RowDecoder
from flama.sqlalchemy.drivers._driver import Cursor, Driver

__all__ = ["Aiosqlite"]


class Aiosqlite(Driver):
    """A connection of aiosqlite."""

    _ending: EagerCoroutine | None = None  # a COMMIT that was sent, whose response is still to be awaited

    @classmethod
    def is_supported(cls) -> bool:
        """Return whether the installed libraries have all that the driver needs of them."""
        return super().is_supported() and private.HAS["calls"]

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        return bool(self._connection.in_transaction)

    async def run(self, connection: AsyncConnection, commands: tuple[str, ...]) -> bool:
        """Run commands that return nothing, without beginning a transaction."""
        try:
            await private.call(self._connection, _execute_all, commands)
        except BaseException as error:
            await self._handle_command_error(connection, "; ".join(commands), error)
            raise
        return True

    def _run(
        self, shape: CompiledStatement, arguments: t.Any, guarded: bool, counts: bool
    ) -> collections.abc.Awaitable[t.Any]:
        return private.call_nowait(self._connection, _count if counts else _records, shape, arguments)

    async def _execute_many(self, shape: CompiledStatement, rows: list[t.Any]) -> list[Record]:
        return shape.row_decoder()(await private.call(self._connection, _execute_many, shape, rows))

    async def open_cursor(self, shape: CompiledStatement, arguments: t.Any, number: int) -> tuple[Cursor, list[Record]]:
        cursor, rows = await private.call(self._connection, _open_cursor, shape.sql, arguments, number)
        reader = shape.row_decoder()
        return _Cursor(self._connection, cursor, reader, ended=len(rows) < number), reader(rows)

    async def end(self, connection: AsyncConnection, *, rollback: bool) -> bool:
        """End the database's transaction."""
        driver, (ending, self._ending) = self._connection, (self._ending, None)
        try:
            if ending is not None:
                await ending.wait()
            else:
                await private.call(driver, sqlite3.Connection.rollback if rollback else sqlite3.Connection.commit)
        except BaseException as error:
            await self._handle_command_error(connection, "ROLLBACK" if rollback else "COMMIT", error)
            raise
        return True

    def begin_commit(self, limit: float) -> collections.abc.Awaitable[bool]:
        driver = self._connection
        self._ending = EagerCoroutine(private.call(driver, sqlite3.Connection.commit))
        return self._wait_for_commit(self._ending, limit)

    async def _wait_for_commit(self, ending: EagerCoroutine, limit: float) -> bool:
        await ending.wait(limit)
        self._ending = None
        return True

    async def _execute_command(self, command: str) -> None:
        await private.call(self._connection, _execute_in_transaction, command)


class _Cursor(Cursor):
    # The fetch that reaches the end of the rows closes it.

    def __init__(self, connection: t.Any, cursor: sqlite3.Cursor, reader: RowDecoder, *, ended: bool) -> None:
        self._connection = connection
        self._cursor = cursor
        self._reader = reader
        self._ended = ended

    async def fetch(self, number: int) -> list[Record]:
        rows = await private.call(self._connection, _fetch, self._cursor, number)
        self._ended = len(rows) < number
        return self._reader(rows)

    async def close(self) -> None:
        if not self._ended:
            await private.call(self._connection, _close, self._cursor)


def _records(connection: sqlite3.Connection, shape: CompiledStatement, arguments: t.Any) -> list[Record]:
    cursor = _cursor(connection, shape)
    try:
        return shape.row_decoder()(cursor.execute(shape.sql, arguments).fetchall())
    finally:
        cursor.close()


def _count(connection: sqlite3.Connection, shape: CompiledStatement, arguments: t.Any) -> int:
    cursor = _cursor(connection, shape)
    try:
        return cursor.execute(shape.sql, arguments).rowcount
    finally:
        cursor.close()


def _execute_many(
    connection: sqlite3.Connection, shape: CompiledStatement, rows: collections.abc.Iterable[t.Any]
) -> list[t.Any]:
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


def _cursor(connection: sqlite3.Connection, shape: CompiledStatement) -> sqlite3.Cursor:
    # The connection's own cursor is tracked by it, and checks each statement for whether it begins a transaction. This
    # one is closed at once, and the sqlite3 module itself handles statements that start with one of these words.
    return sqlite3.Cursor(connection) if shape.is_plain else connection.cursor()


def _open_cursor(
    connection: sqlite3.Connection, sql: str, arguments: t.Any, number: int
) -> tuple[sqlite3.Cursor, list[t.Any]]:
    # a cursor made by the connection's own execute() isn't tracked, and so isn't closed with the connection
    cursor = connection.cursor().execute(sql, arguments)
    return cursor, _fetch(connection, cursor, number)


def _fetch(connection: sqlite3.Connection, cursor: sqlite3.Cursor, number: int) -> list[t.Any]:
    rows = cursor.fetchmany(number)
    if len(rows) < number:
        cursor.close()
    return rows


def _close(connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> None:
    cursor.close()


def _execute_all(connection: sqlite3.Connection, commands: tuple[str, ...]) -> None:
    for command in commands:
        connection.execute(command)


def _execute_in_transaction(connection: sqlite3.Connection, command: str) -> None:
    # a savepoint outside of a transaction would commit on release
    if not connection.in_transaction and connection.isolation_level is not None:
        connection.execute("BEGIN IMMEDIATE")
    connection.execute(command)
