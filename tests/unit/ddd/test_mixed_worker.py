"""One unit on several backends: sessions, the order of their ends, and what is written remotely."""

import contextlib
import types as python_types
import typing as t

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions, http, types
from flama.client import ASGITransport, Client
from flama.ddd import BaseRepository, Database, Remote, Worker
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.repositories.memory import MemoryRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.memory import MemoryModule
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
order_table = sa.Table(
    "order",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("item", sa.String(20), unique=True),
)
line_table = sa.Table(
    "line",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("order", sa.ForeignKey("order.id", deferrable=True, initially="DEFERRED")),
)


class Orders(SQLAlchemyTableRepository):
    _table = order_table


class Lines(SQLAlchemyTableRepository):
    _table = line_table


class Stock(HTTPResourceRepository):
    _resource = "/stock"


class Clock(BaseRepository):
    def now(self):
        return "noon"


class Service:
    """A remote service, and what it was told."""

    def __init__(self):
        self.told = []
        self.app = Flama()
        self.app.add_post("/stock/", self.create)
        self.app.add_get("/stock/{id:str}/", self.retrieve)

    async def create(self, data: types.RequestData):
        if data["item"] == "brick":
            raise exceptions.IntegrityError(resource="stock")
        self.told.append(data["item"])
        return dict(data)

    async def retrieve(self, id: str):
        return {"item": id}


@pytest.fixture
async def service():
    service = Service()
    async with Client(app=service.app):  # it is running
        yield service


@pytest.fixture
async def app(tmp_path):
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/orders.db")
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield python_types.SimpleNamespace(sqlalchemy=module)
    assert module.engine.pool.checkedout() == 0
    await module.on_shutdown()


def remote(service, **options):
    return Remote("http://stock.example", client=(("transport", ASGITransport(service.app)),), **options)


class Shop(Worker):
    orders: Orders
    stock: t.Annotated[Stock, Remote("http://nowhere.example")]
    clock: Clock


class SQLAlchemyUnit(SQLAlchemyWorker):
    orders: Orders


async def items(app, module="sqlalchemy"):
    async with SQLAlchemyUnit(app, module=module) as reading:
        return [order["item"] async for order in reading.orders.list(order_by="id")]


async def test_the_arguments_of_a_services_client_may_be_dictionaries(app):
    service = Flama()

    @service.get("/stock/{id:str}/")
    async def retrieve(id: str, request: http.Request) -> dict[str, str]:
        return {"item": request.headers["authorization"]}

    headers = {"authorization": "Bearer s3cret"}
    place = Remote("http://stock.example", client=(("transport", ASGITransport(service)), ("headers", headers)))

    async with Client(app=service), Shop(app, stock=place) as shop:
        assert await shop.stock.retrieve("a") == {"item": "Bearer s3cret"}


async def test_each_repository_has_the_session_that_it_needs(app, service):
    async with Shop(app, stock=remote(service)) as shop:
        await shop.orders.create({"item": "pipe"})
        await shop.stock.create({"item": "pipe"})
        assert shop.clock.now() == "noon"
        assert await shop.stock.retrieve("tile") == {"item": "tile"}

    assert await items(app) == ["pipe"]
    assert service.told == ["pipe"]


async def test_what_was_written_remotely_is_not_undone(app, service):
    with pytest.raises(ZeroDivisionError):
        async with Shop(app, stock=remote(service)) as shop:
            await shop.orders.create({"item": "pipe"})
            await shop.stock.create({"item": "pipe"})
            raise ZeroDivisionError

    assert await items(app) == []
    assert service.told == ["pipe"]


async def test_what_waits_for_the_commit_is_written_after_it_and_in_order(app, service):
    async with Shop(app, stock=remote(service, writes="after_commit")) as shop:
        assert await shop.stock.create({"item": "pipe"}) is None
        await shop.orders.create({"item": "pipe"})
        await shop.stock.create({"item": "tile"})
        assert service.told == []

    assert await items(app) == ["pipe"]
    assert service.told == ["pipe", "tile"]


@pytest.mark.parametrize("fail", ["block", "commit"])
async def test_what_waits_for_the_commit_is_forgotten_without_one(app, service, fail, monkeypatch):
    with pytest.raises((ZeroDivisionError, exceptions.UnavailableError)):
        async with Shop(app, stock=remote(service, writes="after_commit")) as shop:
            await shop.stock.create({"item": "pipe"})
            await shop.orders.create({"item": "pipe"})
            if fail == "block":
                raise ZeroDivisionError
            await shop.orders._connection.invalidate()

    assert await items(app) == []
    assert service.told == []


