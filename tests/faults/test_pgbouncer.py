"""Units by way of a pgbouncer that lends its connections for a transaction at a time."""

import asyncio
import contextlib
import types

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import create_async_engine

from flama import exceptions
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import crowd, loops, pgbouncer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(pgbouncer.executable() is None, reason="pgbouncer isn't installed: apt-get install pgbouncer"),
]

CONNECTIONS = 4  # of pgbouncer's to the database
EVERY_VISIT = crowd.UNITS * crowd.ROUNDS


@pytest.fixture(scope="module")
def bounced(postgres_url):
    with pgbouncer.bounced(sa.make_url(postgres_url), CONNECTIONS) as url:
        yield url


@pytest.fixture(params=pgbouncer.SETTINGS)
def driver(request):
    return request.param


@pytest.fixture
async def database(postgres_url):
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        await connection.run_sync(crowd.guest_table.metadata.create_all)
    yield engine
    async with engine.begin() as connection:
        await connection.run_sync(crowd.guest_table.metadata.drop_all)
    await engine.dispose()


@pytest.fixture
def url(database, bounced, driver):
    return through(bounced, driver)


def through(bounced, driver):
    return bounced.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)


def arguments(driver, pool_size):
    return {"pool_size": pool_size, "max_overflow": 0, "connect_args": pgbouncer.SETTINGS[driver]}


async def connections(database):
    """How many connections others than this have to the database."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with database.connect() as connection:
        return (await connection.execute(sa.text(count))).scalar()


async def left_behind(url, driver):
    """What is prepared on the connections that pgbouncer lends."""
    engine = create_async_engine(url, **arguments(driver, CONNECTIONS))
    async with contextlib.AsyncExitStack() as stack:
        borrowed = [await stack.enter_async_context(engine.begin()) for _ in range(CONNECTIONS)]  # each of them
        prepared = sa.text("SELECT name, statement FROM pg_prepared_statements")
        left = [row for connection in borrowed for row in await connection.execute(prepared)]
    await engine.dispose()
    return left


@pytest.mark.parametrize("pool_size", [8, 64])
async def test_sixty_four_units_at_once_on_more_connections_than_pgbouncer_has(database, url, driver, pool_size):
    visits = await crowd.crowd(url, arguments(driver, pool_size))

    assert visits == EVERY_VISIT
    assert await connections(database) == CONNECTIONS
    assert await left_behind(url, driver) == []


@pytest.mark.parametrize("driver", ["asyncpg"])
async def test_several_programs_at_once(url, driver):
    # asyncpg numbers what it prepares, in each program from one on
    programs = [
        await asyncio.create_subprocess_exec(*loops.command("tests.support.crowd", url), stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    told = [(await program.communicate())[0] for program in programs]

    assert [int(one) for one in told] == [EVERY_VISIT] * 2


async def test_the_settings_of_a_unit_are_those_of_its_transaction_alone(url, driver):
    module = SQLAlchemyModule(url, engine_args=arguments(driver, 1))
    await module.on_startup()
    guests = crowd.Guests(types.SimpleNamespace(sqlalchemy=module))
    strict = guests.options(isolation="SERIALIZABLE", read_only=True, statement_timeout=0.05)

    for _ in range(CONNECTIONS):
        with pytest.raises(exceptions.UnavailableError):
            async with strict:
                await strict.guests.create({"name": "Ada", "visits": 0})
        with pytest.raises(exc.DBAPIError, match="statement timeout"):
            async with strict:
                await strict.connection.execute(sa.text("SELECT pg_sleep(2)"))
        async with strict:
            shown = await strict.connection.execute(sa.text("SHOW transaction_isolation"))
            assert shown.scalar() == "serializable"
        async with guests:
            shown = await guests.connection.execute(sa.text("SHOW transaction_isolation"))
            assert shown.scalar() == "read committed"
            await guests.connection.execute(sa.text("SELECT pg_sleep(0.07)"))
            await guests.guests.create({"name": "Ada", "visits": 0})
            await guests.guests.delete(name="Ada")
    await module.on_shutdown()


async def test_records_are_streamed_while_others_use_the_connections(url, driver):
    module = SQLAlchemyModule(url, engine_args=arguments(driver, 16))
    await module.on_startup()
    guests = crowd.Guests(types.SimpleNamespace(sqlalchemy=module))
    async with guests:
        await guests.guests.create(*({"name": f"{number}", "visits": number} for number in range(3000)))

    async def stream():
        async with guests:
            return [guest["visits"] async for guest in guests.guests.list(order_by="id")]

    streamed = await asyncio.gather(*(stream() for _ in range(16)))

    assert streamed == [list(range(3000))] * 16
    async with guests:
        assert await guests.guests.drop() == 3000
    await module.on_shutdown()


@pytest.mark.parametrize("driver", ["asyncpg"])
async def test_without_the_settings_statements_are_run_where_nobody_knows_them(database, postgres_url, driver):
    # psycopg finds that out after the fifth time that it runs a statement, with a luck that can't be tested
    with pgbouncer.bounced(sa.make_url(postgres_url), CONNECTIONS) as bounced:
        with pytest.raises(ExceptionGroup) as caught:
            await crowd.crowd(through(bounced, driver), {"pool_size": 64, "max_overflow": 0})

    assert any("prepared statement" in str(error.__cause__ or error) for error in caught.value.exceptions)


@pytest.mark.skipif(
    pgbouncer.executable() is not None and pgbouncer.version() < (1, 21),
    reason="before 1.21, pgbouncer doesn't know of prepared statements",
)
async def test_a_pgbouncer_that_knows_of_prepared_statements_needs_no_settings(database, postgres_url, driver):
    with pgbouncer.bounced(sa.make_url(postgres_url), CONNECTIONS, "max_prepared_statements = 200") as bounced:
        assert await crowd.crowd(through(bounced, driver), {"pool_size": 64, "max_overflow": 0}) == EVERY_VISIT
