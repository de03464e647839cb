"""What the module that owns the engine promises."""

import asyncio
import types

import pytest
import sqlalchemy as sa

import flama.sqlalchemy
from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.pool._fair_pool import FairPool

pytestmark = pytest.mark.anyio

number_table = sa.Table("number", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


class NumberRepository(SQLAlchemyTableRepository):
    _table = number_table


class Numbers(SQLAlchemyWorker):
    numbers: NumberRepository


@pytest.fixture(params=[False, True], ids=["a connection each", "a single connection"])
async def module(request, tmp_path):
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db", single_connection=request.param)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(number_table.metadata.drop_all)
        await connection.run_sync(number_table.metadata.create_all)
    yield module
    await module.on_shutdown()


async def numbers(module):
    connection = await module.open_connection()
    found = (await connection.execute(sa.select(number_table.c.id).order_by(number_table.c.id))).scalars().all()
    await module.close_connection(connection)
    return found


async def add(connection, number):
    await connection.execute(number_table.insert().values(id=number))


def test_the_metadata_are_shared(anyio_backend):
    assert flama.sqlalchemy.metadata is SQLAlchemyModule.metadata
    assert SQLAlchemyModule.name == "sqlalchemy"


def test_an_empty_url_is_refused(anyio_backend):
    with pytest.raises(exceptions.ApplicationError, match="connection string must be provided"):
        SQLAlchemyModule("")


async def test_engine_and_connections_are_there_while_it_runs():
    module = SQLAlchemyModule("sqlite+aiosqlite://")

    for _ in range(2):
        with pytest.raises(exceptions.ApplicationError, match="SQLAlchemyModule not initialized"):
            _ = module.engine
        with pytest.raises(exceptions.ApplicationError, match="SQLAlchemyModule not initialized"):
            _ = module.connection_manager
        await module.on_startup()
        async with module.engine.connect() as connection:
            assert (await connection.execute(sa.text("SELECT 1"))).scalar() == 1
        await module.on_shutdown()


async def test_an_unknown_dialect_and_a_driver_that_is_not_asynchronous_fail_the_start():
    with pytest.raises(sa.exc.NoSuchModuleError):
        await SQLAlchemyModule("nosql://").on_startup()
    for url in ("sqlite:///data.db", "postgresql+psycopg2://"):
        with pytest.raises((exceptions.ApplicationError, ModuleNotFoundError)):
            await SQLAlchemyModule(url).on_startup()


async def test_a_transaction_is_committed_or_rolled_back(module):
    for number, rollback in ((1, False), (2, True)):
        connection = await module.open_connection()
        transaction = await module.begin_transaction(connection)
        await add(connection, number)
        await module.end_transaction(transaction, rollback=rollback)
        await module.close_connection(connection)

    assert await numbers(module) == [1]


async def test_closing_a_connection_rolls_its_open_transaction_back(module):
    connection = await module.open_connection()
    await module.begin_transaction(connection)
    await add(connection, 1)
    await module.close_connection(connection)

    assert await numbers(module) == []


async def test_a_transaction_ends_once(module):
    connection = await module.open_connection()
    transaction = await module.begin_transaction(connection)
    await module.end_transaction(transaction)

    with pytest.raises(exceptions.SQLAlchemyError, match="Transaction not started"):
        await module.end_transaction(transaction)

    await module.close_connection(connection)


@pytest.mark.parametrize("module", [False], indirect=True)
async def test_a_connection_has_one_transaction(module):
    connection = await module.open_connection()
    await module.begin_transaction(connection)

    with pytest.raises(exceptions.SQLAlchemyError, match="Transaction already started in this connection"):
        await module.begin_transaction(connection)

    await module.close_connection(connection)


@pytest.mark.parametrize("module", [True], indirect=True)
async def test_an_inner_rollback_of_the_single_connection_is_respected(module):
    outer, inner = await module.open_connection(), await module.open_connection()
    first, second = await module.begin_transaction(outer), await module.begin_transaction(inner)
    await add(inner, 1)
    with pytest.raises(exceptions.SQLAlchemyError, match="Wrong transaction"):
        await module.end_transaction(first)
    await module.end_transaction(second, rollback=True)
    await module.close_connection(inner)
    await add(outer, 2)
    await module.end_transaction(first)
    await module.close_connection(outer)

    assert inner is outer
    assert await numbers(module) == [2]


@pytest.mark.parametrize("module", [True], indirect=True)
async def test_tasks_take_turns_on_the_single_connection(module):
    using = 0

    async def unit(number):
        nonlocal using
        connection = await module.open_connection()
        using += 1
        assert using == 1
        transaction = await module.begin_transaction(connection)
        await add(connection, number)
        await module.end_transaction(transaction, rollback=number % 2 == 1)
        using -= 1
        await module.close_connection(connection)

    await asyncio.gather(*(unit(number) for number in range(10)))

    assert await numbers(module) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("module", [True], indirect=True)
async def test_another_connection_than_the_single_one_is_wrong(module):
    connection = await module.open_connection()
    other = module.engine.connect()

    with pytest.raises(exceptions.SQLAlchemyError, match="Wrong connection"):
        await module.close_connection(other)
    await module.close_connection(connection)
    with pytest.raises(exceptions.SQLAlchemyError, match="Connection not initialized"):
        await module.close_connection(connection)


async def test_engine_arguments_come_before_ours():
    module = SQLAlchemyModule("sqlite+aiosqlite://", engine_args={"echo": True, "connect_args": {"timeout": 1}})
    await module.on_startup()

    assert module.engine.echo is True

    await module.on_shutdown()


@pytest.mark.parametrize("url", ["sqlite+aiosqlite://", "sqlite+aiosqlite:///data.db"])
async def test_a_pool_can_be_tuned_or_replaced(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tuned = {"pool_pre_ping": True, "pool_recycle": 60, "pool_use_lifo": True, "pool_timeout": 1}

    for engine_args in (tuned, {"poolclass": sa.StaticPool}, {"poolclass": sa.NullPool}):
        module = SQLAlchemyModule(url, engine_args=engine_args)
        await module.on_startup()
        for _ in range(2):
            async with module.engine.connect() as connection:
                assert (await connection.execute(sa.text("SELECT 1"))).scalar() == 1
        assert isinstance(module.engine.pool, engine_args.get("poolclass", FairPool))
        await module.on_shutdown()


async def test_engine_arguments_are_passed_on(postgres_url):
    engine_args = {
        "pool_size": 3,
        "max_overflow": 2,
        "pool_timeout": 7,
        "isolation_level": "SERIALIZABLE",
        "connect_args": {"server_settings": {"application_name": "reporter"}},
    }
    module = SQLAlchemyModule(postgres_url, engine_args=engine_args)
    await module.on_startup()

    async with module.engine.connect() as connection:
        told = [
            await connection.scalar(sa.text(f"SHOW {name}")) for name in ("application_name", "transaction_isolation")
        ]
    pool = module.engine.pool
    await module.on_shutdown()

    assert told == ["reporter", "serializable"]
    assert (pool.size(), pool._max_overflow, pool.timeout()) == (3, 2, 7)


async def test_an_engine_argument_that_there_is_not_fails_the_start():
    with pytest.raises(TypeError, match="nonsense"):
        await SQLAlchemyModule("sqlite+aiosqlite://", engine_args={"nonsense": 1}).on_startup()


async def test_the_start_does_not_connect():
    module = SQLAlchemyModule("postgresql+asyncpg://nobody@127.0.0.1:1/none")

    await module.on_startup()

    assert module.engine.pool.checkedin() == module.engine.pool.checkedout() == 0
    await module.on_shutdown()


async def test_an_application_has_several_databases_each_with_its_name(postgres_url, tmp_path):
    app = Flama(
        modules=[
            SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db"),
            SQLAlchemyModule(postgres_url, name="reports"),
        ]
    )

    async with Client(app=app):
        for number, module in ((1, app.sqlalchemy), (2, app.reports)):
            async with module.engine.begin() as connection:
                await connection.run_sync(number_table.metadata.drop_all)
                await connection.run_sync(number_table.metadata.create_all)
                await add(connection, number)
        async with Numbers(app) as main, Numbers(app, module="reports") as reports:
            await main.numbers.create({"id": 3})
            found = [[row["id"] async for row in worker.numbers.list(order_by="id")] for worker in (main, reports)]
        dialects = [module.engine.dialect.name for module in (app.sqlalchemy, app.reports)]
        async with app.reports.engine.begin() as connection:
            await connection.run_sync(number_table.metadata.drop_all)

    assert found == [[1, 3], [2]]
    assert dialects == ["sqlite", "postgresql"]
    for module in (app.sqlalchemy, app.reports):
        with pytest.raises(exceptions.ApplicationError, match="not initialized"):
            _ = module.engine


async def test_a_handler_has_workers_of_two_databases(postgres_url, tmp_path):
    class Reports(SQLAlchemyWorker):
        numbers: NumberRepository

    app = Flama(
        modules=[
            SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db"),
            SQLAlchemyModule(postgres_url, name="reports"),
        ],
        components=[WorkerComponent(worker=Numbers()), WorkerComponent(worker=Reports(module="reports"))],
    )

    @app.post("/{id}/")
    async def report(main: Numbers, reports: Reports, id: int):
        async with main, reports:
            await main.numbers.create({"id": id})
            await reports.numbers.create({"id": id + 1})
        return {}

    async with Client(app=app) as client:
        for module in (app.sqlalchemy, app.reports):
            async with module.engine.begin() as connection:
                await connection.run_sync(number_table.metadata.drop_all)
                await connection.run_sync(number_table.metadata.create_all)
        response = await client.post("/7/")
        found = [await numbers(module) for module in (app.sqlalchemy, app.reports)]
        async with app.reports.engine.begin() as connection:
            await connection.run_sync(number_table.metadata.drop_all)

    assert response.status_code == 200
    assert found == [[7], [8]]


async def test_a_database_that_is_down_is_no_matter_to_another(tmp_path):
    app = Flama(
        modules=[
            SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db"),
            SQLAlchemyModule("postgresql+asyncpg://nobody@127.0.0.1:1/none", name="reports"),
        ]
    )

    async with Client(app=app):
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(number_table.metadata.drop_all)
            await connection.run_sync(number_table.metadata.create_all)
        with pytest.raises(exceptions.UnavailableError):
            async with Numbers(app, module="reports"):
                pass
        async with Numbers(app) as main:
            await main.numbers.create({"id": 1})
        found = await numbers(app.sqlalchemy)

    assert found == [1]


async def test_a_worker_of_a_database_that_there_is_not_is_told_which_there_are(tmp_path):
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://", name="main")])

    with pytest.raises(AttributeError, match="'reports': its modules are main"):
        async with Numbers(app, module="reports"):
            pass


def test_two_databases_of_one_name_are_refused_by_that(anyio_backend):
    for name in ("sqlalchemy", "reports"):
        modules = [SQLAlchemyModule("sqlite+aiosqlite://", name=name) for _ in range(2)]
        with pytest.raises(exceptions.ApplicationError, match=name):
            Flama(modules=modules)


@pytest.mark.parametrize("name", ["", "my reports", "1st", "a-b"])
def test_a_name_that_no_attribute_can_have_is_refused(anyio_backend, name):
    with pytest.raises(exceptions.ApplicationError, match="can't be named"):
        SQLAlchemyModule("sqlite+aiosqlite://", name=name)


@pytest.mark.parametrize("seconds", [0, -1.5])
def test_connections_are_held_for_some_time_before_they_are_told_of(anyio_backend, seconds):
    with pytest.raises(exceptions.ApplicationError, match=f"above 0, not {seconds}"):
        SQLAlchemyModule("sqlite+aiosqlite://", leak_after=seconds)


def test_a_name_that_every_application_has_is_refused(anyio_backend):
    with pytest.raises(exceptions.ApplicationError, match="router"):
        Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://", name="router")])


async def test_a_unit_that_ends_during_the_shutdown_ends_well(tmp_path):
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db")
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(number_table.metadata.drop_all)
        await connection.run_sync(number_table.metadata.create_all)
    worker = Numbers(types.SimpleNamespace(sqlalchemy=module))
    entered = asyncio.Event()

    async def unit():
        async with worker:
            await worker.numbers.create({"id": 1})
            entered.set()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(unit())
    await entered.wait()
    await module.on_shutdown()
    await task

    await module.on_startup()
    assert await numbers(module) == [1]
    await module.on_shutdown()
