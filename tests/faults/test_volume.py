"""Very many records, from a table to a remote iterator: read to the last one in memory that doesn't grow with them."""

import json
import pathlib
import subprocess
import time

import pytest
import sqlalchemy as sa

from tests.support import loops
from tests.support.server import listening
from tests.support.volume import line_table, most_memory

pytestmark = pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="only Linux tells of memory")

FEW, MANY = 5_000, 45_000
MORE = 5_000  # kilobytes: 40,000 records more at once take five times that

VOLUME = "tests.support.volume"
INSERTS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {0}) "
    "INSERT INTO line (id, text) SELECT n, '{1}' || n FROM numbers",
    "postgresql": "INSERT INTO line (id, text) SELECT n, '{1}' || n FROM generate_series(1, {0}) AS n",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request, tmp_path):
    """Give the URL of a database with that many lines."""
    if request.param == "sqlite":
        url, sync = f"sqlite+aiosqlite:///{tmp_path}/lines.db", f"sqlite:///{tmp_path}/lines.db"
    else:
        url = request.getfixturevalue("postgres_url")
        sync = url.replace("asyncpg", "psycopg")
    engine = sa.create_engine(sync)
    line_table.create(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(INSERTS[request.param].format(MANY, "a line of text as long as many are, number "))
    yield url
    line_table.drop(engine)
    engine.dispose()


@pytest.fixture
def service(filled):
    """Give a service of them in a process of its own, with the URL at which it is."""
    with listening() as listener:
        number = listener.fileno()
        with subprocess.Popen(loops.command(VOLUME, "serve", filled, str(number)), pass_fds=[number]) as process:
            yield process, "http://{}:{}".format(*listener.getsockname())
            process.terminate()


def reading(kind, url, rows):
    run = subprocess.run(loops.command(VOLUME, kind, url, str(rows)), capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["rows"], found["last"]) == (rows, rows)
    return found["kilobytes"]


def test_a_table_is_read_in_constant_memory(filled):
    few, many = (reading("sql", filled, rows) for rows in (FEW, MANY))

    assert many - few < MORE


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["stream", "pages"])
def test_a_remote_collection_is_read_in_constant_memory_on_both_sides(service, kind):
    process, url = service
    wait_for(url)

    few = reading(kind, url, FEW), most_memory(process.pid)
    many = reading(kind, url, MANY), most_memory(process.pid)

    assert many[0] - few[0] < MORE, (few, many)
    assert many[1] - few[1] < MORE, (few, many)


def wait_for(url):
    deadline = time.monotonic() + 30
    while True:
        try:
            return reading("pages", url, 10)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
