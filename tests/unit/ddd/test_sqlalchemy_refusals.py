"""Statements that the server refuses: plans that are stale, and reads that fail, by each of PostgreSQL's drivers."""

import types

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd import F
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
tool_table = sa.Table(
    "tool",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("size", sa.Integer),
    sa.Column("kind", sa.Enum("saw", "axe", name="tool_kind")),
    sa.Column("code", sa.Uuid),
)
# each makes the plans of statements that were prepared before it stale
CHANGES = {
    "type of a column": [
        """DO $$ BEGIN IF (SELECT data_type FROM information_schema.columns
        WHERE table_name = 'tool' AND column_name = 'size') = 'integer'
        THEN ALTER TABLE tool ALTER COLUMN size TYPE bigint;
        ELSE ALTER TABLE tool ALTER COLUMN size TYPE integer; END IF; END $$"""
    ],
    "type made anew": [
        "ALTER TABLE tool ALTER COLUMN kind TYPE text",
        "DROP TYPE tool_kind",
        "CREATE TYPE tool_kind AS ENUM ('saw', 'axe', 'new')",
        "ALTER TABLE tool ALTER COLUMN kind TYPE tool_kind USING kind::tool_kind",
    ],
    "statements that are gone": [],
}


class Tools(SQLAlchemyTableRepository):
    _table = tool_table


class Bench(SQLAlchemyWorker):
    tools: Tools


@pytest.fixture(params=["asyncpg", "psycopg"])
def url(request, postgres_url):
    return postgres_url.replace("asyncpg", request.param)


@pytest.fixture
def path():
    """How statements are run: without SQLAlchemy in between, or by it, as when somebody listens to them."""
    return "shape"


@pytest.fixture
async def module(url, path):
    """A module of a single connection, with an empty table that is as it was declared, whatever was done before."""
    module = SQLAlchemyModule(url, engine_args={"pool_size": 1, "max_overflow": 0, "pool_timeout": 5})
    await module.on_startup()
    try:
        if path == "core":
            sa.event.listen(module.engine.sync_engine, "before_cursor_execute", lambda *_: None)
        async with module.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
        yield module
    finally:
        await module.on_shutdown()
        await change(url, ["DROP TABLE IF EXISTS tool", "DROP TYPE IF EXISTS tool_kind"])


@pytest.fixture
async def bench(module):
    """A worker on a single connection, which knows its statements."""
    bench = Bench(types.SimpleNamespace(sqlalchemy=module))
    for _ in range(7):  # psycopg prepares what it has run five times
        async with bench:
            for work in WORK.values():
                await work(bench.tools)
            await bench.rollback()
        for work in WORK.values():
            async with bench:
                await work(bench.tools)
                await bench.rollback()
    async with bench:
        await bench.tools.create({"id": 1, "size": 1, "kind": "saw"})
    return bench


async def found(tools):
    return [record async for record in tools.list()]


WORK = {
    "get": lambda tools: tools.get(id=1),
    "by a condition": lambda tools: tools.first(F.size == 1),
    "list": found,
    "locked": lambda tools: tools.get(id=1, lock="update"),
    "create": lambda tools: tools.create({"size": 1, "kind": "saw"}),
    "create many": lambda tools: tools.create({"size": 1, "kind": "saw"}, {"size": 2, "kind": "axe"}),
    "update": lambda tools: tools.update({"size": 2, "kind": "axe"}, id=1),
    "upsert": lambda tools: tools.upsert({"id": 1, "size": 3, "kind": "axe"}),
    "get_or_create": lambda tools: tools.get_or_create({"id": 1, "kind": "saw"}),
    "delete": lambda tools: tools.drop(F.size == 7),
}


async def change(url, statements):
    module = SQLAlchemyModule(url)
    await module.on_startup()
    async with module.engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await module.on_shutdown()


async def forget_statements(bench):
    async with bench.app.sqlalchemy.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        if hasattr(raw, "fetchval"):
            await raw.execute("DEALLOCATE ALL")
        else:
            raw.pgconn.exec_(b"DEALLOCATE ALL")  # so that psycopg doesn't notice


async def stale(bench, changed):
    if changed == "statements that are gone":
        await forget_statements(bench)
    await change(str(bench.app.sqlalchemy.database), CHANGES[changed])


