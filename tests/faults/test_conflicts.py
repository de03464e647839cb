"""Units that get into each other's way: each database says so in its own ways, and all of them are one error."""

import asyncio
import contextlib
import types

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

shift_table = sa.Table(
    "shift",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("on_call", sa.Integer, nullable=False),
)


class ShiftRepository(SQLAlchemyTableRepository):
    _table = shift_table


class Ward(SQLAlchemyWorker):
    shifts: ShiftRepository


@contextlib.asynccontextmanager
async def started(url, **engine_args):
    module = SQLAlchemyModule(url, engine_args=engine_args)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(shift_table.metadata.drop_all)
        await connection.run_sync(shift_table.metadata.create_all)
        await connection.execute(shift_table.insert(), [{"id": 1, "on_call": 1}, {"id": 2, "on_call": 1}])
    try:
        yield Ward(types.SimpleNamespace(sqlalchemy=module))
        assert module.engine.pool.checkedout() == 0
    finally:
        async with module.engine.begin() as connection:
            await connection.run_sync(shift_table.metadata.drop_all)
        await module.on_shutdown()


@pytest.fixture(params=["asyncpg", "psycopg"])
async def postgres(request, postgres_url):
    async with started(postgres_url.replace("asyncpg", request.param)) as ward:
        yield ward


@pytest.fixture
async def mariadb(mariadb_url):
    async with started(mariadb_url) as ward:
        yield ward


async def on_call(ward):
    async with ward:
        return [shift["on_call"] async for shift in ward.shifts.list(order_by="id")]


async def overtaken(ward, read, write):
    """Let a unit write what another has written since it began to read."""
    async with ward.options(isolation="REPEATABLE READ") as late:
        await read(late)
        async with ward:
            await ward.shifts.update({"on_call": 5}, id=1)
        await write(late)


async def test_a_write_of_what_has_changed_since_is_a_conflict(postgres):
    with pytest.raises(exceptions.ConflictError) as caught:
        await overtaken(
            postgres,
            lambda late: late.shifts.retrieve(id=1),
            lambda late: late.shifts.update({"on_call": 7}, id=1),
        )

    assert caught.value.retryable
    assert caught.value.__cause__.sqlstate == "40001"
    assert await on_call(postgres) == [5, 1]


async def leave_if_another_stays(ward, id, met):
    """Go off call if somebody else is: two who do so at the same time would leave nobody."""
    if await ward.shifts.count(on_call=1) > 1:
        await met()
        await ward.shifts.update({"on_call": 0}, id=id)


async def test_a_conflict_that_is_found_at_commit_is_one_and_the_unit_is_run_again(postgres):
    arrived, both, attempts = set(), asyncio.Event(), []

    async def meet(id):
        arrived.add(id)
        if len(arrived) == 2:
            both.set()
        await (
            both.wait()
        )  # which the one who has to try again doesn't do a second time, be it before the other's commit

    async def leave(id):
        async def work(ward):
            attempts.append(id)
            await leave_if_another_stays(ward, id, lambda: meet(id))

        await postgres.options(isolation="SERIALIZABLE").run(work)

    await asyncio.gather(leave(1), leave(2))

    assert sorted(await on_call(postgres)) == [0, 1]
    assert len(attempts) >= 3


async def test_a_conflict_that_is_found_at_commit_stores_nothing(postgres):
    both = asyncio.Barrier(2)

    async def leave(id):
        async with postgres.options(isolation="SERIALIZABLE") as ward:
            await leave_if_another_stays(ward, id, both.wait)

    results = await asyncio.gather(leave(1), leave(2), return_exceptions=True)

    [conflict] = [result for result in results if result is not None]
    assert isinstance(conflict, exceptions.ConflictError)
    assert conflict.retryable
    assert sorted(await on_call(postgres)) == [0, 1]


async def test_a_lock_that_is_waited_for_too_long_is_a_conflict(mariadb):
    async with mariadb:
        await mariadb.shifts.update({"on_call": 5}, id=1)
        with pytest.raises(exceptions.ConflictError) as caught:
            async with mariadb.options() as other:
                await other.connection.execute(sa.text("SET SESSION innodb_lock_wait_timeout = 0"))
                await other.shifts.update({"on_call": 7}, id=1)

    assert caught.value.retryable
    assert caught.value.__cause__.args[0] == 1205
    assert await on_call(mariadb) == [5, 1]


async def test_a_write_of_what_has_changed_since_is_a_conflict_where_snapshots_are_isolated(mariadb):
    async def read(late):
        await late.connection.execute(sa.text("SET SESSION innodb_snapshot_isolation = ON"))
        await late.shifts.retrieve(id=1)

    with pytest.raises(exceptions.ConflictError) as caught:
        await overtaken(mariadb, read, lambda late: late.shifts.update({"on_call": 7}, id=1))

    assert caught.value.retryable
    assert caught.value.__cause__.args[0] == 1020
    assert await on_call(mariadb) == [5, 1]


async def test_a_file_that_is_written_by_another_for_too_long_is_a_conflict(tmp_path):
    async with started(f"sqlite+aiosqlite:///{tmp_path}/ward.db", connect_args={"timeout": 0.05}) as ward:
        async with ward:
            await ward.shifts.update({"on_call": 5}, id=1)
            with pytest.raises(exceptions.ConflictError) as caught:
                async with ward.options() as other:
                    await other.shifts.update({"on_call": 7}, id=1)

        assert caught.value.retryable
        assert caught.value.__cause__.sqlite_errorname == "SQLITE_BUSY"
        assert await on_call(ward) == [5, 1]


async def test_the_pauses_between_attempts_are_random_and_grow_up_to_a_second(postgres, monkeypatch):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    async def work(_):
        raise exceptions.ConflictError(resource="shift", retryable=True)

    monkeypatch.setattr("flama.ddd.workers.base.asyncio.sleep", pause)
    for _ in range(20):
        with pytest.raises(exceptions.ConflictError):
            await postgres.run(work, attempts=11)
    monkeypatch.undo()

    by_attempt = [pauses[number::10] for number in range(10)]
    limits = [min(1, 0.01 * 2**number) for number in range(10)]
    for found, limit in zip(by_attempt, limits, strict=True):
        assert limit / 2 < max(found) <= limit
        assert min(found) < limit / 2
