"""Piccolo: its tables, whose rows are dictionaries."""

import itertools
import typing as t
import warnings

from contenders.verbs.contender import Contender, dsn, file_of
from piccolo.columns import Boolean, Varchar
from piccolo.engine.base import Engine
from piccolo.engine.postgres import PostgresEngine
from piccolo.engine.sqlite import SQLiteEngine
from piccolo.table import Table

__all__ = ["Piccolo"]

# It puts all records into one statement: so many at a time have fewer values than PostgreSQL takes.
PORTION: t.Final = 5000

with warnings.catch_warnings(action="ignore"):  # that the table has another name

    class User(Table, tablename="user"):
        """A user."""

        id = Varchar(primary_key=True)
        name = Varchar()
        surname = Varchar()
        email = Varchar(unique=True)
        password = Varchar()
        active = Boolean()


class Piccolo(Contender):
    """Its transaction, which opens a connection on SQLite, and takes one of the pool on PostgreSQL."""

    libraries = ("piccolo", "aiosqlite", "asyncpg")

    def __init__(self, engine: Engine[t.Any]) -> None:
        self._engine = engine
        self._transaction: t.Any = None

    @classmethod
    async def open(cls, url):
        if url.startswith("sqlite"):
            engine = SQLiteEngine(path=file_of(url))
        else:
            engine = PostgresEngine(config={"dsn": dsn(url)})
            await engine.start_connection_pool(min_size=1)
        User._meta.db = engine
        return cls(engine)

    async def close(self):
        if isinstance(self._engine, PostgresEngine):
            await self._engine.close_connection_pool()

    async def begin(self):
        self._transaction = await self._engine.transaction().__aenter__()

    async def rollback(self):
        await self._transaction.rollback()
        await self._transaction.__aexit__(None, None, None)

    async def retrieve(self, id):
        return await User.select().where(User.id == id).first()

    async def create(self, record):
        [stored] = await User.insert(User(**record)).returning(*User.all_columns())
        return stored

    async def update(self, id, name):
        changed = User.update({User.name: name}).where(User.id == id)
        [record] = await changed.returning(*User.all_columns())
        return record

    async def delete(self, id):
        [_] = await User.delete().where(User.id == id).returning(User.id)

    async def list(self):
        return await User.select()

    async def stream(self):
        count = 0
        async with await User.select().batch(batch_size=1000) as batch:
            async for rows in batch:
                count += len(rows)
        return count

    async def bulk(self, records):
        portions = [records[start : start + PORTION] for start in range(0, len(records), PORTION)]
        stored = [await self._inserted(portion) for portion in portions]
        return list(itertools.chain.from_iterable(stored))

    async def _inserted(self, records):
        return await User.insert(*[User(**record) for record in records]).returning(*User.all_columns())
