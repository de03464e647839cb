"""PostgreSQL's driver asyncpg by hand: statements prepared once."""

import collections.abc
import typing as t

import asyncpg
from contenders.verbs.contender import NAMES, Contender, dsn

__all__ = ["Asyncpg", "AsyncpgSavepoints"]


class Asyncpg(Contender):
    """One connection."""

    libraries = ("asyncpg",)

    def __init__(self, connection: t.Any, statements: dict[str, t.Any]) -> None:
        self._connection = connection
        self._statements = statements

    @classmethod
    async def open(cls, url):
        connection = await asyncpg.connect(dsn(url))
        statements = {
            "retrieve": f'SELECT {NAMES} FROM "user" WHERE id = $1 LIMIT 2',
            "create": f'INSERT INTO "user" ({NAMES}) VALUES ($1, $2, $3, $4, $5, $6) RETURNING {NAMES}',
            "update": f'UPDATE "user" SET name = $1 WHERE id = $2 RETURNING {NAMES}',
            "delete": 'DELETE FROM "user" WHERE id = $1',
            "list": f'SELECT {NAMES} FROM "user"',
        }
        return cls(connection, {verb: await connection.prepare(sql) for verb, sql in statements.items()})

    async def close(self):
        await self._connection.close()

    async def begin(self):
        await self._connection.execute("BEGIN")

    async def rollback(self):
        await self._connection.execute("ROLLBACK")

    async def retrieve(self, id):
        [row] = await self._statements["retrieve"].fetch(id)
        return dict(row)

    async def create(self, record):
        [row] = await self._statements["create"].fetch(*record.values())
        return dict(row)

    async def update(self, id, name):
        [row] = await self._statements["update"].fetch(name, id)
        return dict(row)

    async def delete(self, id):
        await self._statements["delete"].fetch(id)
        assert self._statements["delete"].get_statusmsg() == "DELETE 1"

    async def list(self):
        return [dict(row) for row in await self._statements["list"].fetch()]

    async def stream(self):
        count = 0
        cursor = await self._statements["list"].cursor()
        while rows := await cursor.fetch(1000):
            for row in rows:
                dict(row)
                count += 1
        return count

    async def bulk(self, records):
        rows = await self._statements["create"].fetchmany([tuple(record.values()) for record in records])
        return [dict(row) for row in rows]


class AsyncpgSavepoints(Asyncpg):
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
        except asyncpg.PostgresError:
            await self._connection.execute("ROLLBACK TO SAVEPOINT write")
            raise
        await self._connection.execute("RELEASE SAVEPOINT write")
        return given
