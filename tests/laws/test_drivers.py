"""To speak to a driver directly means what SQLAlchemy means: for every type, values, errors and defaults."""

import asyncio
import contextlib
import datetime
import enum
import ipaddress
import itertools
import typing as t

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.dialects import postgresql as pg

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy import SQLAlchemyModule
from flama.sqlalchemy.drivers._resolve import resolve_driver
from flama.sqlalchemy.sql import statements
from tests.support import databases


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Reversed(sa.types.TypeDecorator):
    """A text that is stored backwards."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value[::-1] if value is not None else None

    def process_result_value(self, value, dialect):
        return value[::-1] if value is not None else None


class Lowered(sa.types.UserDefinedType):
    """A text that the database itself makes small, and great again."""

    cache_ok = True

    def get_col_spec(self, **kwargs):
        return "VARCHAR(40)"

    def bind_expression(self, bindvalue):
        return sa.func.lower(bindvalue)

    def column_expression(self, column):
        return sa.func.upper(column)


plain_text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
integers = st.integers(-(2**31), 2**31 - 1)
decimals = st.decimals(-(10**7), 10**7, places=4)
days = st.dates(datetime.date(1000, 1, 1))
moments = st.datetimes(datetime.datetime.fromisoformat("1000-01-01"))
zoned = moments.map(lambda moment: moment.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=moment.hour - 12))))
spans = st.timedeltas(datetime.timedelta(days=-10_000), datetime.timedelta(days=10_000))
floats = st.floats(allow_nan=False, allow_infinity=False)
json = st.recursive(
    st.none() | st.booleans() | integers | plain_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3),
    max_leaves=5,
)


def ranges(bounds):
    pairs = st.tuples(bounds, bounds).map(sorted)
    whole = pairs.flatmap(
        lambda pair: st.sampled_from(["[)", "(]", "()", "[]"]).map(lambda b: pg.Range(*pair, bounds=b))
    )
    return whole | st.just(pg.Range(empty=True)) | bounds.map(lambda low: pg.Range(low, None))


GENERIC: dict[str, tuple[t.Any, st.SearchStrategy[t.Any]]] = {
    "big_integer": (sa.BigInteger(), st.integers(-(2**63), 2**63 - 1)),
    "boolean": (sa.Boolean(), st.booleans()),
    "checked_boolean": (sa.Boolean(create_constraint=True), st.booleans()),
    "date": (sa.Date(), days),
    "datetime": (sa.DateTime(), moments),
    "datetime_zoned": (sa.DateTime(timezone=True), zoned),
    "double": (sa.Double(), floats),
    "enum": (sa.Enum(Colour), st.sampled_from(Colour)),
    "enum_checked": (
        sa.Enum("a", "b", name="checked", native_enum=False, create_constraint=True),
        st.sampled_from("ab"),
    ),
    "enum_of_values": (
        sa.Enum(Colour, name="by_value", values_callable=lambda kind: [member.value for member in kind]),
        st.sampled_from(Colour),
    ),
    "float": (sa.Float(), floats),
    "float_asdecimal": (sa.Float(asdecimal=True), st.decimals(-1000, 1000, places=2)),
    "integer": (sa.Integer(), integers),
    "interval": (sa.Interval(), spans),
    "interval_not_native": (sa.Interval(native=False), spans),
    "json": (sa.JSON(), json),
    "json_none_as_null": (sa.JSON(none_as_null=True), json),
    "large_binary": (sa.LargeBinary(), st.binary(max_size=50)),
    "lowered": (Lowered(), st.text("abcXYZ", max_size=9)),
    "numeric": (sa.Numeric(12, 4), decimals),
    "numeric_as_float": (sa.Numeric(12, 4, asdecimal=False), decimals),
    "pickle": (sa.PickleType(), json | days | spans),
    "reversed": (Reversed(30), plain_text),
    "small_integer": (sa.SmallInteger(), st.integers(-(2**15), 2**15 - 1)),
    "string": (sa.String(30), plain_text),
    "text": (sa.Text(), plain_text),
    "text_of_fixed_length": (sa.CHAR(20), plain_text),
    "time": (sa.Time(), st.times()),
    "timestamp_standard": (sa.TIMESTAMP(), moments),
    "unicode": (sa.Unicode(30), plain_text),
    "unicode_text": (sa.UnicodeText(), plain_text),
    "uuid": (sa.Uuid(), st.uuids()),
    "uuid_not_native": (sa.Uuid(native_uuid=False), st.uuids()),
    "uuid_text": (sa.Uuid(as_uuid=False), st.uuids().map(str)),
    "variant": (sa.String(40).with_variant(sa.Text(), "sqlite").with_variant(pg.CHAR(20), "postgresql"), plain_text),
}
POSTGRESQL: dict[str, tuple[t.Any, st.SearchStrategy[t.Any]]] = {
    "array": (sa.ARRAY(sa.Integer), st.lists(st.none() | integers, max_size=4)),
    "array_of_arrays": (
        pg.ARRAY(sa.Integer, dimensions=2),
        st.lists(st.tuples(integers, integers).map(list), max_size=3),
    ),
    "array_of_decorated": (pg.ARRAY(Reversed(30)), st.lists(plain_text, max_size=3)),
    "array_of_enums": (
        pg.ARRAY(sa.Enum(Colour, name="colour_of_array")),
        st.lists(st.sampled_from(Colour), max_size=3),
    ),
    "array_of_json": (pg.ARRAY(pg.JSONB), st.lists(json.filter(lambda value: value is not None), max_size=3)),
    "array_of_moments": (pg.ARRAY(sa.DateTime(timezone=True)), st.lists(st.none() | zoned, max_size=3)),
    "array_of_numerics": (pg.ARRAY(sa.Numeric(12, 4)), st.lists(decimals, max_size=3)),
    "array_of_text": (pg.ARRAY(sa.Text), st.lists(plain_text, max_size=3)),
    "array_of_three_dimensions": (
        pg.ARRAY(sa.Integer, dimensions=3),
        st.lists(st.tuples(st.tuples(integers, integers).map(list)).map(list), max_size=2),
    ),
    "array_of_uuids": (pg.ARRAY(sa.Uuid), st.lists(st.uuids(), max_size=3)),
    "array_of_tuples": (pg.ARRAY(sa.Integer, as_tuple=True), st.lists(integers, max_size=3)),
    "bit": (pg.BIT(8), st.integers(0, 255).map(lambda number: pg.BitString.from_int(number, 8))),
    "bit_varying": (
        pg.BIT(varying=True),
        st.text("01", min_size=1, max_size=9).map(pg.BitString),
    ),
    "bytea": (pg.BYTEA(), st.binary(max_size=50)),
    "cidr": (pg.CIDR(), st.ip_addresses(v=4).map(lambda address: f"{address}/32")),
    "cidr_of_version_6": (pg.CIDR(), st.ip_addresses(v=6).map(lambda address: f"{address}/128")),
    "citext": (pg.CITEXT(), plain_text),
    "datemultirange": (pg.DATEMULTIRANGE(), st.lists(ranges(days), max_size=2)),
    "daterange": (pg.DATERANGE(), ranges(days)),
    "domain": (pg.DOMAIN("positive", sa.Integer, check="VALUE > 0"), st.integers(1, 2**31 - 1)),
    "enum_named": (pg.ENUM(Colour, name="named_colour"), st.sampled_from(Colour)),
    "hstore": (pg.HSTORE(), st.dictionaries(plain_text, st.none() | plain_text, max_size=3)),
    "inet": (pg.INET(), st.ip_addresses(v=4).map(str)),
    "int4multirange": (pg.INT4MULTIRANGE(), st.lists(ranges(st.integers(-1000, 1000)), max_size=3)),
    "int4range": (pg.INT4RANGE(), ranges(st.integers(-1000, 1000))),
    "int8multirange": (pg.INT8MULTIRANGE(), st.lists(ranges(st.integers(-(2**40), 2**40)), max_size=3)),
    "int8range": (pg.INT8RANGE(), ranges(st.integers(-(2**40), 2**40))),
    "interval_of_days": (pg.INTERVAL(fields="DAY TO SECOND"), spans),
    "interval_of_seconds": (pg.INTERVAL(precision=3), spans),
    "json_postgresql": (pg.JSON(), json),
    "jsonb": (pg.JSONB(), json),
    "jsonb_none_as_null": (pg.JSONB(none_as_null=True), json),
    "jsonpath": (pg.JSONPATH(), st.sampled_from(["$.a", '$."b"[*]'])),
    "macaddr": (pg.MACADDR(), st.just("08:00:2b:01:02:03")),
    "macaddr8": (pg.MACADDR8(), st.just("08:00:2b:01:02:03:04:05")),
    "money": (pg.MONEY(), decimals.map(lambda amount: f"{amount:.2f}")),
    "nummultirange": (pg.NUMMULTIRANGE(), st.lists(ranges(decimals), max_size=2)),
    "numrange": (pg.NUMRANGE(), ranges(decimals)),
    "oid": (pg.OID(), st.integers(0, 2**32 - 1)),
    "regclass": (pg.REGCLASS(), st.sampled_from(["pg_class", "pg_type"])),
    "regconfig": (pg.REGCONFIG(), st.sampled_from(["simple", "english"])),
    "time_of_seconds": (pg.TIME(precision=2), st.times()),
    "time_zoned": (sa.Time(timezone=True), st.times(timezones=st.just(datetime.UTC))),
    "timestamp": (pg.TIMESTAMP(precision=3), moments),
    "tsmultirange": (pg.TSMULTIRANGE(), st.lists(ranges(moments), max_size=2)),
    "tsquery": (pg.TSQUERY(), st.sampled_from(["'a' & 'b'", "a | !b"])),
    "tsrange": (pg.TSRANGE(), ranges(moments)),
    "tstzmultirange": (pg.TSTZMULTIRANGE(), st.lists(ranges(zoned), max_size=2)),
    "tstzrange": (pg.TSTZRANGE(), ranges(zoned)),
    "tsvector": (pg.TSVECTOR(), st.text("abc ", max_size=9)),
}
WRONG = (
    st.none()
    | integers
    | st.integers(2**63, 2**70)
    | st.floats()
    | st.booleans()
    | plain_text
    | st.just("a\x00b")
    | st.just("\ud800")
    | st.binary(max_size=4)
    | days
    | moments
    | zoned
    | spans
    | decimals
    | st.uuids()
    | st.sampled_from(Colour)
    | st.lists(integers, max_size=2)
    | st.dictionaries(plain_text, integers, max_size=2)
    | st.ip_addresses().map(ipaddress.ip_interface)
    | st.just(object)
)

metadata = sa.MetaData()
native = sa.MetaData()  # of PostgreSQL alone


def table_of(name: str, type_: t.Any) -> sa.Table:
    columns = sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("value", type_)
    return sa.Table(f"kind_{name}", native if name in POSTGRESQL else metadata, *columns)


TABLES = {name: table_of(name, type_) for name, (type_, _) in (GENERIC | POSTGRESQL).items()}


def with_context(context):
    given = context.get_current_parameters()
    return f"{given['name']} of {sorted(given)} in {context.engine.dialect.name}"


counters = [itertools.count()]
defaults_table = sa.Table(
    "with_defaults",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), default="unnamed", onupdate="changed"),
    sa.Column("told", sa.String(300), default=with_context, onupdate=lambda context: "updated"),
    sa.Column("counted", sa.Integer, default=lambda: next(counters[0]), onupdate=lambda: next(counters[0])),
    sa.Column("made", sa.Integer, default=sa.func.abs(-3), onupdate=sa.func.abs(-4)),
    sa.Column("served", sa.Integer, server_default="5"),
    sa.Column("kind", sa.Enum(Colour), default=Colour.RED, onupdate=lambda: Colour.GREEN),
    sa.Column("odd (name)", sa.Integer, default=7),
)


@pytest.fixture(scope="module", params=["aiosqlite", "asyncpg", "psycopg"])
def url(request, tmp_path_factory):
    if request.param == "aiosqlite":
        return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('laws')}/data.db"
    return request.getfixturevalue("postgres_url").replace("asyncpg", request.param)


@pytest.fixture(scope="module")
def missing(url):
    """The extensions that the server doesn't have; each has one type, of its own name."""
    return databases.missing_extensions(url, "citext", "hstore") if url.startswith("postgresql") else set()


