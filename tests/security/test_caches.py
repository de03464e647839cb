"""What requests fill of a process's caches, and of a database's."""

import contextlib
import functools
import gc
import itertools
import operator
import weakref

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from flama import Flama, http
from flama.ddd import F
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.rest import accept
from flama.sqlalchemy.drivers import _compiled_cache
from flama.sqlalchemy.sql import statements

pytestmark = pytest.mark.anyio

note = sa.Table(
    "large_note",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.String(40)),
    sa.Column("title", sa.String(40)),
)


class Notes(SQLAlchemyTableRepository):
    _table = note


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch):
    """Have a tenth of the default sizes be large, which is as true and sooner made."""
    monkeypatch.setattr(statements, "_LARGE", 50)
    monkeypatch.setattr(_compiled_cache, "_HEAVIEST", 500)


@pytest.fixture(params=["aiosqlite", "asyncpg", "psycopg", "asyncmy"])
def url(request, tmp_path):
    if request.param == "aiosqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/data.db"
    if request.param == "asyncmy":
        return request.getfixturevalue("mariadb_url")
    return request.getfixturevalue("postgres_url").replace("asyncpg", request.param)


@pytest.fixture
async def connection(url):
    """Give a connection of each driver, in a transaction."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(note.drop, checkfirst=True)
        await connection.run_sync(note.create)
        await connection.commit()
        yield connection
        await connection.rollback()
        await connection.run_sync(note.drop)
        await connection.commit()
    await engine.dispose()


def large_filters(number):
    """Yield so many conditions of 24 comparisons, of which no two are alike but in that."""
    for bits in itertools.islice(itertools.product([F.text, F.title], repeat=8), number):
        parts = [field == "a" for field in bits] + [F.text != "b", F.title != "c"] * 8
        yield functools.reduce(operator.and_, parts)


@pytest.fixture
def kept(monkeypatch):
    """The compiled statements of the test that are in memory: to look at all objects would take a second each time."""
    made = weakref.WeakSet()
    begin = _compiled_cache.CompiledStatement.__init__

    def noted(shape, *args):
        begin(shape, *args)
        made.add(shape)

    monkeypatch.setattr(_compiled_cache.CompiledStatement, "__init__", noted)
    return made


async def test_large_filters_take_the_memory_of_a_few(connection, kept):
    notes, large = Notes(connection), []
    for condition in large_filters(10):
        assert [each async for each in notes.list(condition)] == []
        large.append(len(kept))

    for condition in large_filters(25):
        assert [each async for each in notes.list(condition)] == []

    gc.collect()
    assert len(kept) <= max(large) < 10
    assert len(connection.engine.sync_engine._compiled_cache) < 10


async def test_large_statements_are_not_kept_compiled_when_somebody_listens(connection):
    def listen(*_):
        """Have SQLAlchemy run the statements."""

    engine = connection.engine.sync_engine
    with contextlib.ExitStack() as stack:
        event.listen(engine, "before_cursor_execute", listen)
        stack.callback(event.remove, engine, "before_cursor_execute", listen)
        notes, before = Notes(connection), len(engine._compiled_cache)
        for condition in large_filters(20):
            await notes.count(condition)
            await notes.drop(condition)

    assert len(engine._compiled_cache) < before + 10


async def test_a_server_prepares_no_large_statement_for_long(connection):
    if connection.dialect.name != "postgresql":
        pytest.skip("it has no list of them")
    notes = Notes(connection)
    for condition in large_filters(15):
        for _ in range(7):  # psycopg prepares at the sixth time
            await notes.count(condition)

    gc.collect()
    await notes.count(F.text == "a")
    prepared = await connection.execute(sa.text("SELECT count(*) FROM pg_prepared_statements"))

    assert prepared.scalar_one() < 10


async def test_a_statement_that_is_not_large_stays(connection, kept):
    notes = Notes(connection)
    await notes.count(F.text == "a")
    before = len(kept)

    for number in range(100):
        await notes.count(F.text == str(number))

    assert len(kept) == before


def test_long_headers_are_not_remembered():
    known = accept._is_preferred.cache_info().currsize

    for number in range(10):
        assert accept.is_preferred(f"application/json;q=0.1, text/csv;a={'x' * 2_000}{number}", "text/csv")

    assert accept._is_preferred.cache_info().currsize == known


@pytest.mark.parametrize("annotation", [int, http.QueryParams], ids=["parameter", "whole"])
@pytest.mark.parametrize(("length", "status"), [(60_000, 204), (70_000, 414)])
async def test_a_query_has_a_bound(annotation, length, status):
    app, sent = Flama(), []

    @app.get("/")
    def handler(a: annotation): ...

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    query = b"a=1&b=" + b"x" * length
    scope = {"type": "http", "method": "GET", "path": "/", "root_path": "", "raw_path": b"/", "headers": []}
    async with app.lifespan():
        await app({**scope, "query_string": query}, receive, send)

    assert sent[0]["status"] == status
    assert status == 204 or b"The query is longer than 65536 bytes" in sent[1]["body"]
