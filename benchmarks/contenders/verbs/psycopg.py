"""PostgreSQL's driver psycopg by hand: it prepares statements by itself."""

import collections.abc
import typing as t

import psycopg
import psycopg.rows
from contenders.verbs.contender import NAMES, Contender, dsn

__all__ = ["Psycopg", "PsycopgSavepoints"]


class Psycopg(Contender):
    """One connection."""

    libraries = ("psycopg",)

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url):
        return cls(await psycopg.AsyncConnection.connect(dsn(url), row_factory=psycopg.rows.dict_row))

    async def close(self):
        await self._connection.close()

    async def rollback(self):
        await self._connection.rollback()

    async def retrieve(self, id):
        [record] = await self._records(f'SELECT {NAMES} FROM "user" WHERE id = %s LIMIT 2', id)
        return record

    async def create(self, record):
        sql = f'INSERT INTO "user" ({NAMES}) VALUES (%s, %s, %s, %s, %s, %s) RETURNING {NAMES}'
        [stored] = await self._records(sql, *record.values())
        return stored

    async def update(self, id, name):
        [record] = await self._records(f'UPDATE "user" SET name = %s WHERE id = %s RETURNING {NAMES}', name, id)
        return record

    async def delete(self, id):
        cursor = await self._connection.execute('DELETE FROM "user" WHERE id = %s', (id,))
        assert cursor.rowcount == 1

    async def list(self):
        return await self._records(f'SELECT {NAMES} FROM "user"')

    async def stream(self):
        count = 0
        async with self._connection.cursor("listing") as cursor:
            await cursor.execute(f'SELECT {NAMES} FROM "user"')
            while rows := await cursor.fetchmany(1000):
                count += len(rows)
        return count

    async def bulk(self, records):
        sql = f'INSERT INTO "user" ({NAMES}) VALUES (%s, %s, %s, %s, %s, %s) RETURNING {NAMES}'
        async with self._connection.cursor() as cursor:
            await cursor.executemany(sql, [tuple(record.values()) for record in records], returning=True)
            return [await cursor.fetchone() async for _ in cursor.results()]

    async def _records(self, sql: str, *values: t.Any):
        cursor = await self._connection.execute(sql, values)
        return await cursor.fetchall()


class PsycopgSavepoints(Psycopg):
    """A savepoint around each write: one that is refused leaves the transaction usable."""

    async def create(self, record):
        return await self._kept(super().create(record))

    async def update(self, id, name):
        return await self._kept(super().update(id, name))

    async def delete(self, id):
        return await self._kept(super().delete(id))

    async def bulk(self, records):
        return await self._kept(super().bulk(records))

    async def _kept(self, write: collections.abc.Coroutine[t.Any, t.Any, t.Any]):
        await self._connection.execute("SAVEPOINT write")
        try:
            given = await write
        except psycopg.Error:
            await self._connection.execute("ROLLBACK TO SAVEPOINT write")
            raise
        await self._connection.execute("RELEASE SAVEPOINT write")
        return given
