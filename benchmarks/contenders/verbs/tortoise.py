"""Tortoise: its models in its transaction."""

import typing as t

from contenders.verbs.contender import KEYS, Contender, dsn, file_of
from tortoise import Tortoise, fields
from tortoise.models import Model
from tortoise.transactions import in_transaction

__all__ = ["TortoiseORM", "User"]


class User(Model):
    """A user."""

    id = fields.CharField(255, primary_key=True)
    name = fields.CharField(255)
    surname = fields.CharField(255)
    email = fields.CharField(255, unique=True)
    password = fields.CharField(255)
    active = fields.BooleanField()

    class Meta:
        """Where it is kept."""

        table = "user"


class TortoiseORM(Contender):
    """A transaction, which takes the one connection on SQLite, and one of the pool on PostgreSQL."""

    libraries = ("tortoise-orm", "pypika-tortoise", "aiosqlite", "asyncpg")
    lacks = {"stream": "its queries fetch all records at once, with `async for` too"}  # noqa: RUF012

    def __init__(self) -> None:
        self._context: t.Any = None
        self._transaction: t.Any = None

    @classmethod
    async def open(cls, url):
        address = f"sqlite://{file_of(url)}" if url.startswith("sqlite") else dsn(url).replace("postgresql", "asyncpg")
        await Tortoise.init(db_url=address, modules={"models": [__name__]})
        return cls()

    async def close(self):
        await Tortoise.close_connections()

    async def begin(self):
        self._context = in_transaction()
        self._transaction = await self._context.__aenter__()

    async def rollback(self):
        await self._transaction.rollback()
        await self._context.__aexit__(None, None, None)

    async def retrieve(self, id):
        return await User.get(id=id)

    async def create(self, record):
        return await User.create(**record)

    async def update(self, id, name):
        user = await User.get(id=id)
        user.name = name
        await user.save(update_fields=["name"])
        return user

    async def delete(self, id):
        assert await User.filter(id=id).delete() == 1

    async def list(self):
        return await User.all()

    async def bulk(self, records):
        users = [User(**record) for record in records]
        await User.bulk_create(users)
        return users

    def plain(self, record):
        return {key: getattr(record, key) for key in KEYS}
