"""Connections that a database, or what stands before it, has ended, keeps silent on, or never makes."""

import asyncio
import contextlib
import gc
import time
import types

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.pool._fair_pool import FairPool
from tests.support import cluster, loops, relay

pytestmark = pytest.mark.anyio

DRIVERS = ["asyncpg", "psycopg", "asyncmy"]

bolt_table = sa.Table(
    "bolt",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("size", sa.Integer, nullable=False),
)


class BoltRepository(SQLAlchemyTableRepository):
    _table = bolt_table


class Bolts(SQLAlchemyWorker):
    bolts: BoltRepository


class ImpatientPool(FairPool):
    ping_after = 0.05


@contextlib.asynccontextmanager
async def started(url, **engine_args):
    module = SQLAlchemyModule(url, engine_args={"pool_size": 4, "max_overflow": 0, **engine_args})
    await module.on_startup()
    try:
        yield module, Bolts(types.SimpleNamespace(sqlalchemy=module))
    finally:
        await module.on_shutdown()


@pytest.fixture(params=DRIVERS)
def url(request):
    """Give the URL of a database with a table of bolts, by each driver in turn."""
    name = "mariadb_url" if request.param == "asyncmy" else "postgres_url"
    return sa.make_url(request.getfixturevalue(name).replace("asyncpg", request.param))


@pytest.fixture
async def table(url):
    async with started(url.render_as_string(hide_password=False)) as (module, _):
        async with module.engine.begin() as connection:
            await connection.run_sync(bolt_table.metadata.drop_all)
            await connection.run_sync(bolt_table.metadata.create_all)
        yield


@pytest.fixture
async def relayed(url, table):
    async with relay.relayed(url) as relayed:
        yield relayed


def through(relayed, **engine_args):
    return started(relayed.url.render_as_string(hide_password=False), **engine_args)


async def store(worker, size=1):
    async with worker:
        await worker.bolts.create({"size": size})


async def assert_served(module, worker, times=20):
    for size in range(times):
        await store(worker, size)
    assert module.engine.pool.checkedout() == 0
    assert module.engine.pool.holders == []


async def fill(module, worker, number=4):
    """Have so many connections idle in the pool."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(number):
            connection = await stack.enter_async_context(module.engine.connect())
            await connection.execute(sa.text("SELECT 1"))
    await store(worker)
    assert module.engine.pool.checkedin() == number


async def others(before):
    """Give the tasks there are, but for the relay's, for those there were, and for what ends by itself at once."""
    for _ in range(100):
        tasks = {task for task in asyncio.all_tasks() - before if "Relay" not in repr(task.get_coro())}
        if not tasks:
            break
        await asyncio.sleep(0.01)
    return tasks


async def test_nothing_is_connected_before_the_first_unit(relayed):
    async with through(relayed) as (module, worker):
        assert relayed.connections == 0

        await store(worker)

        assert relayed.connections == 1
        assert module.engine.pool.checkedin() == 1


@loops.on_each
async def test_connections_that_were_reset_while_idle_are_replaced(relayed):
    async with through(relayed) as (module, worker):
        await fill(module, worker)

        relayed.reset()
        await asyncio.sleep(0.05)

        await assert_served(module, worker)


async def test_connections_that_the_server_killed_while_idle_are_replaced(url, table):
    address = url.render_as_string(hide_password=False)
    async with started(address) as (module, worker), started(address) as (other, _):
        await fill(module, worker)

        async with other.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            if url.get_backend_name() == "postgresql":
                ids = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                await connection.execute(
                    sa.text(
                        f"SELECT pg_terminate_backend(pid, 1000) FROM ({ids} AND pid <> pg_backend_pid()) AS others"
                    )
                )
            else:
                ids = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
                for id in (await connection.execute(sa.text(ids))).scalars().all():
                    await connection.execute(sa.text(f"KILL {id}"))
        await asyncio.sleep(0.05)

        await assert_served(module, worker)


@loops.on_each
async def test_a_hang_up_is_seen_though_the_loop_had_no_time_to_look(relayed):
    async with through(relayed) as (module, worker):
        await fill(module, worker)
        relayed.reset()
        await asyncio.sleep(0)  # the relay's own end is closed
        time.sleep(0.02)  # noqa: ASYNC251 - the kernel knows of it by now, the loop doesn't

        connection = await module.open_connection()

        assert (await connection.execute(sa.text("SELECT 1"))).scalar() == 1
        await module.close_connection(connection)