def schemas_on(url, missing):
    """The metadata of what the database can have, with those tables of each that it can have."""
    yield metadata, metadata.sorted_tables
    if url.startswith("postgresql"):
        yield native, [table for table in native.sorted_tables if table.name.removeprefix("kind_") not in missing]


class Database:
    """An engine in a loop of its own: what draws the examples must not do so within the loop."""

    def __init__(self, runner, engine, missing):
        self.run = runner.run
        self.engine = engine
        self.missing = missing

    def both(self, steps):
        """The outcome of both ways, one after the other."""
        return self.run(both(self.engine, steps))


async def started(url, missing):
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with module.engine.begin() as connection:
        if url.startswith("postgresql"):
            for extension in {"citext", "hstore"} - missing:
                await connection.execute(sa.text(f"CREATE EXTENSION IF NOT EXISTS {extension}"))
        for each, tables in schemas_on(url, missing):
            await connection.run_sync(each.drop_all, tables)
            await connection.run_sync(each.create_all, tables)
    await module.on_shutdown()
    await module.on_startup()  # it looks for extensions when it first connects
    return module


async def stopped(module, url, missing):
    async with module.engine.begin() as connection:
        for each, tables in schemas_on(url, missing):
            await connection.run_sync(each.drop_all, tables)
    await module.on_shutdown()


