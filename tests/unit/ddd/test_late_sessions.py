"""A unit on several backends has a connection to the database from the first use of a repository on."""

import asyncio
import types

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd import BaseRepository, Worker
from flama.ddd.repositories.sqlalchemy import SQLAlchemyRepository, SQLAlchemyTableRepository
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio


class Clock(BaseRepository):
    """A repository that needs no session."""

    def now(self):
        return "noon"


@pytest.fixture
def blog(app, post_table):
    class Posts(SQLAlchemyTableRepository):
        _table = post_table

    class Titles(SQLAlchemyRepository):
        async def all(self):
            return [title for (title,) in await self._connection.execute(sa.select(post_table.c.title))]

        async def write(self, title):
            await self._connection.execute(post_table.insert().values(title=title))

    class Blog(Worker):
        posts: Posts
        titles: Titles
        clock: Clock

    return Blog(app)


def in_use(blog):
    return blog.app.sqlalchemy.engine.pool.checkedout()


async def titles(blog):
    async with blog:
        return sorted(await blog.titles.all())


USES = {
    "create": lambda blog: blog.posts.create({"title": "a"}),
    "create several": lambda blog: blog.posts.create({"title": "a"}, {"title": "b"}),
    "retrieve": lambda blog: blog.posts.get(id=1),
    "update": lambda blog: blog.posts.drop(id=1),
    "list": lambda blog: anext(blog.posts.list(), None),
    "statement by SQLAlchemy": lambda blog: blog.titles.all(),
    "savepoint by SQLAlchemy": lambda blog: blog.titles._connection.begin_nested().start(),
}


@pytest.mark.parametrize("use", USES)
async def test_it_has_one_from_its_first_use_to_its_end(blog, use):
    async with blog:
        blog.posts, blog.titles  # noqa: B018 - to look at them is no use
        assert blog.clock.now() == "noon"
        assert in_use(blog) == 0
        await USES[use](blog)
        assert in_use(blog) == 1
        await USES[use](blog)
        assert in_use(blog) == 1

    assert in_use(blog) == 0


async def test_it_stores_all_that_is_written_or_nothing(blog):
    async with blog:
        await blog.posts.create({"title": "a"})
        await blog.titles.write("b")
    with pytest.raises(ZeroDivisionError):
        async with blog:
            await blog.titles.write("c")
            await blog.posts.create({"title": "d"})
            raise ZeroDivisionError

    assert await titles(blog) == ["a", "b"]


async def test_what_is_committed_or_rolled_back_within_it_is_so(blog):
    async with blog:
        await blog.commit()
        await blog.rollback()
        await blog.posts.create({"title": "a"})
        await blog.commit()
        await blog.posts.create({"title": "b"})
        await blog.rollback()
        await blog.commit()
        await blog.titles.write("c")

    assert await titles(blog) == ["a", "c"]


async def test_its_savepoints_are_undone_or_kept(blog):
    async with blog:
        with pytest.raises(ZeroDivisionError):
            async with blog.savepoint():
                await blog.posts.create({"title": "a"})
                raise ZeroDivisionError
        async with blog.savepoint():
            await blog.posts.create({"title": "b"})

    assert await titles(blog) == ["b"]


async def test_one_whose_transaction_was_rolled_back_under_it_does_not_end_well(blog):
    with pytest.raises(exceptions.ConflictError, match="nothing of it is stored"):
        async with blog:
            await blog.posts.create({"title": "a"})
            await blog.posts._connection.rollback()
            await blog.posts.create({"title": "b"})

    assert await titles(blog) == []


async def test_one_whose_connection_is_lost_does_not_end_well(blog, url):
    if url.endswith(":///"):
        pytest.skip("a database in memory has no connection to lose")
    with pytest.raises((exceptions.UnavailableError, exceptions.ConflictError)):
        async with blog:
            await blog.posts.create({"title": "a"})
            await blog.posts._connection.invalidate()

    assert await titles(blog) == []
    assert in_use(blog) == 0


async def test_many_that_use_the_database_late_need_no_connection_before(blog):
    async def work():
        async with blog:
            await together.wait()
            await blog.posts.get(id=1)

    together = asyncio.Barrier(40)  # more than the pool has connections
    async with asyncio.timeout(20):
        await asyncio.gather(*(work() for _ in range(40)))


async def test_a_database_that_can_not_be_reached_is_in_the_way_of_those_who_use_it_alone(post_table):
    class Posts(SQLAlchemyTableRepository):
        _table = post_table

    class Blog(Worker):
        posts: Posts
        clock: Clock

    module = SQLAlchemyModule("postgresql+asyncpg://nobody@127.0.0.1:1/nowhere")
    await module.on_startup()
    blog = Blog(types.SimpleNamespace(sqlalchemy=module))

    async with blog:
        assert blog.clock.now() == "noon"
        with pytest.raises(exceptions.UnavailableError):
            await blog.posts.get(id=1)
        with pytest.raises(exceptions.UnavailableError):
            await blog.posts.create({"title": "a"})
    await module.on_shutdown()


async def test_one_connection_that_all_share_is_taken_on_entering(url, post_table):
    class Posts(SQLAlchemyTableRepository):
        _table = post_table

    class Blog(Worker):
        posts: Posts

    module = SQLAlchemyModule(url, single_connection=True)
    await module.on_startup()
    blog = Blog(types.SimpleNamespace(sqlalchemy=module))

    async with blog:
        assert in_use(blog) == 1
    assert in_use(blog) == 0
    await module.on_shutdown()
