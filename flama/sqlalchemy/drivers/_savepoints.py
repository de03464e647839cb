"""Isolation of failed writes from the rest of their transaction."""

import types
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from flama._private import sqlalchemy as private
from flama.sqlalchemy.drivers import _aborted
from flama.sqlalchemy.drivers._driver import Driver
from flama.sqlalchemy.drivers._resolve import resolve_driver
from flama.sqlalchemy.drivers._server_cursors import has_open_cursors, prepare_for_statement

__all__ = ["allow_autocommit_reads", "atomic", "autocommits", "begin_with", "run", "set_read_only"]


async def begin_with(connection: AsyncConnection, commands: tuple[str, ...]) -> None:
    """Run commands, which return nothing, first in a transaction in which nothing was run yet."""
    driver = resolve_driver(connection)
    if driver is None or not await driver.begin_with(connection, commands):
        await _run_by_core(connection, commands)


async def run(connection: AsyncConnection, commands: tuple[str, ...]) -> None:
    """Run commands, which return nothing, on a connection that is in no transaction."""
    driver = resolve_driver(connection)
    if driver is None or not await driver.run(connection, commands):
        await _run_by_core(connection, commands)


def allow_autocommit_reads(connection: AsyncConnection) -> None:
    """Skip the next transaction, which only reads, where results are the same and it saves time."""
    if (driver := resolve_driver(connection)) is not None:
        driver.allow_autocommit_reads(connection)


def set_read_only(connection: AsyncConnection) -> bool:
    """Make a connection's transactions read-only until this is reset; return whether this is supported."""
    return (driver := resolve_driver(connection)) is not None and driver.set_read_only()


def autocommits(connection: AsyncConnection) -> bool:
    """Return whether each statement on a connection is a transaction by itself."""
    sync = connection.sync_connection
    return sync is not None and private.autocommits(sync)


class atomic:
    """A context that undoes the block's writes when it fails, leaving the transaction as usable as before.

    A single statement undoes itself. PostgreSQL then refuses all others until the transaction, or a savepoint in it, is
    rolled back. ``several`` means that the block runs more than one statement. A savepoint costs two round trips. None
    is needed before the database has begun a transaction, as then the whole of it can be rolled back.
    """

    __slots__ = ("_alone", "_connection", "_driver", "_savepoint", "_several")

    def __init__(self, connection: AsyncConnection, *, several: bool = False) -> None:
        self._connection = connection
        self._several = several
        self._alone = False  # whether the block is the whole transaction
        self._driver: Driver | None = None  # the driver that began a savepoint
        self._savepoint: AsyncTransaction | None = None

    async def __aenter__(self) -> None:
        """Begin a savepoint if one is needed."""
        if not self._several and self._connection.dialect.name != "postgresql":
            return
        await prepare_for_statement(self._connection)
        driver = resolve_driver(self._connection)
        if await self._first(driver):
            self._alone = True
            return
        if driver is not None and (driver.queue_savepoint() or await driver.savepoint(self._connection)):
            self._driver = driver
        else:
            self._savepoint = await self._connection.begin_nested()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        """Keep the block's writes, or undo them if it failed."""
        if error is not None:
            await self.roll_back(error)
        elif self._driver is not None:
            if not self._driver.queue_release():
                await self._driver.release(self._connection)
        elif self._savepoint is not None:
            await self._savepoint.commit()

    async def roll_back(self, error: BaseException) -> None:
        """Undo the block's writes before the failure."""
        if isinstance(error, exc.DBAPIError) and _aborted.rolls_back_transaction(error.orig):
            await self._connection.rollback()
        elif self._connection.invalidated:
            pass
        elif self._driver is not None:
            if await self._driver.undo(self._connection):
                _aborted.clear_aborted(_sync(self._connection))
        elif self._savepoint is not None:
            await self._savepoint.rollback()
        elif self._alone and isinstance(error, Exception):
            await self._connection.run_sync(_roll_back_driver)

    async def _first(self, driver: Driver | None) -> bool:
        if self._several and (driver is None or has_open_cursors(self._connection) or autocommits(self._connection)):
            return False
        return driver.is_at_its_beginning if driver else not await _has_begun(self._connection)


async def _run_by_core(connection: AsyncConnection, commands: tuple[str, ...]) -> None:
    for command in commands:
        await connection.exec_driver_sql(command)


def _sync(connection: AsyncConnection) -> sa.Connection:
    return t.cast("sa.Connection", connection.sync_connection)


async def _has_begun(connection: AsyncConnection) -> bool:
    raw = await connection.get_raw_connection()
    driver: t.Any = raw.driver_connection
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return bool(driver.is_in_transaction())
    return bool(driver.info.transaction_status)  # psycopg: 0 is idle


def _roll_back_driver(connection: sa.Connection) -> None:
    _aborted.clear_aborted(connection)
    connection.dialect.do_rollback(connection.connection.dbapi_connection)  # type: ignore[arg-type]
