"""A moment is one instant on every backend, whatever the time zone of the process or the session."""

import contextlib
import datetime
import functools
import itertools
import os
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from flama import exceptions
from flama.ddd import F
from flama.ddd.repositories.memory import MemoryRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.memory import MemoryWorker

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

UTC = datetime.UTC
ZONE = datetime.timezone(datetime.timedelta(hours=2))
AWARE = datetime.datetime(2024, 3, 10, 4, 30, 15, 250_000, tzinfo=ZONE)  # which New York's clocks leave out, in UTC
NAIVE = AWARE.replace(tzinfo=None)
IN_UTC = AWARE.astimezone(UTC)
NAIVE_IN_UTC = NAIVE.replace(tzinfo=UTC)


def fine(type_, other):
    """A type that keeps fractions of seconds on MariaDB, too."""
    return type_.with_variant(other, "mysql", "mariadb")


class Decorated(sa.types.TypeDecorator):
    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(fine(sa.DateTime(timezone=True), mysql.DATETIME(fsp=6)))


metadata = sa.MetaData()
event_table = sa.Table(
    "event",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("zoned", fine(sa.DateTime(timezone=True), mysql.DATETIME(fsp=6)), unique=True),
    sa.Column("stamp", fine(sa.TIMESTAMP(timezone=True), mysql.TIMESTAMP(fsp=6)), nullable=True),
    sa.Column("decorated", Decorated),
    sa.Column("clock", fine(sa.Time(timezone=True), mysql.TIME(fsp=6))),
    sa.Column("naive", fine(sa.DateTime(), mysql.DATETIME(fsp=6))),
    sa.Column("naive_clock", fine(sa.Time(), mysql.TIME(fsp=6))),
)
native = sa.MetaData()
span_table = sa.Table(
    "span",
    native,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("several", postgresql.ARRAY(sa.DateTime(timezone=True))),
    sa.Column("zoned", postgresql.TSTZRANGE),
    sa.Column("zones", postgresql.TSTZMULTIRANGE),
    sa.Column("naive", postgresql.TSRANGE),
)
ZONED = ("zoned", "stamp", "decorated")
SESSIONS = {
    "aiosqlite": None,
    "asyncpg": "SET TIME ZONE 'America/New_York'",
    "psycopg": "SET TIME ZONE 'America/New_York'",
    "asyncmy": "SET time_zone = '-05:00'",
}


class Events(SQLAlchemyTableRepository):
    _table = event_table


class EventsInMemory(MemoryRepository):
    _table = event_table


class Memory(MemoryWorker):
    events: EventsInMemory


@pytest.fixture(params=[*SESSIONS])
def url(request, tmp_path):
    match request.param:
        case "aiosqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/data.db"
        case "asyncmy":
            return request.getfixturevalue("mariadb_url")
        case driver:
            return request.getfixturevalue("postgres_url").replace("asyncpg", driver)


@contextlib.asynccontextmanager
async def engine_with(url, metadata):
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
        yield engine
        async with engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
    finally:
        await engine.dispose()


@contextlib.asynccontextmanager
async def session(engine, *, far_away=True, heard=False):
    """A connection, whose session is far away from UTC; with ``heard``, its statements are run by SQLAlchemy."""
    async with engine.connect() as connection:
        if far_away and (command := SESSIONS[connection.dialect.driver]):
            await connection.exec_driver_sql(command)
        if heard:
            sa.event.listen(connection.sync_connection, "before_cursor_execute", lambda *_: None)
        try:
            yield connection
        finally:
            await connection.rollback()
            await connection.invalidate()  # the session's zone is nobody else's


@pytest.fixture
async def engine(url):
    async with engine_with(url, metadata) as engine:
        yield engine


@pytest.fixture(params=["by the driver", "by SQLAlchemy"])
async def connection(request, engine):
    async with session(engine, heard=request.param == "by SQLAlchemy") as connection:
        yield connection


@pytest.fixture
def events(connection):
    return Events(connection)


def is_utc(moment):
    return moment.tzinfo is not None and moment.utcoffset() == datetime.timedelta()


GIVEN = [
    (AWARE, IN_UTC),
    (NAIVE, NAIVE_IN_UTC),
    (IN_UTC, IN_UTC),
    (AWARE.date(), datetime.datetime(2024, 3, 10, tzinfo=UTC)),
]


