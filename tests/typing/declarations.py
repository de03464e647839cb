"""What type checkers must make of declarations, and what they must refuse; never run.

A line that they must refuse says so in a comment; both are told to complain of a comment that they don't need.
"""

import typing as t

import sqlalchemy

from flama import Component, Flama, Module, types
from flama.client import Client
from flama.ddd import F, HTTPResourceRepository, HTTPWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule, metadata

app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")])
app.get("/")
app.nonsense("/")  # what isn't declared may be a module, of any type

Flama(modules=[1])  # type: ignore[list-item]
Flama(model=[])  # type: ignore[call-arg]
app.get("/", methods=["GET"])  # type: ignore[call-arg]


class ToolRepository(SQLAlchemyTableRepository):
    _table = sqlalchemy.Table("typed_tool", metadata)


class RemoteToolRepository(HTTPResourceRepository):
    _resource = "/tool"


class ShopWorker(SQLAlchemyWorker):
    tool: ToolRepository


class RemoteWorker(HTTPWorker):
    tool: RemoteToolRepository


class Clock(Module):
    name = "clock"


class ClockComponent(Component):
    def resolve(self, app: types.App) -> Clock:
        return t.cast(Clock, app.clock)


Flama(components=[ClockComponent(), WorkerComponent(worker=ShopWorker())])
WorkerComponent(worker=ToolRepository)  # type: ignore[arg-type]


@app.get("/tool/{id:int}/", name="tool", tags=["tools"])
async def tool(worker: ShopWorker, id: int) -> dict[str, t.Any]:
    async with worker:
        return await worker.tool.retrieve(id=id)


async def use(client: Client) -> None:
    t.assert_type(await tool(ShopWorker(), 1), dict[str, t.Any])
    await tool("worker", 1)  # type: ignore[arg-type]
    async with ShopWorker() as worker:
        t.assert_type(worker, ShopWorker)
        t.assert_type(worker.tool, ToolRepository)
        t.assert_type(await worker.tool.retrieve(id=1), dict[str, t.Any])
        t.assert_type(await worker.tool.create({"name": "saw"}), list[dict[str, t.Any]])
        t.assert_type(await worker.tool.drop(), int)
        worker.tools.drop()  # type: ignore[attr-defined]
    remote = RemoteToolRepository(client)
    t.assert_type(await remote.update(id=1, data={"name": "saw"}), dict[str, t.Any])
    t.assert_type(await remote.replace([{"name": "saw"}]), list[dict[str, t.Any]])
    await remote.replace()  # type: ignore[call-arg]
    t.assert_type(await remote.update({"name": "saw"}, id=1), dict[str, t.Any])
    t.assert_type(await remote.update({"name": "saw"}, F.id > 1, max_affected=3), list[dict[str, t.Any]])
    t.assert_type(await remote.create({"name": "saw"}), dict[str, t.Any])
    t.assert_type(await remote.create({"name": "saw"}, {"name": "axe"}), list[dict[str, t.Any]])
    t.assert_type(await remote.count(F.id > 1, name="saw"), int)
    async for record in remote.list(pagination="limit_offset"):
        t.assert_type(record, dict[str, t.Any])
    remote.list(pagination="pages")  # type: ignore[arg-type]