async def test_a_savepoint_that_is_undone_forgets_what_waits_in_it(app, service):
    async with Shop(app, stock=remote(service, writes="after_commit")) as shop:
        await shop.stock.create({"item": "pipe"})
        async with shop.savepoint():
            await shop.orders.create({"item": "tile"})
            await shop.stock.create({"item": "tile"})
        with pytest.raises(ZeroDivisionError):
            async with shop.savepoint():
                await shop.orders.create({"item": "brick"})
                await shop.stock.create({"item": "brick"})
                raise ZeroDivisionError

    assert await items(app) == ["tile"]
    assert service.told == ["pipe", "tile"]


async def test_a_commit_within_the_unit_sends_what_waits(app, service):
    async with Shop(app, stock=remote(service, writes="after_commit")) as shop:
        await shop.orders.create({"item": "pipe"})
        await shop.stock.create({"item": "pipe"})
        await shop.commit()
        assert service.told == ["pipe"]
        assert await items(app) == ["pipe"]
        await shop.stock.create({"item": "tile"})
        await shop.rollback()

    assert service.told == ["pipe"]


async def test_a_remote_write_that_fails_after_the_commit_is_told_and_undoes_nothing(app, service):
    done = []
    with pytest.raises(ExceptionGroup, match="1 more were not sent") as caught:
        async with Shop(app, stock=remote(service, writes="after_commit")) as shop:
            shop.after_commit(lambda: done.append("committed"))
            shop.after_rollback(lambda: done.append("rolled back"))
            await shop.orders.create({"item": "pipe"})
            await shop.stock.create({"item": "pipe"})
            await shop.stock.create({"item": "brick"})
            await shop.stock.create({"item": "tile"})

    assert [type(error) for error in caught.value.exceptions] == [exceptions.IntegrityError]
    assert await items(app) == ["pipe"]
    assert service.told == ["pipe"]
    assert done == ["committed"]


async def test_a_remote_write_that_fails_after_a_commit_within_the_unit_undoes_nothing_and_the_unit_goes_on(
    app, service
):
    told = []

    async with Shop(app, stock=remote(service, writes="after_commit")) as shop:
        shop.after_commit(lambda: told.append("committed"))
        await shop.orders.create({"item": "brick"})
        await shop.stock.create({"item": "brick"})
        with pytest.raises(ExceptionGroup, match="failed after the commit"):
            await shop.commit()
        assert told == ["committed"]
        await shop.orders.create({"item": "pipe"})
        await shop.stock.create({"item": "pipe"})

    assert await items(app) == ["brick", "pipe"]
    assert service.told == ["pipe"]


async def test_a_remote_write_that_fails_after_a_commit_within_the_unit_may_end_it(app, service):
    told = []

    with pytest.raises(ExceptionGroup, match="failed after the commit"):
        async with Shop(app, stock=remote(service, writes="after_commit")) as shop:
            shop.after_commit(lambda: told.append("committed"))
            shop.after_rollback(lambda: told.append("rolled back"))
            await shop.orders.create({"item": "brick"})
            await shop.stock.create({"item": "brick"})
            await shop.commit()

    assert told == ["committed"]
    assert await items(app) == ["brick"]


async def test_without_a_service_a_remote_repository_is_refused_by_name(app):
    class Homeless(Worker):
        stock: Stock

    with pytest.raises(exceptions.ApplicationError, match="where the service of stock is"):
        async with Homeless(app):
            pass
    with pytest.raises(exceptions.ApplicationError, match="no repository stok"):
        Homeless(app, stok="http://stock.example")
    assert (await items(app)) == []


async def test_a_service_may_be_said_by_a_function_that_is_asked_for_each_unit(app, service):
    asked = []

    def url():
        asked.append(1)
        return "http://stock.example"

    for _ in range(2):
        async with Shop(app, stock=Remote(url, client=(("transport", ASGITransport(service.app)),))) as shop:
            await shop.stock.retrieve("1")

    assert len(asked) == 2


