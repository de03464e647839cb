"""A unit that only reads has no BEGIN and COMMIT to wait for where the driver allows that, and is what it says."""

import asyncio
import contextlib
import types

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import relay

pytestmark = pytest.mark.anyio

READY = b"Z\0\0\0\5"  # PostgreSQL's ReadyForQuery: one for each time that a client waits
OF_OTHERS = sa.text("SELECT state, query FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%page%'")

page_table = sa.Table(
    "page",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("words", sa.Integer),
)


class Pages(SQLAlchemyTableRepository):
    _table = page_table


class Book(SQLAlchemyWorker):
    pages: Pages


@contextlib.asynccontextmanager
async def opened(url, **engine_args):
    """Give a book on one connection, which knows its statements."""
    module = SQLAlchemyModule(str(url), engine_args={"pool_size": 1, "max_overflow": 0, **engine_args})
    await module.on_startup()
    book = Book(types.SimpleNamespace(sqlalchemy=module))
    try:
        async with book:
            await book.pages.update({"words": 1}, id=1)
            await book.pages.retrieve(id=1)
            await book.pages.count()
        yield book
        assert module.engine.pool.checkedout() == 0
    finally:
        await module.on_shutdown()


@pytest.fixture
async def url(postgres_url):
    module = SQLAlchemyModule(postgres_url)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(page_table.metadata.create_all)
        await connection.execute(page_table.insert(), [{"id": 1, "words": 1}, {"id": 2, "words": 2}])
    yield postgres_url
    async with module.engine.begin() as connection:
        await connection.run_sync(page_table.metadata.drop_all)
    await module.on_shutdown()


@pytest.fixture
async def book(url):
    async with opened(url) as book:
        yield book


@pytest.fixture
async def other(url):
    async with opened(url) as book:
        yield book


async def words(book):
    return (await book.pages.retrieve(id=1))["words"]


async def write(book, number):
    async with book:
        await book.pages.update({"words": number}, id=1)


@pytest.mark.parametrize(
    ("driver", "settings", "around"),
    [
        ("asyncpg", {}, 0),
        ("asyncpg", {"isolation": "READ COMMITTED"}, 0),
        ("asyncpg", {"statement_timeout": 5}, 0),
        ("asyncpg", {"isolation": "REPEATABLE READ"}, 1),  # COMMIT
        ("psycopg", {}, 2),  # BEGIN, too
    ],
)
async def test_a_unit_that_reads_waits_for_its_statements_alone(url, driver, settings, around):
    async with relay.relayed(sa.make_url(url.replace("asyncpg", driver))) as relayed:
        prepared = {"connect_args": {"prepare_threshold": 0}} if driver == "psycopg" else {}
        async with opened(relayed.url.render_as_string(hide_password=False), **prepared) as book:
            async with book.options(read_only=True, **settings) as reading:
                await words(reading)
            relayed.recording = True

            async with book.options(read_only=True, **settings) as reading:
                for _ in range(5):
                    await words(reading)
                await reading.pages.count()

            assert relayed.answered.count(READY) == 6 + around
            assert b"WARNING" not in relayed.answered


async def test_between_its_statements_it_is_in_no_transaction(book, other):
    async with book.options(read_only=True) as reading, other:
        await words(reading)

        [(state, query)] = (await other.connection.execute(OF_OTHERS)).all()
        assert (state, query.split()[0]) == ("idle", "SELECT")


async def test_each_statement_sees_what_is_committed_unless_a_snapshot_is_asked_for(book, other):
    async with book.options(read_only=True) as reading:
        assert await words(reading) == 1
        await write(other, 2)
        assert await words(reading) == 2

    async with book.options(read_only=True, isolation="REPEATABLE READ") as reading:
        assert await words(reading) == 2
        await write(other, 3)
        assert await words(reading) == 2


