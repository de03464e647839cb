"""Units of work that are cancelled, crowded, or whose database is away."""

import asyncio
import collections
import collections.abc
import contextlib
import gc
import os
import pathlib
import random
import socket
import threading
import time
import types

import anyio
import pytest
import sqlalchemy as sa

from flama import _shielding, exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import bank, loops, writers

pytestmark = pytest.mark.anyio

CANCELLATIONS = int(os.environ.get("FLAMA_CANCELLATIONS", "120"))  # in each way, on each database
PROCESSES = 4

metadata = sa.MetaData()
half_table = sa.Table(
    "half",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("whole", sa.Integer, nullable=False),
)


class HalfRepository(SQLAlchemyTableRepository):
    _table = half_table


class Halves(SQLAlchemyWorker):
    halves: HalfRepository


@pytest.fixture(params=["memory", "file", "asyncpg", "psycopg", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    match request.param:
        case "memory":
            return "sqlite+aiosqlite:///"
        case "file":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "mariadb":
            return str(request.getfixturevalue("mariadb_url"))
        case driver:
            return str(request.getfixturevalue("postgres_url")).replace("asyncpg", driver)


@contextlib.asynccontextmanager
async def started(url: str, **engine_args) -> collections.abc.AsyncIterator[SQLAlchemyModule]:
    module = SQLAlchemyModule(url, engine_args=engine_args)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    yield module
    await module.on_shutdown()


@pytest.fixture
async def module(url: str) -> collections.abc.AsyncIterator[SQLAlchemyModule]:
    async with started(url, pool_size=2, max_overflow=0) as module:
        yield module


@pytest.fixture
def worker(module: SQLAlchemyModule) -> Halves:
    return Halves(types.SimpleNamespace(sqlalchemy=module))


class Unit:
    """Stores both halves of a whole, and tells how far it is."""

    def __init__(self, worker: Halves, whole: int, done: set[int]) -> None:
        self.worker, self.whole, self.done = worker, whole, done
        self.scope = anyio.CancelScope()
        self.limit = asyncio.timeout(None)
        self.reached = {phase: asyncio.Event() for phase in ("entering", "inside", "leaving")}

    @property
    def was_cancelled(self) -> bool:
        return self.scope.cancelled_caught or self.limit.expired()

    @property
    def phase(self) -> str:
        return [phase for phase, event in self.reached.items() if event.is_set()][-1]

    async def run(self) -> None:
        with self.scope, contextlib.suppress(TimeoutError):
            async with self.limit:
                await self.store()

    async def store(self) -> None:
        self.reached["entering"].set()
        async with self.worker:
            self.reached["inside"].set()
            await self.worker.halves.create({"whole": self.whole})
            found = [half["whole"] async for half in self.worker.halves.list(whole=self.whole)]
            assert found == [self.whole]
            await self.worker.halves.create({"whole": self.whole})
            self.reached["leaving"].set()
        self.done.add(self.whole)


async def cancel_once(unit: Unit, task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))


async def cancel_again_and_again(unit: Unit, task: asyncio.Task[None]) -> None:
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)


async def cancel_its_scope(unit: Unit, task: asyncio.Task[None]) -> None:
    unit.scope.cancel()
    await asyncio.wait((task,))


async def let_its_time_be_over(unit: Unit, task: asyncio.Task[None]) -> None:
    if not task.done():
        unit.limit.reschedule(0)
    await asyncio.wait((task,))


async def assert_whole(module: SQLAlchemyModule, worker: Halves, done: set[int]) -> None:
    while _shielding._clean_ups:
        await asyncio.wait(_shielding._clean_ups)
    assert module.engine.pool.checkedout() == 0
    async with worker:
        halves = collections.Counter([half["whole"] async for half in worker.halves.list()])
        assert set(halves.values()) <= {2}
        assert done <= set(halves)
    for whole in range(-20, 0):
        await Unit(worker, whole, done).run()
    assert module.engine.pool.checkedout() == 0


async def assert_nothing_open(url: str) -> None:
    if not url.startswith("postgresql"):
        return
    async with started_bare(url) as connection:
        for _ in range(50):
            idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
            count = (await connection.execute(sa.text(f"{idle} AND datname = current_database()"))).scalar()
            if count == 0:
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"{count} sessions are idle in transaction")


@contextlib.asynccontextmanager
async def started_bare(url: str):
    bare = SQLAlchemyModule(url)
    await bare.on_startup()
    async with bare.engine.connect() as connection:
        yield await connection.execution_options(isolation_level="AUTOCOMMIT")
    await bare.on_shutdown()


