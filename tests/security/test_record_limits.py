"""How many records, names and errors a body may bring, and what is answered beyond that."""

import asyncio
import json

import hypothesis
import msgspec
import pydantic
import pytest
import sqlalchemy as sa
from hypothesis import strategies

from flama import Flama, exceptions, schemas, types
from flama.client import Client
from flama.ddd import HTTPResourceRepository, MemoryRepository, MemoryWorker
from flama.resources import CRUDResource
from flama.rest import errors
from flama.sqlalchemy import SQLAlchemyModule
from tests.support.rest import Service

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}

item = sa.Table("item", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))


class Item(pydantic.BaseModel):
    name: str = ""


class Struct(msgspec.Struct):
    name: str = ""


class Batch(pydantic.BaseModel):
    items: list[Item] = pydantic.Field(default=[], alias="all")
    tags: list[str] = []


def of_models(data: list[Item]) -> int:
    return len(data)


def of_structs(data: list[Struct]) -> int:
    return len(data)


def of_either(data: list[Item] | Item) -> int:
    return len(data)


def of_batch(data: Batch) -> int:
    return len(data.items)


def of_members(data: list[Item], other: Batch) -> int:
    return len(data)


def of_anything(data: types.RequestData) -> int:
    return len(data)


HANDLERS = {
    of_models: lambda records: records,
    of_structs: lambda records: records,
    of_either: lambda records: records,
    of_anything: lambda records: records,
    of_batch: lambda records: {"tags": [], "all": records},
    of_members: lambda records: {"other": {}, "data": records},
}


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
@pytest.mark.parametrize(("most", "sent", "status"), [(3, 3, 200), (3, 4, 413), (None, 20_000, 200)])
async def test_a_handler_takes_as_many_records_as_its_application(handler, most, sent, status):
    app = Flama(max_records=most)
    app.route("/", methods=["POST"])(handler)

    async with Client(app=app) as client:
        response = await client.post("/", json=HANDLERS[handler]([{}] * sent))

    assert response.status_code == status
    if status == 413:
        assert response.json()["detail"] == "The body holds more than 3 records: send them in several requests"


async def test_ten_thousand_are_taken_unless_it_is_said_otherwise():
    app = Flama()
    app.post("/")(of_models)

    async with Client(app=app) as client:
        responses = [await client.post("/", json=[{}] * number) for number in (10_000, 10_001)]

    assert [response.status_code for response in responses] == [200, 413]


async def test_values_that_are_no_records_are_not_counted():
    app = Flama(max_records=3)
    app.post("/")(of_batch)

    async with Client(app=app) as client:
        response = await client.post("/", json={"tags": ["a"] * 100, "all": [{}]})

    assert response.status_code == 200


@pytest.mark.parametrize("most", [0, -1])
def test_a_limit_is_a_number_from_one(most):
    with pytest.raises(exceptions.ApplicationError, match="max_records is"):
        Flama(max_records=most)
    with pytest.raises(exceptions.ResourceAttributeNotFound, match="max_records"):
        type("Items", (CRUDResource,), {"model": item, "max_records": most})