@pytest.fixture(scope="module")
def database(url, missing):
    with asyncio.Runner() as runner:
        module = runner.run(started(url, missing))
        yield Database(runner, module.engine, missing)
        runner.run(stopped(module, url, missing))


@contextlib.asynccontextmanager
async def rolled_back(engine, *, directly):
    """A connection whose driver is spoken to directly or, as somebody listens, by SQLAlchemy."""
    async with engine.connect() as connection:
        if not directly:
            event.listen(connection.sync_connection, "before_cursor_execute", lambda *args: None)
        assert (resolve_driver(connection) is not None) is directly
        yield connection
        await connection.rollback()


async def outcome(steps):
    """What each step gives, until one fails, and how."""
    given = []
    try:
        async for step in steps:
            given += [repr(step)]
    except Exception as error:  # noqa: BLE001
        given.append((type(error), type(error.__cause__), getattr(error, "detail", None)))
    return given


async def both(engine, steps):
    """The outcome of both ways, one after the other."""
    async with rolled_back(engine, directly=True) as connection:
        directly = await outcome(steps(connection))
    async with rolled_back(engine, directly=False) as connection:
        by_sqlalchemy = await outcome(steps(connection))
    return directly, by_sqlalchemy


async def stored(connection, table):
    """The values as the database has them."""
    if connection.dialect.name == "sqlite":
        statement = f"SELECT id, typeof(value), quote(value) FROM {table.name} ORDER BY id"
    else:
        statement = f"SELECT id, value::text FROM {table.name} ORDER BY id"
    return [tuple(row) for row in await connection.execute(sa.text(statement))]


