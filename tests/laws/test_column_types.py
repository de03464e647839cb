"""What a resource answers it takes back and finds, for every type of column that there is."""

import asyncio
import enum
import functools
import json
import sqlite3
import typing as t

import jsonschema
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql as pg, sqlite

from flama import Flama
from flama.client import Client
from flama.ddd import MemoryWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import databases


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Odd(enum.Enum):
    PAIR = (1, 2)
    TRUTH = True


class Level(enum.IntEnum):
    LOW = 1


class Email(sa.types.TypeDecorator):
    impl = sa.String(50)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value.lower() if value else value


class Tags(sa.types.TypeDecorator):
    """A list in a text, which says so."""

    impl = sa.String(50)
    cache_ok = True
    python_type = list

    def process_bind_param(self, value, dialect):
        return None if value is None else ",".join(value)

    def process_result_value(self, value, dialect):
        return None if value is None else value.split(",")


class Case(t.NamedTuple):
    """A type, what is sent, and whether there is equality of what is stored."""

    type: sa.types.TypeEngine
    sent: t.Any
    equality: bool = True


def texts(*classes):
    return {each: [Case(each(30), "aé")] for each in classes}


def span(lower, upper):
    return {"lower": lower, "upper": upper, "bounds": "[)", "empty": False}


def ranges(single, multi, *bounds):
    empty = {"lower": None, "upper": None, "bounds": "[)", "empty": True}
    halves = [{"lower": bounds[0]}, span(None, bounds[1])]
    return {
        single: [Case(single(), sent) for sent in (span(*bounds), empty, *halves)],
        multi: [Case(multi(), sent) for sent in ([], [span(*bounds)])],
    }


DAYS = ("2024-01-01", "2024-02-01")
MOMENTS = ("2024-01-01T00:00:00", "2024-02-01T00:00:00")
ZONED = ("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z")

