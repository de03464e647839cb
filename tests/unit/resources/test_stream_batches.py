"""Streams that are read in batches: what they hold meanwhile, and that nothing of them is lost or told twice."""

import asyncio
import contextlib
import datetime
import itertools
import typing as t

import pytest
import sqlalchemy as sa

from flama import Flama, _shielding, exceptions
from flama.client import Client
from flama.ddd import Database, F, MemoryWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.composite import Worker
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.rest import ndjson
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

ROWS = 1_100  # a first batch of a hundred, and others
NDJSON = {"accept": ndjson.MEDIA_TYPE}

metadata = sa.MetaData()
reading = sa.Table(
    "stream_reading",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("place", sa.String(20), index=True),  # some have none
    sa.Column("level", sa.Integer, nullable=False, index=True),  # many are alike
    sa.Column("value", sa.Float, index=True),
    sa.Column("note", sa.String(2_000), nullable=False),
    sa.Column("deleted_at", sa.DateTime),
    sa.Index("stream_reading_both", "level", "place"),
)


class Readings(SQLAlchemyTableRepository):
    _table = reading
    _deleted_at = "deleted_at"


class Scoped(SQLAlchemyWorker):
    """Shows low levels alone."""

    readings: Readings

    def make_repository(self, repository, session):
        return super().make_repository(repository, session).scoped(F.level < 7)


class Others(SQLAlchemyTableRepository):
    _table = reading


class Other(CRUDResource):
    repository = Others


class Reading(CRUDResource):
    repository = Readings


class Snapshot(CRUDResource):
    repository = Readings
    name = "snapshot"
    stream_snapshot = True


class Whole(CRUDResource):
    model = reading
    name = "whole"


def rows():
    for number in range(ROWS):
        yield {
            "id": number + 1,
            "place": None if number % 11 == 0 else f"place {number * 7 % 60}",
            "level": number * 13 % 9,
            "value": number / 8,
            "note": "x" * (number % 5 * 300),
            "deleted_at": datetime.datetime.fromisoformat("2026-01-01") if number % 10 == 3 else None,
        }


def shown():
    return [row for row in rows() if row["level"] < 7 and row["deleted_at"] is None]


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/readings.db"
    return request.getfixturevalue({"postgresql": "postgres_url", "mariadb": "mariadb_url"}[request.param])


class Mixed(Worker):
    """A unit of several backends."""

    others: t.Annotated[Others, Database("sqlalchemy")]


@pytest.fixture
async def app(url):
    module = SQLAlchemyModule(url, engine_args={"pool_size": 2, "max_overflow": 0, "pool_timeout": 0.5})
    app = Flama(modules=[module], components=[WorkerComponent(Scoped()), WorkerComponent(Mixed())])
    for resource in (Reading, Snapshot, Whole, Other):
        app.resources.add_resource(f"/{resource.name}/", resource)
    async with app.lifespan():
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
            await connection.execute(reading.insert(), list(rows()))
        yield app
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)


async def pieces(app, path, query="", on_piece=None):
    """Return the lines that come in each message, and how many connections were in use at each."""
    found, taken = [], []

    async def send(message):
        if message.get("body"):
            found.append([ndjson.decode(line, resource="") for line in message["body"].splitlines()])
            taken.append(app.sqlalchemy.engine.pool.checkedout())
            if on_piece is not None:
                await on_piece(len(found))

    async def receive():
        raise AssertionError("the application waits for its client")

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "root_path": ""}
    headers = [(b"accept", ndjson.MEDIA_TYPE.encode())]
    version = {"asgi": {"spec_version": "2.4"}, "http_version": "1.1"}
    await app({**scope, **version, "query_string": query.encode(), "headers": headers}, receive, send)
    return found, taken


def sort_key(*fields):
    return lambda row: [(row[field] is None, 0 if row[field] is None else row[field]) for field in fields]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", ["id"]),
        ("order_by=id", ["id"]),
        ("order_by=level", ["level", "id"]),
        ("order_by=place", ["place", "id"]),
        ("order_by=level,place", ["level", "place", "id"]),
    ],
)
async def test_a_stream_in_the_order_of_a_key_or_an_index_has_no_connection_between_its_batches(app, query, fields):
    found, taken = await pieces(app, "/reading/", query)

    records = list(itertools.chain(*found))
    assert len(found) > 2
    assert set(taken) == {0}
    assert [record["id"] for record in records] == [row["id"] for row in sorted(shown(), key=sort_key(*fields))]


async def test_a_unit_of_several_backends_is_as_short(app):
    found, taken = await pieces(app, "/other/")

    assert set(taken) == {0}
    assert [record["id"] for record in itertools.chain(*found)] == list(range(1, ROWS + 1))


async def test_descending_orders_go_the_other_way(app):
    found, taken = await pieces(app, "/reading/", "order_by=-place")

    present = [row for row in shown() if row["place"] is not None]
    present.sort(key=lambda row: (row["place"], -row["id"]), reverse=True)
    absent = [row for row in shown() if row["place"] is None]
    assert set(taken) == {0}
    assert [record["id"] for record in itertools.chain(*found)] == [row["id"] for row in [*present, *absent]]


