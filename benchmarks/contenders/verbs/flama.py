"""The repository of this package."""

import sqlalchemy as sa
from contenders.table import user_columns
from contenders.verbs.contender import Contender
from sqlalchemy.ext.asyncio import AsyncConnection

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy import SQLAlchemyModule, metadata

__all__ = ["Flama"]


class UserRepository(SQLAlchemyTableRepository):
    """The users."""

    _table = sa.Table("user", metadata, *user_columns())


class Flama(Contender):
    """A repository on one connection of the module."""

    libraries = ("flama-data", "sqlalchemy")

    def __init__(self, module: SQLAlchemyModule, connection: AsyncConnection) -> None:
        self._module = module
        self._connection = connection
        self._users = UserRepository(connection)

    @classmethod
    async def open(cls, url):
        module = SQLAlchemyModule(url)
        await module.on_startup()
        return cls(module, await module.open_connection())

    async def close(self):
        await self._module.close_connection(self._connection)
        await self._module.on_shutdown()

    async def rollback(self):
        await self._module.end_transaction(self._connection.get_transaction(), rollback=True)

    async def retrieve(self, id):
        return await self._users.retrieve(id=id)

    async def create(self, record):
        [stored] = await self._users.create(record)
        return stored

    async def update(self, id, name):
        [record] = await self._users.update({"name": name}, id=id)
        return record

    async def delete(self, id):
        await self._users.delete(id=id)

    async def list(self):
        return [record async for record in self._users.list()]

    async def stream(self):
        count = 0
        async for _ in self._users.list():
            count += 1
        return count

    async def bulk(self, records):
        return await self._users.create(*records)