async def test_a_moment_is_an_instant_in_utc_to_every_verb(events):
    for name, (given, instant) in itertools.product(ZONED, GIVEN):
        found = {
            "create": (await events.create({"id": 1, name: given}))[0],
            "retrieve": await events.retrieve(**{name: given}),
            "get": await events.get(F[name] == given),
            "first": await events.first(F[name].in_([given])),
            "update": (await events.update({name: given}, F[name] >= given, id=1))[0],
            "upsert": (await events.upsert({"id": 1, name: given}, {"id": 2}))[0],
            "list": await anext(aiter(events.list(F[name] <= given, order_by=name))),
        }

        for verb, event in found.items():
            assert event[name] == instant, (verb, name)
            assert is_utc(event[name]), (verb, name)
        assert await events.count(F[name] > given) == 0
        assert await events.exists(F[name] < given) is False
        assert await events.drop(**{name: given}) == 1
        await events.delete(id=2)


async def test_moments_are_compared_and_sorted_as_instants(events):
    later = AWARE.astimezone(datetime.timezone(datetime.timedelta(hours=-9))) + datetime.timedelta(minutes=1)
    earlier = (NAIVE_IN_UTC - datetime.timedelta(hours=3)).replace(tzinfo=None)
    for number, moment in enumerate([AWARE, later, earlier], 1):
        await events.create({"id": number, "zoned": moment})

    ordered = [event["id"] async for event in events.list(order_by="zoned")]
    after = [event["id"] async for event in events.list(order_by="zoned", after={"zoned": AWARE, "id": 1})]
    between = [event["id"] async for event in events.list((F.zoned >= AWARE) & (F.zoned < later))]

    assert ordered == [3, 1, 2]
    assert after == [2]
    assert between == [1]


async def test_a_record_is_known_by_its_instant(events):
    await events.create({"id": 1, "zoned": AWARE})

    (changed,) = await events.upsert({"id": 9, "zoned": IN_UTC, "decorated": NAIVE}, on="zoned")
    found, created = await events.get_or_create({"zoned": IN_UTC.replace(tzinfo=None)}, on="zoned")

    assert (changed["id"], changed["decorated"]) == (1, NAIVE_IN_UTC)
    assert (found["id"], created) == (1, False)


async def test_a_time_of_the_day_is_in_utc(events):
    (created,) = await events.create({"id": 1, "clock": AWARE.timetz()})

    assert created["clock"] == IN_UTC.timetz()
    assert is_utc(created["clock"])
    assert await events.count(clock=IN_UTC.timetz()) == await events.count(F.clock == AWARE.time().replace(hour=2)) == 1


async def test_a_column_without_a_zone_refuses_an_offset(events):
    await events.create({"id": 1})

    for value in ({"naive": AWARE}, {"naive": IN_UTC}, {"naive_clock": AWARE.timetz()}):
        ((name, moment),) = value.items()
        for call in (
            functools.partial(events.create, value),
            functools.partial(events.create, value, value),
            functools.partial(events.update, value, id=1),
            functools.partial(events.upsert, {"id": 1, **value}),
            functools.partial(events.retrieve, **value),
            functools.partial(events.count, F[name] >= moment),
        ):
            with pytest.raises(exceptions.InvalidDataError, match="has a time zone"):
                await call()


async def test_a_column_without_a_zone_keeps_what_it_is_given(events):
    (created,) = await events.create({"id": 1, "naive": NAIVE, "naive_clock": NAIVE.time()})

    assert (created["naive"], created["naive_clock"]) == (NAIVE, NAIVE.time())


async def test_what_is_no_moment_is_refused(events):
    with pytest.raises(exceptions.InvalidDataError, match="no moment"):
        await events.create({"zoned": "2024-03-10 04:30:15"})


async def test_a_statement_of_the_programs_own_means_the_same(connection, events):
    zoned = event_table.c.zoned
    await connection.execute(sa.insert(event_table), [{"id": 1, "zoned": AWARE}, {"id": 2, "zoned": NAIVE}])

    found = (await connection.execute(sa.select(zoned).where(zoned >= IN_UTC).order_by(zoned))).scalars().all()

    assert found == [IN_UTC, NAIVE_IN_UTC]
    assert all(map(is_utc, found))


