"""What the pool tells of who holds its connections, and what it does with those that nobody gives back."""

import asyncio
import contextlib
import gc
import logging
import re
import threading
import types

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import WorkerComponent
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.pool import _dispose
from tests.support import loops

pytestmark = pytest.mark.anyio

LOG = "flama.sqlalchemy"
SELECT = sa.text("SELECT 1")


@contextlib.asynccontextmanager
async def started(url, leak_after=None, **engine_args):
    module = SQLAlchemyModule(url, engine_args=engine_args, leak_after=leak_after)
    await module.on_startup()
    try:
        yield module
    finally:
        await module.on_shutdown()


@pytest.fixture(params=["file", "asyncpg", "psycopg", "asyncmy"])
def url(request, tmp_path):
    match request.param:
        case "file":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "asyncmy":
            return request.getfixturevalue("mariadb_url")
        case driver:
            return request.getfixturevalue("postgres_url").replace("asyncpg", driver)


TWO = {"pool_size": 1, "max_overflow": 1, "pool_timeout": 0.5}


@pytest.fixture
async def full(url):
    """Give a module of two connections, which wait half a second for one."""
    async with started(url, **TWO) as module:
        yield module


class Work(SQLAlchemyWorker):
    pass


def worker_of(module):
    return Work(types.SimpleNamespace(sqlalchemy=module))


def line_of(function, offset):
    return f"{function.__qualname__} ({__file__}:{function.__code__.co_firstlineno + offset})"


async def collected():
    """Let the garbage collector run, the loop learn of what it found, and a driver's thread end."""
    gc.collect()
    await asyncio.sleep(0.02)


async def held(take):
    """Have ``take`` hold a connection in a task of its own; give what ends that."""
    taken, done = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(take(taken, done), name=take.__name__)
    await taken.wait()

    async def end():
        done.set()
        await task

    return end


async def test_who_waits_in_vain_is_told_who_holds_each_connection_and_since_when(full):
    async def report(taken, done):
        async with worker_of(full):
            taken.set()
            await done.wait()

    async def export(taken, done):
        async with full.engine.connect():
            taken.set()
            await done.wait()

    ends = [await held(report), await held(export)]

    with pytest.raises(exceptions.UnavailableError) as caught:
        async with worker_of(full):
            pass

    summary, *lines = str(caught.value.__cause__).split("\n  ")
    assert summary == "each of the pool's 2 connections was in use for 0.5 s"
    assert [re.sub(r"0\.\d s ago", "… ago", line) for line in lines] == [
        f"task 'report' took it … ago, in {line_of(report, 1)}",
        f"task 'export' took it … ago, in {line_of(export, 1)}",
    ]
    for end in ends:
        await end()
    async with worker_of(full):
        pass
    assert full.engine.pool.holders == []


async def test_what_travels_to_a_client_tells_how_many_and_nothing_of_the_program(full):
    async with full.engine.connect(), full.engine.connect():
        with pytest.raises(exceptions.UnavailableError) as caught:
            async with worker_of(full):
                pass

    assert caught.value.detail == "each of the pool's 2 connections was in use for 0.5 s"
    assert "test_pool" not in str(caught.value)
    assert caught.value.maybe_applied is False


async def test_the_log_tells_it_once_a_second_however_many_wait(full, caplog):
    async with full.engine.connect(), full.engine.connect():
        results = await asyncio.gather(*(full.open_connection() for _ in range(20)), return_exceptions=True)

    assert {type(result) for result in results} == {sa.exc.TimeoutError}
    [record] = caplog.records
    assert (record.name, record.levelno) == (LOG, logging.WARNING)
    assert "No connection was to be had" in record.message
    assert __file__ in record.message


