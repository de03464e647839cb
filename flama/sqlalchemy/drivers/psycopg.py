"""PostgreSQL by way of psycopg."""

import collections.abc
import contextlib
import itertools
import typing as t

from flama.sqlalchemy.drivers.driver import Cursor, Driver
from flama.sqlalchemy.shapes import Reader, Record, Shape, Shapes

__all__ = ["Psycopg"]


class Psycopg(Driver):
    """A connection of psycopg."""

    guards = False  # a savepoint is a round trip of its own

    def __init__(self, adapter: t.Any, shapes: Shapes) -> None:
        super().__init__(adapter, shapes)
        self._names = itertools.count()

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        return bool(self._connection.info.transaction_status)  # 0 is idle

    async def _run(self, shape: Shape, arguments: t.Any, guarded: bool, counts: bool) -> t.Any:
        cursor = await self._connection.execute(shape.sql, arguments)
        return int(cursor.rowcount) if counts else _reader(shape, cursor)(await cursor.fetchall())

    def _spoils_nothing(self, error: BaseException) -> bool:
        return not self.in_transaction

    async def _records_of_many(self, shape: Shape, rows: list[t.Any]) -> list[Record]:
        cursor = self._connection.cursor()
        await cursor.executemany(shape.sql, rows, returning=True)
        reader = _reader(shape, cursor)
        found = [await cursor.fetchone() async for _ in cursor.results()]
        return reader([row for row in found if row is not None])

    async def _cursor(self, shape: Shape, arguments: t.Any, number: int) -> tuple[Cursor, list[Record]]:
        cursor = self._connection.cursor(f"flama_{next(self._names)}")
        async with _closing(cursor):
            await cursor.execute(shape.sql, arguments)
        opened = _Cursor(cursor, _reader(shape, cursor))
        return opened, await opened.fetch(number)

    async def _tell(self, command: str) -> None:
        await self._connection.execute(command)


class _Cursor(Cursor):
    def __init__(self, cursor: t.Any, reader: Reader) -> None:
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
        self._cursor._close()


@contextlib.asynccontextmanager
async def _closing(cursor: t.Any) -> collections.abc.AsyncGenerator[None]:
    # when what is done with it fails; one that is cancelled is lost with its connection
    try:
        yield
    except Exception:
        await cursor.close()
        raise
    except BaseException:
        cursor._close()
        raise


def _reader(shape: Shape, cursor: t.Any) -> Reader:
    return shape.reader(tuple(column.type_code for column in cursor.description or ()))
