"""Repositories on repositories: over HTTP from a resource, whose records another one has over HTTP, down to a table."""

import contextlib
import decimal

import msgspec
import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import ASGITransport, Client
from flama.ddd import F, HTTPWorker, WorkerComponent
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

metadata = sa.MetaData()
tool = sa.Table(
    "tool",
    metadata,
    sa.Column("id", sa.String(20), primary_key=True),
    sa.Column("code", sa.String(8), unique=True),
    sa.Column("stock", sa.Integer, sa.CheckConstraint("stock >= 0", name="stock_is_there"), nullable=False, default=0),
    sa.Column("price", sa.Numeric(8, 2)),
)


class Tool(msgspec.Struct):
    """A tool, as it travels."""

    id: str
    code: str | None = None
    stock: int = 0
    price: decimal.Decimal | None = None


class Table(SQLAlchemyTableRepository):
    """The tools of the table."""

    _table = tool


class Tools(CRUDResource):
    """The tools of the table, served."""

    model = tool
    schema = Tool


RemoteTools = HTTPResourceRepository.of(Tools, "/tools")


class PlainTools(HTTPResourceRepository):
    """Those of a resource, as dictionaries."""

    _resource = "/tools"
    _name = "tool"


class Storey(HTTPWorker):
    """A unit on the storey below."""

    tools: PlainTools


class Gateway(CRUDResource):
    """The tools of the storey below, served."""

    name = "tools"
    repository = PlainTools
    worker = Storey
    schema = Tool