@pytest.mark.parametrize("query", ["order_by=note", "order_by=value", "order_by=place,level"])
async def test_a_stream_that_each_batch_would_sort_anew_is_read_in_one_unit(app, query):
    found, taken = await pieces(app, "/reading/", query)

    assert set(taken[:-1]) == {1}
    assert sorted(record["id"] for record in itertools.chain(*found)) == [row["id"] for row in shown()]


async def test_filters_and_pages_hold_for_all_batches(app):
    found, _ = await pieces(app, "/reading/", "level=lte:4&limit=250&offset=20&order_by=level")

    expected = sorted((row for row in shown() if row["level"] <= 4), key=sort_key("level", "id"))[20:270]
    assert [record["id"] for record in itertools.chain(*found)] == [row["id"] for row in expected]


async def test_records_come_and_go_between_batches(app):
    async def change(number):
        if number == 1:
            async with app.sqlalchemy.engine.begin() as connection:
                await connection.execute(reading.delete().where(reading.c.id > 1_000))
                await connection.execute(reading.insert(), [{"id": 9_000, "level": 1, "note": "new"}])

    batches, _ = await pieces(app, "/whole/", on_piece=change)

    ids = [record["id"] for record in itertools.chain(*batches)]
    assert ids == [*range(1, 1_001), 9_000]


async def test_a_snapshot_is_of_one_moment(app):
    async def change(number):
        if number == 1:
            async with app.sqlalchemy.engine.begin() as connection:
                await connection.execute(reading.delete().where(reading.c.id > 1_000))

    found, taken = await pieces(app, "/snapshot/", on_piece=change)

    assert set(taken[:-1]) == {1}
    assert len(list(itertools.chain(*found))) == len(shown())


async def test_an_error_between_batches_is_the_last_line(app):
    async with contextlib.AsyncExitStack() as stack:

        async def take(number):
            if number == 1:
                await stack.enter_async_context(app.sqlalchemy.stream_slots.slot())

        found, _ = await pieces(app, "/whole/", on_piece=take)

    records = list(itertools.chain(*found))
    assert [record["id"] for record in records[:-1]] == list(range(1, 101))
    assert isinstance(records[-1], exceptions.UnavailableError)
    assert records[-1].retry_after == 0.5


async def test_who_goes_away_at_any_moment_leaves_no_connection_and_no_slot_behind(app):
    for path in ("/reading/", "/snapshot/"):
        for step in range(1, 40):
            await cancelled_after(pieces(app, path), step)
    while _shielding._clean_ups:
        await _shielding.wait_uncancelled(set(_shielding._clean_ups), first=False)

    assert app.sqlalchemy.engine.pool.checkedout() == 0
    async with app.sqlalchemy.stream_slots.slot():
        assert not app.sqlalchemy.stream_slots._slots.available


async def cancelled_after(coroutine, steps):
    task = asyncio.ensure_future(coroutine)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_store_in_memory_is_free_while_a_stream_is_taken():
    app = Flama(components=[WorkerComponent(MemoryWorker.of(Scoped)())])
    app.resources.add_resource("/reading/", Reading)

    async with Client(app=app) as client:
        for row in shown()[:150]:
            record = {name: row[name] for name in ("id", "level", "note")}
            assert (await client.post("/reading/", json=record)).status_code == 201
        async with client.stream("GET", "/reading/", headers=NDJSON) as response:
            lines = response.aiter_lines()
            await anext(lines)
            stored = await client.get(f"/reading/{shown()[0]['id']}/")
            rest = [line async for line in lines]

    assert stored.status_code == 200
    assert len(rest) == 149


@pytest.mark.parametrize("number", [0, -1, True, 2.5, "2"])
def test_a_number_of_stream_connections_is_one(number):
    with pytest.raises(exceptions.ApplicationError, match="'stream_connections' is a number from 1"):
        SQLAlchemyModule("sqlite+aiosqlite:///", stream_connections=number)


async def test_streams_have_no_more_connections_than_the_pool():
    module = SQLAlchemyModule("sqlite+aiosqlite:///data.db", engine_args={"pool_size": 2}, stream_connections=13)

    with pytest.raises(exceptions.ApplicationError, match="the pool has 12 connections"):
        await module.on_startup()


@pytest.mark.parametrize(
    ("pool", "asked", "number"),
    [
        ({"pool_size": 5, "max_overflow": 0}, None, 2),
        ({"pool_size": 1, "max_overflow": 0}, None, 1),
        ({"pool_size": 2, "max_overflow": 0}, None, 1),
        ({}, None, 7),
        ({}, 15, 15),
        ({"pool_size": 0}, None, float("inf")),
    ],
)
async def test_streams_have_half_of_the_pool_unless_it_is_said(pool, asked, number):
    module = SQLAlchemyModule("sqlite+aiosqlite:///data.db", engine_args=pool, stream_connections=asked)
    await module.on_startup()

    assert module.stream_slots.number == number
    await module.on_shutdown()
