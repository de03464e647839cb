"""A connection that a unit leaves as it found it rests in the pool with its proxy, and nobody can tell."""

import asyncio
import contextlib
import gc
import logging
import types

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

PID = sa.text("SELECT pg_backend_pid()")

boat_table = sa.Table("boat", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


class Boats(SQLAlchemyTableRepository):
    _table = boat_table


class Harbour(SQLAlchemyWorker):
    boats: Boats


@contextlib.asynccontextmanager
async def opened(url, **engine_args):
    module = SQLAlchemyModule(url, engine_args={"pool_size": 1, "max_overflow": 0, "pool_timeout": 1, **engine_args})
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(boat_table.metadata.drop_all)
        await connection.run_sync(boat_table.metadata.create_all)
        await connection.execute(boat_table.insert(), [{"id": 1}])
    try:
        yield Harbour(types.SimpleNamespace(sqlalchemy=module))
    finally:
        async with module.engine.begin() as connection:
            await connection.run_sync(boat_table.metadata.drop_all)
        await module.on_shutdown()


@pytest.fixture
async def harbour(postgres_url):
    async with opened(postgres_url) as harbour:
        await visited(harbour)
        yield harbour


async def visited(harbour):
    """Read in a unit, which leaves its connection to rest, and give the proxy."""
    async with harbour:
        await harbour.boats.retrieve(id=1)
        return await harbour.connection.get_raw_connection()


def pool_of(harbour):
    return harbour.app.sqlalchemy.engine.pool


async def test_the_next_unit_has_the_same_proxy(harbour):
    assert await visited(harbour) is await visited(harbour)
    async with harbour:
        await harbour.boats.create({"id": 2})
    assert await visited(harbour) is await visited(harbour)
    assert pool_of(harbour).checkedin() == 1


async def test_what_belonged_to_a_unit_that_has_ended_is_of_no_use_to_anybody(harbour):
    async with harbour:
        boats, connection = harbour.boats, harbour.connection
        sync = connection.sync_connection
        await boats.retrieve(id=1)

    async with harbour:
        await harbour.boats.create({"id": 2})
        with pytest.raises(exceptions.SessionClosedError):
            await boats.retrieve(id=1)
        with pytest.raises(sa.exc.ResourceClosedError):
            await connection.execute(PID)
        assert sync.closed
        assert not sync.in_transaction()


async def test_who_takes_it_by_the_engine_has_a_proxy_of_their_own(harbour):
    resting = await visited(harbour)

    async with harbour.app.sqlalchemy.engine.connect() as connection:
        taken = await connection.get_raw_connection()
        line = taken.dbapi_connection
        assert taken is not resting
        assert line is not None
        assert resting.dbapi_connection is None
        gc.collect()
        assert await connection.scalar(PID)

    assert (await visited(harbour)).dbapi_connection is line
    assert pool_of(harbour).checkedin() == 1


async def test_so_has_a_unit_of_an_engine_with_options(harbour):
    engine = harbour.app.sqlalchemy.engine.execution_options(isolation_level="SERIALIZABLE")
    resting = await visited(harbour)

    async with engine.connect() as connection:
        assert await connection.get_raw_connection() is not resting
        assert await connection.scalar(sa.text("SHOW transaction_isolation")) == "serializable"

    async with harbour:
        assert await harbour.connection.scalar(sa.text("SHOW transaction_isolation")) == "read committed"


async def test_what_is_set_for_a_unit_ends_with_it(harbour):
    async with harbour.options(isolation="SERIALIZABLE") as settled:
        assert await settled.connection.scalar(sa.text("SHOW transaction_isolation")) == "serializable"
    async with harbour.options(read_only=True) as reading:
        await reading.boats.retrieve(id=1)

    async with harbour:
        await harbour.boats.create({"id": 2})
        assert await harbour.connection.scalar(sa.text("SHOW transaction_isolation")) == "read committed"


async def test_who_listens_to_the_pool_is_told_of_each_unit(harbour):
    told = []
    for name in ("checkout", "checkin", "reset"):
        event.listen(pool_of(harbour), name, lambda *_, name=name: told.append(name))

    for _ in range(2):
        await visited(harbour)

    assert [name for name in told if name != "reset"] == ["checkout", "checkin"] * 2


async def test_who_listens_to_the_engine_is_told_of_each_connection(harbour):
    told = []
    event.listen(harbour.app.sqlalchemy.engine.sync_engine, "engine_connect", lambda connection: told.append("connect"))

    for _ in range(2):
        await visited(harbour)

    assert told == ["connect"] * 2


async def test_who_listens_to_statements_is_told_of_those_to_come(harbour):
    told = []
    sync = harbour.app.sqlalchemy.engine.sync_engine
    async with harbour:
        await harbour.boats.retrieve(id=1)
        event.listen(sync, "before_cursor_execute", lambda *details: told.append(details[2].split()[0]))
        await harbour.boats.retrieve(id=1)

    await visited(harbour)

    assert told == ["SELECT"] * 2


async def test_who_listens_to_a_connection_is_told_of_its_unit_alone(harbour):
    told = []
    async with harbour:
        sync = harbour.connection.sync_connection
        event.listen(sync, "before_cursor_execute", lambda *details: told.append(details[2].split()[0]))
        event.listen(sync, "commit", lambda connection: told.append("COMMIT"))
        await harbour.boats.create({"id": 2})

    await visited(harbour)

    assert told == ["INSERT", "COMMIT"]


async def test_one_that_is_as_old_as_the_engine_says_is_replaced(postgres_url):
    async with opened(postgres_url, pool_recycle=0) as harbour:
        pids = set()
        for _ in range(3):
            async with harbour:
                pids.add(await harbour.connection.scalar(PID))
            await visited(harbour)
            await asyncio.sleep(0.01)

    assert len(pids) == 3


async def test_one_that_the_server_hangs_up_on_as_it_rests_is_replaced(harbour):
    async with harbour:
        pid = await harbour.connection.scalar(PID)
    await visited(harbour)
    other = SQLAlchemyModule(harbour.app.sqlalchemy.database)
    await other.on_startup()
    async with other.engine.connect() as connection:
        await connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    await other.on_shutdown()
    await asyncio.sleep(0.1)

    async with harbour:
        assert await harbour.connection.scalar(PID) != pid
    await visited(harbour)
    assert pool_of(harbour).checkedin() == 1


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up:sqlalchemy.exc.SAWarning")
async def test_who_never_gives_back_one_that_has_rested_is_told_of(harbour, caplog):
    await visited(harbour)

    async def forgetful():
        connection = await harbour.app.sqlalchemy.open_connection()
        await connection.execute(PID)

    await asyncio.create_task(forgetful(), name="careless")
    gc.collect()
    await asyncio.sleep(0.02)

    assert "A connection was never given back, and is closed: task 'careless' took it" in caplog.text
    await visited(harbour)


async def test_to_dispose_of_the_engine_closes_it(harbour, caplog):
    caplog.set_level(logging.WARNING)
    resting = await visited(harbour)
    line = resting.dbapi_connection.driver_connection

    await harbour.app.sqlalchemy.engine.dispose()

    assert line.is_closed()
    assert resting.dbapi_connection is None
    gc.collect()
    await visited(harbour)
    assert caplog.text == ""
