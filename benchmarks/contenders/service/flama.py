"""The service by flama, or by the package of its name: a worker, its repository, three handlers."""

import os
import typing as t

import pydantic
import sqlalchemy as sa
from contenders.table import user_columns

from flama import Flama, types
from flama.ddd import WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule, metadata

__all__ = ["URL", "Worker", "app", "create", "update"]

user_table = sa.Table("user", metadata, *user_columns())


class User(pydantic.BaseModel):
    """What is sent."""

    id: str | None = None
    name: str
    surname: str
    email: str
    password: str
    active: bool = False


class Users(SQLAlchemyTableRepository):
    """The users."""

    _table = user_table


class Worker(SQLAlchemyWorker):
    """A unit of work on them."""

    user: Users


URL = f"postgresql+asyncpg{os.environ['DATABASE'].removeprefix('postgresql')}"
app = Flama(
    modules=[SQLAlchemyModule(URL)],
    components=[WorkerComponent(worker=Worker())],
    schema=None,
    docs=None,
)


@app.post("/user/")
async def create(worker: Worker, data: t.Annotated[types.Schema, types.SchemaMetadata(User)]):
    async with worker:
        [created] = await worker.user.create(dict(data))
    return created


@app.get("/user/{user_id}/")
async def retrieve(worker: Worker, user_id: str):
    async with worker:
        return await worker.user.retrieve(id=user_id)


@app.put("/user/{user_id}/")
async def update(worker: Worker, user_id: str, data: t.Annotated[types.Schema, types.SchemaMetadata(User)]):
    async with worker:
        [updated] = await worker.user.update(dict(data), id=user_id)
    return updated
