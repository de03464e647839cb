"""What the columns of a table mean to the resource that serves it."""

import contextlib
import enum
import pathlib
import typing as t
import urllib.parse
import warnings

import msgspec
import pydantic
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql as pg

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import MemoryWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]


class Email(sa.types.TypeDecorator):
    """A text in lower case, which doesn't say that it is a text."""

    impl = sa.String(50)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value.lower() if value else value


class Token(sa.types.TypeDecorator):
    """A UUID, which doesn't say so either."""

    impl = sa.Uuid
    cache_ok = True


class Shade(enum.Enum):
    DARK = (0, 0)
    LIGHT = (9, 9)


class Point(sa.types.UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **options):
        return "POINT"


class Unreadable(sa.types.TypeDecorator):
    """A number that comes back as what JSON has no form for, if it is 13."""

    impl = sa.Integer
    cache_ok = True

    def process_result_value(self, value, dialect):
        return object() if value == 13 else value


def table_of(*columns):
    return sa.Table("thing", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), *columns)


@contextlib.asynccontextmanager
async def served(url, table, **attributes):
    """A client of a resource of the table, in a database or in memory."""
    repository = type("Things", (SQLAlchemyTableRepository,), {"_table": table})
    worker = type("ThingWorker", (SQLAlchemyWorker,), {"__annotations__": {"thing": repository}})
    resource = type("Thing", (CRUDResource,), {"repository": repository, **attributes})
    if url is None:
        app = Flama(components=[WorkerComponent(MemoryWorker.of(worker)())])
    else:
        app = Flama(modules=[SQLAlchemyModule(url)], components=[WorkerComponent(worker())])
    app.resources.add_resource("/thing/", resource)
    async with Client(app=app) as client, contextlib.AsyncExitStack() as stack:
        if url is not None:
            async with app.sqlalchemy.engine.begin() as connection:
                await connection.run_sync(table.metadata.create_all)
            stack.push_async_callback(dropped, app, table)
        yield client


async def dropped(app, table):
    async with app.sqlalchemy.engine.begin() as connection:
        await connection.run_sync(table.metadata.drop_all)


async def stored(client):
    return (await client.get("/thing/")).json()["data"]


@pytest.fixture(params=["sqlite", "asyncpg", "psycopg", "mariadb"])
def database(request, tmp_path: pathlib.Path):
    match request.param:
        case "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "mariadb":
            return request.getfixturevalue("mariadb_url")
    return request.getfixturevalue("postgres_url").replace("asyncpg", request.param)


class TestDecorated:
    async def test_is_filtered_ordered_and_told_apart_as_what_it_stands_for(self, url):
        table = table_of(sa.Column("email", Email, nullable=False, unique=True))

        async with served(url, table) as client:
            for name in ("Bob@X.org", "ann@x.org"):
                assert (await client.post("/thing/", json={"email": name})).status_code == 201
            found = await client.get("/thing/?email=BOB@x.org")
            begun = await client.get("/thing/?email=startswith:ann")
            ordered = await client.get("/thing/?order_by=email&page_size=1")
            again = await client.post("/thing/:get_or_create/?on=email", json={"email": "ANN@x.org"})

        assert [record["email"] for record in found.json()["data"]] == ["bob@x.org"]
        assert [record["email"] for record in begun.json()["data"]] == ["ann@x.org"]
        assert [record["email"] for record in ordered.json()["data"]] == ["ann@x.org"]
        assert (again.status_code, again.json()["id"]) == (200, 2)

    async def test_is_paged_by_cursors_as_what_it_stands_for(self, url):
        table = table_of(sa.Column("email", Email, nullable=False), sa.Column("token", Token, nullable=False))
        tokens = ["00000000-0000-0000-0000-00000000000f", "0000000f-0000-0000-0000-000000000000"]

        async with served(url, table) as client:
            for email, token in (("Bob", tokens[1]), ("ann", tokens[0])):
                assert (await client.post("/thing/", json={"email": email, "token": token})).status_code == 201
            for name in ("email", "token"):
                first = (await client.get(f"/thing/?order_by={name}&cursor=&limit=1")).json()
                cursor = urllib.parse.quote(first["meta"]["next"])
                second = (await client.get(f"/thing/?order_by={name}&cursor={cursor}&limit=1")).json()
                found = [record["email"] for page in (first, second) for record in page["data"]]
                assert found == ["ann", "bob"], name

    async def test_is_limited_as_what_it_stands_for(self):
        async with served(None, table_of(sa.Column("email", Email))) as client:
            response = await client.post("/thing/", json={"email": "x" * 51})

        assert (response.status_code, list(response.json()["detail"])) == (400, ["email"])


