"""What can be said of a unit on a SQL database, and what is done when it has ended."""

import asyncio
import time

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker

pytestmark = pytest.mark.anyio


@pytest.fixture
def worker(app, post_table):
    class Posts(SQLAlchemyTableRepository):
        _table = post_table

    class Blog(SQLAlchemyWorker):
        posts: Posts

    return Blog(app)


@pytest.fixture
def dialect(url):
    return sa.make_url(url).get_backend_name()


async def titles(worker):
    async with worker:
        return [post["title"] async for post in worker.posts.list(order_by="id")]


async def test_a_unit_that_reads_only_reads(worker):
    async with worker:
        await worker.posts.create({"title": "a"})

    async with worker.options(read_only=True) as reading:
        assert [post["title"] async for post in reading.posts.list()] == ["a"]
        with pytest.raises(exceptions.UnavailableError, match="for reading"):
            await reading.posts.create({"title": "b"})

    async with worker:  # on the same connection, perhaps
        await worker.posts.create({"title": "c"})
    assert await titles(worker) == ["a", "c"]


async def test_a_unit_reads_only_after_its_commit_too(worker):
    async with worker.options(read_only=True) as reading:
        assert await reading.posts.count() == 0
        await reading.commit()
        with pytest.raises(exceptions.UnavailableError):
            await reading.posts.create({"title": "b"})


async def test_a_unit_has_the_isolation_that_is_asked_for(worker, dialect):
    if dialect == "sqlite":
        async with worker.options(isolation="SERIALIZABLE") as serial:
            await serial.posts.create({"title": "a"})
        with pytest.raises(exceptions.ApplicationError, match="REPEATABLE READ"):
            async with worker.options(isolation="REPEATABLE READ"):
                pass
        return
    level = {"postgresql": "SHOW transaction_isolation", "mysql": "SELECT @@tx_isolation"}[dialect]
    async with worker.options(isolation="SERIALIZABLE") as serial:
        assert (await serial.connection.scalar(sa.text(level))).lower() == "serializable"
    async with worker:
        assert (await worker.connection.scalar(sa.text(level))).lower() != "serializable"


async def test_a_statement_that_takes_too_long_is_ended(worker, dialect):
    limited = worker.options(statement_timeout=0.2)
    if dialect == "sqlite":
        with pytest.raises(exceptions.ApplicationError, match="no limit"):
            async with limited:
                pass
        return
    sleep = {"postgresql": "SELECT pg_sleep(5)", "mysql": "SELECT SLEEP(5) FROM information_schema.tables"}[dialect]

    begun = time.monotonic()
    with pytest.raises(exceptions.FlamaError):
        async with limited:
            await limited.posts.count()
            await limited.commit()
            await limited.posts.count(sa.text(f"({sleep}) IS NULL"))
    assert time.monotonic() - begun < 3

    async with worker:
        assert await worker.posts.count() == 0


@pytest.mark.parametrize("posts", [1, 2])
async def test_the_limit_outlives_a_refused_write_be_it_the_first(worker, dialect, posts):
    if dialect == "sqlite":
        pytest.skip("SQLite has no such limit")
    async with worker:
        stored = (await worker.posts.create({"title": "a"}))[0]
    limit = sa.text({"postgresql": "SHOW statement_timeout", "mysql": "SELECT @@max_statement_time"}[dialect])

    async with worker.options(statement_timeout=0.2) as limited:
        with pytest.raises(exceptions.IntegrityError):
            await limited.posts.create(*[{"title": "b"}, stored][-posts:])
        told = await limited.connection.scalar(limit)
    assert str(told) in ("200ms", "0.2")

    assert await titles(worker) == ["a"]


async def test_a_block_that_takes_too_long_is_cancelled_and_undone(worker):
    begun = time.monotonic()
    with pytest.raises(exceptions.UnavailableError, match=r"longer than 0\.2 s") as caught:
        async with worker.options(timeout=0.2) as limited:
            await limited.posts.create({"title": "a"})
            await asyncio.sleep(5)
    assert time.monotonic() - begun < 2
    assert not caught.value.maybe_applied

    assert await titles(worker) == []
    task = asyncio.current_task()
    assert task.cancelling() == 0


async def test_the_limit_is_for_the_block_and_not_for_its_end(worker):
    async with worker.options(timeout=0.3) as limited:
        await limited.posts.create({"title": "a"})
        await asyncio.sleep(0.1)

    await asyncio.sleep(0.3)
    assert await titles(worker) == ["a"]


async def test_a_cancellation_from_outside_is_not_taken_for_the_limit(worker):
    inside = asyncio.Event()

    async def unit():
        async with worker.options(timeout=5) as limited:
            await limited.posts.create({"title": "a"})
            inside.set()
            await asyncio.sleep(5)

    task = asyncio.create_task(unit())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await titles(worker) == []


async def test_a_savepoint_is_a_block_of_the_unit(worker):
    async with worker:
        await worker.posts.create({"title": "a"})
        with pytest.raises(ZeroDivisionError):
            async with worker.savepoint():
                await worker.posts.create({"title": "b"})
                raise ZeroDivisionError
        async with worker.savepoint():
            await worker.posts.create({"title": "c"})

    assert await titles(worker) == ["a", "c"]


