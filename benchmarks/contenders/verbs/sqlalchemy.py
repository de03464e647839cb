"""SQLAlchemy Core as its documentation shows it."""

import typing as t

import sqlalchemy as sa
from contenders.table import user_columns
from contenders.verbs.contender import Contender
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

__all__ = ["Core"]

user_table = sa.Table("user", sa.MetaData(), *user_columns())


class Core(Contender):
    """One connection of the engine."""

    libraries = ("sqlalchemy",)

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection) -> None:
        self._engine = engine
        self._connection = connection

    @classmethod
    async def open(cls, url):
        engine = create_async_engine(url)
        return cls(engine, await engine.connect())

    async def close(self):
        await self._connection.close()
        await self._engine.dispose()

    async def rollback(self):
        await self._connection.rollback()

    async def retrieve(self, id):
        [record] = await self._records(sa.select(user_table).where(user_table.c.id == id).limit(2))
        return record

    async def create(self, record):
        [stored] = await self._records(sa.insert(user_table).values(record).returning(*user_table.c))
        return stored

    async def update(self, id, name):
        changed = sa.update(user_table).where(user_table.c.id == id).values(name=name)
        [record] = await self._records(changed.returning(*user_table.c))
        return record

    async def delete(self, id):
        result = await self._connection.execute(sa.delete(user_table).where(user_table.c.id == id))
        assert result.rowcount == 1

    async def list(self):
        return await self._records(sa.select(user_table))

    async def stream(self):
        count = 0
        async with self._connection.stream(sa.select(user_table)) as result:
            async for row in result.mappings():
                dict(row)
                count += 1
        return count

    async def bulk(self, records):
        insert = sa.insert(user_table).returning(*user_table.c, sort_by_parameter_order=True)
        return await self._records(insert, records)

    async def _records(self, statement: t.Any, *parameters: t.Any):
        result = await self._connection.execute(statement, *parameters)
        return [dict(row) for row in result.mappings()]
