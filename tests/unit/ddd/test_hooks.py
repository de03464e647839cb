"""What waits for the end of a unit, when the end is not what was hoped for."""

import asyncio
import types

import pytest
import sqlalchemy as sa

from flama import exceptions, tasks
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
crate_table = sa.Table("crate", metadata, sa.Column("id", sa.Integer, primary_key=True))
parcel_table = sa.Table(
    "parcel",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("crate", sa.ForeignKey("crate.id", deferrable=True, initially="DEFERRED")),
)


class CrateRepository(SQLAlchemyTableRepository):
    _table = crate_table


class ParcelRepository(SQLAlchemyTableRepository):
    _table = parcel_table


class Dispatch(SQLAlchemyWorker):
    crates: CrateRepository
    parcels: ParcelRepository


@pytest.fixture(params=["sqlite", "postgres"])
async def dispatch(request, tmp_path):
    postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres_url") if postgres else f"sqlite+aiosqlite:///{tmp_path}/dispatch.db"
    module = SQLAlchemyModule(url, engine_args={"pool_size": 1, "max_overflow": 0, "pool_timeout": 2})
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield Dispatch(types.SimpleNamespace(sqlalchemy=module))
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    await module.on_shutdown()


def listening(worker):
    told = []
    worker.after_commit(lambda: told.append("committed"))
    worker.after_rollback(lambda: told.append("rolled back"))
    return told


async def test_a_unit_that_is_refused_at_its_end_was_rolled_back_though_savepoints_of_it_were_kept(dispatch):
    with pytest.raises(exceptions.IntegrityError):
        async with dispatch:
            told = listening(dispatch)
            async with dispatch.savepoint():
                await dispatch.crates.create({"id": 1})
            await dispatch.parcels.create({"crate": 2})

    assert told == ["rolled back"]


async def test_a_hook_within_the_unit_has_the_unit(dispatch):
    async def store():
        async with dispatch:
            await dispatch.crates.create({"id": 2})

    async with dispatch:
        await dispatch.crates.create({"id": 1})
        dispatch.after_commit(store)
        await dispatch.commit()
        await dispatch.rollback()

    async with dispatch:
        assert [crate["id"] async for crate in dispatch.crates.list()] == [1]


async def test_a_hook_that_awaits_what_was_cancelled_has_failed_and_keeps_no_other_from_running(dispatch):
    async def wait():
        other = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    with pytest.raises(ExceptionGroup, match="was committed") as caught:
        async with dispatch:
            dispatch.after_commit(wait)
            told = listening(dispatch)

    assert [type(error) for error in caught.value.exceptions] == [RuntimeError]
    assert told == ["committed"]


async def test_a_hook_that_fails_when_the_unit_is_cancelled_is_logged(dispatch, caplog):
    async def fail():
        task.cancel()
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def unit():
        async with dispatch:
            await dispatch.crates.create({"id": 1})
            dispatch.after_commit(fail)

    task = asyncio.create_task(unit())
    await asyncio.wait((task,))

    assert task.cancelled()
    assert "ZeroDivisionError" in caplog.text


async def test_a_hook_that_hangs_when_the_unit_is_cancelled_is_given_up_and_logged(dispatch, caplog, monkeypatch):
    monkeypatch.setattr(tasks.finished, "__defaults__", (None, 0.05))

    async def hang():
        task.cancel()
        await asyncio.sleep(60)

    async def unit():
        async with dispatch:
            await dispatch.crates.create({"id": 1})
            dispatch.after_commit(hang)
            dispatch.after_commit(print)

    task = asyncio.create_task(unit())
    await asyncio.wait((task,))

    assert task.cancelled()
    assert "given up, 1 more did not run" in caplog.text
    async with dispatch:
        assert await dispatch.crates.count() == 1