async def test_of_many_holders_the_first_are_told(tmp_path):
    async with (
        started(f"sqlite+aiosqlite:///{tmp_path}/data.db", pool_size=25, max_overflow=0, pool_timeout=0.5) as module,
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(25):
            await stack.enter_async_context(module.engine.connect())
        with pytest.raises(sa.exc.TimeoutError) as caught:
            await module.open_connection()

    lines = str(caught.value).split("\n  ")
    assert len(lines) == 22
    assert lines[-1] == "and 5 others"


async def test_a_connection_is_held_by_who_took_it_last(full):
    async def first(taken, done):
        async with full.engine.connect():
            taken.set()
            await done.wait()

    async def second(taken, done):
        connection = await full.open_connection()
        taken.set()
        await done.wait()
        await full.close_connection(connection)

    await (await held(first))()
    end = await held(second)

    [holder] = full.engine.pool.holders
    assert str(holder).startswith("task 'second' took it 0.")
    assert str(holder).endswith(line_of(second, 1))
    assert holder.seconds < 1
    await end()


@loops.on_each
async def test_holders_are_told_on_each_loop(full):
    async def report(taken, done):
        async with worker_of(full):
            taken.set()
            await done.wait()

    end = await held(report)
    bare = await asyncio.create_task(full.open_connection(), name="bare")

    told = [re.sub(r"0\.\d s ago", "… ago", str(holder)) for holder in full.engine.pool.holders]
    assert told == [f"task 'report' took it … ago, in {line_of(report, 1)}", "task 'bare' took it … ago"]
    await full.close_connection(bare)
    await end()


async def test_a_connection_taken_by_nobody_of_the_program_has_a_task_all_the_same(full):
    task = asyncio.create_task(full.open_connection(), name="bare")
    connection = await task

    [holder] = full.engine.pool.holders
    assert re.fullmatch(r"task 'bare' took it 0\.\d s ago", str(holder))
    await full.close_connection(connection)


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up:sqlalchemy.exc.SAWarning")
async def test_a_connection_that_was_never_given_back_is_closed_and_who_took_it_is_told(full, caplog):
    async def forgetful():
        connection = await full.engine.connect()
        await connection.execute(SELECT)

    for _ in range(3):  # more than there is room for
        caplog.clear()

        await asyncio.create_task(forgetful(), name="careless")
        await collected()

        [record] = [record for record in caplog.records if record.name == LOG]
        assert record.levelno == logging.WARNING
        assert record.message.startswith("A connection was never given back, and is closed: task 'careless' took it")
        assert record.message.endswith(line_of(forgetful, 1))
        assert full.engine.pool.checkedout() == 0
        assert full.engine.pool.holders == []
    async with full.engine.connect() as one, full.engine.connect() as other:
        assert [(await each.execute(SELECT)).scalar() for each in (one, other)] == [1, 1]


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up:sqlalchemy.exc.SAWarning")
async def test_the_server_has_no_session_left_of_a_connection_that_was_never_given_back(full, url):
    if not url.startswith("postgresql"):
        pytest.skip("PostgreSQL is asked for its sessions")

    async def forgetful():
        connection = await full.engine.connect()
        return (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar()

    pid = await forgetful()
    await collected()

    async with full.engine.connect() as connection:
        for _ in range(100):
            await asyncio.sleep(0.01)
            sessions = sa.text(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")
            if (count := (await connection.execute(sessions)).scalar()) == 0:
                break
    assert count == 0


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up:sqlalchemy.exc.SAWarning")
async def test_who_waits_is_served_at_once_when_the_collector_finds_a_connection_in_another_thread(url):
    async with started(url, pool_size=1, max_overflow=0, pool_timeout=5) as module:

        async def forgetful():
            connection = await module.engine.connect()
            await connection.execute(SELECT)

        # a transport that another thread aborts may be told twice that it is closed, which asyncio reports as an error
        loop = asyncio.get_running_loop()
        reports, _ = loop.get_exception_handler(), loop.set_exception_handler(lambda loop, context: None)
        gc.disable()  # until it runs there
        try:
            await forgetful()
            waiting = asyncio.create_task(module.open_connection())
            await asyncio.sleep(0.05)
            assert not waiting.done()

            collecting = threading.Thread(target=gc.collect)
            collecting.start()
            connection = await asyncio.wait_for(waiting, 2)
        finally:
            gc.enable()

        assert (await connection.execute(SELECT)).scalar() == 1
        await module.close_connection(connection)
        collecting.join()
        loop.set_exception_handler(reports)


class Depot:
    """What handlers work with, at one remove."""

    def __init__(self, worker):
        self.worker = worker

    async def count(self, entered, done):
        async with self.worker:
            entered.set()
            await done.wait()


async def test_who_waits_in_vain_is_told_which_handlers_have_the_connections(url, caplog):
    entered, done = [asyncio.Event(), asyncio.Event()], asyncio.Event()
    app = Flama(
        modules=[SQLAlchemyModule(url, engine_args=TWO)],
        components=[WorkerComponent(worker=Work())],
    )

    @app.get("/report/")
    async def report(worker: Work):
        async with worker:
            entered[0].set()
            await done.wait()

    @app.get("/count/")
    async def count(worker: Work):
        await Depot(worker).count(entered[1], done)

    @app.get("/late/")
    async def late(worker: Work):
        async with worker:
            pass

    async with Client(app=app) as client:
        working = [asyncio.create_task(client.get(path)) for path in ("/report/", "/count/")]
        await asyncio.gather(*(event.wait() for event in entered))
        refused = await client.get("/late/")
        done.set()
        answered = await asyncio.gather(*working)
        served = await client.get("/late/")

    assert refused.status_code == 503
    assert refused.json()["detail"].endswith("(each of the pool's 2 connections was in use for 0.5 s)")
    [record] = caplog.records
    told = record.message
    assert f"in the handler {line_of(report, 2)}" in told
    assert f"in {line_of(Depot.count, 1)}, for the handler {line_of(count, 0)}" in told
    assert all(response.is_success for response in (*answered, served))


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up:sqlalchemy.exc.SAWarning")
async def test_a_handler_that_never_gives_its_connection_back_is_named(url, caplog):
    app = Flama(modules=[SQLAlchemyModule(url)])

    @app.get("/leak/")
    async def leak():
        connection = await app.sqlalchemy.open_connection()
        return (await connection.execute(SELECT)).scalar()

    async with Client(app=app) as client:
        assert (await client.get("/leak/")).json() == 1
        await collected()

    [record] = [record for record in caplog.records if record.name == LOG]
    assert "never given back" in record.message
    assert record.message.endswith(f"in {line_of(leak, 2)}")


async def test_a_handler_that_holds_a_connection_for_long_is_named(url, caplog):
    app = Flama(
        modules=[SQLAlchemyModule(url, leak_after=0.1)],
        components=[WorkerComponent(worker=Work())],
    )

    @app.get("/slow/")
    async def slow(worker: Work):
        async with worker:
            await asyncio.sleep(0.3)

    async with Client(app=app) as client:
        await client.get("/slow/")

    [record] = caplog.records
    assert record.message.startswith("A connection is held for more than 0.1 s: task '")
    assert record.message.endswith(f"in the handler {line_of(slow, 2)}")


async def test_a_connection_that_was_detached_is_its_holders_own_and_no_leak(full, url, caplog):
    async with full.engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        raw.info["note"] = "mine"
        await connection.run_sync(lambda sync: sync.detach())

        assert full.engine.pool.holders == []
        assert raw.is_detached
        assert raw.info["note"] == "mine"
        assert (await connection.execute(SELECT)).scalar() == 1
    if "psycopg" in url:  # SQLAlchemy leaves it open
        await driver.close()

    assert caplog.text == ""


async def test_a_connection_that_was_given_up_is_no_leak(full, caplog):
    async with full.engine.connect() as connection:
        await connection.invalidate()

    assert full.engine.pool.holders == []
    assert caplog.text == ""


async def test_who_holds_a_connection_for_long_is_told_of_once(url, caplog):
    async with started(url, leak_after=0.1) as module:

        async def slow(taken, done):
            async with worker_of(module):
                taken.set()
                await done.wait()

        for _ in range(10):
            async with module.engine.connect():
                pass
        end = await held(slow)
        await asyncio.sleep(0.5)

        [record] = caplog.records
        assert (record.name, record.levelno) == (LOG, logging.WARNING)
        assert re.match(r"A connection is held for more than 0\.1 s: task 'slow' took it 0\.\d s ago", record.message)
        assert record.message.endswith(line_of(slow, 1))
        await end()


async def test_nobody_is_told_of_after_the_shutdown(tmp_path, caplog):
    async with started(f"sqlite+aiosqlite:///{tmp_path}/data.db", leak_after=0.05) as module:
        pass
    await asyncio.sleep(0.2)

    assert caplog.text == ""
    assert module._watches == []


async def test_a_pool_that_is_not_the_modules_own_cannot_be_watched(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/data.db"
    module = SQLAlchemyModule(url, engine_args={"poolclass": sa.NullPool}, leak_after=1)

    with pytest.raises(exceptions.ApplicationError, match="leak_after"):
        await module.on_startup()


async def test_a_connection_that_is_still_held_at_the_shutdown_is_closed_and_who_took_it_is_told(
    url, caplog, monkeypatch
):
    monkeypatch.setattr(_dispose, "_GRACE", 0.1)
    async with started(url) as module:
        connection = await module.open_connection()
        await connection.execute(SELECT)

        await module.on_shutdown()

        assert "was not given back before the shutdown, and is closed: task" in caplog.text
        assert test_a_connection_that_is_still_held_at_the_shutdown_is_closed_and_who_took_it_is_told.__name__ in (
            caplog.text
        )
        with pytest.raises(sa.exc.DBAPIError):
            await connection.execute(SELECT)
        await module.close_connection(connection)
    caplog.clear()
    gc.collect()
    assert caplog.text == ""


async def test_connections_are_replaced_when_they_are_as_old_as_the_engine_says(full, url):
    if not url.startswith("postgresql"):
        pytest.skip("PostgreSQL tells its sessions apart")
    pid = sa.text("SELECT pg_backend_pid()")
    async with started(url, pool_size=1, max_overflow=0, pool_recycle=0) as module:
        found = set()
        for _ in range(3):
            async with module.engine.connect() as connection:
                found.add((await connection.execute(pid)).scalar())
            await asyncio.sleep(0.01)

    assert len(found) == 3