async def test_a_domain_is_filtered_as_the_type_that_it_narrows(postgres_url):
    table = table_of(sa.Column("name", pg.DOMAIN("short", sa.Text, check="length(VALUE) < 9")))

    for url in (postgres_url, None):
        async with served(url, table) as client:
            await client.post("/thing/", json=[{"name": "anna"}, {"name": "bob"}])
            found = await client.get("/thing/?name=contains:nn")

        assert [record["name"] for record in found.json()["data"]] == ["anna"]


class TestGenerated:
    computed = sa.Column("gross", sa.Integer, sa.Computed("net * 2", persisted=True))

    async def test_a_computed_column_is_answered_and_passed_over_where_it_is_sent(self, database):
        table = table_of(sa.Column("net", sa.Integer), self.computed._copy())

        async with served(database, table) as client:
            record = (await client.post("/thing/", json={"net": 1, "gross": 7})).json()
            changed = {**record, "net": 5}
            answers = [
                await client.put("/thing/1/", json=changed),
                await client.patch("/thing/1/", json=changed),
                await client.patch("/thing/", json=[changed]),
                await client.post("/thing/:upsert/", json=[changed]),
                await client.post("/thing/:update/?id=1", json=changed),
                await client.put("/thing/", json=[changed]),
                await client.post("/thing/:get_or_create/", json=changed),
            ]
            schemas = (await client.get("/schema/")).json()["components"]["schemas"]

        assert record == {"id": 1, "net": 1, "gross": 2}
        assert [answer.status_code for answer in answers] == [200] * 7, [answer.text for answer in answers]
        bodies = [answer.json() for answer in answers]
        assert all(body in ({**changed, "gross": 10}, [{**changed, "gross": 10}]) for body in bodies)
        assert "gross" in schemas["Thing"]["properties"]
        assert "gross" not in schemas["ThingInput"]["properties"]

    async def test_a_schema_of_ones_own_may_have_it(self, database):
        class Net(pydantic.BaseModel):
            id: int | None = None
            net: int
            gross: int | None = None

        table = table_of(sa.Column("net", sa.Integer), self.computed._copy())

        async with served(database, table, schema=Net) as client:
            created = await client.post("/thing/", json={"net": 1, "gross": 7})
            replaced = await client.put("/thing/1/", json={"id": 1, "net": 5, "gross": 7})

        assert (created.status_code, created.json()["gross"]) == (201, 2)
        assert (replaced.status_code, replaced.json()["gross"]) == (200, 10)

    @pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
    async def test_a_key_that_only_the_database_gives_tells_which_record_is_meant(self, postgres_url, driver):
        identity = sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True)
        table = sa.Table("thing", sa.MetaData(), identity, sa.Column("n", sa.Integer))

        async with served(postgres_url.replace("asyncpg", driver), table) as client:
            first = (await client.post("/thing/", json={"id": 77, "n": 1})).json()
            upserted = await client.post("/thing/:upsert/", json=[{"id": 1, "n": 2}, {"n": 3}])
            narrowed = await client.post("/thing/:upsert/?set=n", json=[{"id": 1, "n": 4}])
            lost = await client.post("/thing/:upsert/", json=[{"id": 77, "n": 2}])
            known = await client.post("/thing/:get_or_create/", json={"id": 1, "n": 9})
            replaced = await client.put("/thing/", json=[{"id": 2, "n": 5}, {"n": 6}])
            records = await stored(client)
            schemas = (await client.get("/schema/")).json()["components"]["schemas"]

        assert first == {"id": 1, "n": 1}
        assert upserted.json() == [{"id": 1, "n": 2}, {"id": 2, "n": 3}]
        assert narrowed.json() == [{"id": 1, "n": 4}]
        assert (lost.status_code, "77" in lost.json()["detail"]) == (422, True)
        assert (known.status_code, known.json()) == (200, {"id": 1, "n": 4})
        assert replaced.json() == records == [{"id": 2, "n": 5}, {"id": 3, "n": 6}]
        assert "id" not in schemas["ThingInput"]["properties"]

    async def test_a_repository_refuses_it_as_data(self, database):
        table = table_of(sa.Column("net", sa.Integer), self.computed._copy())
        module = SQLAlchemyModule(database)
        await module.on_startup()
        try:
            async with module.engine.begin() as connection:
                await connection.run_sync(table.metadata.create_all)
                things = type("Things", (SQLAlchemyTableRepository,), {"_table": table})(connection)
                await things.create({"id": 1, "net": 1})
                for write in (
                    lambda: things.create({"net": 1, "gross": 7}),
                    lambda: things.update({"gross": 7}, id=1),
                    lambda: things.upsert({"id": 1, "gross": 7}),
                ):
                    with pytest.raises(exceptions.InvalidDataError):
                        await write()
                assert await things.retrieve(id=1) == {"id": 1, "net": 1, "gross": 2}
        finally:
            async with module.engine.begin() as connection:
                await connection.run_sync(table.metadata.drop_all)
            await module.on_shutdown()