@pytest.mark.parametrize(
    "engine_args",
    [
        {"isolation_level": "REPEATABLE READ"},
        {"connect_args": {"server_settings": {"default_transaction_isolation": "repeatable read"}}},
    ],
)
async def test_it_has_one_snapshot_where_that_is_what_the_database_gives_unasked(url, other, engine_args):
    async with opened(url, **engine_args) as book, book.options(read_only=True) as reading:
        assert await words(reading) == 1
        await write(other, 2)
        assert await words(reading) == 1


async def test_the_database_refuses_its_writes_whichever_way_they_come(book):
    async with book.options(read_only=True) as reading:
        with pytest.raises(exceptions.UnavailableError, match="for reading"):
            await reading.pages.create({"id": 3})
        assert await words(reading) == 1
        with pytest.raises(exceptions.UnavailableError, match="for reading"):
            await reading.pages.update({"words": 4}, id=1)
        with pytest.raises(exceptions.UnavailableError, match="for reading"):
            await reading.pages.drop()
        assert await words(reading) == 1
        assert await reading.connection.scalar(sa.text("SHOW transaction_read_only")) == "on"
        with pytest.raises(exceptions.UnavailableError, match="for reading"):
            await reading.pages.delete(id=1)

    async with book:
        assert [page async for page in book.pages.list(order_by="id")] == [{"id": 1, "words": 1}, {"id": 2, "words": 2}]


class Counters(SQLAlchemyTableRepository):
    """A view that writes when it is read."""

    _table = sa.Table("counter", sa.MetaData(), sa.Column("next", sa.Integer, primary_key=True))


@pytest.fixture
async def counting(book):
    async with book:
        await book.connection.execute(sa.text("CREATE SEQUENCE counted"))
        await book.connection.execute(sa.text("CREATE VIEW counter AS SELECT nextval('counted') AS next"))
        assert (await Counters(book.connection).get())["next"] == 1
    yield book
    async with book:
        assert (await Counters(book.connection).get())["next"] == 2
        await book.connection.execute(sa.text("DROP SEQUENCE counted CASCADE"))


async def test_a_query_that_writes_is_refused(counting):
    with pytest.raises(exceptions.UnavailableError, match="for reading"):
        async with counting.options(read_only=True) as reading:
            await Counters(reading.connection).get()

    with pytest.raises(exc.DBAPIError, match="read-only"):
        async with counting.options(read_only=True) as reading:
            await reading.connection.execute(sa.text("SELECT nextval('counted')"))


async def test_its_statements_have_their_time_limit(book, other):
    async with other:
        await other.connection.exec_driver_sql("LOCK TABLE page IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(exceptions.UnavailableError, match="page"):
            async with book.options(read_only=True, statement_timeout=0.05) as reading:
                await words(reading)


@pytest.mark.parametrize("settings", [{"read_only": True}, {"statement_timeout": 5}])
async def test_what_was_said_of_a_unit_that_ran_no_statement_is_not_said_of_the_next(book, settings):
    async with book.options(**settings):
        pass

    async with book:
        await book.pages.update({"words": 5}, id=1)  # BEGIN travels with it
        assert await book.connection.scalar(sa.text("SHOW statement_timeout")) == "0"
        assert await book.connection.scalar(sa.text("SHOW transaction_read_only")) == "off"


async def test_who_has_its_connection_next_may_write_whatever_became_of_it(book, other):
    async def read():
        async with book.options(read_only=True) as reading:
            await words(reading)
            await words(reading)

    async with other:
        await other.connection.exec_driver_sql("LOCK TABLE page IN ACCESS EXCLUSIVE MODE")
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.wait((reading,))

    assert reading.cancelled()
    await write(book, 6)
    async with book:
        assert await words(book) == 6


async def test_its_savepoints_and_streams_are_in_a_transaction_that_only_reads(book):
    async with book.options(read_only=True) as reading:
        assert await words(reading) == 1
        async with reading.savepoint():
            assert await words(reading) == 1
            with pytest.raises(exceptions.UnavailableError, match="for reading"):
                await reading.pages.create({"id": 3})
        assert [page["id"] async for page in reading.pages.list(order_by="id")] == [1, 2]

    await write(book, 8)