CASES: dict[type, list[Case]] = {
    **texts(sa.CHAR, sa.NCHAR, sa.NVARCHAR, sa.String, sa.Unicode, sa.VARCHAR),
    **{each: [Case(each(), "aé")] for each in (sa.CLOB, sa.Text, sa.TEXT, sa.UnicodeText)},
    **{each: [Case(each(), 2**31 - 1), Case(each(), 0)] for each in (sa.INTEGER, sa.Integer)},
    **{each: [Case(each(), 2**15 - 1)] for each in (sa.SMALLINT, sa.SmallInteger)},
    **{each: [Case(each(), -(2**63))] for each in (sa.BIGINT, sa.BigInteger)},
    **{each: [Case(each(12, 4), "1.5000")] for each in (sa.DECIMAL, sa.NUMERIC, sa.Numeric)},
    **{each: [Case(each(), 1.5)] for each in (sa.Double, sa.DOUBLE, sa.DOUBLE_PRECISION, sa.Float, sa.FLOAT, sa.REAL)},
    **{each: [Case(each(), value) for value in (True, False)] for each in (sa.BOOLEAN, sa.Boolean)},
    **{each: [Case(each(), "2024-02-29")] for each in (sa.DATE, sa.Date)},
    sa.DateTime: [Case(sa.DateTime(), MOMENTS[0])],
    sa.DATETIME: [Case(sa.DATETIME(), MOMENTS[0])],
    sa.TIMESTAMP: [Case(sa.TIMESTAMP(), MOMENTS[0])],
    **{each: [Case(each(), "13:14:15")] for each in (sa.TIME, sa.Time)},
    sa.Interval: [Case(sa.Interval(), "P1DT2S")],
    **{each: [Case(each(), "AP8=")] for each in (sa.BLOB, sa.LargeBinary)},
    **{each: [Case(each(2), "AP8=")] for each in (sa.BINARY, sa.VARBINARY)},
    sa.Enum: [
        Case(sa.Enum("a", "b", name="letters"), "a"),
        Case(sa.Enum(Colour), "r"),
        Case(sa.Enum(Odd), "PAIR"),
        Case(sa.Enum(Level), 1),
        Case(sa.Enum(Colour, name="by_value", values_callable=lambda kind: [each.value for each in kind]), "g"),
    ],
    sa.JSON: [Case(sa.JSON(), {"a": [1, None]}, equality=False)],
    sa.PickleType: [Case(sa.PickleType(), {"a": [1, None]}, equality=False)],
    sa.ARRAY: [Case(sa.ARRAY(sa.Integer), [1, None]), Case(sa.ARRAY(sa.Integer), [])],
    sa.Uuid: [Case(sa.Uuid(), str(each)) for each in ("0b2b0f9e-3c8c-4ad4-a7a5-5f3f4f0e9f5a",)]
    + [Case(sa.Uuid(as_uuid=False), "0b2b0f9e-3c8c-4ad4-a7a5-5f3f4f0e9f5a")],
    sa.UUID: [Case(sa.UUID(), "0b2b0f9e-3c8c-4ad4-a7a5-5f3f4f0e9f5a")],
    sa.types.TypeDecorator: [Case(Email(), "ann@x.org"), Case(Tags(), ["a", "b"], equality=False)],
    pg.ARRAY: [
        Case(pg.ARRAY(sa.Text), ["a", 'b"', None]),
        Case(pg.ARRAY(sa.Integer, dimensions=2), [[1, 2], [3, 4]]),
        Case(pg.ARRAY(sa.Enum(Colour, name="colour_item")), ["r", None]),
        Case(pg.ARRAY(sa.Enum(Odd, name="odd_item")), ["PAIR", None]),
        Case(pg.ARRAY(sa.LargeBinary), ["AP8="]),
        Case(pg.ARRAY(sa.Uuid), ["0b2b0f9e-3c8c-4ad4-a7a5-5f3f4f0e9f5a"]),
        Case(pg.ARRAY(sa.Numeric(8, 2)), ["1.50"]),
        Case(pg.ARRAY(sa.Date), ["2024-02-29"]),
        Case(pg.ARRAY(pg.INET), ["10.0.0.1"]),
        Case(pg.ARRAY(Email()), ["ann@x.org"]),
        Case(pg.ARRAY(pg.JSONB), [{"a": 1}]),
        Case(pg.ARRAY(sa.Integer, as_tuple=True), [1]),
    ],
    pg.BIT: [Case(pg.BIT(4), "0101"), Case(pg.BIT(), "1"), Case(pg.BIT(6, varying=True), "010")],
    pg.BYTEA: [Case(pg.BYTEA(), "AP8=")],
    pg.CIDR: [Case(pg.CIDR(), "10.0.0.0/8"), Case(pg.CIDR(), "2001:db8::/32")],
    pg.CITEXT: [Case(pg.CITEXT(), "aB")],
    pg.DOMAIN: [Case(pg.DOMAIN("positive", sa.Integer, check="VALUE > 0"), 5)],
    pg.ENUM: [Case(pg.ENUM("x", "y", name="xy"), "x"), Case(pg.ENUM(Colour, name="colour_of_pg"), "g")],
    pg.HSTORE: [Case(pg.HSTORE(), {"a": "1", "b": None})],
    pg.INET: [Case(pg.INET(), each) for each in ("10.0.0.1", "10.0.0.1/24", "2001:db8::1")],
    pg.INTERVAL: [Case(pg.INTERVAL(), "P1DT2S")],
    pg.JSON: [Case(pg.JSON(), {"a": [1, None]}, equality=False)],
    pg.JSONB: [Case(pg.JSONB(), each) for each in ({"a": [1, None]}, [1, "x"], "x", 5, True)],
    pg.JSONPATH: [Case(pg.JSONPATH(), '$."a"', equality=False)],
    pg.MACADDR: [Case(pg.MACADDR(), "08:00:2b:01:02:03")],
    pg.MACADDR8: [Case(pg.MACADDR8(), "08:00:2b:01:02:03:04:05")],
    pg.MONEY: [Case(pg.MONEY(), "$1.50")],
    pg.OID: [Case(pg.OID(), 2**32 - 1)],
    pg.REGCLASS: [Case(pg.REGCLASS(), "pg_class")],
    pg.REGCONFIG: [Case(pg.REGCONFIG(), "simple")],
    pg.TIME: [Case(pg.TIME(precision=2), "13:14:15")],
    pg.TIMESTAMP: [Case(pg.TIMESTAMP(precision=3), MOMENTS[0])],
    pg.TSQUERY: [Case(pg.TSQUERY(), "'a' & 'b'")],
    pg.TSVECTOR: [Case(pg.TSVECTOR(), "'a' 'b'")],
    **ranges(pg.INT4RANGE, pg.INT4MULTIRANGE, 1, 5),
    **ranges(pg.INT8RANGE, pg.INT8MULTIRANGE, 1, 2**40),
    **ranges(pg.NUMRANGE, pg.NUMMULTIRANGE, "1.5", "2"),
    **ranges(pg.DATERANGE, pg.DATEMULTIRANGE, *DAYS),
    **ranges(pg.TSRANGE, pg.TSMULTIRANGE, *MOMENTS),
    **ranges(pg.TSTZRANGE, pg.TSTZMULTIRANGE, *ZONED),
    **texts(mysql.CHAR, mysql.NCHAR, mysql.NVARCHAR, mysql.TEXT, mysql.VARCHAR),
    **{each: [Case(each(), "aé")] for each in (mysql.LONGTEXT, mysql.MEDIUMTEXT, mysql.TINYTEXT)},
    **{
        each: [Case(each(), 2 ** (bits - 1) - 1), Case(each(unsigned=True), 2**bits - 1)]
        for each, bits in (
            (mysql.TINYINT, 8),
            (mysql.SMALLINT, 16),
            (mysql.MEDIUMINT, 24),
            (mysql.INTEGER, 32),
            (mysql.BIGINT, 64),
        )
    },
    **{
        each: [Case(each(12, 4), "-1.5000"), Case(each(12, 4, unsigned=True), "1.5000")]
        for each in (mysql.DECIMAL, mysql.NUMERIC)
    },
    **{each: [Case(each(asdecimal=False, unsigned=True), 1.5)] for each in (mysql.DOUBLE, mysql.FLOAT, mysql.REAL)},
    mysql.BIT: [Case(mysql.BIT(8), 255), Case(mysql.BIT(), 1), Case(mysql.BIT(64), 2**63)],
    mysql.DATETIME: [Case(mysql.DATETIME(fsp=3), "2024-01-01T00:00:00.125000")],
    mysql.ENUM: [Case(mysql.ENUM("x", "y"), "x"), Case(mysql.ENUM(Colour), "g")],
    mysql.INET4: [Case(mysql.INET4(), "10.0.0.1")],
    mysql.INET6: [Case(mysql.INET6(), "2001:db8::1")],
    **{each: [Case(each(), "AP8=")] for each in (mysql.LONGBLOB, mysql.MEDIUMBLOB, mysql.TINYBLOB)},
    mysql.JSON: [Case(mysql.JSON(), {"a": [1, None]}, equality=False)],
    mysql.SET: [Case(mysql.SET("red", "blue"), each) for each in (["red", "blue"], ["blue"], [])],
    mysql.TIME: [Case(mysql.TIME(fsp=3), "13:14:15.125000")],
    mysql.TIMESTAMP: [Case(mysql.TIMESTAMP(fsp=3), "2024-01-01T00:00:00.125000")],
    mysql.YEAR: [Case(mysql.YEAR(), 2024)],
    sqlite.DATE: [Case(sqlite.DATE(), "2024-02-29")],
    sqlite.DATETIME: [Case(sqlite.DATETIME(), MOMENTS[0])],
    sqlite.JSON: [Case(sqlite.JSON(), {"a": [1, None]}, equality=False)],
    sqlite.JSONB: [Case(sqlite.JSONB(), {"a": [1, None]}, equality=False)],
    sqlite.TIME: [Case(sqlite.TIME(), "13:14:15")],
}

