"""Many tasks on few connections, many rows in little memory."""

import asyncio
import contextlib
import subprocess
import sys
import textwrap

import pytest
import sqlalchemy as sa

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy import SQLAlchemyModule
from tests.support import loops

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
reading_table = sa.Table(
    "meter_reading",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("meter", sa.Integer, nullable=False, index=True),
    sa.Column("value", sa.Integer, nullable=False),
)


class ReadingRepository(SQLAlchemyTableRepository):
    _table = reading_table


@contextlib.asynccontextmanager
async def started(url):
    module = SQLAlchemyModule(url, engine_args={"pool_size": 5, "max_overflow": 0})
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    try:
        yield module.engine
    finally:
        await module.on_shutdown()


@pytest.fixture(params=["sqlite", "asyncpg", "psycopg", "mariadb"])
def url(request, tmp_path):
    match request.param:
        case "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/readings.db"
        case "mariadb":
            return request.getfixturevalue("mariadb_url")
        case driver:
            return request.getfixturevalue("postgres_url").replace("asyncpg", driver)


async def test_sixty_four_tasks_on_five_connections_see_no_error(url):
    async def work(engine, meter):
        for value in range(5):
            async with engine.begin() as connection:
                readings = ReadingRepository(connection)
                [reading] = await readings.create({"meter": meter, "value": value})
                await readings.update({"value": value + 100}, id=reading["id"])
                if value % 2:
                    await readings.delete(id=reading["id"])
        async with engine.connect() as connection:
            return [
                reading["value"] async for reading in ReadingRepository(connection).list(meter=meter, order_by="id")
            ]

    async with started(url) as engine:
        kept = await asyncio.gather(*(work(engine, meter) for meter in range(64)))

        assert kept == [[100, 102, 104]] * 64
        assert engine.pool.checkedout() == 0


STREAM = """
    import asyncio, resource, sys
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine
    from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository

    table = sa.Table("series", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.Integer))

    class Series(SQLAlchemyTableRepository):
        _table = table

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def main():
        engine = create_async_engine(sys.argv[1])
        async with engine.connect() as connection:
            count = total = 0
            async for row in Series(connection).list():
                count, total = count + 1, total + row["v"]
                if count == 10_000:
                    before = peak()
            print(count, total, peak() - before)
        await engine.dispose()

    asyncio.run(main())
"""
MILLION = 1_000_000


@pytest.fixture(params=["sqlite", "asyncpg"])
async def series(request, tmp_path):
    """Give the URL of a database with a million rows, made by the database itself."""
    rows = "SELECT value AS id, value % 7 AS v FROM generate_series(1, :n) AS t(value)"
    url = f"sqlite+aiosqlite:///{tmp_path}/series.db"
    if request.param == "sqlite":
        rows = "WITH RECURSIVE t(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM t WHERE value < :n) "
        rows += "SELECT value AS id, value % 7 AS v FROM t"
    else:
        url = request.getfixturevalue("postgres_url")
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.execute(sa.text("DROP TABLE IF EXISTS series"))
        await connection.execute(sa.text("CREATE TABLE series (id INTEGER PRIMARY KEY, v INTEGER)"))
        await connection.execute(sa.text(f"INSERT INTO series (id, v) {rows}"), {"n": MILLION})
    yield url
    async with module.engine.begin() as connection:
        await connection.execute(sa.text("DROP TABLE series"))
    await module.on_shutdown()


async def test_a_million_rows_are_streamed_in_constant_memory(series, tmp_path):
    program = tmp_path / "stream.py"
    program.write_text(textwrap.dedent(STREAM))

    command = loops.command(program, series)
    finished = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)

    count, total, grown = map(int, finished.stdout.split())
    assert (count, total) == (MILLION, sum(number % 7 for number in range(1, MILLION + 1)))
    assert grown * _UNIT < 10 * 2**20


_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
