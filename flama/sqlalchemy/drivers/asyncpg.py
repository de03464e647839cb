"""PostgreSQL by way of asyncpg, whose prepared statements SQLAlchemy's adapter keeps."""

import typing as t

from flama.sqlalchemy.drivers.driver import Cursor, Driver
from flama.sqlalchemy.shapes import Reader, Record, Shape, Shapes

__all__ = ["Asyncpg"]

_MOST: t.Final = 1000


class Asyncpg(Driver):
    """A connection of asyncpg."""

    def __init__(self, adapter: t.Any, shapes: Shapes) -> None:
        super().__init__(adapter, shapes)
        # the columns as this connection last prepared a shape, with the reader that was made for them
        self._readers: dict[Shape, tuple[t.Any, Reader]] = {}

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        return bool(self._connection.is_in_transaction())

    async def _records(self, shape: Shape, arguments: t.Any) -> list[Record]:
        adapter = self.adapter
        mutex = adapter._execute_mutex
        await mutex.acquire()
        try:
            if adapter._transaction is None:
                await adapter._start_transaction()
            statement, reader = self._kept(shape) or await self._prepared(shape)
            return reader(await statement.fetch(*arguments))
        finally:
            mutex.release()

    async def _affected(self, shape: Shape, arguments: t.Any) -> int:
        async with self.adapter._execute_mutex:
            await self._start()
            statement, _ = self._kept(shape) or await self._prepared(shape)
            await statement.fetch(*arguments)
            return int(statement.get_statusmsg().rpartition(" ")[2])

    async def _records_of_many(self, shape: Shape, rows: list[t.Any]) -> list[Record]:
        async with self.adapter._execute_mutex:
            await self._start()
            statement, reader = await self._prepared(shape)
            return reader(await statement.fetchmany(rows))

    async def _cursor(self, shape: Shape, arguments: t.Any, number: int) -> tuple[Cursor, list[Record]]:
        async with self.adapter._execute_mutex:
            await self._start()
            statement, reader = await self._prepared(shape)
            cursor = _Cursor(self.adapter, statement.cursor(*arguments, prefetch=number).__aiter__(), reader)
        return cursor, await cursor.fetch(number)

    async def _tell(self, command: str) -> None:
        async with self.adapter._execute_mutex:
            await self._start()
            await self._connection.execute(command)

    async def _start(self) -> None:
        if self.adapter._transaction is None:
            await self.adapter._start_transaction()

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
        dialect: t.Any = shape.compiled.dialect
        statement, columns = await self.adapter._prepare(shape.sql, dialect._invalidate_schema_cache_asof)
        reader = shape.reader(tuple(column.type.oid for column in columns))
        self._readers[shape] = (columns, reader)
        if len(self._readers) > _MOST:
            del self._readers[next(iter(self._readers))]
        return statement, reader


class _Cursor(Cursor):
    # A portal: bound with its first fetch, and closed with the last one, which asyncpg's own iterator knows.

    def __init__(self, adapter: t.Any, cursor: t.Any, reader: Reader) -> None:
        self._adapter = adapter
        self._cursor = cursor
        self._reader = reader

    async def fetch(self, number: int) -> list[Record]:
        cursor = self._cursor
        async with self._adapter._execute_mutex:
            if cursor._exhausted:
                return []
            rows = await (cursor._exec if cursor._portal_name else cursor._bind_exec)(number, None)
            return self._reader(rows)

    async def close(self) -> None:
        if self._cursor._portal_name:
            async with self._adapter._execute_mutex:
                await self._cursor._close_portal(None)