NAMES = ["_rev", "__hidden", "__base__", "__config__", "model_config", "model_dump", "model_fields", "json", "schema"]
NAMES += ["copy", "dict", "construct", "e-mail", "1st", "class", "self", "fields", "__pydantic_config__", "keys"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_column_may_have_any_name(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with served(None, table_of(sa.Column(name, sa.Integer, nullable=False))) as client:
            created = await client.post("/thing/", json={name: 3})
            changed = await client.patch("/thing/1/", json={name: 4})
            replaced = await client.put("/thing/1/", json={name: 5})
            wrong = await client.post("/thing/", json={name: "x"})
            missing = await client.post("/thing/", json={})
            found = await client.get("/thing/", params={name: 5})
            schemas = (await client.get("/schema/")).json()["components"]["schemas"]

    assert [created.json(), changed.json(), replaced.json()] == [{"id": 1, name: number} for number in (3, 4, 5)]
    assert (wrong.status_code, list(wrong.json()["detail"])) == (400, [name])
    assert (missing.status_code, missing.json()["fields"]) == (400, [name])
    assert found.json()["data"] == [{"id": 1, name: 5}]
    assert schemas["Thing"]["required"] == ["id", name]
    assert schemas["ThingInput"]["required"] == [name]


class TestUnknownTypes:
    @pytest.mark.parametrize("kind", [Point(), sa.types.NullType(), pg.ARRAY(Point())], ids=["own", "none", "items"])
    def test_are_an_error_of_the_definition_that_names_them(self, kind):
        with pytest.raises(exceptions.ResourceModelInvalid) as error:
            type("Places", (CRUDResource,), {"model": table_of(sa.Column("place", kind))})

        for part in ("Places", "'place'", "'thing'", type(kind).__name__, "python_type", "'schema'"):
            assert part in str(error.value)

    def test_are_no_error_in_schemas_of_ones_own(self):
        class Named(pydantic.BaseModel):
            id: int | None = None
            name: str

        table = table_of(sa.Column("name", sa.String(9)), sa.Column("place", sa.types.NullType()))
        type("Places", (CRUDResource,), {"model": table, "schema": Named})


class TestEnums:
    @pytest.mark.parametrize("declared", [Shade, [each.name for each in Shade]], ids=["members", "names"])
    async def test_of_values_that_are_no_texts_are_spelled_by_names_everywhere(self, url, declared):
        kind = sa.Enum(Shade, name="shade") if declared is Shade else sa.Enum(*declared, name="shade")

        async with served(url, table_of(sa.Column("shade", kind))) as client:
            created = await client.post("/thing/", json={"shade": "DARK"})
            replaced = await client.put("/thing/1/", json=created.json())
            found = await client.get("/thing/?shade=DARK")
            listed = await client.get("/thing/", headers={"accept": "application/x-ndjson"})
            wrong = await client.get("/thing/?shade=(0, 0)")
            schemas = (await client.get("/schema/")).json()["components"]["schemas"]

        assert (created.status_code, created.json()) == (201, {"id": 1, "shade": "DARK"})
        assert replaced.json() == listed.json() == created.json()
        assert found.json()["data"] == [created.json()]
        assert wrong.status_code == 400
        for name in ("Thing", "ThingInput"):
            assert schemas[name]["properties"]["shade"]["anyOf"][0]["enum"] == ["DARK", "LIGHT"]


WRONG: list[tuple[t.Any, t.Any]] = [
    (mysql.INTEGER(unsigned=True), -1),
    (mysql.INTEGER(unsigned=True), 2**32),
    (mysql.TINYINT(), 128),
    (mysql.DECIMAL(8, 2, unsigned=True), -1),
    (mysql.YEAR(), -1),
    (mysql.BIT(3), 8),
    (mysql.SET("a", "b"), ["c"]),
    (mysql.SET("a", "b"), "a"),
    (mysql.INET4(), "::1"),
    (pg.INET(), "10.0.0"),
    (pg.CIDR(), "10.0.0.1/8"),
    (pg.BIT(4), "01"),
    (pg.BIT(4), "0121"),
    (pg.BIT(4, varying=True), "01010"),
    (pg.INT4RANGE(), {"lower": "x"}),
    (pg.INT4RANGE(), {"bounds": "]["}),
    (pg.INT4MULTIRANGE(), {"lower": 1}),
    (pg.HSTORE(), {"a": 1}),
    (pg.ARRAY(sa.Integer), ["x"]),
    (pg.ARRAY(sa.Integer, dimensions=2), [1]),
    (pg.OID(), 2**32),
    (sa.Uuid(as_uuid=False), "x"),
]


@pytest.mark.parametrize(("kind", "value"), WRONG, ids=[f"{kind!r} {value}" for kind, value in WRONG])
async def test_what_no_column_of_the_type_holds_is_refused_by_its_name(kind, value):
    async with served(None, table_of(sa.Column("value", kind))) as client:
        response = await client.post("/thing/", json={"value": value})

    assert response.status_code == 400
    assert all(name.startswith("value") for name in response.json()["detail"])


class TestAnAnswerThatCannotBeMade:
    async def test_undoes_what_was_written(self, url):
        table = table_of(sa.Column("n", Unreadable), sa.Column("m", sa.Integer, unique=True))

        async with served(url, table) as client:
            await client.post("/thing/", json={"id": 1, "n": 1, "m": 1})
            answers = [
                await client.post("/thing/", json={"id": 2, "n": 13}),
                await client.post("/thing/", json=[{"id": 2, "n": 2}, {"id": 3, "n": 13}]),
                await client.put("/thing/1/", json={"n": 13}),
                await client.patch("/thing/1/", json={"n": 13}),
                await client.put("/thing/", json=[{"id": 9, "n": 13}]),
                await client.patch("/thing/", json=[{"id": 1, "n": 13}]),
                await client.post("/thing/:upsert/", json=[{"id": 1, "n": 13}]),
                await client.post("/thing/:update/?id=1", json={"n": 13}),
                await client.post("/thing/:get_or_create/?on=m", json={"id": 2, "n": 13, "m": 2}),
            ]
            records = await stored(client)

        assert [answer.status_code for answer in answers] == [500] * 9
        assert records == [{"id": 1, "n": 1, "m": 1}]


class TestKeysThatNoPathCanHold:
    table = sa.Table(
        "thing", sa.MetaData(), sa.Column("id", sa.String(20), primary_key=True), sa.Column("n", sa.Integer)
    )

    @pytest.mark.parametrize("id", ["", ".", ".."])
    async def test_are_refused_wherever_they_are_sent(self, url, id):
        async with served(url, self.table) as client:
            await client.post("/thing/", json={"id": "a"})
            answers = [
                await client.post("/thing/", json={"id": id}),
                await client.post("/thing/", json=[{"id": "b"}, {"id": id}]),
                await client.put("/thing/", json=[{"id": id}]),
                await client.patch("/thing/", json=[{"id": id}]),
                await client.post("/thing/:upsert/", json=[{"id": id}]),
                await client.post("/thing/:get_or_create/", json={"id": id}),
                await client.post("/thing/:update/?id=a", json={"id": id}),
            ]
            records = await stored(client)

        assert [answer.status_code for answer in answers] == [422] * 7
        assert repr(id) in answers[0].json()["detail"]
        assert records == [{"id": "a", "n": None}]

    async def test_are_refused_where_a_default_gives_them(self, url):
        key = sa.Column("id", sa.String(20), primary_key=True, default=lambda: "..")

        async with served(url, sa.Table("thing", sa.MetaData(), key, sa.Column("n", sa.Integer))) as client:
            response = await client.post("/thing/", json={"n": 1})
            records = await stored(client)

        assert (response.status_code, records) == (422, [])

    async def test_are_fine_as_what_else_they_may_be(self, url):
        async with served(url, self.table) as client:
            for id in ("...", "a/b", "%2e", " ", "ü?#"):
                created = await client.post("/thing/", json={"id": id})
                found = await client.get(created.headers["location"])
                assert (created.status_code, found.status_code, found.json()["id"]) == (201, 200, id)


async def test_a_record_of_a_type_is_answered_by_the_names_of_its_columns():
    class Named(pydantic.BaseModel):
        id: int | None = None
        name: str = pydantic.Field(alias="fullName")

    repository = type(
        "Things", (SQLAlchemyTableRepository[Named],), {"_table": table_of(sa.Column("name", sa.String(9)))}
    )
    resource = type("Thing", (CRUDResource,), {"repository": repository})

    assert msgspec.json.decode(resource.spec.output.one(Named(id=1, fullName="a"))) == {"id": 1, "name": "a"}
