"""Units on three servers of one Galera cluster, whose writes meet only when they are committed."""

import asyncio
import contextlib
import types

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import galera

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.exhaustive,
    pytest.mark.skipif(galera.absent() is not None, reason=str(galera.absent())),
]

INCREMENTS = 200

counter_table = sa.Table(
    "counter",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, default=1),
)


class CounterRepository(SQLAlchemyTableRepository):
    _table = counter_table


class VersionedRepository(CounterRepository):
    _version = "version"


class Counters(SQLAlchemyWorker):
    counters: CounterRepository
    versioned: VersionedRepository


@pytest.fixture(scope="module")
def nodes():
    with galera.cluster() as nodes:
        nodes[0].tell("CREATE TABLE flama.counter (id INT PRIMARY KEY, value INT NOT NULL, version INT NOT NULL)")
        yield nodes


@pytest.fixture
async def workers(nodes):
    """A worker on each of the servers, and a counter."""
    async with contextlib.AsyncExitStack() as stack:
        workers = []
        for node in nodes:
            module = SQLAlchemyModule(node.url)
            await module.on_startup()
            stack.push_async_callback(module.on_shutdown)
            workers.append(Counters(types.SimpleNamespace(sqlalchemy=module)))
        async with workers[0] as worker:
            await worker.counters.drop()
            await worker.counters.create({"id": 1, "value": 0})
        for worker in workers:
            await settled(worker)
        yield workers


async def settled(worker):
    """Wait until a server shows all that was written on the others before, and give the counter's value."""
    async with worker:
        await worker.connection.execute(sa.text("SET SESSION wsrep_sync_wait = 1"))
        value = (await worker.counters.retrieve(id=1))["value"]
        await worker.connection.execute(sa.text("SET SESSION wsrep_sync_wait = 0"))
    return value


async def test_of_two_writes_that_meet_at_commit_one_is_a_conflict(workers):
    first, second, _ = workers
    written = asyncio.Barrier(2)

    async def unit(worker, value):
        async with worker:
            await worker.counters.update({"value": value}, id=1)
            await written.wait()

    results = await asyncio.gather(unit(first, 1), unit(second, 2), return_exceptions=True)

    (conflict,) = [result for result in results if result is not None]
    assert isinstance(conflict, exceptions.ConflictError)
    assert conflict.retryable
    assert [await settled(worker) for worker in workers] == [results.index(None) + 1] * 3


@pytest.mark.parametrize("told", ["by its next statement", "by COMMIT", "by a statement whose error is let pass"])
async def test_a_unit_that_another_server_has_overtaken_is_a_conflict_and_stores_nothing(workers, told):
    first, second, _ = workers

    with pytest.raises(exceptions.ConflictError) as caught:
        async with first:
            await first.counters.update({"value": 1}, id=1)
            async with second:
                await second.counters.update({"value": 2}, id=1)
            await asyncio.sleep(0.2)  # the first server undoes what stands in the way of the other's write
            if told == "by its next statement":
                await first.counters.retrieve(id=1)
            if told == "by a statement whose error is let pass":
                with contextlib.suppress(exceptions.ConflictError):
                    await first.counters.retrieve(id=1)

    assert caught.value.retryable
    assert [await settled(worker) for worker in workers] == [2] * 3
    async with first:
        await first.counters.update({"value": 3}, id=1)
    assert await settled(second) == 3


async def add(worker):
    await worker.counters.update({"value": counter_table.c.value + 1}, id=1)


async def read_locked_and_write(worker):
    counter = await worker.counters.retrieve(id=1, lock="update")
    await worker.counters.update({"value": counter["value"] + 1}, id=1)


async def read_and_write_that_version(worker):
    counter = await worker.versioned.retrieve(id=1)
    try:
        await worker.versioned.update({**counter, "value": counter["value"] + 1}, id=1)
    except exceptions.ConflictError as error:
        # a stale version is for the caller to read again, which here is the whole unit
        raise exceptions.ConflictError(resource="counter", retryable=True) from error


@pytest.mark.parametrize("increment", [add, read_locked_and_write, read_and_write_that_version])
async def test_of_two_hundred_contended_increments_none_is_lost(workers, increment):
    conflicts = []

    async def increments(worker, number):
        while number:
            try:
                async with worker:
                    await increment(worker)
            except exceptions.ConflictError as error:
                conflicts.append(error)
            else:
                number -= 1

    await asyncio.gather(*(increments(worker, INCREMENTS // 10) for worker in (workers * 4)[:10]))

    assert [await settled(worker) for worker in workers] == [INCREMENTS] * 3
    assert {conflict.retryable for conflict in conflicts} == {True}


async def test_run_repeats_what_met_another_until_it_is_stored(workers):
    await asyncio.gather(*(worker.run(add, attempts=30) for worker in workers * 10))

    assert await settled(workers[0]) == 30


async def test_a_server_that_has_lost_the_others_is_unavailable(nodes, workers):
    # the last of the tests: it doesn't wait until the others are found again
    nodes[2].tell("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
    for _ in range(200):
        if nodes[2].tell("SHOW STATUS LIKE 'wsrep_ready'").endswith("OFF"):
            break
        await asyncio.sleep(0.1)

    with pytest.raises(exceptions.UnavailableError):
        async with workers[2] as alone:
            await alone.counters.retrieve(id=1)
    async with workers[0] as together:
        await together.counters.update({"value": 7}, id=1)
    assert await settled(workers[1]) == 7
