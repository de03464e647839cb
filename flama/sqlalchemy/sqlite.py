"""SQLite connections and engines set up for a service."""

import asyncio
import collections.abc
import contextlib
import functools
import re
import sqlite3
import time
import typing as t
import weakref

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from flama._private import aiosqlite as private
from flama.sqlalchemy import pool

__all__ = ["MemoryDatabase", "ServiceConnection", "ServiceCursor", "create_engine", "in_memory"]

_BUSY_TIMEOUT: t.Final = 30.0
_BUSY_PAUSE: t.Final = 0.005
_QUEUE_TIMEOUT: t.Final = 30.0

_READS: t.Final = frozenset(
    ("SELECT", "VALUES", "PRAGMA", "EXPLAIN", "VACUUM", "ATTACH", "DETACH", "BEGIN", "COMMIT", "END", "ROLLBACK")
)
_WRITES_WITHIN: t.Final = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)
_FIRST_WORD: t.Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.DOTALL)


def _writes(statement: str) -> bool:
    word = _FIRST_WORD.match(statement)
    keyword = word[1].upper() if word else ""
    return bool(_WRITES_WITHIN.search(statement)) if keyword == "WITH" else keyword not in _READS


class ServiceCursor(sqlite3.Cursor):
    """A cursor whose transaction begins with the first statement that writes, of any kind.

    The driver begins one for INSERT, UPDATE, DELETE and REPLACE alone; a savepoint, ``WITH … UPDATE`` or a CREATE
    before them would be committed on its own. If a transaction began with a read, another writer could make its
    snapshot stale. Its first write would then fail at once ("database is locked").
    """

    def execute(self, sql: str, parameters: t.Any = (), /) -> t.Self:
        """Execute one statement."""
        connection = self.connection
        if not connection.in_transaction and connection.isolation_level is not None and _writes(sql):
            super().execute("BEGIN IMMEDIATE")
        return super().execute(sql, parameters)


@contextlib.contextmanager
def _unless_read_only() -> collections.abc.Iterator[None]:
    """Ignore the error of a read-only file: without writers, its readers need no write-ahead log."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
            raise


class ServiceConnection(sqlite3.Connection):
    """A connection that enforces foreign keys; readers and the writer of its file don't wait for one another."""

    def __init__(self, *args: t.Any, **options: t.Any) -> None:
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()
        self._closed = False
        super().__init__(*args, **options)
        self.execute("PRAGMA foreign_keys = ON")
        with _unless_read_only():
            self._use_write_ahead_log(time.monotonic() + options.get("timeout", _BUSY_TIMEOUT))

    def _use_write_ahead_log(self, deadline: float) -> None:
        """Switch the file to a write-ahead log, so that readers and the writer run concurrently.

        When several connections open a new file at the same time, one switches it. SQLite refuses the others at once,
        whatever its timeout, so they try again until the deadline.
        """
        while True:
            try:
                self.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_BUSY_PAUSE)
            else:
                return

    def cursor(self, factory: t.Any = ServiceCursor) -> t.Any:
        """Return a new cursor."""
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def renew(self) -> None:
        """Close every cursor, roll back, and permit writes."""
        for cursor in list(self._cursors):
            cursor.close()
        self.rollback()
        self.execute("PRAGMA query_only = OFF")

    def close(self) -> None:
        """Close the connection with all its cursors, which releases its locks."""
        if not self._closed:
            self.renew()
        self._closed = True
        super().close()


class _Connection(aiosqlite.Connection):
    # aiosqlite waits for ever if stop() is called while it closes, which a second cancellation does

    _stopped: asyncio.Future[t.Any] | None = None

    @classmethod
    async def connect(cls, *args: t.Any, **options: t.Any) -> t.Self:
        connection = cls(functools.partial(sqlite3.connect, *args, **options), iter_chunk_size=64)
        private.make_daemon(connection)
        await connection
        return connection

    async def close(self) -> None:
        if self._stopped is None:
            await super().close()

    def stop(self) -> asyncio.Future[t.Any] | None:
        if self._stopped is None:
            self._stopped = super().stop()
        return self._stopped


class _PersistentConnection(_Connection):
    # SQLAlchemy closes a connection whose statement was cancelled, and its in-memory database would be lost with it. So
    # close() only resets it: aiosqlite runs everything in order in one thread, so the reset comes after the abandoned
    # statement and rolls it back.

    async def close(self) -> None:
        execute: t.Any = self._execute
        await execute(self._renew)

    def stop(self) -> asyncio.Future[t.Any] | None:
        if self._connection is None:
            return super().stop()
        self._tx.put_nowait((None, self._renew))
        return None

    async def end(self) -> None:
        await super().close()

    def _renew(self) -> None:
        if isinstance(self._connection, ServiceConnection):
            self._connection.renew()


class MemoryDatabase:
    """An in-memory database that persists between checkouts of its only connection."""

    def __init__(self) -> None:
        self._kept: _PersistentConnection | None = (
            None  # created by the first checkout; a pool of one permits no two at a time
        )

    async def connect(self, *args: t.Any, **options: t.Any) -> aiosqlite.Connection:
        """Return the connection that holds the database."""
        if self._kept is None:
            self._kept = await _PersistentConnection.connect(*args, **options)
        return self._kept

    async def dispose(self) -> None:
        """Close the connection, and drop the database with it."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.end()


def in_memory(url: sa.URL) -> bool:
    """Whether the database of this URL is in memory."""
    if url.get_backend_name() != "sqlite":
        return False
    database = url.database or ":memory:"
    return database.removeprefix("file:").startswith(":memory:") or url.query.get("mode") == "memory"


def create_engine(
    url: sa.URL, given: collections.abc.Mapping[str, t.Any]
) -> tuple[AsyncEngine, collections.abc.Callable[[], collections.abc.Awaitable[None]]]:
    """Return an engine for a service and the function that closes it; the program's options override the defaults."""
    connect: dict[str, t.Any] = {
        "async_creator_fn": _Connection.connect,
        "factory": ServiceConnection,
        "timeout": _BUSY_TIMEOUT,
    }
    if not in_memory(url):
        engine = create_async_engine(url, **_merge_options(given, connect))
        return engine, functools.partial(pool.dispose, engine)
    memory = MemoryDatabase()
    connect["async_creator_fn"] = memory.connect
    alone = {"pool_timeout": _QUEUE_TIMEOUT, **given, "pool_size": 1, "max_overflow": 0}
    engine = create_async_engine(
        url, **_merge_options(alone if given.get("poolclass") is pool.FairPool else given, connect)
    )

    async def dispose() -> None:
        await pool.dispose(engine)
        await memory.dispose()

    return engine, dispose


def _merge_options(given: collections.abc.Mapping[str, t.Any], connect: dict[str, t.Any]) -> dict[str, t.Any]:
    return {**given, "connect_args": {**connect, **given.get("connect_args", {})}}