# what others are made of, or what is no type of a column
NO_COLUMN = {sa.types.TypeEngine, sa.types.UserDefinedType, sa.types.NullType, sa.types.TupleType, sa.types.MatchType}
NO_COLUMN |= {sa.types.Variant, sa.types._Binary}
NO_COLUMN |= {pg.ranges.AbstractRange, pg.ranges.AbstractSingleRange, pg.ranges.AbstractMultiRange, pg.NamedType}

# generic types that a database lacks
LACKING = {
    "postgresql": {sa.BINARY, sa.BLOB, sa.CLOB, sa.DATETIME, sa.DOUBLE, sa.NCHAR, sa.NVARCHAR, sa.VARBINARY},
    "mysql": {sa.CLOB, sa.ARRAY, sa.UUID},
    "sqlite": {sa.ARRAY},
}
EXTENSIONS = {"citext", "hstore"}
BACKENDS = ("memory", "sqlite", "asyncpg", "mariadb", pytest.param("psycopg", marks=pytest.mark.exhaustive))


def dialect(backend):
    return {"asyncpg": "postgresql", "psycopg": "postgresql", "mariadb": "mysql"}.get(backend, backend)


def exists(type_, backend):
    """Whether a database has a type; memory keeps all of them."""
    home = type_.__module__.split(".")[2]
    if type_ is sqlite.JSONB and sqlite3.sqlite_version_info < (3, 45):
        return False
    if backend == "memory":
        return True
    return (
        home == dialect(backend)
        if home in ("postgresql", "mysql", "sqlite")
        else type_ not in LACKING[dialect(backend)]
    )


NAMED = {f"{each.__module__.split('.')[2][:5]}_{each.__name__}_{number}".lower(): (each, case)
         for each, cases in CASES.items() for number, case in enumerate(cases)}  # fmt: skip
TABLES = {
    name: sa.Table(
        f"type_{name}",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("value", case.type.copy() if isinstance(case.type, sa.types.SchemaType) else case.type),
    )
    for name, (_, case) in NAMED.items()
}


@functools.cache
def resource(name):
    repository = type(f"Repository_{name}", (SQLAlchemyTableRepository,), {"_table": TABLES[name]})
    return type(f"Resource_{name}", (CRUDResource,), {"repository": repository})


