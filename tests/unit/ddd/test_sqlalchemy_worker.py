"""What a unit of work on a SQL database promises, on every database."""

import asyncio
import contextlib
import types

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker

pytestmark = pytest.mark.anyio


@pytest.fixture
def worker(app, post_table, user_table):
    class Posts(SQLAlchemyTableRepository):
        _table = post_table

    class Users(SQLAlchemyTableRepository):
        _table = user_table

    class Blog(SQLAlchemyWorker):
        posts: Posts
        users: Users

    return Blog(app)


async def titles(worker):
    async with worker:
        return [post["title"] async for post in worker.posts.list(order_by="id")]


async def test_a_unit_that_ends_well_is_stored(worker):
    async with worker as entered:
        assert entered is worker
        await worker.posts.create({"title": "a"})

    assert await titles(worker) == ["a"]


async def test_a_unit_that_an_exception_leaves_is_undone(worker):
    with pytest.raises(ZeroDivisionError):
        async with worker:
            await worker.posts.create({"title": "a"})
            raise ZeroDivisionError

    assert await titles(worker) == []


async def test_a_unit_can_be_ended_by_hand(worker):
    await worker.begin()
    await worker.posts.create({"title": "a"})
    await worker.end(rollback=True)
    await worker.begin()
    await worker.posts.create({"title": "b"})
    await worker.end()

    assert await titles(worker) == ["b"]


async def test_the_unit_goes_on_after_commit_and_rollback(worker):
    with pytest.raises(ZeroDivisionError):
        async with worker:
            await worker.posts.create({"title": "a"})
            await worker.commit()
            await worker.posts.create({"title": "b"})
            await worker.rollback()
            await worker.posts.create({"title": "c"})
            await worker.commit()
            await worker.posts.create({"title": "d"})
            raise ZeroDivisionError

    assert await titles(worker) == ["a", "c"]


async def test_entered_again_in_its_unit_it_is_a_savepoint(worker):
    async with worker:
        await worker.posts.create({"title": "a"})
        with pytest.raises(ZeroDivisionError):
            async with worker:
                await worker.posts.create({"title": "b"})
                raise ZeroDivisionError
        async with worker:
            await worker.posts.create({"title": "c"})
        await worker.posts.create({"title": "d"})

    assert await titles(worker) == ["a", "c", "d"]


async def test_a_savepoint_is_undone_with_its_unit(worker):
    with pytest.raises(ZeroDivisionError):
        async with worker:
            async with worker:
                await worker.posts.create({"title": "a"})
            raise ZeroDivisionError

    assert await titles(worker) == []


async def test_a_list_goes_on_while_a_savepoint_comes_and_goes(worker):
    async with worker:
        await worker.posts.create(*({} for _ in range(500)))
        listing = worker.posts.list()
        first = await anext(listing)
        async with worker:
            await worker.users.create({"name": "a", "email": "a"})

        assert len([first, *[post async for post in listing]]) == 500


async def test_commit_and_rollback_within_a_savepoint_are_the_savepoints(worker):
    async with worker:
        async with worker:
            await worker.posts.create({"title": "a"})
            await worker.rollback()
            await worker.posts.create({"title": "b"})
            await worker.commit()
            await worker.posts.create({"title": "c"})
            await worker.rollback()
        await worker.posts.create({"title": "d"})

    assert await titles(worker) == ["b", "d"]


async def test_an_integrity_error_that_is_caught_leaves_the_unit_usable(worker):
    async with worker:
        (post,) = await worker.posts.create({"title": "a"})
        with pytest.raises(exceptions.IntegrityError):
            await worker.posts.create({"id": post["id"], "title": "b"})
        with pytest.raises(exceptions.IntegrityError):
            await worker.posts.create({"title": "c"}, {"id": post["id"], "title": "d"})
        await worker.posts.create({"title": "e"})

    assert await titles(worker) == ["a", "e"]


async def test_what_is_refused_first_leaves_the_unit_usable(worker):
    async with worker:
        (post,) = await worker.posts.create({"title": "a"})

    async with worker:
        with pytest.raises(exceptions.IntegrityError):
            await worker.posts.create({"id": post["id"], "title": "b"})
        await worker.posts.create({"title": "c"})

    assert await titles(worker) == ["a", "c"]


async def test_the_connection_and_the_transaction_are_there_inside_only(worker):
    with pytest.raises(AttributeError, match="Connection not initialized"):
        _ = worker.connection
    with pytest.raises(AttributeError, match="Transaction not started"):
        _ = worker.transaction

    async with worker:
        assert (await worker.connection.execute(sa.text("SELECT 1"))).scalar() == 1
        assert worker.transaction.is_active
        assert worker.posts._connection is worker.users._connection is worker.connection

    with pytest.raises(AttributeError, match=r"'posts'.*async with"):
        _ = worker.posts


