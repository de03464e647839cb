"""How many connections a pool makes, how long it keeps them, and what it does with those that nobody needs."""

import asyncio
import contextlib
import gc
import random
import threading
import time
import types
import weakref

import asyncpg
import pytest
import sqlalchemy as sa
import uvloop
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from flama import exceptions
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.drivers import _buffered_transport
from flama.sqlalchemy.pool._fair_pool import FairPool

pytestmark = pytest.mark.anyio

SELECT = sa.text("SELECT 1")
on_both_loops = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": use}) for use in (False, True)], ids=["asyncio", "uvloop"]
)


class Work(SQLAlchemyWorker):
    pass


class Watched:
    """A module, and when its pool has made and closed connections."""

    def __init__(self, module):
        self.module = module
        self.pool = module.engine.pool
        self.made, self.closed = [], []
        event.listen(self.pool, "connect", lambda *_: self.made.append(time.monotonic()))
        event.listen(self.pool, "close", lambda *_: self.closed.append(time.monotonic()))
        self.worker = Work(types.SimpleNamespace(sqlalchemy=module))

    async def unit(self, seconds=0.0):
        async with self.worker:
            await self.worker.connection.execute(SELECT)
            await asyncio.sleep(seconds)

    async def units(self, number, seconds=0.0):
        await asyncio.gather(*(self.unit(seconds) for _ in range(number)))

    async def open(self, number):
        """Have so many connections idle in the pool."""
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(number):
                await stack.enter_async_context(self.module.engine.connect())
        assert self.pool.checkedin() == number


@contextlib.asynccontextmanager
async def started(url, **engine_args):
    module = SQLAlchemyModule(url, engine_args=engine_args)
    await module.on_startup()
    try:
        yield Watched(module)
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


async def until(is_reached, limit=5.0):
    end = time.monotonic() + limit
    while not is_reached() and time.monotonic() < end:  # noqa: ASYNC110 - nobody sets an event
        await asyncio.sleep(0.01)
    assert is_reached()


def connecting(*delays):
    """Return what connects by asyncpg, each time after one of these delays, the last of which holds from then on."""
    left = list(delays)

    async def connect(*args, **options):
        delay = left.pop(0) if len(left) > 1 else left[0]
        await asyncio.sleep(delay)
        return await _buffered_transport.connect(*args, **options)

    return {"async_creator_fn": connect}


@pytest.mark.parametrize("tasks", [2, 16])
async def test_tasks_that_do_one_unit_after_the_other_make_no_more_connections_than_the_pool_may_have(
    postgres_url, tasks
):
    async with started(postgres_url) as watched:

        async def work():
            for _ in range(100):
                await watched.unit()

        await asyncio.gather(*(work() for _ in range(tasks)))

        assert len(watched.made) <= min(tasks, 15)
        assert watched.closed == []


async def test_connections_beyond_the_size_of_the_pool_are_kept_for_the_next_crowd(url):
    async with started(url, pool_size=2, max_overflow=4, pool_timeout=20) as watched:
        for _ in range(3):
            await watched.units(6, 0.1)

        assert len(watched.made) == 6
        assert watched.closed == []
        assert watched.pool.checkedin() == 6


async def test_units_that_end_soon_are_waited_for_rather_than_connected(url):
    async with started(url, pool_size=1, pool_grow_after=10, pool_timeout=30) as watched:
        await watched.units(20)
        await asyncio.gather(*(watched.unit() for _ in range(20)))

        assert len(watched.made) == 1


async def test_as_many_as_the_size_of_the_pool_are_connected_without_a_wait(url):
    async with started(url, pool_size=4, pool_grow_after=10, pool_timeout=30) as watched:
        began = time.monotonic()
        await watched.units(6, 0.5)

        assert len(watched.made) == 4
        assert time.monotonic() - began < 4


@on_both_loops
async def test_all_who_have_waited_for_a_while_have_connections_made_at_once(postgres_url):
    async with started(
        postgres_url, pool_size=1, max_overflow=14, pool_grow_after=0.05, connect_args=connecting(0, 0.2)
    ) as watched:
        began = time.monotonic()
        await watched.units(15, 0.5)

        assert len(watched.made) == 15
        assert time.monotonic() - began < 2  # one after the other they would take three seconds to be made
        assert min(watched.made[1:]) - watched.made[0] >= 0.2