@pytest.mark.parametrize("cancel", [cancel_once, cancel_again_and_again, cancel_its_scope, let_its_time_be_over])
async def test_units_cancelled_at_any_time_leave_nothing_behind(url, module, worker, cancel):
    done: set[int] = set()
    cancelled: collections.Counter[str] = collections.Counter()
    dice = random.Random(1)
    start = time.perf_counter()
    for whole in range(10_000, 10_020):
        await Unit(worker, whole, done).run()
    usual = (time.perf_counter() - start) / 20

    async def victims(first: int) -> None:
        for whole in range(first, first + CANCELLATIONS // 4):
            unit = Unit(worker, whole, done)
            task = asyncio.create_task(unit.run())
            reached = asyncio.create_task(unit.reached[dice.choice(["entering", "inside", "leaving"])].wait())
            await asyncio.wait((task, reached), return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            await asyncio.sleep(dice.choice([0, dice.uniform(0, usual)]))
            await cancel(unit, task)
            if task.cancelled() or unit.was_cancelled:
                cancelled[unit.phase] += 1
            else:
                task.result()

    await asyncio.gather(*(victims(first) for first in range(0, CANCELLATIONS, CANCELLATIONS // 4)))

    assert cancelled.keys() == {"entering", "inside", "leaving"}
    await assert_nothing_open(url)
    await assert_whole(module, worker, done)
    gc.collect()  # what has to be said of what was given up is said now


async def test_as_many_units_run_at_a_time_as_there_are_connections(postgres_url):
    async with started(postgres_url, pool_size=5, max_overflow=0) as module:
        worker = Halves(types.SimpleNamespace(sqlalchemy=module))

        async def unit():
            async with worker:
                await worker.connection.execute(sa.text("SELECT pg_sleep(0.1)"))

        await asyncio.gather(*(unit() for _ in range(5)))
        start = time.perf_counter()
        await asyncio.gather(*(unit() for _ in range(200)))
        took = time.perf_counter() - start

    assert 4 <= took < 8


async def test_a_short_unit_is_not_held_up_by_a_long_one(module, worker, url):
    if url == "sqlite+aiosqlite:///":
        pytest.skip("a database in memory is one unit's at a time")
    entered, left = asyncio.Event(), asyncio.Event()

    async def long():
        async with worker:
            await worker.halves.create({"whole": 1})
            entered.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(left.wait(), 3)

    task = asyncio.create_task(long())
    await entered.wait()
    start = time.perf_counter()
    async with worker:
        assert [half async for half in worker.halves.list()] == []
    took = time.perf_counter() - start
    left.set()
    await task

    assert took < 1


async def test_a_database_that_cannot_be_reached_is_an_error_each_time_for_everybody(unused_port):
    async with contextlib.AsyncExitStack() as stack:
        module = SQLAlchemyModule(
            f"postgresql+asyncpg://postgres@127.0.0.1:{unused_port}/none",
            engine_args={"pool_size": 2, "max_overflow": 0},
        )
        await module.on_startup()
        stack.push_async_callback(module.on_shutdown)
        worker = Halves(types.SimpleNamespace(sqlalchemy=module))

        start = time.perf_counter()
        results = await asyncio.gather(*(Unit(worker, 1, set()).run() for _ in range(40)), return_exceptions=True)

        assert {type(result) for result in results} == {exceptions.UnavailableError}
        assert time.perf_counter() - start < 5
        assert module.engine.pool.checkedout() == 0


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("when", ["inside", "at the end"])
async def test_a_session_that_the_server_ends_is_an_error_and_the_next_unit_is_served(postgres_url, when):
    async with started(postgres_url, pool_size=1, max_overflow=0) as module, started_bare(postgres_url) as other:
        worker = Halves(types.SimpleNamespace(sqlalchemy=module))

        with pytest.raises(exceptions.UnavailableError) as caught:
            async with worker:
                await worker.halves.create({"whole": 1})
                pid = (await worker.connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar()
                await other.execute(sa.text(f"SELECT pg_terminate_backend({pid})"))
                await asyncio.sleep(0.1)
                if when == "inside":
                    await worker.halves.retrieve()
        async with worker:
            assert [half async for half in worker.halves.list()] == []

    assert caught.value.maybe_applied is (when == "at the end")
    assert module._running is None


async def test_a_unit_that_waits_too_long_for_a_connection_is_told(url):
    async with started(url, pool_size=1, max_overflow=0, pool_timeout=0.1) as module:
        worker = Halves(types.SimpleNamespace(sqlalchemy=module))
        async with worker:
            with pytest.raises(exceptions.UnavailableError):
                await asyncio.create_task(worker.begin())
        await assert_whole(module, worker, set())


async def test_connections_are_given_in_the_order_of_asking(url):
    order = []
    async with started(url, pool_size=1, max_overflow=0) as module:

        async def turn(number):
            for _ in range(3):
                async with module.engine.begin() as connection:
                    await connection.execute(sa.text("SELECT 1"))
                order.append(number)

        await asyncio.gather(*(turn(number) for number in range(4)))

    assert order == [0, 1, 2, 3] * 3


async def test_forty_writers_share_a_file(tmp_path):
    async with started(f"sqlite+aiosqlite:///{tmp_path}/data.db") as module:
        worker = Halves(types.SimpleNamespace(sqlalchemy=module))

        async def write(whole):
            for _ in range(5):
                async with worker:
                    assert len([half async for half in worker.halves.list(whole=whole)]) % 2 == 0
                    await worker.halves.create({"whole": whole})
                    await worker.halves.create({"whole": whole})

        await asyncio.gather(*(write(whole) for whole in range(40)))

        async with worker:
            assert await worker.halves.drop() == 400


async def test_forty_writers_in_several_processes_share_a_file(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/bank.db"
    async with started(url) as module, bank.made(module.engine):
        programs = [
            await asyncio.create_subprocess_exec(*loops.command("tests.support.writers", url, str(first)))
            for first in range(0, PROCESSES * writers.WRITERS, writers.WRITERS)
        ]
        statuses = await asyncio.gather(*(program.wait() for program in programs))

        assert statuses == [0] * PROCESSES
        async with module.engine.connect() as connection:
            for number in range(PROCESSES * writers.WRITERS * writers.UNITS):
                assert await bank.stored(connection, number)


async def test_a_database_in_memory_gives_each_unit_itself_alone(module, worker, url):
    if url != "sqlite+aiosqlite:///":
        pytest.skip("only a database in memory has but one connection")
    inside = asyncio.Event()

    async def undone():
        async with worker:
            await worker.halves.create({"whole": 1})
            inside.set()
            await asyncio.sleep(0.05)
            raise ZeroDivisionError

    async def other():
        await inside.wait()
        async with module.engine.begin() as connection:
            await connection.execute(half_table.insert().values(whole=2))

    failure, _ = await asyncio.gather(undone(), other(), return_exceptions=True)

    assert isinstance(failure, ZeroDivisionError)
    async with worker:
        assert [half["whole"] async for half in worker.halves.list()] == [2]


async def test_a_unit_that_went_on_after_a_cancelled_statement_does_not_end_well(worker, url):
    slow = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) SELECT max(i) FROM n",
        "postgresql": "SELECT pg_sleep(1)",
        "mysql": "SELECT sleep(1)",
    }[url.partition("+")[0]]

    with pytest.raises(exceptions.UnavailableError):
        async with worker:
            await worker.halves.create({"whole": 1})
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await worker.connection.execute(sa.text(slow))

    async with worker:
        assert [half async for half in worker.halves.list()] == []


@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("verb", ["update", "retrieve"])
async def test_a_deadlock_is_a_conflict_and_its_unit_stores_nothing(module, worker, url, swallowed, nested, verb):
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time")
    async with worker:
        await worker.halves.create({"id": 1, "whole": 0}, {"id": 2, "whole": 0})
    both = asyncio.Barrier(2)

    async def unit(first, second):
        async with worker:
            await worker.halves.update({"whole": first}, id=first)
            await both.wait()
            try:
                async with worker if nested else contextlib.nullcontext():
                    if verb == "retrieve":
                        await worker.halves.retrieve(id=second, lock="update")
                    await worker.halves.update({"whole": first}, id=second)
            except exceptions.ConflictError:
                if not swallowed or url.startswith("postgresql"):
                    raise
                if verb == "retrieve":  # which begins another transaction
                    await worker.halves.update({"whole": first}, id=first)

    results = await asyncio.gather(unit(1, 2), unit(2, 1), return_exceptions=True)

    (conflict,) = [result for result in results if result is not None]
    assert isinstance(conflict, exceptions.ConflictError)
    assert conflict.retryable
    async with worker:
        assert len({half["whole"] async for half in worker.halves.list()}) == 1


async def test_no_thread_is_left_after_the_shutdown(tmp_path):
    before = threading.active_count()

    for url in ("sqlite+aiosqlite:///", f"sqlite+aiosqlite:///{tmp_path}/data.db"):
        async with started(url) as module:
            worker = Halves(types.SimpleNamespace(sqlalchemy=module))
            await asyncio.gather(*(Unit(worker, whole, set()).run() for whole in range(3)))

    for _ in range(100):  # a thread tells that it has closed its connection, and ends right after
        await asyncio.sleep(0.01)
        if threading.active_count() == before:
            break
    assert threading.active_count() == before