async def test_hooks_run_once_in_order_after_the_unit(worker):
    told = []

    async def later():
        told.append(("second", await titles(worker)))

    async with worker:
        worker.after_commit(lambda: told.append("first"))
        worker.after_commit(later)
        worker.after_rollback(lambda: told.append("never"))
        await worker.posts.create({"title": "a"})
        assert told == []

    assert told == ["first", ("second", ["a"])]
    async with worker:
        pass
    assert len(told) == 2


async def test_hooks_of_a_rollback_run_when_it_was_one(worker):
    told = []
    with pytest.raises(ZeroDivisionError):
        async with worker:
            worker.after_commit(lambda: told.append("never"))
            worker.after_rollback(lambda: told.append("unit"))
            raise ZeroDivisionError

    assert told == ["unit"]


async def test_hooks_of_a_savepoint_are_the_units_unless_it_is_undone(worker):
    told = []
    async with worker:
        async with worker.savepoint():
            worker.after_commit(lambda: told.append("kept"))
        with pytest.raises(ZeroDivisionError):
            async with worker.savepoint():
                worker.after_commit(lambda: told.append("never"))
                worker.after_rollback(lambda: told.append("undone"))
                raise ZeroDivisionError
        assert told == ["undone"]

    assert told == ["undone", "kept"]


async def test_hooks_run_with_a_commit_within_the_unit(worker):
    told = []
    async with worker:
        worker.after_commit(lambda: told.append("first"))
        await worker.commit()
        assert told == ["first"]
        worker.after_rollback(lambda: told.append("second"))
        await worker.rollback()
        worker.after_commit(lambda: told.append("third"))

    assert told == ["first", "second", "third"]


async def test_a_hook_that_fails_is_logged_and_keeps_no_other_from_running(worker, caplog):
    told = []
    async with worker:
        await worker.posts.create({"title": "a"})
        worker.after_commit(lambda: 1 / 0)
        worker.after_commit(lambda: told.append("second"))

    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]
    assert told == ["second"]
    assert await titles(worker) == ["a"]


async def test_a_hook_that_raises_ends_the_unit_with_what_it_raised(worker, caplog):
    told = []
    with pytest.raises(ExceptionGroup, match="was committed") as caught:
        async with worker:
            await worker.posts.create({"title": "a"})
            worker.after_commit(lambda: 1 / 0, raises=True)
            worker.after_commit(lambda: {}["nothing"])
            worker.after_commit(lambda: told.append("second"))

    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
    assert [record.exc_info[0] for record in caplog.records] == [KeyError]
    assert told == ["second"]
    assert await titles(worker) == ["a"]


async def test_a_hook_that_fails_after_a_rollback_does_not_hide_why_that_was(worker, caplog):
    with pytest.raises(KeyError):
        async with worker:
            worker.after_rollback(lambda: 1 / 0)
            raise KeyError

    assert "ZeroDivisionError" in caplog.text


async def test_hooks_run_though_the_task_is_cancelled_while_the_unit_ends(worker):
    told, cancelled = [], asyncio.Event()

    async def hook():
        await cancelled.wait()  # however long it takes to see what was committed
        await asyncio.sleep(0.05)
        told.append("done")

    async def unit():
        async with worker:
            await worker.posts.create({"title": "a"})
            worker.after_commit(hook)

    task = asyncio.create_task(unit())
    while not told and not task.done():
        if await titles(worker.bound(worker.app)):
            task.cancel()
            cancelled.set()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task

    assert told == ["done"]


async def test_hooks_are_given_inside_a_unit(worker):
    with pytest.raises(AttributeError, match="after_commit"):
        worker.after_commit(print)


async def test_a_unit_in_conflict_is_run_again(worker, dialect):
    calls = []

    async def work(blog):
        calls.append(await blog.posts.create({"title": f"{len(calls)}"}))
        if len(calls) < 3:
            raise exceptions.ConflictError(resource="post", retryable=True)
        return "done"

    assert await worker.run(work) == "done"
    assert await titles(worker) == ["2"]


async def test_a_unit_is_not_run_again_for_ever_nor_for_another_reason(worker):
    calls = []

    async def conflict(blog):
        calls.append(1)
        raise exceptions.ConflictError(resource="post", retryable=True)

    async def stale(blog):
        calls.append(1)
        raise exceptions.ConflictError(resource="post")

    with pytest.raises(exceptions.ConflictError):
        await worker.run(conflict, attempts=3)
    assert len(calls) == 3
    with pytest.raises(exceptions.ConflictError):
        await worker.run(stale)
    assert len(calls) == 4
    async with worker:
        with pytest.raises(exceptions.ApplicationError, match="in one already"):
            await worker.run(stale)


async def test_contended_increments_lose_none(worker, dialect):
    async with worker:
        await worker.posts.create({"id": 1, "title": "0"})
    serial = worker.options(isolation="SERIALIZABLE")

    async def increment(blog):
        post = await blog.posts.retrieve(id=1)
        await blog.posts.update({"title": str(int(post["title"]) + 1)}, id=1)

    await asyncio.gather(*(serial.bound(serial.app).run(increment, attempts=100) for _ in range(30)))

    assert await titles(worker) == ["30"]
