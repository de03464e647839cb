"""SQLite as a service needs it."""

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

from flama.sqlalchemy.disposal import disposed
from flama.sqlalchemy.pool import FairPool

__all__ = ["Memory", "ServiceConnection", "ServiceCursor", "create_engine", "in_memory"]

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
    """A cursor whose transaction begins with the first statement that writes, whichever that is.

    The driver begins one for INSERT, UPDATE, DELETE and REPLACE alone; a savepoint, ``WITH … UPDATE`` or a CREATE
    before them would be committed on its own. To begin with the write, not with the first read, keeps a transaction
    from having to give up a snapshot that another writer has made stale ("database is locked", at once).
    """

    def execute(self, sql: str, parameters: t.Any = (), /) -> t.Self:
        """Run one statement."""
        connection = self.connection
        if not connection.in_transaction and connection.isolation_level is not None and _writes(sql):
            super().execute("BEGIN IMMEDIATE")
        return super().execute(sql, parameters)


@contextlib.contextmanager
def _unless_read_only() -> collections.abc.Iterator[None]:
    """Let a file that can't be written be: nobody writes it, so its readers have nobody to wait for."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
            raise


class ServiceConnection(sqlite3.Connection):
    """A connection that enforces foreign keys; readers of its file don't wait for the writer, nor it for them."""

    def __init__(self, *args: t.Any, **options: t.Any) -> None:
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()
        self._closed = False
        super().__init__(*args, **options)
        self.execute("PRAGMA foreign_keys = ON")
        with _unless_read_only():
            self._use_write_ahead_log(time.monotonic() + options.get("timeout", _BUSY_TIMEOUT))

    def _use_write_ahead_log(self, deadline: float) -> None:
        """Let readers and the writer go on side by side.

        Of connections that open a new file at the same time, one switches it. SQLite refuses the others at once,
        whatever its timeout.
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
        """Give a cursor."""
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def renew(self) -> None:
        """Close every cursor, roll back, and let it be written to."""
        for cursor in list(self._cursors):
            cursor.close()
        self.rollback()
        self.execute("PRAGMA query_only = OFF")

    def close(self) -> None:
        """Close the connection, and let go of its locks though somebody still has a cursor."""
        if not self._closed:
            self.renew()
        self._closed = True
        super().close()


class _Connection(aiosqlite.Connection):
    # aiosqlite waits for ever when it is told to stop while it closes, which is what a second cancellation does

    _stopped: asyncio.Future[t.Any] | None = None

    @classmethod
    async def connect(cls, *args: t.Any, **options: t.Any) -> t.Self:
        connection = cls(functools.partial(sqlite3.connect, *args, **options), iter_chunk_size=64)
        connection._thread.daemon = True
        await connection
        return connection

    async def close(self) -> None:
        if self._stopped is None:
            await super().close()

    def stop(self) -> asyncio.Future[t.Any] | None:
        if self._stopped is None:
            self._stopped = super().stop()
        return self._stopped


class _Kept(_Connection):
    # SQLAlchemy closes a connection whose statement was cancelled, and that would be the end of the database that
    # lives in it. Here to close is to renew: aiosqlite does one thing after the other, in one thread, so that comes
    # after the abandoned statement and undoes it.

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


class Memory:
    """A database in memory, kept from one checkout of its only connection to the next."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None  # made by the first checkout; the pool of one lets no two be at it

    async def connect(self, *args: t.Any, **options: t.Any) -> aiosqlite.Connection:
        """Give the connection that holds the database."""
        if self._kept is None:
            self._kept = await _Kept.connect(*args, **options)
        return self._kept

    async def dispose(self) -> None:
        """Forget the database."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.end()


def in_memory(url: sa.URL) -> bool:
    """Tell whether the database of this URL lives in the connection."""
    if url.get_backend_name() != "sqlite":
        return False
    database = url.database or ":memory:"
    return database.removeprefix("file:").startswith(":memory:") or url.query.get("mode") == "memory"


def create_engine(
    url: sa.URL, given: collections.abc.Mapping[str, t.Any]
) -> tuple[AsyncEngine, collections.abc.Callable[[], collections.abc.Awaitable[None]]]:
    """Make an engine for a service, and what closes it; what is ``given`` comes before the defaults."""
    connect: dict[str, t.Any] = {
        "async_creator_fn": _Connection.connect,
        "factory": ServiceConnection,
        "timeout": _BUSY_TIMEOUT,
    }
    if not in_memory(url):
        engine = create_async_engine(url, **_merged(given, connect))
        return engine, functools.partial(disposed, engine)
    memory = Memory()
    connect["async_creator_fn"] = memory.connect
    alone = {"pool_timeout": _QUEUE_TIMEOUT, **given, "pool_size": 1, "max_overflow": 0}
    engine = create_async_engine(url, **_merged(alone if given.get("poolclass") is FairPool else given, connect))

    async def dispose() -> None:
        await disposed(engine)
        await memory.dispose()

    return engine, dispose


def _merged(given: collections.abc.Mapping[str, t.Any], connect: dict[str, t.Any]) -> dict[str, t.Any]:
    return {**given, "connect_args": {**connect, **given.get("connect_args", {})}}
