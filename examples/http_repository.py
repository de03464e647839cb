"""A workshop's service, and the repository through which another program uses it."""

import asyncio
import typing as t

import pydantic
import sqlalchemy

from flama import Flama, types
from flama.client import Client
from flama.ddd import WorkerComponent, exceptions
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

metadata = sqlalchemy.MetaData()

tool_table = sqlalchemy.Table(
    "tool",
    metadata,
    sqlalchemy.Column("id", sqlalchemy.String, primary_key=True),
    sqlalchemy.Column("name", sqlalchemy.String, nullable=False),
    sqlalchemy.Column("drawer", sqlalchemy.String, nullable=False, unique=True),
    sqlalchemy.Column("borrower", sqlalchemy.String),
)


class Tool(pydantic.BaseModel):
    id: str
    name: str
    drawer: str
    borrower: str | None = None


class ToolRepository(SQLAlchemyTableRepository):
    _table = tool_table


class WorkshopWorker(SQLAlchemyWorker):
    tool: ToolRepository


ToolBody = t.Annotated[types.Schema, types.SchemaMetadata(Tool)]
app = Flama(
    modules=[SQLAlchemyModule("sqlite+aiosqlite://")],
    components=[WorkerComponent(worker=WorkshopWorker())],
)


@app.on_event("startup")
async def create_tables() -> None:
    async with app.sqlalchemy.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)


@app.post("/tool/")
async def create_tool(worker: WorkshopWorker, data: ToolBody) -> types.Schema:
    async with worker:
        [tool] = await worker.tool.create(data)
    return tool


@app.get("/tool/{id}/")
async def retrieve_tool(worker: WorkshopWorker, id: str) -> types.Schema:
    async with worker:
        return await worker.tool.retrieve(id=id)


@app.delete("/tool/{id}/")
async def delete_tool(worker: WorkshopWorker, id: str) -> None:
    async with worker:
        await worker.tool.delete(id=id)


class RemoteToolRepository(HTTPResourceRepository):
    _resource = "/tool"


async def main() -> None:
    async with Client(app=app) as client:
        tools = RemoteToolRepository(client)

        print("created:", await tools.create({"id": "jigsaw 2/3", "name": "jigsaw", "drawer": "A1"}))
        print("retrieved:", await tools.retrieve("jigsaw 2/3"))
        await tools.delete("jigsaw 2/3")
        try:
            await tools.retrieve("jigsaw 2/3")
        except exceptions.NotFoundError as error:
            print("gone:", error)


if __name__ == "__main__":
    asyncio.run(main())
