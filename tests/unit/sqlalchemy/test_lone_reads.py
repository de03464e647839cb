"""What a unit reads before it has done anything needs no transaction where one would show nothing else."""

import asyncio
import contextlib
import types

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import relay

pytestmark = pytest.mark.anyio

READY = b"Z\0\0\0\5"  # PostgreSQL's ReadyForQuery: one for each time that a client waits
STATES = sa.text(  # an autovacuum may be at work there, too
    "SELECT state FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)

parcel_table = sa.Table(
    "parcel",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("weight", sa.Integer),
)


class Parcels(SQLAlchemyTableRepository):
    _table = parcel_table


class Depot(SQLAlchemyWorker):
    parcels: Parcels


@contextlib.asynccontextmanager
async def opened(url, **engine_args):
    """Give a depot on one connection, which knows its statements."""
    module = SQLAlchemyModule(str(url), engine_args={"pool_size": 1, "max_overflow": 0, **engine_args})
    await module.on_startup()
    depot = Depot(types.SimpleNamespace(sqlalchemy=module))
    async with module.engine.begin() as connection:
        await connection.run_sync(parcel_table.metadata.drop_all)
        await connection.run_sync(parcel_table.metadata.create_all)
        await connection.execute(parcel_table.insert(), [{"id": 1, "weight": 10}, {"id": 2, "weight": 20}])
    async with depot:
        await depot.parcels.update({"weight": 10}, id=1)
    for lock in (None, "update"):
        async with depot:
            await depot.parcels.retrieve(id=1, lock=lock)
    try:
        yield depot
        assert module.engine.pool.checkedout() == 0
    finally:
        async with module.engine.begin() as connection:
            await connection.run_sync(parcel_table.metadata.drop_all)
        await module.on_shutdown()


@pytest.fixture
async def relayed(postgres_url):
    async with relay.relayed(sa.make_url(postgres_url)) as relayed:
        yield relayed


@pytest.fixture
async def depot(relayed):
    async with opened(relayed.url.render_as_string(hide_password=False)) as depot:
        relayed.recording = True
        yield depot


def round_trips(relayed):
    relayed.answered, answered = b"", relayed.answered
    return answered.count(READY)


@contextlib.asynccontextmanager
async def observer(postgres_url):
    module = SQLAlchemyModule(postgres_url)
    await module.on_startup()
    try:
        async with module.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
    finally:
        await module.on_shutdown()


async def test_to_read_is_one_round_trip_and_to_leave_is_none(depot, relayed):
    round_trips(relayed)

    async with depot:
        await depot.parcels.retrieve(id=1)
        await depot.parcels.retrieve(id=2)

    assert round_trips(relayed) == 2


async def states(others):
    """Return the states of the other sessions; one that has just sent its response may be active for a moment."""
    while "active" in (found := set((await others.execute(STATES)).scalars())):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return found


async def test_between_two_reads_nothing_is_held(depot, postgres_url):
    async with observer(postgres_url) as others, depot:
        await depot.parcels.retrieve(id=1)
        assert await states(others) == {"idle"}

        await depot.parcels.update({"weight": 11}, id=1)
        assert await states(others) == {"idle in transaction"}


async def test_what_follows_a_write_sees_it_and_is_undone_with_it(depot, relayed):
    with pytest.raises(ZeroDivisionError):
        async with depot:
            assert (await depot.parcels.retrieve(id=1))["weight"] == 10
            await depot.parcels.update({"weight": 12}, id=1)
            assert (await depot.parcels.retrieve(id=1))["weight"] == 12
            raise ZeroDivisionError

    round_trips(relayed)
    async with depot:
        assert (await depot.parcels.retrieve(id=1))["weight"] == 10
    assert round_trips(relayed) == 1


async def test_a_lock_is_held_until_the_unit_ends(depot, relayed, postgres_url):
    round_trips(relayed)
    async with depot:
        await depot.parcels.retrieve(id=1, lock="update")
        async with observer(postgres_url) as others:
            taken = "SELECT id FROM parcel WHERE id = 1 FOR UPDATE SKIP LOCKED"
            assert (await others.execute(sa.text(taken))).all() == []
    assert round_trips(relayed) == 2


async def test_a_snapshot_that_is_asked_for_is_one(depot, relayed):
    async with depot.options(isolation="REPEATABLE READ") as settled:
        await settled.parcels.retrieve(id=1)
        round_trips(relayed)
    assert round_trips(relayed) == 1  # COMMIT


@pytest.mark.parametrize(
    "engine_args",
    [
        {"isolation_level": "SERIALIZABLE"},
        {"connect_args": {"server_settings": {"default_transaction_isolation": "repeatable read"}}},
    ],
)
async def test_so_it_is_where_the_database_gives_one_unasked(postgres_url, engine_args):
    async with opened(postgres_url, **engine_args) as depot, observer(postgres_url) as others:
        async with depot:
            assert (await depot.parcels.retrieve(id=1))["weight"] == 10
            await others.execute(parcel_table.update().values(weight=13))
            assert (await depot.parcels.retrieve(id=1))["weight"] == 10


async def test_a_read_that_fails_spoils_nothing(depot, postgres_url):
    async with observer(postgres_url) as others:
        await others.execute(sa.text("ALTER TABLE parcel RENAME COLUMN weight TO mass"))
        async with depot:
            with pytest.raises(sa.exc.ProgrammingError):
                await depot.parcels.retrieve(id=1)
            await others.execute(sa.text("ALTER TABLE parcel RENAME COLUMN mass TO weight"))
            await depot.parcels.update({"weight": 14}, id=1)

    async with depot:
        assert (await depot.parcels.retrieve(id=1))["weight"] == 14


async def test_who_listens_for_the_end_of_a_unit_is_told(depot):
    told = []
    sync = depot.app.sqlalchemy.engine.sync_engine
    for name in ("begin", "commit", "rollback"):
        event.listen(sync, name, lambda connection, name=name: told.append(name))

    async with depot:
        await depot.parcels.retrieve(id=1)

    assert told == ["begin", "commit"]


async def test_a_unit_that_read_can_be_committed_rolled_back_and_nested(depot):
    async with depot:
        await depot.parcels.retrieve(id=1)
        await depot.commit()
        await depot.parcels.retrieve(id=1)
        await depot.rollback()
        with contextlib.suppress(ZeroDivisionError):
            async with depot:
                await depot.parcels.retrieve(id=1)
                await depot.parcels.update({"weight": 15}, id=1)
                raise ZeroDivisionError
        await depot.parcels.update({"weight": 16}, id=2)

    async with depot:
        assert [parcel["weight"] async for parcel in depot.parcels.list(order_by="id")] == [10, 16]


async def test_a_refused_write_after_reads_leaves_the_unit_as_it_was(depot):
    async with depot:
        await depot.parcels.retrieve(id=1)
        with pytest.raises(exceptions.IntegrityError):
            await depot.parcels.create({"id": 1})
        await depot.parcels.create({"id": 3, "weight": 30})

    async with depot:
        assert (await depot.parcels.retrieve(id=3))["weight"] == 30


async def test_hooks_run_once_it_has_ended(depot):
    told = []
    async with depot:
        depot.after_commit(lambda: told.append(depot.app.sqlalchemy.engine.pool.checkedout()))
        await depot.parcels.retrieve(id=1)
    assert told == [0]


async def test_who_is_cancelled_while_it_reads_leaves_the_connection_to_the_next(depot, relayed):
    for _ in range(20):
        task = asyncio.create_task(read(depot))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert depot.app.sqlalchemy.engine.pool.checkedout() == 0
    assert (await read(depot))["weight"] == 10


async def read(depot):
    async with depot:
        return await depot.parcels.retrieve(id=1)