def of_table(tmp_path, most=None, **options):
    class Items(CRUDResource):
        name = "item"
        model = item
        max_records = most

    engine = sa.create_engine(f"sqlite:///{tmp_path / 'items.db'}")
    item.create(engine)
    engine.dispose()
    app = Flama(modules=[SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path / 'items.db'}")], **options)
    app.resources.add_resource("/item/", Items)
    return app


MANY = [("POST", "/item/"), ("PUT", "/item/"), ("PATCH", "/item/"), ("POST", "/item/:upsert/")]


@pytest.mark.parametrize(("method", "path"), MANY)
@pytest.mark.parametrize(("of_app", "of_resource"), [(3, None), (10_000, 3), (1, 3), (None, 3)])
async def test_a_resource_takes_as_many_as_it_says_or_else_its_application(tmp_path, method, path, of_app, of_resource):
    app = of_table(tmp_path, of_resource, max_records=of_app)

    async with Client(app=app) as client:
        taken = await client.request(method, path, json=[{"id": number} for number in range(3)])
        refused = await client.request(method, path, json=[{"id": number} for number in range(4)])
        stored = (await client.get("/item/")).json()["data"]

    assert taken.is_success
    assert refused.status_code == 413
    assert len(stored) == 3


async def endless(sent, step=2**14):
    """Yield a list that has no end, and note how many bytes of it were taken."""
    sent.append(1)
    yield b"["
    while sum(sent) < 2**20:
        chunk = b"{}," * (step // 3)
        sent.append(len(chunk))
        yield chunk


@pytest.mark.parametrize("handler", [of_models, of_structs, of_either, of_anything])
async def test_a_handler_refuses_a_list_while_it_arrives(handler):
    app, sent = Flama(max_records=100), []
    app.post("/")(handler)

    async with Client(app=app) as client:
        response = await client.post("/", content=endless(sent), headers=JSON)

    assert response.status_code == 413
    assert sum(sent) < 2**17


@pytest.mark.parametrize(("method", "path"), [*MANY, ("PUT", "/item/1/"), ("PATCH", "/item/1/")])
async def test_a_resource_refuses_a_list_while_it_arrives(tmp_path, method, path):
    app, sent = of_table(tmp_path, 100), []

    async with Client(app=app) as client:
        response = await client.request(method, path, content=endless(sent), headers=JSON)

    assert response.status_code == 413
    assert sum(sent) < 2**17


@hypothesis.given(
    strategies.lists(strategies.sampled_from(["{}", '{"a": "[,]"}', "[1, 2, [3]]", '"},{"', "null"]), max_size=8),
    strategies.sampled_from(["", " ", "\n"]),
    strategies.integers(1, 6),
)
def test_the_start_of_a_list_is_refused_only_where_the_whole_is(elements, space, most):
    body = f"{space}[{space}{f'{space},{space}'.join(elements)}{space}]{space}".encode()
    limit = schemas.RecordLimit(most)

    refused = [length for length in range(len(body) + 1) if refuses(limit, body[:length])]

    assert bool(refused) == (len(elements) > most)
    assert refused == [*range(refused[0], len(body) + 1)] if refused else True


def refuses(limit, start):
    try:
        limit.check_start(bytearray(start))
    except exceptions.TooManyRecords:
        return True
    return False


async def test_the_document_says_how_many(tmp_path):
    app = of_table(tmp_path, 7, max_records=5)
    app.post("/models/")(of_models)
    app.post("/batch/")(of_batch)

    paths = app.openapi["paths"]

    def schema(path, method="post"):
        return paths[path][method]["requestBody"]["content"]["application/json"]["schema"]

    assert schema("/item/")["oneOf"][1]["maxItems"] == 7
    assert [schema(path, method.lower())["maxItems"] for method, path in MANY[1:]] == [7] * 3
    assert schema("/models/")["maxItems"] == 5
    assert schema("/batch/")["properties"] == {"all": {"maxItems": 5}}


async def test_more_than_a_service_takes_are_not_sent():
    class People(HTTPResourceRepository):
        _resource = "/person"
        _max_records = 2

    class Everybody(People):
        _max_records = None

    service, three = Service([]), [{"id": str(number)} for number in range(3)]
    others = [{"id": f"other {number}"} for number in range(3)]
    async with Client(app=service) as client:
        people = People(client)
        for call in (
            people.create(*three),
            people.upsert(*three),
            people.replace(three),
            people.partial_replace(three),
        ):
            with pytest.raises(exceptions.InvalidDataError, match="3 records are more than the 2 that one request"):
                await call
        assert service.asked == []
        await people.create(*three[:2])
        await Everybody(client).create(*others)

    assert len(service.asked) == 2


def test_a_repository_of_a_resource_knows_how_many_that_takes():
    limited = type("Items", (CRUDResource,), {"model": item, "max_records": 7})
    other = type("Others", (CRUDResource,), {"model": item})

    assert HTTPResourceRepository.of(limited)._max_records == 7
    assert HTTPResourceRepository.of(other)._max_records == 10_000


# Names


FIELDS = {f"{number}{'x' * 60}": 1 for number in range(1_500)}
NAMED = {
    "few": ("POST", "/item/", dict.fromkeys(list(FIELDS)[:22], 1), "and 2 more"),
    "many": ("POST", "/item/", FIELDS, "and more than 980 more"),
    "of part": ("POST", "/item/:update/", FIELDS, "and more than 980 more"),
    "of several": ("POST", "/item/:upsert/", [{name: 1} for name in FIELDS], "and more than 980 more"),
}


@pytest.mark.parametrize("sent", NAMED)
async def test_unknown_fields_are_named_up_to_a_bound(tmp_path, sent):
    method, path, body, more = NAMED[sent]

    async with Client(app=of_table(tmp_path)) as client:
        response = await client.request(method, path, json=body)

    told = response.json()
    assert response.status_code == 422
    assert len(response.content) < 4_000
    assert [name.removesuffix("…") for name in told["names"]] == [name[:40] for name in list(FIELDS)[:20]]
    assert told["detail"].count(more) == 1


async def test_all_columns_of_a_wide_table_are_counted_and_few_named():
    wide = sa.Table("wide", sa.MetaData(), *(sa.Column(f"c{number}", sa.Integer) for number in range(50)))
    repository = type("Wide", (MemoryRepository,), {"_table": wide})
    worker = type("Worker", (MemoryWorker,), {"__annotations__": {"wide": repository}})

    with pytest.raises(exceptions.UnknownColumnError) as caught:
        async with worker() as unit:
            await unit.wide.create({"d": 1})

    assert caught.value.columns == tuple(f"c{number}" for number in range(20))
    assert str(caught.value).endswith("c19 and 30 more)")


class Forbidding(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    pass


@pytest.mark.parametrize("model", [Forbidding, Closed])
@pytest.mark.parametrize("names", [["x" * 1_000_000], [f"{number}" for number in range(20_000)]], ids=["long", "many"])
async def test_a_handlers_unknown_fields_are_not_repeated_either(model, names):
    app = Flama()

    @app.post("/")
    def handler(data: model): ...

    async with Client(app=app) as client:
        response = await client.post("/", json=dict.fromkeys(names, 1))

    assert response.status_code == 400
    assert len(response.content) < 4_000


def test_what_a_service_says_of_an_error_is_cut():
    huge = "x" * 3_000_000
    body = {"error": "UnknownColumnError", "resource": huge, "id": huge, "reason": huge, "names": [huge, *"x" * 10_000]}

    error = errors.decode(422, json.dumps({**body, "columns": [huge]}).encode(), {}, resource="item", write=True)

    assert isinstance(error, exceptions.UnknownColumnError)
    assert len(json.dumps(errors.encode(error))) < 50_000


# Large bodies


@pytest.mark.parametrize("annotation", [list[Item], list[Struct]], ids=["pydantic", "msgspec"])
async def test_others_are_served_while_a_large_list_is_read(annotation):
    app = Flama()
    body = json.dumps([{"name": "x" * 1_000}] * 4_000).encode()
    turns, is_read = 0, asyncio.Event()

    @app.post("/")
    def handler(data: annotation) -> int:
        is_read.set()
        return len(data)

    async def count():
        nonlocal turns
        while not is_read.is_set():
            turns += 1
            await asyncio.sleep(0)

    async with Client(app=app) as client:
        response, _ = await asyncio.gather(client.post("/", content=body, headers=JSON), count())

    assert response.json() == 4_000
    assert turns > len(body) / 2**16


async def test_large_bodies_are_read_one_after_the_other(monkeypatch):
    app, now, most = Flama(), 0, 0
    decode = schemas.decode_large

    async def watched(adapter, body):
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            return await decode(adapter, body)
        finally:
            now -= 1

    monkeypatch.setattr(schemas, "decode_large", watched)
    app.post("/")(of_models)
    body = json.dumps([{"name": "x" * 1_000}] * 500).encode()

    async with Client(app=app) as client:
        responses = await asyncio.gather(*(client.post("/", content=body, headers=JSON) for _ in range(5)))

    assert [response.json() for response in responses] == [500] * 5
    assert most == 1


async def test_a_reader_that_goes_away_leaves_its_turn_to_the_next():
    app = Flama()
    app.post("/")(of_models)
    body = json.dumps([{"name": "x" * 1_000}] * 500).encode()

    async with Client(app=app) as client:
        tasks = [asyncio.ensure_future(client.post("/", content=body, headers=JSON)) for _ in range(3)]
        await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        response = await asyncio.wait_for(client.post("/", content=body, headers=JSON), 5)

    assert response.json() == 500


async def test_more_errors_than_are_listed_are_not_made():
    app = Flama()
    app.post("/")(of_models)
    wrong, right = {"name": 1}, {"name": "x" * 1_000}

    async with Client(app=app) as client:
        few = await client.post("/", json=[right] * 500 + [wrong] * 100)
        many = await client.post("/", json=[right] * 500 + [wrong] * 101)

    assert next(iter(few.json()["detail"])) == "599.name"
    assert len(few.json()["detail"]) == 100
    assert [error["msg"] for error in many.json()["detail"].values()] == ["There are more than 100 errors"]