@pytest.fixture
async def backend(tmp_path):
    app = Flama(modules=[SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/tools.db")])
    app.resources.add_resource("/tools/", Tools)
    async with Client(app=app):
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield app
        assert app.sqlalchemy.engine.pool.checkedout() == 0


@pytest.fixture(params=[1, 2, 3], ids="{} hops".format)
async def client(request, backend):
    async with contextlib.AsyncExitStack() as stack:
        app, client = backend, await stack.enter_async_context(Client(app=backend))
        for _ in range(request.param - 1):
            below = Storey("http://below", transport=ASGITransport(app))
            app = Flama(components=[WorkerComponent(below)])
            app.resources.add_resource("/tools/", Gateway)
            client = await stack.enter_async_context(Client(app=app))
        yield client


@pytest.fixture
def tools(client):
    return PlainTools(client)


SAW = {"id": "saw 1/2", "code": "S1", "stock": 3, "price": "9.50"}
AXE = {"id": "axe", "code": "A1", "stock": 5, "price": None}


@pytest.fixture
async def kept(tools):
    await tools.create(SAW, AXE)


async def test_a_record_lives_and_dies(tools):
    assert await tools.create(SAW) == SAW
    assert await tools.retrieve(id="saw 1/2") == await tools.get(code="S1") == SAW
    assert await tools.update({**SAW, "stock": 4}, id="saw 1/2") == {**SAW, "stock": 4}
    assert await tools.partial_update("saw 1/2", {"stock": 5}) == {**SAW, "stock": 5}
    assert await tools.delete("saw 1/2") is None
    assert await tools.get("saw 1/2") is None


async def test_values_are_of_the_type_of_the_resource(client):
    typed = RemoteTools(client)
    saw = Tool("saw 1/2", "S1", 3, decimal.Decimal("9.50"))

    assert await typed.create(saw) == saw
    assert [each async for each in typed.list()] == [saw]


async def test_what_is_there_is_found_and_else_stored(tools, kept):
    found = await tools.get_or_create({"id": "other", "code": "A1", "stock": 9}, on="code")
    stored = await tools.get_or_create({"id": "new", "code": "N1", "stock": 9, "price": "1.00"}, on="code")
    again = await tools.get_or_create({"id": "new"})

    assert found == (AXE, False)
    assert stored == ({"id": "new", "code": "N1", "stock": 9, "price": "1.00"}, True)
    assert again == (stored[0], False)
    assert await tools.count() == 3


async def test_what_is_asked_goes_down_to_the_table(tools, kept):
    more = [{"id": f"t{number:02}", "stock": number} for number in range(25)]
    await tools.create(*more)

    assert await tools.count(F.stock >= 20) == 5
    assert (await tools.first(order_by=["-stock", "id"]))["id"] == "t24"
    assert await tools.exists((F.stock == 3) & F.code.startswith("S"))
    for style in ("page_number", "limit_offset", "cursor"):
        found = tools.list(F.code.isnull(), order_by="-stock", offset=3, limit=15, pagination=style)
        assert [each["id"] async for each in found] == [each["id"] for each in reversed(more)][3:18]


async def test_many_are_written_at_once(tools, kept):
    assert {each["stock"] for each in await tools.update({"stock": 9}, F.stock > 1)} == {9}
    with pytest.raises(exceptions.MultipleRecordsError):
        await tools.drop(F.stock > 1, max_affected=1)
    assert await tools.drop(F.stock > 1) == 2


ERRORS = {
    "not found": lambda tools: tools.retrieve(id="nothing"),
    "not found to be deleted": lambda tools: tools.delete(id="nothing"),
    "none that matches": lambda tools: tools.retrieve(F.stock > 99),
    "none that matches to be deleted": lambda tools: tools.delete(F.stock > 99),
    "unique": lambda tools: tools.create({"id": "other", "code": "S1"}),
    "check": lambda tools: tools.create({"id": "other", "stock": -1}),
    "several": lambda tools: tools.retrieve(F.stock > 0),
    "several to be deleted": lambda tools: tools.delete(F.stock > 0),
    "unknown in data": lambda tools: tools.create({"id": "other", "nmae": 1, "pirce": None}),
    "unknown in some of many": lambda tools: tools.create({"id": "other"}, {"id": "another", "nmae": 1}),
    "unknown in a change": lambda tools: tools.update({"stock": 4, "nmae": 1}, F.stock > 1, max_affected=9),
    "unknown in what may be there": lambda tools: tools.get_or_create({"id": "axe", "nmae": 1}),
    "unknown by what it is there": lambda tools: tools.get_or_create({"id": "axe"}, on="nmae"),
    "lacking what it is there by": lambda tools: tools.get_or_create({"id": "axe"}, on="code"),
    "unique though it isn't there": lambda tools: tools.get_or_create({"id": "axe", "code": "X1"}, on="code"),
    "unknown in an upsert": lambda tools: tools.upsert({"id": "axe", "nmae": 1}),
    "unknown in a filter": lambda tools: tools.count(nmae=1),
    "unknown in a condition": lambda tools: tools.count((F.nmae == 1) | ~(F.stock == 1) & F.pirce.isnull()),
    "unknown in an order": lambda tools: tools.first(order_by="nmae"),
    "invalid in a filter": lambda tools: tools.count(stock="many"),
}


@pytest.mark.parametrize("error", ERRORS)
async def test_an_error_is_the_one_of_the_first_hop(client, backend, tools, kept, error):
    with pytest.raises(exceptions.ResourceException) as below:
        await ERRORS[error](PlainTools(Client(transport=ASGITransport(backend))))
    with pytest.raises(exceptions.ResourceException) as here:
        await ERRORS[error](tools)

    assert type(here.value) is type(below.value)
    assert vars(here.value) == vars(below.value)


@pytest.mark.parametrize("error", ERRORS)
async def test_and_that_of_the_table(backend, tools, kept, error):
    async with backend.sqlalchemy.engine.begin() as connection:
        with pytest.raises(exceptions.ResourceException) as below:
            await ERRORS[error](Table(connection))
    with pytest.raises(exceptions.ResourceException) as here:
        await ERRORS[error](tools)

    assert type(here.value) is type(below.value)
    assert {**vars(here.value), "detail": ""} == {**vars(below.value), "detail": ""}


async def test_nobody_overwrites_what_somebody_else_has_written(client, tools, kept):
    await tools.retrieve("axe")
    await PlainTools(client).partial_update("axe", {"stock": 1})

    with pytest.raises(exceptions.PreconditionFailedError):
        await tools.partial_update("axe", {"stock": 2})
    assert (await tools.retrieve("axe"))["stock"] == 1


async def test_a_stream_comes_through(tools, kept):
    assert [each["id"] async for each in tools.list(order_by="id", stream=True)] == ["axe", "saw 1/2"]


async def test_the_resource_is_what_its_repository_takes_it_for(client):
    has = await RemoteTools(client).check("create", "list", "retrieve", "update", "partial_update", "delete", "upsert")

    assert "drop_where" in has
