"""A whole service whose clients go away: application, unit of work and database together."""

import asyncio
import collections
import contextlib
import os
import random
import time
import typing as t

import httpx
import pytest
import sqlalchemy as sa

from flama import Flama, _shielding, types
from flama.client import Client
from flama.ddd import WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

HANG_UPS = int(os.environ.get("FLAMA_CANCELLATIONS", "200"))

metadata = sa.MetaData()
entry_table = sa.Table(
    "ledger_entry",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("transfer", sa.Integer, nullable=False),
    sa.Column("amount", sa.Integer, nullable=False),
)


class EntryRepository(SQLAlchemyTableRepository):
    _table = entry_table


class LedgerWorker(SQLAlchemyWorker):
    entry: EntryRepository


class Transfer(t.TypedDict):
    transfer: int
    amount: int


def service(url: str, **engine_args) -> Flama:
    app = Flama(
        modules=[SQLAlchemyModule(url, engine_args=engine_args)],
        components=[WorkerComponent(worker=LedgerWorker())],
    )

    @app.on_event("startup")
    async def create_tables():
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)

    @app.post("/transfer/")
    async def transfer(worker: LedgerWorker, data: t.Annotated[types.Schema, types.SchemaMetadata(Transfer)]):
        async with worker:
            await worker.entry.create(data)
            await worker.entry.create({**data, "amount": -data["amount"]})
        return data

    @app.get("/transfer/{transfer:int}/")
    async def entries(worker: LedgerWorker, transfer: int):
        async with worker:
            return [entry async for entry in worker.entry.list(transfer=transfer)]

    return app


@pytest.fixture(params=["memory", "file", "postgresql"])
def url(request, tmp_path):
    match request.param:
        case "memory":
            return "sqlite+aiosqlite:///"
        case "file":
            return f"sqlite+aiosqlite:///{tmp_path}/ledger.db"
    return request.getfixturevalue("postgres_url")


async def settled(app):
    """Wait until nothing is left of the requests that were cancelled."""
    while _shielding._clean_ups:
        await asyncio.wait(_shielding._clean_ups)
    assert app.sqlalchemy.engine.pool.checkedout() == 0


async def assert_serving(client, numbers):
    for number in numbers:
        assert (await client.post("/transfer/", json={"transfer": number, "amount": 1})).status_code == 200
        assert len((await client.get(f"/transfer/{number}/")).json()) == 2


async def assert_whole(app, acknowledged):
    async with app.sqlalchemy.engine.connect() as connection:
        entries = [entry async for entry in EntryRepository(connection).list()]
    halves = collections.Counter(entry["transfer"] for entry in entries)
    assert set(halves.values()) <= {2}
    assert acknowledged <= halves.keys()


async def test_a_thousand_requests_cancelled_at_random_awaits_leave_no_connection_checked_out(url):
    chance = random.Random(0)
    acknowledged: set[int] = set()
    app = service(url, pool_size=5, max_overflow=0)

    async with Client(app=app) as client:

        async def send(number):
            await client.post("/transfer/", json={"transfer": number, "amount": 1})
            acknowledged.add(number)

        async def cancelled(number):
            task = asyncio.create_task(send(number))
            await asyncio.sleep(chance.uniform(0, longest))
            task.cancel()
            await asyncio.wait((task,))

        began = time.perf_counter()
        await asyncio.gather(*map(send, range(1000, 1020)))
        longest = 1.1 * (time.perf_counter() - began)
        for start in range(0, 1000, 20):
            await asyncio.gather(*map(cancelled, range(start, start + 20)))
        await settled(app)

        await assert_serving(client, range(1020, 1040))
        await assert_whole(app, acknowledged | set(range(1000, 1040)))
        assert 10 < len(acknowledged) < 990  # early and late they were cancelled
        assert app.sqlalchemy.engine.pool.checkedout() == 0


async def test_clients_that_hang_up_on_a_socket_leave_no_connection_checked_out(url, serve):
    chance = random.Random(1)
    app = service(url, pool_size=5, max_overflow=0)
    acknowledged: set[int] = set()
    base_url = serve(app)

    async def hung_up(number):
        async with Client(base_url=base_url) as client:
            with contextlib.suppress(httpx.TimeoutException):
                timeout = 0.001 * 300 ** chance.random()  # seconds: some too short on any machine, some long enough
                await client.post("/transfer/", json={"transfer": number, "amount": 1}, timeout=timeout)
                acknowledged.add(number)

    for start in range(0, HANG_UPS, 20):
        await asyncio.gather(*map(hung_up, range(start, start + 20)))

    async with Client(base_url=base_url) as client:
        await assert_serving(client, range(HANG_UPS, HANG_UPS + 20))
        for number in acknowledged:
            assert len((await client.get(f"/transfer/{number}/")).json()) == 2
    assert 0 < len(acknowledged) < HANG_UPS
    for _ in range(400):  # the server goes on with what its clients have left
        if app.sqlalchemy.engine.pool.checkedout():
            await asyncio.sleep(0.05)
    assert app.sqlalchemy.engine.pool.checkedout() == 0
