"""A row of a SQLite file, retrieved by hand and through a worker."""

import re
import typing as t

import aiosqlite
import msgspec
import sqlalchemy as sa
from contenders.table import user_columns
from sqlalchemy.ext.asyncio import AsyncEngine

from flama import Flama
from flama.ddd import WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule, metadata

__all__ = ["create", "create_on", "with_driver", "with_flama", "with_sqlalchemy"]

_encode = msgspec.json.Encoder().encode
_user = re.compile(r"/user/([^/]+)/").fullmatch

user_table = sa.Table("user", metadata, *user_columns())


class UserRepository(SQLAlchemyTableRepository):
    """The users."""

    _table = user_table


class UserWorker(SQLAlchemyWorker):
    """A unit of work on the users."""

    user: UserRepository


def create(file: str, records: list[dict[str, t.Any]]) -> None:
    """Make the database."""
    create_on(f"sqlite:///{file}", records)


def create_on(url: str | sa.URL, records: list[dict[str, t.Any]]) -> None:
    """Make the table, with these records in it."""
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(user_table.insert(), records)
    engine.dispose()


def with_flama(file: str) -> Flama:
    """Retrieve through a worker's repository."""
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///{file}")
    app = Flama(modules=[module], components=[WorkerComponent(worker=UserWorker())])

    @app.get("/user/{id}/")
    async def retrieve(worker: UserWorker, id: str):
        async with worker:
            return await worker.user.retrieve(id=id)

    return app


def with_sqlalchemy(engine: AsyncEngine):
    """Retrieve through SQLAlchemy Core: a connection of the pool, a transaction, a statement."""

    async def retrieve(scope, receive, send):
        found = _user(scope["path"])
        if scope["type"] != "http" or found is None or scope["method"] != "GET":
            await _send(404, b"", send)
            return
        async with engine.begin() as connection:
            result = await connection.execute(sa.select(user_table).where(user_table.c.id == found[1]))
            row = result.mappings().one_or_none()
        if row is None:
            await _send(404, b"", send)
            return
        await _send(200, _encode(dict(row)), send)

    return retrieve


def with_driver(connection: aiosqlite.Connection):
    """Retrieve through the driver: one connection that stays open, no pool, no transaction."""
    sql = f"SELECT {', '.join(user_table.c.keys())} FROM user WHERE id = ?"

    async def retrieve(scope, receive, send):
        found = _user(scope["path"])
        if scope["type"] != "http" or found is None or scope["method"] != "GET":
            await _send(404, b"", send)
            return
        rows = await connection.execute_fetchall(sql, (found[1],))
        records = [dict(zip(user_table.c.keys(), row, strict=True), active=bool(row[-1])) for row in rows]
        await _send(200 if records else 404, _encode(records[0]) if records else b"", send)

    return retrieve


async def _send(status, body, send):
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
