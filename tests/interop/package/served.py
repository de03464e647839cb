"""A service of puppies by the package ``flama`` 2.2.2, in its own environment: on a socket, with a database."""

import socket
import sys
import typing as t

import pydantic
import sqlalchemy as sa
import uvicorn

from flama import Flama, types
from flama.resources.crud import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule, metadata

FILTERS = ("eq", "gt", "gte", "lt", "lte", "in", "isnull")
TEXTS = (*FILTERS, "contains", "startswith", "endswith", "icontains", "istartswith", "iendswith", "like", "ilike")

puppy = sa.Table(
    "puppy",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("age", sa.Integer),
)


class Puppy(pydantic.BaseModel):
    id: int | None = None
    name: str
    age: int | None = None


class Puppies(CRUDResource):
    name = "puppy"
    verbose_name = "Puppy"
    model = puppy
    schema = Puppy
    filters = {"name": TEXTS, "age": FILTERS}


app = Flama(modules=[SQLAlchemyModule(sys.argv[2])])
app.resources.add_resource("/puppy/", Puppies)


@app.get("/kennel/", pagination="limit_offset")
async def kennel(**kwargs) -> t.Annotated[types.SchemaList, types.SchemaMetadata(Puppy)]:
    async with app.sqlalchemy.engine.connect() as connection:
        rows = await connection.execute(sa.select(puppy).order_by(puppy.c.id))
        return [dict(row) for row in rows.mappings()]


@app.on_event("startup")
async def start():
    async with app.sqlalchemy.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)


class Server(uvicorn.Server):
    """One that says when it is there."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        print("started" if self.started else "failed", flush=True)


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    Server(uvicorn.Config(app, log_level="warning", lifespan="on")).run([listener])
