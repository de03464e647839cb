"""Moments and numbers over HTTP: what is taken is answered, without a digit or an offset less, or refused by name."""

import contextlib
import datetime
import decimal
import json
import math
import re
import types
import typing as t

import msgspec
import pydantic
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from flama import Flama
from flama.client import Client
from flama.ddd import HTTPResourceRepository, MemoryWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.rest import moments
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

metadata = sa.MetaData()
thing = sa.Table(
    "thing",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("zoned", sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql")),
    sa.Column("naive", sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")),
    sa.Column("zoned_clock", sa.Time(timezone=True).with_variant(mysql.TIME(fsp=6), "mysql")),
    sa.Column("clock", sa.Time().with_variant(mysql.TIME(fsp=6), "mysql")),
    sa.Column("size", sa.Double),
    sa.Column("ratio", sa.Numeric(20, 4, asdecimal=False)),
    sa.Column("amount", sa.Numeric(30, 10)),
    sa.Column("notes", sa.JSON),
)


class Things(SQLAlchemyTableRepository):
    _table = thing


class ThingWorker(SQLAlchemyWorker):
    thing: Things


class Thing(CRUDResource):
    repository = Things


class Body(pydantic.BaseModel):
    id: int
    zoned: datetime.datetime | None = None
    zoned_clock: datetime.time | None = None
    size: float | None = None
    amount: decimal.Decimal | None = None
    notes: t.Any = None


class Typed(CRUDResource):
    repository = Things
    schema = Body


class StructBody(msgspec.Struct):
    id: int
    zoned: datetime.datetime | None = None
    size: float | None = None
    amount: decimal.Decimal | None = None
    notes: t.Any = None


class Packed(CRUDResource):
    repository = Things
    schema = StructBody


RESOURCES = {"/thing/": Thing, "/typed/": Typed, "/packed/": Packed}


@pytest.fixture(params=["memory store", "sqlite", "asyncpg", "psycopg", "mariadb"])
def url(request, tmp_path):
    match request.param:
        case "memory store":
            return None
        case "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "mariadb":
            return request.getfixturevalue("mariadb_url")
        case driver:
            return request.getfixturevalue("postgres_url").replace("asyncpg", driver)


@contextlib.asynccontextmanager
async def served(url):
    """A client of a service of things, and its engine if it has one."""
    worker = ThingWorker() if url else MemoryWorker.of(ThingWorker)()
    app = Flama(components=[WorkerComponent(worker)], modules=[SQLAlchemyModule(url)] if url else [])
    for path, resource in RESOURCES.items():
        app.resources.add_resource(path, resource)
    async with Client(app=app) as client:
        if not url:
            yield types.SimpleNamespace(client=client, engine=None, app=app)
            return
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
        yield types.SimpleNamespace(client=client, engine=app.sqlalchemy.engine, app=app)
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)


@pytest.fixture
async def service(url):
    async with served(url) as service:
        yield service


@pytest.fixture
def client(service):
    return service.client


async def sent(client, method, path, body):
    content = body if isinstance(body, str) else json.dumps(body)
    return await client.request(method, path, content=content, headers={"content-type": "application/json"})


async def writes(client, path, field, value):
    """The responses of every way to write a field, whose value is JSON."""
    assert (await client.delete(path)).status_code == 200
    assert (await sent(client, "POST", path, '{"id": 1}')).status_code == 201
    one, other = f'{{"id": 1, "{field}": {value}}}', f'{{"id": 2, "{field}": {value}}}'
    part = f'{{"{field}": {value}}}'
    return [
        await sent(client, "POST", path, other),
        await sent(client, "POST", path, f'[{{"id": 3}}, {{"id": 4, "{field}": {value}}}]'),
        await sent(client, "PUT", f"{path}1/", one),
        await sent(client, "PATCH", f"{path}1/", part),
        await sent(client, "PATCH", path, f"[{one}]"),
        await sent(client, "PUT", path, f"[{one}]"),
    ]


@pytest.fixture
async def in_memory():
    """A client of the service over memory: what is refused before, no database has to do with."""
    async with served(None) as service:
        yield service.client


def of_field(response, field):
    found = response.json()
    return (found[-1] if isinstance(found, list) else found)[field]


MOMENTS = [
    ("zoned", "2024-01-01T12:00:00.25+02:00", "2024-01-01T10:00:00.250000Z"),
    ("zoned", "2024-01-01T12:00:00Z", "2024-01-01T12:00:00Z"),
    ("zoned", "2024-01-01t12:00:00z", "2024-01-01T12:00:00Z"),
    ("naive", "2024-01-01T12:00:00.25", "2024-01-01T12:00:00.250000"),
    ("naive", "2024-02-29T12:00:00", "2024-02-29T12:00:00"),
    ("zoned_clock", "12:00:00+02:00", "10:00:00Z"),
    ("clock", "12:00:00.5", "12:00:00.500000"),
]


async def test_a_moment_is_answered_in_utc_or_as_it_is(client):
    for field, value, answered in MOMENTS:
        responses = await writes(client, "/thing/", field, json.dumps(value))

        assert [response.status_code for response in responses] == [201, 201, 200, 200, 200, 200]
        assert [of_field(response, field) for response in responses] == [answered] * 6
        for operand in (value, f"gte:{value}", f"lte:{answered}", f"in:{answered}"):
            found = (await client.get("/thing/", params={field: operand})).json()["data"]
            assert [record["id"] for record in found] == [1]
        again = await client.put("/thing/1/", json=(await client.get("/thing/1/")).json())
        assert (again.status_code, again.json()[field]) == (200, answered)


REFUSED_MOMENTS = [
    ("zoned", "2024-01-01T12:00:00"),
    ("zoned", "2024-01-01"),
    ("zoned", 1_700_000_000),
    ("zoned", "2024-02-30T12:00:00Z"),
    ("naive", "2024-01-01T12:00:00Z"),
    ("naive", "2024-01-01T12:00:00+02:00"),
    ("naive", "2023-02-29T12:00:00"),
    ("naive", 1_700_000_000),
    ("zoned_clock", "12:00:00"),
    ("clock", "12:00:00Z"),
    ("clock", "24:00:00"),
]


@pytest.mark.parametrize(("field", "value"), REFUSED_MOMENTS)
async def test_a_moment_with_or_without_an_offset_is_refused_by_the_name_of_its_field(in_memory, field, value):
    responses = await writes(in_memory, "/thing/", field, json.dumps(value))

    assert [response.status_code for response in responses] == [400] * 6
    assert all(field in key for response in responses for key in response.json()["detail"])
    if isinstance(value, str):
        assert (await in_memory.get("/thing/", params={field: f"gte:{value}"})).status_code == 400


@pytest.mark.parametrize("path", ["/typed/", "/packed/"])
async def test_a_schema_of_the_resources_own_demands_the_offset_too(in_memory, path):
    responses = await writes(in_memory, path, "zoned", '"2024-01-01T12:00:00"')

    assert [response.status_code for response in responses] == [400] * 6
    response = await sent(in_memory, "POST", path, {"id": 9, "zoned": "2024-01-01T12:00:00+02:00"})
    assert (response.status_code, response.json()["zoned"]) == (201, "2024-01-01T10:00:00Z")


async def test_a_cursor_goes_on_from_an_instant(client):
    for number, hour in enumerate(["12:00:00+02:00", "10:00:00Z", "23:30:00-10:00", "11:00:00Z"], 1):
        await client.post("/thing/", json={"id": number, "zoned": f"2024-01-01T{hour}"})
    found, cursor = [], ""
    while cursor is not None:
        page = (await client.get("/thing/", params={"order_by": "-zoned", "limit": 1, "cursor": cursor})).json()
        found += [record["id"] for record in page["data"]]
        cursor = page["meta"]["next"]

    assert found == [3, 4, 1, 2]


def schemas_of(document, name):
    return document["components"]["schemas"][name]["properties"]


def is_valid(schema, value):
    """Whether a value is valid by a schema of what there is in this document: types, patterns, enums, choices."""
    if "anyOf" in schema:
        return any(is_valid(each, value) for each in schema["anyOf"])
    kinds = {"string": str, "number": int | float, "null": types.NoneType}
    if not isinstance(value, kinds[schema["type"]]):
        return False
    return bool(re.search(schema.get("pattern", ""), str(value))) and value in schema.get("enum", [value])


async def test_the_document_says_which_moments_are_taken(in_memory):
    document = (await in_memory.get("/schema/")).json()
    given, answered = schemas_of(document, "ThingInput"), schemas_of(document, "Thing")
    formats = {field: given[field]["anyOf"][0]["format"] for field, _, _ in MOMENTS}

    assert formats == {"zoned": "date-time", "naive": "date-time-local", "zoned_clock": "time", "clock": "time-local"}
    for field, value, _ in MOMENTS:
        assert is_valid(given[field], value)
        assert is_valid(answered[field], value)
    for field, value in REFUSED_MOMENTS:
        if "zoned" not in field:  # of the others, the format says it
            assert not is_valid(given[field], value), value


INFINITE = ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1" * 400, '"Infinity"', '"-inf"', '"nan"']


FLOATS = [("/thing/", "size"), ("/thing/", "ratio"), ("/typed/", "size"), ("/packed/", "size")]


@pytest.mark.parametrize(("path", "field"), FLOATS)
async def test_a_number_that_is_not_finite_is_refused(in_memory, path, field):
    for value in INFINITE:
        responses = await writes(in_memory, path, field, value)

        assert [response.status_code for response in responses] == [400] * 6, value
        if path != "/packed/":  # of what is no JSON, msgspec doesn't say where it is
            assert all(field in key for response in responses for key in response.json()["detail"]), value


@pytest.mark.parametrize("path", RESOURCES)
async def test_json_holds_no_number_that_is_not_finite(in_memory, path):
    for value in ('{"a": [1, {"b": 1e999}]}', "[-1e999]", "1e999", '{"a": NaN}'):
        responses = await writes(in_memory, path, "notes", value)

        assert [response.status_code for response in responses] == [400] * 6, value


async def test_json_that_is_refused_is_named(in_memory):
    response = await sent(in_memory, "POST", "/thing/", '{"id": 1, "notes": {"a": [1, {"b": 1e999}]}}')

    assert list(response.json()["detail"]) == ["notes.a.1.b"]


STORED = {
    "sqlite": [
        ("size", "9e999", math.inf),
        ("size", "-9e999", -math.inf),
        ("notes", """'{"a": [1e999, NaN]}'""", None),
    ],
    "postgresql": [
        ("size", "'Infinity'", math.inf),
        ("size", "'-Infinity'", -math.inf),
        ("size", "'NaN'", math.nan),
        ("ratio", "'NaN'", math.nan),
        ("notes", """'{"a": [1e999, -1e999]}'""", None),
    ],
}
SPELLED = ("Infinity", "-Infinity", "NaN")


def spelled(value):
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


class TypedThings(HTTPResourceRepository[Body]):
    _resource = "/thing/"


class PackedThings(HTTPResourceRepository[StructBody]):
    _resource = "/thing/"


@pytest.fixture
async def stored(service, url):
    """Records of which each has a number that isn't finite: field and value, by their keys."""
    if url is None or url.startswith("mysql"):
        pytest.skip("it stores none")
    found = dict(enumerate(STORED[url.partition("+")[0]], 1))
    async with service.engine.begin() as connection:
        for number, (field, literal, _) in found.items():
            await connection.exec_driver_sql(f"INSERT INTO thing (id, {field}) VALUES ({number}, {literal})")
    return {number: (field, value) for number, (field, _, value) in found.items()}


@pytest.mark.parametrize("path", RESOURCES)
async def test_a_stored_number_that_is_not_finite_is_spelled(client, stored, path):
    for number, (field, value) in stored.items():
        if path != "/thing/" and field == "ratio":
            continue
        one = (await client.get(f"{path}{number}/")).json()[field]
        (listed,) = (await client.get(path, params={"id": number})).json()["data"]
        line = await client.get(path, params={"id": number}, headers={"accept": "application/x-ndjson"})

        assert one == listed[field] == json.loads(line.text)[field]
        assert all(text in SPELLED for text in one["a"]) if field == "notes" else one == spelled(value)


async def test_the_document_says_that_numbers_may_be_spelled_in_responses(client, stored):
    document = (await client.get("/schema/")).json()

    for field, value in stored.values():
        if field != "notes":
            assert is_valid(schemas_of(document, "Thing")[field], spelled(value))
            assert not is_valid(schemas_of(document, "ThingInput")[field], spelled(value))


async def test_a_number_that_is_spelled_is_not_taken_back(client, stored):
    for number in stored:
        whole = (await client.get(f"/thing/{number}/")).json()
        put = await client.put(f"/thing/{number}/", json=whole)

        assert put.status_code == (200 if whole["notes"] else 400)


@pytest.mark.parametrize("repository", [TypedThings, PackedThings, HTTPResourceRepository.of(Thing)])
async def test_a_repository_reads_a_spelled_number_as_the_float(client, stored, repository):
    for number, (field, value) in stored.items():
        record = await repository(client).retrieve(number)
        read = (record if isinstance(record, dict) else msgspec.to_builtins(vars_of(record))).get(field)

        if value is not None and read is not None:
            assert type(read) is float
            assert read == value or (math.isnan(value) and math.isnan(read))


def vars_of(record):
    return record if isinstance(record, msgspec.Struct) else vars(record)


DIGITS = ["12345678901234567.1234567891", "0.1234567891", "-99999999999999999999.9999999999", "12345678901234567890"]


@pytest.mark.parametrize("path", RESOURCES)
async def test_a_decimal_keeps_the_digits_of_its_number(client, url, path):
    for digits in DIGITS:
        if url is not None and url.startswith("sqlite") and len(digits) > 15:
            continue  # SQLite stores decimals as floats
        responses = await writes(client, path, "amount", digits)

        assert [response.status_code for response in responses] == [201, 201, 200, 200, 200, 200]
        answered = [of_field(response, "amount") for response in responses]
        assert [decimal.Decimal(amount) for amount in answered] == [decimal.Decimal(digits)] * 6
        group = f'["amount", "eq", {digits}]'
        for params in ({"amount": digits}, {"filter": group}, {"filter": f'{{"and": [{group}]}}'}):
            assert len((await client.get(path, params=params)).json()["data"]) == 1


async def test_a_number_beyond_what_sqlite_stores_is_refused(tmp_path):
    numbers = sa.Table(
        "number", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Numeric)
    )
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")])
    app.resources.add_resource("/number/", type("Number", (CRUDResource,), {"model": numbers}))
    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(numbers.metadata.create_all)

        response = await client.post("/number/", json={"n": "1e400"})
        fine = await client.post("/number/", json={"n": "1e300"})

    assert response.status_code == 422
    assert "beyond what SQLite stores" in response.json()["detail"]
    assert fine.status_code == 201