def every_verb(table, first, second):
    async def steps(connection):
        things = type("Things", (SQLAlchemyTableRepository,), {"_table": table})(connection)
        yield await things.create({"id": 1, "value": first})
        yield await things.retrieve(id=1)
        yield await stored(connection, table)
        yield await things.update({"value": second}, id=1)
        yield await stored(connection, table)
        yield await things.create({"id": 2, "value": second}, {"id": 3, "value": first}, {"id": 4})
        yield await stored(connection, table)
        yield [thing async for thing in things.list(order_by="id")]
        yield await things.drop(id=3)
        yield await things.delete(id=2)
        yield [thing async for thing in things.list(value=second)]

    return steps


settings = hypothesis.settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)


def of_driver(url, missing, name):
    if name in POSTGRESQL and not url.startswith("postgresql"):
        pytest.skip("a type of PostgreSQL")
    if name in missing:
        pytest.skip(f"the type of an extension that the server doesn't have: {name}")
    return TABLES[name], (GENERIC | POSTGRESQL)[name][1]


def parts(type_):
    """The classes of a type and of those that it's made of."""
    inner = [*filter(None, [getattr(type_, "item_type", None)]), *type_._variant_mapping.values()]
    return {type(type_)}.union(*map(parts, inner))


# what a type does with values
WAYS = ("bind_processor", "result_processor", "bind_expression", "column_expression", "process_bind_param")
# what others are made of, or what is no type of a column
NO_COLUMN = {sa.types.TypeEngine, sa.types.UserDefinedType, sa.types.TypeDecorator, sa.types.NullType}
NO_COLUMN |= {sa.types.TupleType, sa.types.MatchType, sa.types.Variant}
NO_COLUMN |= {pg.ranges.AbstractRange, pg.ranges.AbstractSingleRange, pg.ranges.AbstractMultiRange, pg.NamedType}


