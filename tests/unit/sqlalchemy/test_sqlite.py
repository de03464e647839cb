"""What SQLite does for a service."""

import asyncio
import concurrent.futures
import contextlib
import sqlite3
import threading

import pytest
import sqlalchemy as sa

from flama.sqlalchemy import SQLAlchemyModule, sqlite

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path):
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db")
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE number (id INTEGER)"))
    yield module.engine
    await module.on_shutdown()


async def scalar(connection, statement):
    return (await connection.execute(sa.text(statement))).scalar()


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("sqlite+aiosqlite://", True),
        ("sqlite+aiosqlite:///", True),
        ("sqlite+aiosqlite:///:memory:", True),
        ("sqlite+aiosqlite:///file::memory:?uri=true", True),
        ("sqlite+aiosqlite:///file:x?mode=memory&cache=shared&uri=true", True),
        ("sqlite+aiosqlite:///memory.db", False),
        ("postgresql+asyncpg://", False),
    ],
)
async def test_a_database_in_memory_is_recognised_and_lasts_until_the_shutdown(url, there):
    assert sqlite.in_memory(sa.make_url(url)) is there
    if not there:
        return
    module = SQLAlchemyModule(url)
    for _ in range(2):
        await module.on_startup()
        async with module.engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE number (id INTEGER)"))
        async with module.engine.begin() as connection:
            assert await scalar(connection, "SELECT count(*) FROM number") == 0
        await module.on_shutdown()


async def test_a_file_is_opened_for_a_service(engine):
    async with engine.connect() as connection:
        assert await scalar(connection, "PRAGMA journal_mode") == "wal"
        assert await scalar(connection, "PRAGMA foreign_keys") == 1
        assert await scalar(connection, "PRAGMA busy_timeout") == 30_000


@pytest.mark.parametrize(
    "statement",
    [
        "WITH two(id) AS (VALUES (2)) INSERT INTO number SELECT id FROM two",
        "  -- a comment\n/* and\nanother */ INSERT INTO number VALUES (2)",
        "CREATE TABLE other (id INTEGER)",
        "REPLACE INTO number VALUES (2)",
    ],
)
async def test_whatever_writes_is_undone_by_a_rollback(engine, statement):
    async with engine.connect() as connection:
        await connection.execute(sa.text(statement))
        await connection.rollback()

        assert await scalar(connection, "SELECT count(*) FROM number") == 0
        assert await scalar(connection, "SELECT count(*) FROM sqlite_schema") == 1


async def test_a_savepoint_before_the_first_write_is_part_of_the_transaction(engine):
    async with engine.connect() as connection:
        async with connection.begin_nested():
            await connection.execute(sa.text("INSERT INTO number VALUES (1)"))
        await connection.rollback()

        assert await scalar(connection, "SELECT count(*) FROM number") == 0


async def test_to_read_takes_no_lock(engine):
    async with engine.connect() as reader, engine.connect() as writer:
        assert await scalar(reader, "WITH n AS (SELECT 1) SELECT count(*) FROM number, n") == 0
        await writer.execute(sa.text("INSERT INTO number VALUES (1)"))
        await writer.commit()

        await reader.execute(sa.text("INSERT INTO number VALUES (2)"))
        await reader.commit()

        assert await scalar(reader, "SELECT count(*) FROM number") == 2


async def test_autocommit_begins_nothing(engine):
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text("INSERT INTO number VALUES (1)"))
        await connection.execute(sa.text("VACUUM"))
        await connection.rollback()

        assert await scalar(connection, "SELECT count(*) FROM number") == 1


async def test_a_read_only_file_can_be_read(engine):
    path = engine.url.database
    async with engine.begin() as connection:
        await connection.execute(sa.text("INSERT INTO number VALUES (1)"))
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true")
    await module.on_startup()

    async with module.engine.connect() as connection:
        assert await scalar(connection, "SELECT count(*) FROM number") == 1

    await module.on_shutdown()


async def test_what_a_cancelled_statement_wrote_is_undone_and_the_rest_is_kept():
    module = SQLAlchemyModule("sqlite+aiosqlite://")
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE number (id INTEGER)"))
        await connection.execute(sa.text("INSERT INTO number VALUES (1)"))
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500000)"

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), module.engine.begin() as connection:
            await connection.execute(sa.text(f"{numbers} INSERT INTO number SELECT i FROM n"))

    async with module.engine.begin() as connection:
        assert await scalar(connection, "SELECT count(*) FROM number") == 1
    await module.on_shutdown()


def test_connections_that_open_a_new_file_at_the_same_time_wait_for_one_another(tmp_path):
    together = threading.Barrier(8)

    def connect(number):
        together.wait()
        path = tmp_path / f"{number}.db"
        return sqlite3.connect(path, timeout=30, factory=sqlite.ServiceConnection, check_same_thread=False)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for number in range(100):  # the database refuses one of some thousand at once
            for connection in threads.map(connect, [number] * 8):
                with contextlib.closing(connection):
                    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
