"""The verbs of a repository on a table of users: by the driver's own hand, by SQLAlchemy Core, by flama."""

import abc
import collections.abc
import typing as t

import aiosqlite
import asyncpg
import psycopg
import psycopg.rows
import sqlalchemy as sa
from contenders.database import UserRepository, user_table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from flama.sqlalchemy import SQLAlchemyModule

__all__ = ["Aiosqlite", "Asyncpg", "Contender", "Core", "Flama", "Psycopg"]

KEYS = ("id", "name", "surname", "email", "password", "active")
NAMES = ", ".join(KEYS)
TABLE = '"user"'
SAVEPOINTS = ("SAVEPOINT write", "RELEASE SAVEPOINT write")


class Contender(abc.ABC):
    """One connection, and the verbs on it; each gives dictionaries."""

    async def begin(self) -> None:  # noqa: B027
        """Begin a transaction, unless the first statement does."""

    @abc.abstractmethod
    async def rollback(self) -> None: ...

    @abc.abstractmethod
    async def close(self) -> None: ...

    @abc.abstractmethod
    async def retrieve(self, id: str) -> dict[str, t.Any]: ...

    @abc.abstractmethod
    async def create(self, record: dict[str, t.Any]) -> dict[str, t.Any]: ...

    @abc.abstractmethod
    async def update(self, id: str, name: str) -> list[dict[str, t.Any]]: ...

    @abc.abstractmethod
    async def delete(self, id: str) -> None: ...

    @abc.abstractmethod
    async def list(self) -> "collections.abc.Sequence[dict[str, t.Any]]": ...

    @abc.abstractmethod
    async def stream(self) -> int: ...

    @abc.abstractmethod
    async def bulk(self, records: "collections.abc.Sequence[dict[str, t.Any]]"): ...


class Aiosqlite(Contender):
    """The driver by hand: SQL as text, one errand to its thread for each statement."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: sa.URL) -> t.Self:
        return cls(await aiosqlite.connect(str(url.database)))

    async def rollback(self) -> None:
        await self._connection.rollback()

    async def close(self) -> None:
        await self._connection.close()

    async def _records(self, sql: str, *values: t.Any):
        rows = await self._connection.execute_fetchall(sql, values)
        return [_record(row) for row in rows]

    async def retrieve(self, id):
        [record] = await self._records(f"SELECT {NAMES} FROM user WHERE id = ? LIMIT 2", id)
        return record

    async def create(self, record):
        [stored] = await self._records(
            f"INSERT INTO user ({NAMES}) VALUES (?, ?, ?, ?, ?, ?) RETURNING {NAMES}", *record.values()
        )
        return stored

    async def update(self, id, name):
        return await self._records(f"UPDATE user SET name = ? WHERE id = ? RETURNING {NAMES}", name, id)

    async def delete(self, id):
        cursor = await self._connection.execute("DELETE FROM user WHERE id = ?", (id,))
        assert cursor.rowcount == 1

    async def list(self):
        return await self._records(f"SELECT {NAMES} FROM user")

    async def stream(self):
        count = 0
        cursor = await self._connection.execute(f"SELECT {NAMES} FROM user")
        while rows := await cursor.fetchmany(1000):
            for row in rows:
                _record(row)
                count += 1
        return count

    async def bulk(self, records):
        sql = f"INSERT INTO user ({NAMES}) VALUES (?, ?, ?, ?, ?, ?) RETURNING {NAMES}"
        rows = [tuple(record.values()) for record in records]

        def insert():
            cursor = self._connection._conn.cursor()
            return [cursor.execute(sql, row).fetchone() for row in rows]

        return [_record(row) for row in await self._connection._execute(insert)]


class Asyncpg(Contender):
    """The driver by hand: statements prepared once; with ``savepoints``, one around each write."""

    def __init__(self, connection: t.Any, statements: dict[str, t.Any], savepoints: bool) -> None:
        self._connection = connection
        self._statements = statements
        self._savepoints = savepoints

    @classmethod
    async def open(cls, url: sa.URL, savepoints: bool = False) -> t.Self:
        connection = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(False))
        statements = {
            "retrieve": f"SELECT {NAMES} FROM {TABLE} WHERE id = $1 LIMIT 2",
            "create": f"INSERT INTO {TABLE} ({NAMES}) VALUES ($1, $2, $3, $4, $5, $6) RETURNING {NAMES}",
            "update": f"UPDATE {TABLE} SET name = $1 WHERE id = $2 RETURNING {NAMES}",
            "delete": f"DELETE FROM {TABLE} WHERE id = $1",
            "list": f"SELECT {NAMES} FROM {TABLE}",
        }
        prepared = {verb: await connection.prepare(sql) for verb, sql in statements.items()}
        return cls(connection, prepared, savepoints)

    async def begin(self):
        await self._connection.execute("BEGIN")

    async def rollback(self):
        await self._connection.execute("ROLLBACK")

    async def close(self):
        await self._connection.close()

    async def _written(self, verb: str, *values: t.Any):
        if not self._savepoints:
            return await self._statements[verb].fetch(*values)
        await self._connection.execute(SAVEPOINTS[0])
        rows = await self._statements[verb].fetch(*values)
        await self._connection.execute(SAVEPOINTS[1])
        return rows

    async def retrieve(self, id):
        [row] = await self._statements["retrieve"].fetch(id)
        return dict(row)

    async def create(self, record):
        [row] = await self._written("create", *record.values())
        return dict(row)

    async def update(self, id, name):
        return [dict(row) for row in await self._written("update", name, id)]

    async def delete(self, id):
        await self._written("delete", id)
        assert self._statements["delete"].get_statusmsg() == "DELETE 1"

    async def list(self):
        return [dict(row) for row in await self._statements["list"].fetch()]

    async def stream(self):
        count = 0
        async for row in self._statements["list"].cursor(prefetch=1000):
            dict(row)
            count += 1
        return count

    async def bulk(self, records):
        rows = await self._statements["create"].fetchmany([tuple(record.values()) for record in records])
        return [dict(row) for row in rows]


class Psycopg(Contender):
    """The driver by hand: statements that it prepares by itself."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: sa.URL) -> t.Self:
        conninfo = url.set(drivername="postgresql").render_as_string(False)
        return cls(await psycopg.AsyncConnection.connect(conninfo, row_factory=psycopg.rows.dict_row))

    async def rollback(self):
        await self._connection.rollback()

    async def close(self):
        await self._connection.close()

    async def _records(self, sql: str, *values: t.Any):
        cursor = await self._connection.execute(sql, values)
        return await cursor.fetchall()

    async def retrieve(self, id):
        [record] = await self._records(f"SELECT {NAMES} FROM {TABLE} WHERE id = %s LIMIT 2", id)
        return record

    async def create(self, record):
        sql = f"INSERT INTO {TABLE} ({NAMES}) VALUES (%s, %s, %s, %s, %s, %s) RETURNING {NAMES}"
        [stored] = await self._records(sql, *record.values())
        return stored

    async def update(self, id, name):
        return await self._records(f"UPDATE {TABLE} SET name = %s WHERE id = %s RETURNING {NAMES}", name, id)

    async def delete(self, id):
        cursor = await self._connection.execute(f"DELETE FROM {TABLE} WHERE id = %s", (id,))
        assert cursor.rowcount == 1

    async def list(self):
        return await self._records(f"SELECT {NAMES} FROM {TABLE}")

    async def stream(self):
        count = 0
        async with self._connection.cursor("listing") as cursor:
            await cursor.execute(f"SELECT {NAMES} FROM {TABLE}")
            while rows := await cursor.fetchmany(1000):
                count += len(rows)
        return count

    async def bulk(self, records):
        sql = f"INSERT INTO {TABLE} ({NAMES}) VALUES (%s, %s, %s, %s, %s, %s) RETURNING {NAMES}"
        async with self._connection.cursor() as cursor:
            await cursor.executemany(sql, [tuple(record.values()) for record in records], returning=True)
            return [await cursor.fetchone() async for _ in cursor.results()]