def test_every_type_that_there_is_is_tried():
    tried = set().union(*(parts(type_) for type_, _ in (GENERIC | POSTGRESQL).values()))
    types = {each for module in (sa.types, pg) for each in vars(module).values() if isinstance(each, type)}
    columns = {each for each in types if issubclass(each, sa.types.TypeEngine)} - NO_COLUMN

    def is_like(each, other):
        return issubclass(each, other) and all(getattr(each, way, None) is getattr(other, way, None) for way in WAYS)

    missing = {each for each in columns if not any(is_like(each, other) for other in tried)}

    assert {each.__name__ for each in missing} <= {"BINARY", "VARBINARY", "_Binary"}  # which are as LargeBinary is
    assert columns & tried


@pytest.mark.parametrize("name", TABLES)
def test_every_type_can_be_taken_to_the_driver_directly(database, url, name):
    table, _ = of_driver(url, database.missing, name)
    insert = statements.insert(table, {"id": 1, "value": None})

    async def shape():
        async with rolled_back(database.engine, directly=True) as connection:
            return resolve_driver(connection).shapes.get(insert)

    assert database.run(shape()) is not None


@pytest.mark.parametrize("name", TABLES)
@settings
@hypothesis.given(data=st.data())
def test_what_is_stored_and_given_is_the_same_both_ways(database, url, name, data):
    table, strategy = of_driver(url, database.missing, name)
    first, second = data.draw(st.tuples(st.none() | strategy, strategy))

    directly, by_sqlalchemy = database.both(every_verb(table, first, second))

    assert directly == by_sqlalchemy


@pytest.mark.parametrize("name", TABLES)
@settings
@hypothesis.given(data=st.data())
def test_a_value_of_the_wrong_kind_fails_the_same_both_ways(database, url, name, data):
    table, strategy = of_driver(url, database.missing, name)
    first, second = data.draw(st.tuples(strategy | WRONG, WRONG))

    directly, by_sqlalchemy = database.both(every_verb(table, first, second))

    assert directly == by_sqlalchemy


@pytest.mark.parametrize("row", [{}, {"name": "n"}, {"id": 1, "told": "x", "counted": 3}, {"odd (name)": 8}])
def test_defaults_are_the_same_both_ways(database, row):
    async def steps(connection):
        counters[0] = itertools.count()
        things = type("Things", (SQLAlchemyTableRepository,), {"_table": defaults_table})(connection)
        (created,) = await things.create({"id": 1, **row})
        yield created
        yield await things.update({"served": 6}, id=1)
        yield await things.update({"name": "new", "odd (name)": 9}, id=1)
        yield await things.create(*({**row, "id": number} for number in range(10, 15)))

    directly, by_sqlalchemy = database.both(steps)

    assert directly == by_sqlalchemy
    assert len(directly) == 4