async def test_a_parameter_of_a_handler_is_finite():
    app = Flama()

    @app.route("/double/")
    def double(number: float) -> float:
        return 2 * number

    async with Client(app=app) as client:
        statuses = [
            (await client.get("/double/", params={"number": n})).status_code for n in ("1.5", "inf", "nan", "1e999")
        ]

    assert statuses == [200, 400, 400, 400]


async def test_what_a_handler_returns_spells_such_numbers():
    app = Flama()

    @app.route("/numbers/")
    def numbers() -> dict[str, t.Any]:
        return {"nested": [{"a": math.inf, "b": None}, -math.inf], "nan": math.nan, "model": Body(id=1, size=math.inf)}

    async with Client(app=app) as client:
        found = (await client.get("/numbers/")).json()

    assert found["nested"] == [{"a": "Infinity", "b": None}, "-Infinity"]
    assert (found["nan"], found["model"]["size"]) == ("NaN", "Infinity")


def test_pattern_of_moments_without_an_offset_is_that_of_the_calendar():
    pattern = re.compile(moments.schema(datetime.datetime, zone=False)["pattern"])
    for year in (1, 4, 100, 400, 1900, 2000, 2023, 2024, 9999):
        days = {f"{year:04}-{month:02}-{day:02}" for month in range(14) for day in range(33)}
        real = {
            datetime.date.fromordinal(n).isoformat()
            for n in range(datetime.date(year, 1, 1).toordinal(), datetime.date(year, 12, 31).toordinal() + 1)
        }
        assert {day for day in days if pattern.search(f"{day}T00:00:00")} == real