async def test_who_waits_takes_what_is_returned_before_a_new_connection_is_there(postgres_url):
    async with started(postgres_url, pool_size=1, pool_grow_after=0.01, connect_args=connecting(0, 1)) as watched:
        first = asyncio.create_task(watched.unit(0.1))
        await until(lambda: watched.pool.checkedout() == 1)
        began = time.monotonic()

        await watched.unit()

        assert time.monotonic() - began < 0.8
        await first
        assert len(watched.made) == 1
        await until(lambda: watched.pool.checkedin() == 2)  # the other one is kept


async def test_who_waits_later_has_one_made_though_those_before_were_served_soon(postgres_url):
    async with started(postgres_url, pool_size=1, pool_grow_after=0.1) as watched:
        await watched.unit()
        await watched.units(2, 0.02)
        await asyncio.sleep(0.2)
        assert len(watched.made) == 1

        began = time.monotonic()
        await watched.units(2, 2)

        assert time.monotonic() - began < 3.5
        assert len(watched.made) == 2


async def test_a_connection_goes_to_who_has_waited_longest(postgres_url):
    async with started(postgres_url, pool_size=2, max_overflow=0, pool_grow_after=0.01) as watched:
        order = []

        async def unit(name):
            async with watched.module.engine.connect():
                order.append(name)
                await asyncio.sleep(0.02)

        tasks = []
        for name in range(12):
            tasks.append(asyncio.create_task(unit(name)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

        assert order == list(range(12))


@on_both_loops
async def test_who_is_cancelled_while_it_waits_leaves_a_connection_to_the_next(postgres_url):
    async with started(postgres_url, connect_args=connecting(0.2)) as watched:
        task = asyncio.create_task(watched.unit())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait((task,))

        await watched.unit()

        assert task.cancelled()
        assert len(watched.made) == 1
        assert (watched.pool.checkedout(), watched.pool.checkedin()) == (0, 1)


async def test_who_is_served_is_not_told_of_a_connection_that_could_not_be_made(postgres_url, caplog):
    refused = []

    async def connect(*args, **options):
        if refused:
            await asyncio.sleep(0.6)
            raise OSError("refused")
        refused.append(True)
        return await _buffered_transport.connect(*args, **options)

    async with started(postgres_url, pool_grow_after=0.01, connect_args={"async_creator_fn": connect}) as watched:
        await watched.units(4, 0.02)
        await asyncio.sleep(0.7)
        assert (watched.pool.checkedout(), watched.pool.checkedin()) == (0, 1)

        results = await asyncio.gather(watched.unit(2), watched.unit(), return_exceptions=True)
        assert results[0] is None
        assert isinstance(results[1], exceptions.UnavailableError)
        assert "refused" in repr(results[1].__cause__)
        await watched.unit()

    assert [record.name for record in caplog.records] == ["flama.sqlalchemy"]  # once, that it is down


async def test_one_who_cannot_connect_keeps_nobody_waiting(postgres_url):
    attempts = []

    async def connect(*args, **options):
        attempts.append(time.monotonic())
        if len(attempts) <= 3:
            raise OSError("refused")
        return await _buffered_transport.connect(*args, **options)

    async with started(
        postgres_url, pool_size=1, max_overflow=0, connect_args={"async_creator_fn": connect}
    ) as watched:
        began = time.monotonic()
        results = await asyncio.gather(*(watched.unit() for _ in range(6)), return_exceptions=True)

        assert [type(result) for result in results] == [exceptions.UnavailableError] * 3 + [type(None)] * 3
        assert time.monotonic() - began < 5


@on_both_loops
async def test_connections_that_are_idle_for_long_are_closed_but_for_the_size_of_the_pool(url):
    before = threading.active_count()
    async with started(url, pool_size=2, max_overflow=8, pool_max_idle=0.2) as watched:
        await watched.units(10, 0.2)
        await until(lambda: watched.pool.checkedin() == 10)
        returned = time.monotonic()

        await until(lambda: len(watched.closed) == 8)
        await asyncio.sleep(0.5)

        assert min(watched.closed) - returned > 0.1
        assert watched.pool.checkedin() == 2
        assert len(watched.made) == 10
        await watched.units(2)
        assert (len(watched.made), watched.pool.checkedout()) == (10, 0)
        if "sqlite" in url:  # a thread each
            assert threading.active_count() - before <= 2


async def test_the_server_has_no_session_left_of_connections_that_are_closed(postgres_url):
    database = sa.make_url(postgres_url).database
    async with started(postgres_url, pool_size=1, max_overflow=4, pool_max_idle=0.1) as watched:
        watcher = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
        await watched.open(5)

        for _ in range(500):
            if (left := await watcher.fetchval(sessions, database)) == 1:
                break
            await asyncio.sleep(0.01)

        await watcher.close()
        assert left == 1


async def test_a_few_clients_keep_few_connections_busy(postgres_url):
    pid = sa.text("SELECT pg_backend_pid()")
    async with started(postgres_url) as watched:
        await watched.open(15)
        seen = set()

        async def work():
            for _ in range(30):
                async with watched.worker:
                    seen.add(await watched.worker.connection.scalar(pid))

        await asyncio.gather(work(), work())

        assert len(seen) == 2


async def test_connections_are_used_in_turn_where_the_engine_says_so(postgres_url):
    pid = sa.text("SELECT pg_backend_pid()")
    async with started(postgres_url, pool_use_lifo=False) as watched:
        await watched.open(4)
        seen = []
        for _ in range(4):
            async with watched.module.engine.connect() as connection:
                seen.append(await connection.scalar(pid))

    assert len(set(seen)) == 4


async def test_connections_that_were_made_together_do_not_end_together(url):
    async with started(url, pool_recycle=2, pool_max_idle=0.04) as watched:
        await watched.open(5)
        await until(lambda: len(watched.closed) == 5)

        lives = sorted(end - made for made, end in zip(watched.made, watched.closed, strict=True))
        assert lives[0] > 1.7  # the pairs aren't known, and the first was made a little earlier than the last
        assert lives[-1] < 3
        assert max(watched.closed) - min(watched.closed) > 0.01


async def test_an_idle_connection_ends_with_its_life_though_the_pool_is_no_larger_than_its_size(url):
    async with started(url, pool_recycle=0.2, pool_max_idle=0.1) as watched:
        await watched.unit()

        await until(lambda: len(watched.closed) == 1)

        assert watched.pool.checkedin() == 0
        await watched.unit()
        assert len(watched.made) == 2


async def test_a_busy_connection_is_replaced_at_the_end_of_its_life(url):
    async with started(url, pool_size=1, max_overflow=0, pool_recycle=0.3) as watched:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            await watched.unit()

        assert 2 <= len(watched.made) <= 5
        assert watched.pool.checkedin() == 1


async def test_a_database_in_memory_outlives_its_connection():
    async with started("sqlite+aiosqlite://", pool_recycle=0.1, pool_max_idle=0.05) as watched:
        async with watched.module.engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE note (id INTEGER)"))
            await connection.execute(sa.text("INSERT INTO note VALUES (7)"))
        await until(lambda: watched.closed)

        async with watched.module.engine.connect() as connection:
            assert await connection.scalar(sa.text("SELECT id FROM note")) == 7


async def test_connections_live_for_ever_where_the_engine_says_so(postgres_url):
    async with started(postgres_url, pool_recycle=-1, pool_max_idle=0.05) as watched:
        await watched.open(5)
        await asyncio.sleep(0.3)
        await watched.units(5, 0.05)

        assert (len(watched.made), watched.closed) == (5, [])


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("driver", ["file", "psycopg"])
def test_an_engine_closes_what_is_idle_in_each_loop_that_it_is_used_in(run, driver, tmp_path, request):
    url = f"sqlite+aiosqlite:///{tmp_path}/data.db"
    if driver == "psycopg":
        url = request.getfixturevalue("postgres_url").replace("asyncpg", "psycopg")
    before = threading.active_count()
    engine = create_async_engine(url, poolclass=FairPool, pool_size=1, max_overflow=3, pool_max_idle=0.2)

    async def crowd():
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):
                connection = await stack.enter_async_context(engine.connect())
                await connection.execute(SELECT)

    async def one():
        async with engine.connect() as connection:
            await connection.execute(SELECT)
        await until(lambda: engine.pool.checkedin() == 1)
        await engine.dispose()

    began = time.monotonic()
    run(crowd())
    assert time.monotonic() - began < 5
    assert engine.pool.checkedin() == 4
    run(one())

    assert engine.pool.checkedout() == 0
    for _ in range(100):
        if threading.active_count() > before:
            time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_the_timer_keeps_no_loop_running(run, tmp_path):
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db", engine_args={"pool_max_idle": 60})

    async def main():
        await module.on_startup()
        watched = Watched(module)
        await watched.open(8)
        await module.on_shutdown()

    began = time.monotonic()
    run(main())

    assert time.monotonic() - began < 10


async def test_the_timer_keeps_no_pool_in_memory(tmp_path):
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/data.db", poolclass=FairPool, pool_max_idle=60)
    async with engine.connect() as connection:
        await connection.execute(SELECT)
        await connection.invalidate()  # so that nothing is left to be closed
    left = weakref.ref(engine.pool)

    del engine, connection
    gc.collect()

    assert left() is None


@on_both_loops
async def test_the_shutdown_does_not_wait_for_a_connection_that_is_being_made(postgres_url):
    before = asyncio.all_tasks()
    async with started(postgres_url, pool_timeout=3, connect_args=connecting(0, 60)) as watched:
        await watched.unit()
        tasks = [asyncio.create_task(watched.unit(0.1)) for _ in range(3)]
        await asyncio.gather(*tasks)
        began = time.monotonic()

        await watched.module.on_shutdown()

        assert time.monotonic() - began < 2
        await until(lambda: asyncio.all_tasks() <= before)


async def test_a_connection_that_is_being_made_as_the_engine_is_disposed_of_is_closed(postgres_url):
    async with started(postgres_url, connect_args=connecting(0.3)) as watched:
        task = asyncio.create_task(watched.unit())
        await asyncio.sleep(0.05)
        task.cancel()
        await watched.module.engine.dispose()

        await until(lambda: len(watched.closed) == 1)

        assert (watched.pool.checkedin(), watched.pool.checkedout()) == (0, 0)


async def test_who_waits_at_the_shutdown_is_told_that_there_is_none(postgres_url):
    async with started(postgres_url, connect_args=connecting(4)) as watched:
        task = asyncio.create_task(watched.unit())
        await asyncio.sleep(0.05)

        await watched.module.on_shutdown()
        await asyncio.wait((task,), timeout=1)

        assert isinstance(task.exception(), exceptions.UnavailableError)


async def test_whatever_is_cancelled_no_connection_is_lost(url):
    chance = random.Random(0)
    async with started(url, pool_size=2, max_overflow=4, pool_grow_after=0.001, pool_max_idle=0.05) as watched:
        for _ in range(10):
            tasks = [asyncio.create_task(watched.unit(chance.uniform(0, 0.02))) for _ in range(20)]
            for task in chance.sample(tasks, 10):
                await asyncio.sleep(chance.uniform(0, 0.004))
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}

        await until(lambda: len(watched.made) - len(watched.closed) == watched.pool.checkedin() <= 2)
        assert watched.pool.holders == []
        await watched.units(6, 0.05)
        await until(lambda: watched.pool.checkedout() == 0)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("pool_size", -1, "a number of connections, or 0"),
        ("pool_size", 2.5, "a number of connections, or 0"),
        ("max_overflow", -2, "a number of connections, or -1"),
        ("max_overflow", None, "a number of connections, or -1"),
        ("pool_timeout", 0, "a number of seconds above 0"),
        ("pool_timeout", "30", "a number of seconds above 0"),
        ("pool_recycle", -2, "a number of seconds, or -1"),
        ("pool_max_idle", 0, "a number of seconds above 0"),
        ("pool_max_idle", float("nan"), "a number of seconds above 0"),
        ("pool_grow_after", -0.1, "a number of seconds"),
        ("pool_grow_after", True, "a number of seconds"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(name, value, wanted):
    with pytest.raises(exceptions.ApplicationError) as caught:
        SQLAlchemyModule("sqlite+aiosqlite://", engine_args={name: value})

    assert str(caught.value).startswith(f"'{name}' in 'engine_args' is {wanted}")
    assert str(caught.value).endswith(f"not {value!r}")


@pytest.mark.parametrize("name", ["pool_max_idle", "pool_grow_after"])
def test_another_pool_has_no_such_option(name):
    with pytest.raises(exceptions.ApplicationError, match=f"'{name}' is an option of the module's own pool"):
        SQLAlchemyModule("sqlite+aiosqlite://", engine_args={"poolclass": sa.NullPool, name: 1})


async def test_the_options_outlive_the_disposal_of_the_engine(postgres_url):
    async with started(postgres_url, pool_size=1, max_overflow=3, pool_max_idle=0.1, pool_grow_after=0.02) as watched:
        await watched.open(4)
        await watched.module.engine.dispose()
        assert len(watched.closed) == 4

        again = Watched(watched.module)
        await again.open(4)
        await until(lambda: again.pool.checkedin() == 1)