async def test_looking_asks_the_server_nothing(relayed):
    async with through(relayed) as (module, worker):
        await fill(module, worker)
        relayed.recording = True

        for _ in range(10):
            relayed.answered = b""
            connection = await module.open_connection()
            assert relayed.answered == b""
            await module.close_connection(connection)


@loops.on_each
async def test_a_connection_that_was_forgotten_while_idle_is_found_out_by_asking_once(relayed):
    async with through(relayed, poolclass=ImpatientPool, pool_timeout=10) as (module, worker):
        await fill(module, worker)
        before = asyncio.all_tasks()
        await asyncio.sleep(0.1)
        connections = relayed.connections

        relayed.forget()
        loop = asyncio.get_running_loop()
        start = loop.time()
        await store(worker)
        took = loop.time() - start
        start = loop.time()
        await assert_served(module, worker)

        assert relayed.connections - connections == 1  # the one that was used last is used next
        await fill(module, worker)

        assert took < 4
        assert loop.time() - start < 2  # the others were given up with the first
        assert relayed.connections - connections == 4
        assert await others(before) == set()


async def test_a_connection_that_was_idle_and_is_well_stays(relayed):
    async with through(relayed, poolclass=ImpatientPool) as (module, worker):
        await fill(module, worker)
        connections = relayed.connections

        for _ in range(3):
            await asyncio.sleep(0.1)
            await store(worker)

        assert relayed.connections == connections


async def test_who_is_cancelled_while_a_connection_is_asked_about_leaves_nothing_behind(relayed):
    async with through(relayed, poolclass=ImpatientPool) as (module, worker):
        await fill(module, worker)
        before = asyncio.all_tasks()
        await asyncio.sleep(0.1)

        relayed.forget()
        tasks = [asyncio.create_task(store(worker)) for _ in range(4)]
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=2)

        assert pending == set()
        assert all(task.cancelled() for task in tasks)
        assert await others(before) == set()
        await assert_served(module, worker)


async def test_each_connection_is_asked_about_each_time_when_the_engine_is_told_so(relayed):
    async with through(relayed, pool_pre_ping=True) as (module, worker):
        await fill(module, worker)
        relayed.recording = True
        relayed.answered = b""

        await module.close_connection(await module.open_connection())
        asked = bool(relayed.answered)
        relayed.reset()
        await asyncio.sleep(0.05)

        assert asked
        await assert_served(module, worker)


async def test_connecting_is_refused_each_time_and_works_again_at_once(relayed):
    async with through(relayed) as (module, worker):
        await fill(module, worker)
        relayed.refusing = True
        relayed.reset()
        await asyncio.sleep(0.05)

        for _ in range(6):
            with pytest.raises(exceptions.UnavailableError):
                await store(worker)
        results = await asyncio.gather(*(store(worker) for _ in range(20)), return_exceptions=True)
        assert {type(result) for result in results} == {exceptions.UnavailableError}
        relayed.refusing = False

        await assert_served(module, worker)


@loops.on_each
async def test_a_server_that_says_nothing_to_who_connects_is_an_error_in_time(relayed):
    async with through(relayed, pool_timeout=0.5) as (module, worker):
        relayed.speaking.clear()
        loop = asyncio.get_running_loop()
        start = loop.time()
        results = await asyncio.gather(*(store(worker) for _ in range(10)), return_exceptions=True)
        took = loop.time() - start
        relayed.speaking.set()

        assert {type(result) for result in results} == {exceptions.UnavailableError}
        assert took < 1.5
        await assert_served(module, worker)


async def test_who_waited_for_a_turn_has_but_the_rest_of_the_time_to_connect(relayed):
    async with through(relayed, pool_timeout=1, pool_size=1) as (module, worker):
        relayed.speaking.clear()
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def late():
            await asyncio.sleep(0.5)
            with pytest.raises(exceptions.UnavailableError):
                await store(worker)
            return loop.time() - start

        first, took = await asyncio.gather(store(worker), late(), return_exceptions=True)
        relayed.speaking.set()

        assert isinstance(first, exceptions.UnavailableError)
        assert took < 2
        await assert_served(module, worker)