async def test_a_repository_that_outlives_its_unit_says_so(worker):
    async with worker:
        await worker.posts.create({}, {}, {})
        posts, listing, unread = worker.posts, worker.posts.list(), worker.posts.list()
        await anext(listing)

    for late in (posts.create({}), posts.retrieve(), posts.drop(), anext(listing), anext(unread)):
        with pytest.raises(exceptions.SessionClosedError, match="post"):
            await late


async def test_a_unit_whose_transaction_was_ended_by_hand_does_not_end_well(worker):
    with pytest.raises(exceptions.ConflictError):
        async with worker:
            await worker.posts.create({"title": "a"})
            await worker.transaction.rollback()

    assert await titles(worker) == []


async def test_a_unit_never_ends_well_having_stored_nothing(worker, url):
    given_up = url.startswith("postgresql")

    for nested in (False, True):
        with pytest.raises(exceptions.SQLAlchemyError) if given_up else contextlib.nullcontext():
            async with worker, worker if nested else contextlib.nullcontext():
                await worker.posts.create({"title": "a"})
                with pytest.raises(sa.exc.DBAPIError):
                    await worker.connection.execute(sa.text("SELECT * FROM nothing"))

    async with worker:
        await worker.posts.create({"title": "b"})
        with pytest.raises(sa.exc.DBAPIError):
            async with worker:
                await worker.connection.execute(sa.text("SELECT * FROM nothing"))
        with pytest.raises(sa.exc.DBAPIError):
            await worker.connection.execute(sa.text("SELECT * FROM nothing"))
        await worker.rollback()
        await worker.posts.create({"title": "c"})

    assert await titles(worker) == (["c"] if given_up else ["a", "a", "c"])


async def test_a_constraint_that_fails_at_commit_is_an_integrity_error(url, module, app):
    if url.startswith("mysql"):
        pytest.skip("MariaDB checks every constraint at once")
    late_table = sa.Table(
        "late",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("other", sa.ForeignKey("late.id", name="late_other", deferrable=True, initially="DEFERRED")),
    )
    worker = type(
        "Late",
        (SQLAlchemyWorker,),
        {"__annotations__": {"late": type("Repository", (SQLAlchemyTableRepository,), {"_table": late_table})}},
    )(app)
    async with module.engine.begin() as connection:
        await connection.run_sync(late_table.metadata.create_all)

    with pytest.raises(exceptions.IntegrityError) as caught:
        async with worker:
            await worker.late.create({"id": 1, "other": 2})

    assert caught.value.kind == "foreign_key"
    if url.startswith("postgresql"):
        assert (caught.value.resource, caught.value.fields) == ("late", ("other",))
    async with worker:
        assert [record async for record in worker.late.list()] == []
        await worker.late.create({"id": 1, "other": 1})
    async with module.engine.begin() as connection:
        await connection.run_sync(late_table.metadata.drop_all)


async def test_tasks_that_share_a_worker_have_a_unit_each(worker, url):
    alone = url == "sqlite+aiosqlite:///"
    inside = asyncio.Barrier(1 if alone else 3)

    async def unit(title):
        async with worker:
            if not url.startswith("sqlite"):
                await worker.posts.create({"title": title})
            await asyncio.wait_for(inside.wait(), 5)
            await worker.posts.create({"title": title})
            if title == "b":
                raise ZeroDivisionError
            return worker.connection

    a, b, c = await asyncio.gather(unit("a"), unit("b"), unit("c"), return_exceptions=True)

    assert isinstance(b, ZeroDivisionError)
    assert a is not c
    assert set(await titles(worker)) == {"a", "c"}


async def test_a_task_outside_does_not_see_anothers_unit_but_a_child_does(worker):
    begin, end = asyncio.Event(), asyncio.Event()

    async def outsider():
        await begin.wait()
        with pytest.raises(AttributeError):
            _ = worker.posts
        end.set()

    task = asyncio.create_task(outsider())
    async with worker:
        begin.set()
        await end.wait()
        assert await asyncio.wait_for(worker.posts.create({"title": "a"}), 5)
        seen = await asyncio.gather(asyncio.to_thread(lambda: worker.posts))
        assert seen == [worker.posts]
    await task


async def test_a_worker_needs_an_application_with_the_module(worker):
    bare = type(worker)()

    with pytest.raises(exceptions.ApplicationError, match="Worker not initialized"):
        async with bare:
            pass
    bare.app = types.SimpleNamespace()
    with pytest.raises(AttributeError, match="sqlalchemy"):
        async with bare:
            pass
    del bare.app
    with pytest.raises(exceptions.ApplicationError):
        _ = bare.app


async def test_the_units_of_two_workers_do_not_see_one_another(worker, url):
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time")
    other = worker.bound(worker.app)
    async with worker:
        await worker.posts.create({"title": "a"})
        async with other:
            assert [post async for post in other.posts.list()] == []
            await other.posts.create({"title": "b"})

    assert sorted(await titles(worker)) == ["a", "b"]