class Core(Contender):
    """SQLAlchemy Core as its documentation shows it."""

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection) -> None:
        self._engine = engine
        self._connection = connection

    @classmethod
    async def open(cls, url: sa.URL) -> t.Self:
        engine = create_async_engine(url)
        return cls(engine, await engine.connect())

    async def rollback(self):
        await self._connection.rollback()

    async def close(self):
        await self._connection.close()
        await self._engine.dispose()

    async def _records(self, statement: t.Any, *parameters: t.Any):
        result = await self._connection.execute(statement, *parameters)
        return [dict(row) for row in result.mappings()]

    async def retrieve(self, id):
        [record] = await self._records(sa.select(user_table).where(user_table.c.id == id).limit(2))
        return record

    async def create(self, record):
        [stored] = await self._records(sa.insert(user_table).values(record).returning(*user_table.c))
        return stored

    async def update(self, id, name):
        changed = sa.update(user_table).where(user_table.c.id == id).values(name=name)
        return await self._records(changed.returning(*user_table.c))

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


class Flama(Contender):
    """The repository."""

    def __init__(self, module: SQLAlchemyModule, connection: AsyncConnection) -> None:
        self._module = module
        self._connection = connection
        self._users = UserRepository(connection)

    @classmethod
    async def open(cls, url: sa.URL) -> t.Self:
        module = SQLAlchemyModule(url.render_as_string(False))
        await module.on_startup()
        return cls(module, await module.open_connection())

    async def rollback(self):
        await self._connection.rollback()

    async def close(self):
        await self._module.close_connection(self._connection)
        await self._module.on_shutdown()

    async def retrieve(self, id):
        return await self._users.retrieve(id=id)

    async def create(self, record):
        [stored] = await self._users.create(record)
        return stored

    async def update(self, id, name):
        return await self._users.update({"name": name}, id=id)

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


def _record(row: t.Any) -> dict[str, t.Any]:
    record = dict(zip(KEYS, row, strict=True))
    record["active"] = bool(record["active"])
    return record