async def test_a_server_that_falls_silent_while_it_is_asked_about_itself_is_an_error_in_time(relayed):
    async with through(relayed, pool_timeout=1) as (module, worker):
        relayed.drip = 0.05  # signing in alone takes longer, and SQLAlchemy asks for the version next

        with pytest.raises(exceptions.UnavailableError):
            await asyncio.wait_for(store(worker), 5)
        relayed.drip = 0
        relayed.reset()

        await assert_served(module, worker)


@pytest.mark.parametrize("when", ["begin", "commit"])
async def test_a_reset_at_begin_or_commit_is_an_error_and_the_next_units_are_served(relayed, when):
    async with through(relayed, pool_size=1) as (module, worker):
        await store(worker)

        for _ in range(3):
            with pytest.raises(exceptions.UnavailableError):
                async with worker:
                    if when == "begin":
                        relayed.cut_after = 0
                    await worker.bolts.create({"size": 1})
                    relayed.cut_after = 0
            relayed.cut_after = None

        await assert_served(module, worker)


async def test_a_reset_at_commit_leaves_open_whether_the_unit_is_stored(relayed):
    async with through(relayed) as (_, worker):
        with pytest.raises(exceptions.UnavailableError) as caught:
            async with worker:
                await worker.bolts.create({"size": 1})
                relayed.cut_after = 0
        relayed.cut_after = None

    assert caught.value.maybe_applied


async def test_the_shutdown_ends_in_time_though_the_server_is_silent(relayed):
    before = asyncio.all_tasks()
    async with through(relayed) as (module, worker):
        await fill(module, worker)
        relayed.speaking.clear()
        loop = asyncio.get_running_loop()
        start = loop.time()

        await module.on_shutdown()

        assert loop.time() - start < 7
    relayed.speaking.set()
    relayed.reset()
    assert await others(before) == set()


@loops.on_each
async def test_the_shutdown_ends_what_somebody_still_does(url, table, caplog):
    sleep = "SELECT pg_sleep(60)" if url.get_backend_name() == "postgresql" else "SELECT sleep(60)"

    asking = asyncio.Event()

    async def report(worker):
        async with worker:
            asking.set()
            await worker.connection.execute(sa.text(sleep))

    async with started(url.render_as_string(hide_password=False)) as (module, worker):
        task = asyncio.create_task(report(worker), name="report")
        await asking.wait()
        await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        start = loop.time()

        await module.on_shutdown()
        await asyncio.wait((task,), timeout=5)

        assert loop.time() - start < 5
        assert isinstance(task.exception(), sa.exc.DBAPIError)
        assert task.exception().connection_invalidated
    assert "task 'report' took it" in caplog.text
    assert "in test_the_shutdown_ends_what_somebody_still_does.<locals>.report" in caplog.text
    gc.collect()


async def test_the_shutdown_waits_a_moment_for_who_is_about_to_finish(url, table, caplog):
    async with started(url.render_as_string(hide_password=False)) as (module, worker):

        async def unit():
            async with worker:
                await worker.bolts.create({"size": 7})
                await asyncio.sleep(0.2)

        task = asyncio.create_task(unit())
        await asyncio.sleep(0.1)

        await module.on_shutdown()
        await task

    assert caplog.text == ""
    async with started(url.render_as_string(hide_password=False)) as (_, worker), worker:
        assert await worker.bolts.count(size=7) == 1


@pytest.fixture(scope="module")
def server():
    with cluster.single() as server:
        yield server


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_the_first_unit_after_a_restart_of_the_server_works(server, driver):
    async with started(server.url(driver)) as (module, worker):
        async with module.engine.begin() as connection:
            await connection.run_sync(bolt_table.metadata.drop_all)
            await connection.run_sync(bolt_table.metadata.create_all)
        await fill(module, worker)

        for _ in range(3):
            server.stop()
            server.start()

            await assert_served(module, worker)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_while_the_server_is_down_there_is_an_error_each_time_and_the_first_unit_after_works(server, driver):
    async with started(server.url(driver)) as (module, worker):
        async with module.engine.begin() as connection:
            await connection.run_sync(bolt_table.metadata.drop_all)
            await connection.run_sync(bolt_table.metadata.create_all)
        await fill(module, worker)

        server.stop()
        for _ in range(6):
            with pytest.raises(exceptions.UnavailableError):
                await store(worker)
        server.start()

        await assert_served(module, worker)
