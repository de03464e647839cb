"""The driver for PostgreSQL through psycopg."""

import asyncio
import collections.abc
import contextlib
import itertools
import typing as t

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

from flama._private import psycopg as private
from flama.sqlalchemy._stale import is_stale
from flama.sqlalchemy.drivers._compiled_cache import CompiledCache, CompiledStatement, Record, RowDecoder
from flama.sqlalchemy.drivers._driver import Cursor, Driver

__all__ = ["Psycopg"]

_READ: t.Final = "flama_read"  # a savepoint's name
_FORGET: t.Final = "DEALLOCATE ALL"  # so that psycopg prepares all statements again
_FAILED: t.Final = psycopg.pq.TransactionStatus.INERROR
_NO_SNAPSHOT: t.Final = frozenset(
    ("READ COMMITTED", "READ UNCOMMITTED", "READ_COMMITTED", "READ_UNCOMMITTED")  # SQLAlchemy's names, and psycopg's
)


class Psycopg(Driver):
    """A connection of psycopg."""

    guards = False  # a savepoint for a statement that writes is a round trip of its own
    guards_reads = True

    def __init__(self, adapter: t.Any, shapes: CompiledCache) -> None:
        super().__init__(adapter, shapes)
        self._names = itertools.count()
        self._began_with_more = False  # whether commands followed BEGIN
        self._guard = asyncio.Lock()  # one statement at a time: savepoints end in reverse order

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        return bool(self._connection.pgconn.transaction_status)  # 0 is idle

    async def _run(
        self, shape: CompiledStatement, arguments: t.Any, guarded: bool, counts: bool, *, is_repeated: bool = False
    ) -> t.Any:
        is_first = self._has_nothing_to_lose(shape.dialect)
        try:
            if shape.only_reads and not self.in_transaction and self._can_run_outside_transaction(shape.dialect):
                prepare = _may_prepare(shape)
                cursor = await private.execute_alone(self._connection, shape.sql, arguments, prepare=prepare)
            elif guarded and not is_first:
                cursor = await self._run_guarded(shape, arguments)
            else:
                cursor = await self._connection.execute(shape.sql, arguments, prepare=_may_prepare(shape))
            return int(cursor.rowcount) if counts else _reader(shape, cursor)(await cursor.fetchall())
        except psycopg.Error as error:
            if not await self._can_repeat(error, guarded=guarded, is_first=is_first) or is_repeated:
                raise
        return await self._run(shape, arguments, guarded, counts, is_repeated=True)

    async def begin_with(self, connection: AsyncConnection, commands: tuple[str, ...]) -> bool:
        """Leave the commands to SQLAlchemy, and record them: rolling back the whole transaction would lose them."""
        self._began_with_more = True
        return False

    def _has_nothing_to_lose(self, dialect: t.Any) -> bool:
        """Whether the whole transaction may be rolled back: it has not begun, or reads without a snapshot."""
        if not self.in_transaction:
            self._began_with_more = False
            return True
        return bool(self._connection.read_only) and not self._began_with_more and self._is_read_committed(dialect)

    def _is_read_committed(self, dialect: t.Any) -> bool:
        level = self._connection.isolation_level
        return (dialect.default_isolation_level if level is None else level.name) in _NO_SNAPSHOT

    def _can_run_outside_transaction(self, dialect: t.Any) -> bool:
        """Whether a read has the same result without a transaction, as none has begun."""
        connection = self._connection
        if connection.read_only is not None or connection.deferrable is not None:
            return False
        return self._is_read_committed(dialect)

    async def _run_guarded(self, shape: CompiledStatement, arguments: t.Any) -> t.Any:
        """Run a statement within a savepoint, and undo it if it fails."""
        connection = self._connection
        async with self._guard, connection.transaction(_READ):
            return await connection.execute(shape.sql, arguments, prepare=_may_prepare(shape))

    async def _can_repeat(self, error: Exception, *, guarded: bool, is_first: bool) -> bool:
        """Undo a failed first statement; return whether it will be prepared again, and may be repeated."""
        connection = self._connection
        if connection.closed:
            return False
        stale = is_stale(error)
        if is_first and (stale or guarded) and self.in_transaction:
            await connection.rollback()
        if stale and not connection.pgconn.transaction_status:
            await connection.execute(_FORGET)
            await connection.rollback()
        return stale and bool(connection.pgconn.transaction_status != _FAILED)

    def _leaves_transaction_usable(self, error: BaseException) -> bool:
        return bool(self._connection.pgconn.transaction_status != _FAILED)

    async def _execute_many(self, shape: CompiledStatement, rows: list[t.Any]) -> list[Record]:
        cursor = self._connection.cursor()
        await cursor.executemany(shape.sql, rows, returning=True)
        reader = _reader(shape, cursor)
        found = [await cursor.fetchone() async for _ in cursor.results()]
        return reader([row for row in found if row is not None])

    async def open_cursor(
        self, shape: CompiledStatement, arguments: t.Any, number: int, *, is_repeated: bool = False
    ) -> tuple[Cursor, list[Record]]:
        is_first = self._has_nothing_to_lose(shape.dialect)
        try:
            if is_first:
                return await self._open_cursor(shape, arguments, number)
            return await self._open_cursor_guarded(shape, arguments, number)
        except psycopg.Error as error:
            if not await self._can_repeat(error, guarded=True, is_first=is_first) or is_repeated:
                raise
        return await self.open_cursor(shape, arguments, number, is_repeated=True)

    async def _open_cursor(
        self, shape: CompiledStatement, arguments: t.Any, number: int
    ) -> tuple[Cursor, list[Record]]:
        cursor = self._connection.cursor(f"flama_{next(self._names)}")
        async with _closing(cursor):
            await cursor.execute(shape.sql, arguments)
        opened = _Cursor(cursor, _reader(shape, cursor))
        return opened, await opened.fetch(number)

    async def _open_cursor_guarded(
        self, shape: CompiledStatement, arguments: t.Any, number: int
    ) -> tuple[Cursor, list[Record]]:
        opened: Cursor | None = None
        try:
            async with self._guard, self._connection.transaction(_READ):
                opened, records = await self._open_cursor(shape, arguments, number)
        except BaseException:
            if opened is not None:  # the end of the savepoint failed or was cancelled
                opened.give_up()
            raise
        return opened, records

    async def _execute_command(self, command: str) -> None:
        await self._connection.execute(command)


def _may_prepare(shape: CompiledStatement) -> bool | None:
    """Return False for large statements, since a connection stores a hundred prepared ones; else None."""
    return False if shape.is_large else None


class _Cursor(Cursor):
    def __init__(self, cursor: t.Any, reader: RowDecoder) -> None:
        self._cursor = cursor
        self._reader = reader

    async def fetch(self, number: int) -> list[Record]:
        async with _closing(self._cursor):
            rows = await self._cursor.fetchmany(number)
        return self._reader(rows)

    async def close(self) -> None:
        try:
            await self._cursor.close()
        finally:
            self.give_up()

    def give_up(self) -> None:
        private.discard(self._cursor)


@contextlib.asynccontextmanager
async def _closing(cursor: t.Any) -> collections.abc.AsyncGenerator[None]:
    # closes the cursor when the block fails; a cancelled one is lost with its connection
    try:
        yield
    except Exception:
        await cursor.close()
        raise
    except BaseException:
        private.discard(cursor)
        raise


def _reader(shape: CompiledStatement, cursor: t.Any) -> RowDecoder:
    return shape.row_decoder(tuple(column.type_code for column in cursor.description or ()))