def url(request, tmp_path_factory, backend):
    match backend:
        case "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('types')}/data.db"
        case "mariadb":
            return request.getfixturevalue("mariadb_url")
    return request.getfixturevalue("postgres_url").replace("asyncpg", backend)


def worker(names):
    annotations = {name: resource(name).repository for name in names}
    return type("TypeWorker", (SQLAlchemyWorker,), {"__annotations__": annotations})


def application(url, names):
    # A unit makes all of its worker's repositories.
    workers = [worker(names[first : first + 20]) for first in range(0, len(names), 20)]
    if url is None:
        app = Flama(components=[WorkerComponent(MemoryWorker.of(each)()) for each in workers])
    else:
        app = Flama(modules=[SQLAlchemyModule(url)], components=[WorkerComponent(each()) for each in workers])
    for name in names:
        app.resources.add_resource(f"/{name}/", resource(name))
    return app


async def make_tables(module, names, missing):
    async with module.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            for extension in EXTENSIONS - missing:
                await connection.execute(sa.text(f"CREATE EXTENSION IF NOT EXISTS {extension}"))
        for name in names:
            await connection.run_sync(TABLES[name].metadata.create_all)


async def drop_tables(module, names):
    async with module.engine.begin() as connection:
        for name in names:
            await connection.run_sync(TABLES[name].metadata.drop_all)


class Service(t.NamedTuple):
    """An application with a resource for each type of a backend, in a loop of its own."""

    client: Client
    runner: asyncio.Runner
    schemas: dict[str, t.Any]
    missing: set[str]  # extensions that the server doesn't have

    def ask(self, method, path, **options):
        response = self.runner.run(self.client.request(method, path, **options))
        return response.status_code, response.json() if response.content else None

    def check_described(self, name, record):
        document = {"components": {"schemas": self.schemas}}
        for schema in (f"Resource_{name}", f"Resource_{name}Input"):
            jsonschema.validate(record, {**document, "$ref": f"#/components/schemas/{schema}"})


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(scope="module")
def service(request, backend, tmp_path_factory):
    address = None if backend == "memory" else url(request, tmp_path_factory, backend)
    missing = set() if dialect(backend) != "postgresql" else databases.missing_extensions(address, *EXTENSIONS)
    present = {name: type_ for name, (type_, _) in NAMED.items() if type_.__name__.lower() not in missing}
    names = [name for name, type_ in present.items() if exists(type_, backend)]
    app = application(address, names)
    with asyncio.Runner() as runner:
        if address is not None:
            module = SQLAlchemyModule(address)
            runner.run(module.on_startup())
            runner.run(make_tables(module, names, missing))
        client = runner.run(Client(app=app).__aenter__())
        document = runner.run(client.get("/schema/")).json()
        yield Service(client, runner, document["components"]["schemas"], missing)
        runner.run(client.__aexit__(None, None, None))
        if address is not None:
            runner.run(drop_tables(module, names))
            runner.run(module.on_shutdown())


def text(value):
    """What stands in a query for a value of JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def test_every_type_that_there_is_is_tried():
    modules = (sa.types, pg, mysql, sqlite)
    types = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    columns = {each for each in types if issubclass(each, sa.types.TypeEngine)} - NO_COLUMN

    assert columns - CASES.keys() == set()


@pytest.mark.parametrize("name", NAMED)
def test_what_is_answered_is_taken_back_and_found(service, backend, name):
    type_, case = NAMED[name]
    if not exists(type_, backend):
        pytest.skip("the database has no such type")
    if (extension := type_.__name__.lower()) in service.missing:
        pytest.skip(f"the type of an extension that the server doesn't have: {extension}")
    path, query = f"/{name}/", f"/{name}/"

    status, record = service.ask("POST", path, json={"value": case.sent})
    assert status == 201, record
    service.check_described(name, record)
    one = f"{path}{record['id']}/"
    try:
        assert service.ask("GET", one) == (200, record)
        assert service.ask("PUT", one, json=record) == (200, record)
        assert service.ask("PATCH", one, json=record) == (200, record)
        assert service.ask("POST", f"{path}:upsert/", json=[record]) == (200, [record])
        assert service.ask("PATCH", path, json=[record]) == (200, [record])
        assert service.ask("PUT", path, json=[record]) == (200, [record])
        if case.equality:
            quoted = text(record["value"]) if case.type.__class__ is not pg.JSONB else json.dumps(record["value"])
            for asked in ({"value": f"eq:{quoted}"}, {"value": f"in:{quoted}"}, {"order_by": "value"}):
                status, page = service.ask("GET", query, params=asked)
                assert (status, page["data"] if status == 200 else page) == (200, [record])
            assert service.ask("GET", query, params={"value": f"not:eq:{quoted}"})[1]["data"] == []
    finally:
        service.ask("DELETE", path)
