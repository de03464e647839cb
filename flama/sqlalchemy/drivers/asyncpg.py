"""PostgreSQL by way of asyncpg, whose prepared statements SQLAlchemy's adapter keeps."""

import asyncio
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers.ahead import Ahead, Turn
from flama.sqlalchemy.drivers.driver import Cursor, Driver
from flama.sqlalchemy.shapes import Reader, Record, Shape, Shapes

__all__ = ["Asyncpg"]

_MOST: t.Final = 1000


class Asyncpg(Driver):
    """A connection of asyncpg, on which BEGIN and savepoints travel with the statement that needs them."""

    def __init__(self, adapter: t.Any, shapes: Shapes) -> None:
        super().__init__(adapter, shapes)
        # the columns as this connection last prepared a shape, with the reader that was made for them
        self._readers: dict[Shape, tuple[t.Any, Reader]] = {}
        self._ahead = Ahead(adapter)
        self._lock = adapter._execute_mutex
        adapter._execute_mutex = Turn(self._lock, self._ahead)

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        return bool(self._connection.is_in_transaction())

    @property
    def idle(self) -> bool:
        """Whether it is known that the connection can be given back without waiting for the database."""
        return self.adapter._transaction is None and not self._connection.is_closed()

    async def ended(self, connection: AsyncConnection, *, rollback: bool) -> bool:
        """End the database's transaction; tell whether that was done, so that SQLAlchemy has but to note it."""
        adapter = self.adapter
        if (transaction := adapter._transaction) is None:
            return True
        try:
            await adapter._call_and_discard(transaction.rollback if rollback else transaction.commit)
        except BaseException as error:
            await self._broke(connection, "ROLLBACK" if rollback else "COMMIT", error)
            raise
        return True

    def begin_with(self, commands: tuple[str, ...]) -> bool:
        """Take commands along with the BEGIN that is to come; tell whether this can be done."""
        return self._ahead.begin_with(commands)

    async def savepoint(self, connection: AsyncConnection) -> None:
        """Begin a savepoint with the next statement."""
        self._ahead.savepoint()

    async def release(self, connection: AsyncConnection) -> None:
        """End the savepoint, and keep what was done since."""
        self._ahead.release()

    async def undo(self, connection: AsyncConnection) -> bool:
        """End the savepoint, and undo what was done since; tell whether it had begun."""
        if (command := self._ahead.undo()) is None:
            return True
        if begun := await self._undone(connection, command):
            self._ahead.release()
        return begun

    async def _records(self, shape: Shape, arguments: t.Any) -> list[Record]:
        lock = self._lock
        await lock.acquire()
        try:
            kept = self._kept(shape)
            if kept is None or not self._ahead.send():
                kept = await self._prepared(shape)
            statement, reader = kept
            return reader(await statement.fetch(*arguments))
        except Exception:
            await self._ahead.recover()
            raise
        finally:
            lock.release()

    async def _affected(self, shape: Shape, arguments: t.Any) -> int:
        async with self._lock:
            kept = self._kept(shape)
            if kept is None or not self._ahead.send():
                kept = await self._prepared(shape)
            statement, _ = kept
            try:
                await statement.fetch(*arguments)
            except Exception:
                await self._ahead.recover()
                raise
            return int(statement.get_statusmsg().rpartition(" ")[2])

    async def _records_of_many(self, shape: Shape, rows: list[t.Any]) -> list[Record]:
        async with self._lock:
            statement, reader = await self._prepared(shape)
            return reader(await statement.fetchmany(rows))

    async def _cursor(self, shape: Shape, arguments: t.Any, number: int) -> tuple[Cursor, list[Record]]:
        async with self._lock:
            statement, reader = await self._prepared(shape)
            cursor = _Cursor(self._lock, statement.cursor(*arguments, prefetch=number).__aiter__(), reader)
        return cursor, await cursor.fetch(number)

    async def _tell(self, command: str) -> None:
        async with self._lock:
            await self._connection.execute(command)

    def _kept(self, shape: Shape) -> tuple[t.Any, Reader] | None:
        # what the adapter would find in its cache, if there is nothing to wait for
        adapter = self.adapter
        cache = adapter._prepared_statement_cache
        if cache is None or (kept := cache.get(shape.sql)) is None:
            return None
        statement, columns, since = kept
        dialect: t.Any = shape.compiled.dialect
        changed = dialect._invalidate_schema_cache_asof
        known = self._readers.get(shape)
        current = since > changed <= adapter._invalidate_schema_cache_asof
        return (statement, known[1]) if current and known is not None and known[0] is columns else None

    async def _prepared(self, shape: Shape) -> tuple[t.Any, Reader]:
        await self._ahead.run()
        dialect: t.Any = shape.compiled.dialect
        statement, columns = await self.adapter._prepare(shape.sql, dialect._invalidate_schema_cache_asof)
        reader = shape.reader(tuple(column.type.oid for column in columns))
        self._readers[shape] = (columns, reader)
        if len(self._readers) > _MOST:
            del self._readers[next(iter(self._readers))]
        return statement, reader


class _Cursor(Cursor):
    # A portal: bound with its first fetch, and closed with the last one, which asyncpg's own iterator knows.

    def __init__(self, lock: asyncio.Lock, cursor: t.Any, reader: Reader) -> None:
        self._lock = lock
        self._cursor = cursor
        self._reader = reader

    async def fetch(self, number: int) -> list[Record]:
        cursor = self._cursor
        async with self._lock:
            if cursor._exhausted:
                return []
            rows = await (cursor._exec if cursor._portal_name else cursor._bind_exec)(number, None)
            return self._reader(rows)

    async def close(self) -> None:
        if self._cursor._portal_name:
            async with self._lock:
                await self._cursor._close_portal(None)
