"""Pages of what plain handlers give, whatever that is, never reading more than the page."""

import typing as t

import pydantic
import pytest
import sqlalchemy as sa

from flama import Flama, exceptions, types
from flama.client import Client
from flama.ddd import F, MemoryWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.pagination import paginator
from flama.resources import Resource, ResourceRoute
from flama.rest import link_header, paging
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
numbers = sa.Table(
    "number",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("half", sa.Integer),
)
ROWS = [{"id": n, "half": n // 2 if n % 5 else None} for n in range(1, 26)]
RANGE = range(25)


class Number(pydantic.BaseModel):
    id: int
    half: int | None


class Numbers(SQLAlchemyTableRepository):
    _table = numbers


class SQLWorker(SQLAlchemyWorker):
    number: Numbers


Many = t.Annotated[types.SchemaList, types.SchemaMetadata(Number)]


async def every(client, path, style, size=4):
    """What a client finds that goes through all pages."""
    walk, found = paging.PageIterator(style, size, resource=path), []
    while not walk.is_done:
        response = await client.get(path, params=walk.next_parameters())
        assert response.status_code == 200, response.text
        found += walk.accept(paging.Envelope(**response.json()))
    return found


class Source:
    """Numbers, which notes how many of them were taken, and whether it was closed."""

    def __init__(self, length):
        self.length, self.checkout_nowait, self.closed = length, 0, False

    async def __aiter__(self):
        try:
            for number in range(self.length):
                self.checkout_nowait += 1
                yield {"id": number}
        finally:
            self.closed = True


def app_of(handler, style, **options):
    app = Flama(**options)
    app.add_get("/", handler, pagination=style)
    return app


async def whole():
    return [{"id": number} for number in range(25)]


def blocking():
    return [{"id": number} for number in range(25)]


async def stream():
    return Source(25)


async def generator():
    for number in range(25):
        yield {"id": number}


def blocking_generator():
    yield from ({"id": number} for number in range(25))


@pytest.mark.parametrize("style", paging.STYLES)
@pytest.mark.parametrize("handler", [whole, blocking, stream, generator, blocking_generator])
async def test_the_pages_of_whatever_a_handler_gives_have_each_record_once(handler, style):
    async with Client(app=app_of(handler, style)) as client:
        assert await every(client, "/", style) == await whole()


@pytest.mark.parametrize(
    ("style", "query", "meta", "ids"),
    [
        ("page_number", {}, {"page": 1, "page_size": 10, "count": None, "next": 2}, range(10)),
        (
            "page_number",
            {"page": 3, "count": True},
            {"page": 3, "page_size": 10, "count": 25, "next": None},
            range(20, 25),
        ),
        (
            "page_number",
            {"page_number": 2, "page_size": 5},
            {"page": 2, "page_size": 5, "count": None, "next": 3},
            range(5, 10),
        ),
        ("page_number", {"page": 99}, {"page": 99, "page_size": 10, "count": None, "next": None}, ()),
        ("limit_offset", {"limit": 3, "offset": 4}, {"limit": 3, "offset": 4, "count": None, "next": 7}, range(4, 7)),
    ],
)
async def test_a_page_comes_in_the_references_envelope(style, query, meta, ids):
    async with Client(app=app_of(whole, style)) as client:
        response = await client.get("/", params=query)

    assert response.json() == {"meta": meta, "data": [{"id": id} for id in ids]}


async def test_a_page_links_to_those_beside_it():
    async with Client(app=app_of(whole, "page_number")) as client:
        response = await client.get("/", params={"page": 2, "page_size": 5, "q": "a&b"})
        found = link_header.decode(response.headers["link"])
        following = await client.get(found["next"])

    assert found == {"next": "?q=a%26b&page=3&page_size=5", "prev": "?q=a%26b&page=1&page_size=5"}
    assert following.json()["meta"]["page"] == 3


@pytest.mark.parametrize(
    ("style", "query"),
    [
        ("page_number", {"page": 0}),
        ("page_number", {"page_size": -1}),
        ("page_number", {"page": "x"}),
        ("limit_offset", {"limit": "1e3"}),
        ("limit_offset", {"offset": -1}),
        ("limit_offset", {"count": "perhaps"}),
        ("cursor", {"cursor": "rubbish"}),
        ("cursor", {"cursor": "\x00é"}),
        ("cursor", {"cursor": "a" * 5000}),
    ],
)
async def test_what_is_no_page_is_refused(style, query):
    async with Client(app=app_of(whole, style)) as client:
        response = await client.get("/", params=query)

    assert response.status_code == 400
    assert next(iter(query)) in response.json()["detail"]["query"]["msg"]


async def test_a_page_is_of_no_more_than_a_thousand():
    async with Client(app=app_of(whole, "page_number")) as client:
        response = await client.get("/", params={"page_size": 5000})

    assert response.json()["meta"]["page_size"] == 1000


@pytest.mark.parametrize("style", paging.STYLES)
async def test_no_more_is_taken_than_the_page_and_one(style):
    source = Source(1_000_000)

    async def handler():
        return source

    async with Client(app=app_of(handler, style)) as client:
        await client.get("/")

    assert source.checkout_nowait == 11
    assert source.closed


async def test_all_is_taken_to_be_counted():
    source = Source(25)

    async def handler():
        return source

    async with Client(app=app_of(handler, "limit_offset")) as client:
        response = await client.get("/", params={"count": True, "limit": 2})

    assert response.json()["meta"]["count"] == source.checkout_nowait == 25
    assert len(response.json()["data"]) == 2


async def test_records_are_as_their_schema_has_them():
    async def handler() -> Many:
        return [{"id": "1", "half": None, "secret": "x"}]

    async with Client(app=app_of(handler, "page_number")) as client:
        response = await client.get("/")

    assert response.json()["data"] == [{"id": 1, "half": None}]


async def test_a_handler_keeps_its_own_parameters():
    async def handler(low: int, *, high: int = 25, **kwargs):
        return [{"id": id} for id in range(low, high)]

    async with Client(app=app_of(handler, "page_number")) as client:
        assert (await client.get("/", params={"low": 20})).json()["data"] == [{"id": id} for id in range(20, 25)]
        assert (await client.get("/")).status_code == 400


async def test_a_handler_may_say_itself_that_it_is_paginated():
    app = Flama()

    @app.get("/own/")
    @app.paginator.paginated("limit_offset")
    async def own() -> list[Number]:
        return [Number(id=number, half=None) for number in range(25)]

    @app.resources.resource("/method/")
    class Method(Resource):
        @ResourceRoute.method("/")
        @paginator.paginated("page_number")
        def listed(self):
            return [{"id": number} for number in range(25)]

    app.add_get("/other/", own, pagination="cursor")
    async with Client(app=app) as client:
        metas = [(await client.get(path)).json()["meta"] for path in ("/own/", "/method/", "/other/")]
        described = app.openapi["paths"]["/own/"]["get"]["parameters"]

    assert [sorted(meta) for meta in metas] == [
        ["count", "limit", "next", "offset"],
        ["count", "next", "page", "page_size"],
        ["count", "limit", "next", "previous"],
    ]
    assert [parameter["name"] for parameter in described] == ["limit", "offset", "count"]
    assert len(await own()) == 25  # it is the function that it was


async def test_an_unknown_pagination_fails_at_start_up():
    with pytest.raises(exceptions.ApplicationError, match="'whole' has pagination 'token': it is one of page_number"):
        async with Client(app=app_of(whole, "token")):
            pass


async def test_a_response_of_the_handlers_own_is_answered_as_it_is():
    async def handler():
        raise exceptions.NotFoundError(resource="number")

    async with Client(app=app_of(handler, "page_number")) as client:
        assert (await client.get("/")).status_code == 404


@pytest.fixture(params=["sqlite", "postgres", "mariadb", "memory"])
def url(request):
    if request.param in ("sqlite", "memory"):
        return {"sqlite": "sqlite+aiosqlite:///", "memory": None}[request.param]
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
async def served(url):
    """An application whose handlers yield what a repository lists."""
    if url is None:
        worker = MemoryWorker.of(SQLWorker)()
        app = Flama(components=[WorkerComponent(worker)])
        async with worker:
            await worker.number.create(*ROWS)
    else:
        app = Flama(modules=[SQLAlchemyModule(url)], components=[WorkerComponent(SQLWorker())])
    for style in paging.STYLES:

        @app.get(f"/{style}/", pagination=style)
        async def listed(worker: SQLWorker) -> t.AsyncIterator[Number]:
            async with worker:
                yield worker.number.list(order_by=["-half"])

        @app.get(f"/some/{style}/", pagination=style)
        async def some(worker: SQLWorker) -> Many:
            async with worker:
                yield worker.number.list(F.id >= 3, offset=2, limit=15)

    async with Client(app=app) as client:
        if url is not None:
            async with app.sqlalchemy.engine.begin() as connection:
                await connection.run_sync(metadata.drop_all)
                await connection.run_sync(metadata.create_all)
                await connection.execute(numbers.insert(), ROWS)
        yield client
        if url is not None:
            async with app.sqlalchemy.engine.begin() as connection:
                await connection.run_sync(metadata.drop_all)


@pytest.mark.parametrize("style", paging.STYLES)
async def test_what_a_repository_lists_is_cut_in_pages(served, style):
    expected = sorted((row for row in ROWS if row["half"] is not None), key=lambda row: (-row["half"], row["id"]))
    expected += [row for row in ROWS if row["half"] is None]

    assert [each["id"] for each in await every(served, f"/{style}/", style, 3)] == [row["id"] for row in expected]


@pytest.mark.parametrize("style", paging.STYLES)
async def test_a_list_with_a_limit_of_its_own_has_no_more_pages(served, style):
    found = await every(served, f"/some/{style}/", style)
    response = await served.get(f"/some/{style}/", params={"count": True})

    assert [each["id"] for each in found] == list(range(5, 20))
    assert response.json()["meta"]["count"] == 15


async def test_cursors_lead_back_as_well(served):
    first = (await served.get("/cursor/", params={"limit": 7})).json()
    second = (await served.get("/cursor/", params={"limit": 7, "cursor": first["meta"]["next"]})).json()
    back = (await served.get("/cursor/", params={"limit": 7, "cursor": second["meta"]["previous"]})).json()

    assert first["meta"]["previous"] is None
    assert back["data"] == first["data"]
    assert back["meta"]["previous"] is None
    assert back["meta"]["next"] == first["meta"]["next"]


async def test_a_cursor_of_another_list_is_refused(served):
    first = (await served.get("/cursor/")).json()

    for path, query in [("/some/cursor/", {}), ("/cursor/", {"q": "other"})]:
        response = await served.get(path, params={"cursor": first["meta"]["next"], **query})
        assert response.status_code == 400


@pytest.mark.parametrize("style", paging.STYLES)
async def test_a_page_of_a_table_is_one_statement_with_a_limit(style):
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite:///")], components=[WorkerComponent(SQLWorker())])
    statements = []

    @app.get("/", pagination=style)
    async def listed(worker: SQLWorker) -> Many:
        async with worker:
            yield worker.number.list()

    async with Client(app=app) as client:
        engine = app.sqlalchemy.engine
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(numbers.insert(), ROWS)
        sa.event.listen(engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        await client.get("/")

    assert len(statements) == 1
    assert "LIMIT" in statements[0]


async def test_a_list_that_outlives_its_unit_says_what_to_do(caplog):
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite:///")], components=[WorkerComponent(SQLWorker())])

    @app.get("/", pagination="page_number")
    async def listed(worker: SQLWorker):
        async with worker:
            return worker.number.list()

    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.status_code == 500
    assert "let the handler 'listed' yield the list inside of it" in caplog.text


async def test_a_unit_is_rolled_back_when_its_page_fails_and_committed_when_not():
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite:///")], components=[WorkerComponent(SQLWorker())])

    @app.get("/", pagination="page_number")
    async def listed(worker: SQLWorker, order: str = "id") -> Many:
        async with worker:
            await worker.number.create({})
            yield worker.number.list(order_by=order)

    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        good = await client.get("/")
        bad = await client.get("/", params={"order": "nope"})
        after = await client.get("/")

    assert (len(good.json()["data"]), bad.status_code, len(after.json()["data"])) == (1, 422, 2)


async def test_a_handler_that_yields_more_than_a_list_is_a_mistake(caplog):
    async def handler():
        yield []
        yield []

    async with Client(app=app_of(handler, "page_number")) as client:
        response = await client.get("/")

    assert response.status_code == 500
    assert "yields nothing else" in caplog.text


@pytest.mark.parametrize(
    ("style", "title", "names"),
    [
        ("page_number", "PageNumberPaginatedNumber", ["page", "page_size", "count"]),
        ("limit_offset", "LimitOffsetPaginatedNumber", ["limit", "offset", "count"]),
        ("cursor", "CursorPaginatedNumber", ["cursor", "limit", "count"]),
    ],
)
@pytest.mark.parametrize("annotation", [Many, list[Number], t.AsyncIterator[Number]])
def test_the_document_describes_the_page(style, title, names, annotation):
    async def handler(): ...

    handler.__annotations__["return"] = annotation
    document = app_of(handler, style).openapi
    described = document["paths"]["/"]["get"]

    assert [parameter["name"] for parameter in described["parameters"]] == names
    schema = described["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": f"#/components/schemas/{title}"}
    envelope = document["components"]["schemas"][title]
    assert envelope["properties"]["data"]["items"] == {"$ref": "#/components/schemas/Number"}
    assert "400" in described["responses"]