async def test_an_instant_is_the_same_to_another_session(engine):
    async with session(engine) as connection:
        await Events(connection).create({"id": 1, **dict.fromkeys(ZONED, AWARE)})
        await connection.commit()
    async with session(engine, far_away=False) as connection:
        found = await Events(connection).retrieve(id=1)

    assert [found[name] for name in ZONED] == [IN_UTC] * 3


async def test_the_engine_of_somebody_else_stays_as_it_is(engine):
    async with session(engine) as connection:
        await Events(connection).create({"id": 1, "zoned": AWARE})
        await connection.commit()
    async with session(engine, far_away=False) as connection:
        found = (await connection.execute(sa.select(event_table.c.zoned))).scalar_one()

    assert (found.tzinfo is None) is (connection.dialect.name in ("sqlite", "mysql"))


async def test_a_scope_may_be_of_moments_without_an_offset(events):
    scoped = events.scoped(F.zoned < NAIVE)

    (created,) = await scoped.create({"id": 1, "zoned": AWARE})

    assert created["zoned"] == IN_UTC
    with pytest.raises(exceptions.PermissionDeniedError):
        await scoped.create({"id": 2, "zoned": NAIVE})


async def test_what_sqlite_holds_already_is_in_utc(tmp_path):
    async with (
        engine_with(f"sqlite+aiosqlite:///{tmp_path}/data.db", metadata) as engine,
        session(engine) as connection,
    ):
        await connection.exec_driver_sql("INSERT INTO event (id, zoned) VALUES (1, '2024-03-10 02:30:15.250000')")

        assert (await Events(connection).retrieve(zoned=AWARE))["zoned"] == IN_UTC


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_moments_within_other_values_are_instants_too(postgres_url, driver):
    async with (
        engine_with(postgres_url.replace("asyncpg", driver), native) as engine,
        session(engine) as connection,
    ):
        spans = type("Spans", (SQLAlchemyTableRepository,), {"_table": span_table})(connection)
        span = postgresql.Range(NAIVE, AWARE + datetime.timedelta(days=1))
        in_utc = postgresql.Range(NAIVE_IN_UTC, IN_UTC + datetime.timedelta(days=1))

        (created,) = await spans.create({"id": 1, "several": [AWARE, NAIVE, None], "zoned": span, "zones": [span]})

        assert created["several"] == [IN_UTC, NAIVE_IN_UTC, None]
        assert (created["zoned"], list(created["zones"])) == (in_utc, [in_utc])
        assert all(map(is_utc, [*created["several"][:2], created["zoned"].lower, created["zones"][0].upper]))
        with pytest.raises(exceptions.InvalidDataError, match="has a time zone"):
            await spans.create({"naive": postgresql.Range(AWARE, None)})


@pytest.mark.parametrize("name", ZONED)
async def test_memory_has_the_same_instants(name):
    async with Memory() as unit:
        await unit.events.create({"id": 1, name: AWARE}, {"id": 2, name: NAIVE, "clock": AWARE.timetz()})
        found = [event async for event in unit.events.list(F[name] >= NAIVE.replace(hour=2), order_by=name)]

        assert [event[name] for event in found] == [IN_UTC, NAIVE_IN_UTC]
        assert found[1]["clock"] == IN_UTC.timetz()
        assert await unit.events.count(clock=IN_UTC.timetz()) == 1
        with pytest.raises(exceptions.InvalidDataError, match="has a time zone"):
            await unit.events.create({"naive": AWARE})


_PROGRAM = """
import asyncio, datetime, sys, time
from tests.unit.ddd.test_moments import AWARE, Events, IN_UTC, Memory, NAIVE, NAIVE_IN_UTC, engine_with, metadata

async def check(events):
    await events.create({"id": 1, "zoned": AWARE}, {"id": 2, "zoned": NAIVE})
    assert (await events.retrieve(id=1))["zoned"] == IN_UTC
    assert (await events.retrieve(zoned=NAIVE))["zoned"] == NAIVE_IN_UTC

async def main(url):
    assert time.timezone == 5 * 3600
    async with Memory() as unit:
        await check(unit.events)
    async with engine_with(url, metadata) as engine, engine.connect() as connection:
        await check(Events(connection))
        await connection.rollback()

asyncio.run(main(sys.argv[1]))
"""


def test_the_time_zone_of_the_process_is_nothing_to_moments(url):
    environment = {**os.environ, "TZ": "America/New_York"}

    done = subprocess.run([sys.executable, "-c", _PROGRAM, url], env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