@pytest.mark.parametrize("path", ["shape", "core"])
@pytest.mark.parametrize("changed", CHANGES)
async def test_after_a_change_of_the_schema_units_go_on_or_are_to_be_tried_again(bench, changed):
    for verb, work in WORK.items():
        await stale(bench, changed)
        attempts = []

        async def attempt(bench, attempts=attempts, work=work):
            attempts.append(1)
            return await work(bench.tools)

        await bench.run(attempt)

        assert len(attempts) <= 2, verb


@pytest.mark.parametrize("changed", CHANGES)
async def test_what_comes_first_is_prepared_again_and_repeated(bench, changed):
    for verb in ("get", "by a condition", "list", "create", "update", "upsert", "delete"):
        await stale(bench, changed)

        async with bench:
            await WORK[verb](bench.tools)


@pytest.mark.parametrize("path", ["shape", "core"])
@pytest.mark.parametrize("changed", CHANGES)
async def test_within_a_transaction_it_is_a_conflict_at_most_and_nothing_is_lost_unseen(bench, changed, path):
    if path == "core" and not CHANGES[changed]:
        pytest.skip("SQLAlchemy keeps statements that are gone, where it runs them itself")
    for number, work in enumerate(WORK.values(), 100):
        await stale(bench, changed)

        async def attempt(bench, number=number, work=work):
            await bench.connection.execute(sa.text(f"INSERT INTO tool (id, size) VALUES ({number}, 9)"))
            await work(bench.tools)

        await bench.run(attempt)  # which tries again after a conflict alone

        async with bench:
            assert await bench.tools.exists(id=number)


async def test_a_commit_that_the_server_has_forgotten_is_a_conflict_and_leaves_the_connection_usable(bench):
    attempts = []

    async def attempt(bench):
        attempts.append(1)
        await WORK["update"](bench.tools)  # which is prepared, so that the COMMIT is, too
        if len(attempts) == 1:
            raw = (await bench.connection.get_raw_connection()).driver_connection
            await raw.execute("DEALLOCATE ALL")

    await bench.run(attempt)

    prepares_commit = bench.app.sqlalchemy.engine.dialect.driver == "asyncpg"
    assert len(attempts) == (2 if prepares_commit else 1)
    async with bench:
        assert (await bench.tools.get(id=1))["size"] == 2


REFUSED = {
    "by a condition": lambda tools: tools.first(sa.literal(1) / (tools._table.c.size - tools._table.c.size) == 1),
    "count": lambda tools: tools.count(sa.literal(1) / (tools._table.c.size - tools._table.c.size) == 1),
    "list": lambda tools: anext(tools.list(sa.literal(1) / (tools._table.c.size - tools._table.c.size) == 1)),
    "list by a value": lambda tools: anext(tools.list(code="none of the kind")),
    "a value": lambda tools: tools.get(code="none of the kind"),
    "a lock": lambda tools: tools.get(id=1, lock="update nowait"),
}


@pytest.mark.parametrize("path", ["shape", "core"])
@pytest.mark.parametrize("isolation", [None, "REPEATABLE READ"])
@pytest.mark.parametrize("before", ["nothing", "a read", "a write"])
async def test_a_read_that_is_refused_leaves_the_unit_as_it_was(bench, before, isolation):
    module = SQLAlchemyModule(str(bench.app.sqlalchemy.database))
    await module.on_startup()
    async with module.engine.connect() as holder:
        await holder.execute(sa.text("SELECT * FROM tool WHERE id = 1 FOR UPDATE"))
        for number, (verb, read) in enumerate(REFUSED.items(), 10):
            async with bench.options(isolation=isolation) as unit:
                if before == "a read":
                    await unit.tools.get(id=1)
                if before == "a write":
                    await unit.tools.create({"id": number, "size": 2})
                for _ in range(2):
                    with pytest.raises((exceptions.InvalidDataError, exceptions.ConflictError)):
                        await read(unit.tools)
                await unit.tools.create({"id": -number, "size": 3})
            async with bench:
                stored = [record["id"] async for record in bench.tools.list(F.id.in_([number, -number]), order_by="id")]
            assert stored == [-number, *([number] if before == "a write" else [])], verb
    await module.on_shutdown()
