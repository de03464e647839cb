"""A COMMIT by asyncpg is waited for in the task that leaves the unit, and by another only when that goes away."""

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

pytestmark = pytest.mark.anyio

letter_table = sa.Table(
    "letter", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String)
)
# what the database does at COMMIT: it takes so long, or refuses
AT_COMMIT = """
CREATE FUNCTION letter_sent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER sent AFTER INSERT ON letter
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION letter_sent();
"""
PID = sa.text("SELECT pg_backend_pid()")


class Letters(SQLAlchemyTableRepository):
    _table = letter_table


class Office(SQLAlchemyWorker):
    letters: Letters


@pytest.fixture
async def office(postgres_url):
    module = SQLAlchemyModule(postgres_url, engine_args={"pool_size": 1, "max_overflow": 0, "pool_timeout": 1})
    await module.on_startup()
    async with module.engine.begin() as connection:
        await connection.run_sync(letter_table.metadata.create_all)
    yield Office(types.SimpleNamespace(sqlalchemy=module))
    async with module.engine.begin() as connection:
        await connection.run_sync(letter_table.metadata.drop_all)
        await connection.exec_driver_sql("DROP FUNCTION IF EXISTS letter_sent")
    assert module.engine.pool.checkedout() == 0
    await module.on_shutdown()


async def at_commit(office, command):
    async with office.app.sqlalchemy.engine.begin() as connection:
        raw = await connection.get_raw_connection()
        await raw.driver_connection.execute(AT_COMMIT.format(command))


async def sent(office):
    async with office:
        return [letter["id"] async for letter in office.letters.list()], await office.connection.scalar(PID)


async def committing(office):
    """Give a task that is about to wait for COMMIT."""
    written = asyncio.Event()

    async def send() -> None:
        async with office:
            await office.letters.create({"id": 1})
            written.set()

    sending = asyncio.create_task(send())
    await written.wait()
    return sending


@contextlib.contextmanager
def tasks_counted():
    loop, made = asyncio.get_running_loop(), []

    def factory(loop, coroutine, **options):
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    try:
        yield made
    finally:
        loop.set_task_factory(None)


async def test_a_unit_that_writes_ends_without_a_task_of_its_own(office):
    async with office:
        await office.letters.create({"id": 1})

    with tasks_counted() as tasks:
        async with office:
            await office.letters.create({"id": 2})

    assert tasks == []
    assert (await sent(office))[0] == [1, 2]


async def test_an_answer_that_takes_its_time_is_waited_for(office):
    await at_commit(office, "PERFORM pg_sleep(1.3);")

    async with office:
        await office.letters.create({"id": 1})

    assert (await sent(office))[0] == [1]


async def test_who_is_cancelled_meanwhile_leaves_when_the_database_has_answered(office):
    await at_commit(office, "PERFORM pg_sleep(0.3);")
    process = (await sent(office))[1]
    sending = await committing(office)
    await asyncio.sleep(0.1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    assert await sent(office) == ([1], process)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_is_refused_at_the_end_is_told_and_undone(office, caplog, cancelled):
    await at_commit(office, "PERFORM pg_sleep(0.2); RAISE unique_violation;")
    process = (await sent(office))[1]
    sending = await committing(office)
    if cancelled:
        await asyncio.sleep(0.1)
        sending.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else exceptions.IntegrityError):
        await sending

    assert await sent(office) == ([], process)
    assert bool(caplog.records) == cancelled  # nobody else would be told


async def test_a_connection_that_is_lost_meanwhile_may_have_committed(office, postgres_url):
    await at_commit(office, "PERFORM pg_sleep(5);")
    async with office:
        process = await office.connection.scalar(PID)
    sending = await committing(office)
    await asyncio.sleep(0.1)
    other = SQLAlchemyModule(postgres_url)
    await other.on_startup()
    async with other.engine.connect() as connection:
        await connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": process})
    await other.on_shutdown()

    with pytest.raises(exceptions.UnavailableError) as caught:
        await sending
    assert caught.value.maybe_applied
    numbers, another = await sent(office)
    assert numbers == []
    assert another != process


@pytest.mark.parametrize("prepared", [False, True])
async def test_a_transaction_that_failed_before_is_not_mended_by_a_refused_write(office, prepared):
    if prepared:  # the connection knows the statement, and what it sends ahead of it
        async with office:
            await office.letters.create({"id": 1})
            await office.letters.create({"id": 2})

    with pytest.raises(exceptions.SQLAlchemyError, match="failed"):
        async with office:
            with pytest.raises(exc.DBAPIError):
                await office.connection.execute(sa.text("SELECT 1 / 0"))
            with pytest.raises(exceptions.SQLAlchemyError):
                await office.letters.create({"id": 3})

    assert (await sent(office))[0] == ([1, 2] if prepared else [])


async def test_a_unit_that_forgets_all_prepared_statements_is_stored(office):
    for id in (1, 2):
        async with office:
            await office.letters.create({"id": id})

    async with office:
        await office.letters.create({"id": 3})
        await office.connection.execute(sa.text("DEALLOCATE ALL"))

    module = SQLAlchemyModule(office.app.sqlalchemy.database)
    await module.on_startup()
    ids, _ = await sent(Office(types.SimpleNamespace(sqlalchemy=module)))
    await module.on_shutdown()
    assert ids == [1, 2, 3]


@pytest.mark.parametrize(
    ("cache", "prepared"),
    [({}, 1), ({"prepared_statement_cache_size": 0, "statement_cache_size": 0}, 0)],
    ids=["kept", "without"],
)
async def test_commit_is_prepared_where_the_connection_keeps_what_is(office, cache, prepared):
    engine_args = {"pool_size": 1, "max_overflow": 0, "connect_args": cache}
    module = SQLAlchemyModule(office.app.sqlalchemy.database, engine_args=engine_args)
    await module.on_startup()
    other = Office(types.SimpleNamespace(sqlalchemy=module))
    for id in (1, 2, 3):
        async with other:
            await other.letters.create({"id": id})

    commits = sa.text("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'COMMIT'")
    async with other:
        found = await other.connection.scalar(commits)
    await module.on_shutdown()

    assert found == prepared
    assert (await sent(office))[0] == [1, 2, 3]