async def test_units_of_many_tasks_have_sessions_of_their_own(app, service):
    shop = Shop(app, stock=remote(service))
    async with shop, shop.bound(app) as other:
        assert shop.orders != other.orders
        assert shop.stock._client is not other.stock._client


@pytest.fixture
async def archive(app, tmp_path):
    """Give the application another database, with orders of its own."""
    app.archive = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/archive.db", name="archive")
    await app.archive.on_startup()
    async with app.archive.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield app.archive
    assert app.archive.engine.pool.checkedout() == 0
    await app.archive.on_shutdown()


class Office(Worker):
    orders: Orders
    kept: t.Annotated[Orders, Database("archive")]
    stock: t.Annotated[Stock, Remote("http://nowhere.example")]


async def test_repositories_of_two_databases_and_a_service_are_in_one_unit(app, archive, service):
    async with Office(app, stock=remote(service)) as office:
        await office.orders.create({"item": "pipe"})
        await office.kept.create({"item": "tile"})
        await office.stock.create({"item": "pipe"})

    assert await items(app) == ["pipe"]
    assert await items(app, "archive") == ["tile"]
    assert service.told == ["pipe"]


async def test_a_unit_that_fails_is_undone_in_each_of_its_databases(app, archive, service):
    with pytest.raises(ZeroDivisionError):
        async with Office(app, stock=remote(service)) as office:
            await office.orders.create({"item": "pipe"})
            await office.kept.create({"item": "tile"})
            raise ZeroDivisionError

    assert await items(app) == []
    assert await items(app, "archive") == []


async def test_a_savepoint_is_one_in_each_database(app, archive, service):
    async with Office(app, stock=remote(service)) as office:
        await office.orders.create({"item": "pipe"})
        with pytest.raises(ZeroDivisionError):
            async with office.savepoint():
                await office.orders.create({"item": "brick"})
                await office.kept.create({"item": "tile"})
                raise ZeroDivisionError
        await office.kept.create({"item": "slate"})

    assert await items(app) == ["pipe"]
    assert await items(app, "archive") == ["slate"]


async def test_the_worker_may_be_told_which_database_a_repository_is_about(app, archive):
    class Plain(Worker):
        orders: Orders

    async with Plain(app, orders=Database("archive")) as plain:
        await plain.orders.create({"item": "tile"})

    assert await items(app) == []
    assert await items(app, "archive") == ["tile"]


async def test_what_one_database_has_committed_is_not_undone_when_the_next_one_refuses(app, archive):
    class Ledger(Worker):
        lines: Lines
        kept: t.Annotated[Orders, Database("archive")]

    with pytest.raises(exceptions.IntegrityError):
        async with Ledger(app) as ledger:
            await ledger.lines.create({"order": 404})  # of no order, as the database sees when it is told to commit
            await ledger.kept.create({"item": "tile"})

    assert await items(app, "archive") == ["tile"]
    async with app.sqlalchemy.engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(line_table)) == 0


async def test_a_remote_repository_is_in_no_database(app, archive):
    with pytest.raises(exceptions.ApplicationError, match="where the service of stock is"):
        async with Office(app, stock=Database("archive")):
            pass


class Baskets(MemoryRepository):
    _table = sa.Table("basket", sa.MetaData(), sa.Column("item", sa.String, primary_key=True))


class Market(Worker):
    orders: Orders
    stock: t.Annotated[Stock, Remote("http://nowhere.example")]
    baskets: Baskets


@pytest.mark.parametrize("item", ["pipe", "taken"])
async def test_sql_commits_before_what_is_in_memory_is_kept_and_what_waits_is_sent(app, service, item):
    app.memory = MemoryModule()
    async with SQLAlchemyUnit(app) as unit:
        await unit.orders.create({"item": "taken"})
    told = []

    with contextlib.suppress(exceptions.IntegrityError):
        async with Market(app, stock=remote(service, writes="after_commit")) as market:
            market.after_commit(lambda: told.append("committed"))
            await market.stock.create({"item": item})
            await market.baskets.create({"item": item})
            await market.orders.create({"item": item})

    async with Market(app, stock=remote(service)) as market:
        baskets = [basket["item"] async for basket in market.baskets.list()]
    kept = ["pipe"] if item == "pipe" else []
    assert (await items(app), service.told, baskets) == (["taken", *kept], kept, kept)
    assert told == (["committed"] if kept else [])
