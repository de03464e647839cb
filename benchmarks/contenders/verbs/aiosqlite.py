"""SQLite's driver by hand: SQL as text, one errand to aiosqlite's thread for each statement."""

import typing as t

import aiosqlite
from contenders.verbs.contender import NAMES, Contender, Record, file_of

__all__ = ["Aiosqlite"]


class Aiosqlite(Contender):
    """One connection."""

    libraries = ("aiosqlite",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url):
        return cls(await aiosqlite.connect(file_of(url)))

    async def close(self):
        await self._connection.close()

    async def rollback(self):
        await self._connection.rollback()

    async def retrieve(self, id):
        [record] = await self._records(f"SELECT {NAMES} FROM user WHERE id = ? LIMIT 2", id)
        return record

    async def create(self, record):
        [stored] = await self._records(
            f"INSERT INTO user ({NAMES}) VALUES (?, ?, ?, ?, ?, ?) RETURNING {NAMES}", *record.values()
        )
        return stored

    async def update(self, id, name):
        [record] = await self._records(f"UPDATE user SET name = ? WHERE id = ? RETURNING {NAMES}", name, id)
        return record

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

    async def _records(self, sql: str, *values: t.Any):
        rows = await self._connection.execute_fetchall(sql, values)
        return [_record(row) for row in rows]


def _record(row: t.Any) -> Record:
    id, name, surname, email, password, active = row
    return {
        "id": id,
        "name": name,
        "surname": surname,
        "email": email,
        "password": password,
        "active": bool(active),
    }
