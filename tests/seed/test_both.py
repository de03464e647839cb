"""What the page says of repositories in general: code that uses one doesn't know where the records are."""

import contextlib

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from flama.client import Client
from flama.ddd import BaseRepository, HTTPRepository, Worker
from flama.ddd.exceptions import IntegrityError, NotFoundError
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker

pytestmark = pytest.mark.anyio

ALICE = {"id": "1", "name": "Alice", "surname": "Smith", "email": "alice@example.com", "password": "x", "active": False}


@contextlib.asynccontextmanager
async def sql(load, serve):
    example = load("example_http")
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.connect() as connection:
        await connection.run_sync(example.metadata.create_all)
        yield example.UserSQLRepository(connection)
    await engine.dispose()


@contextlib.asynccontextmanager
async def http_in_process(load, serve):
    example = load("example_http")
    async with Client(app=example.backend) as client:
        yield example.UserHTTPRepository(client)


@contextlib.asynccontextmanager
async def http_over_a_socket(load, serve):
    example = load("example_http")
    async with Client(base_url=serve(example.backend)) as client:
        yield example.UserHTTPRepository(client)


async def register(users, user):
    """Business logic as the page means it: it knows the repository's interface and exceptions, and no more."""
    try:
        await users.create(user)
    except IntegrityError:
        return "taken"
    return "welcome"


async def forget(users, id):
    try:
        await users.delete(id=id)
    except NotFoundError:
        return "unknown"
    return "gone"


async def name_of(users, id):
    try:
        return (await users.retrieve(id=id))["name"]
    except NotFoundError:
        return "nobody"


@pytest.mark.parametrize("backend", [sql, http_in_process, http_over_a_socket])
async def test_the_same_business_logic_runs_on_either_branch(backend, load, serve):
    async with backend(load, serve) as users:
        story = [
            await name_of(users, "1"),
            await register(users, ALICE),
            await name_of(users, "1"),
            await register(users, ALICE | {"id": "2"}),
            await forget(users, "1"),
            await forget(users, "1"),
        ]

    assert story == ["nobody", "welcome", "Alice", "taken", "gone", "unknown"]


class FakeUsers(BaseRepository):
    """An in-memory alternative, as somebody would write it for a test."""

    records = {}

    async def create(self, user):
        if user["email"] in {known["email"] for known in self.records.values()}:
            raise IntegrityError(resource="user")
        self.records[user["id"]] = user
        return [user]

    async def delete(self, *, id):
        if self.records.pop(id, None) is None:
            raise NotFoundError(resource="user", id=id)


class FakeWorker(Worker):
    user: FakeUsers


async def test_a_repository_is_replaced_in_tests_without_a_change_to_business_logic(monkeypatch):
    monkeypatch.setattr(FakeUsers, "records", {})

    async with FakeWorker() as worker:
        story = [
            await register(worker.user, ALICE),
            await register(worker.user, ALICE | {"id": "2"}),
            await forget(worker.user, "1"),
            await forget(worker.user, "1"),
        ]

    assert story == ["welcome", "taken", "gone", "unknown"]


async def test_one_worker_may_mix_sql_and_http_repositories(load, serve):
    local, remote = load("example_http"), load("example_http")

    class GatewayWorker(SQLAlchemyWorker):
        mine: local.UserSQLRepository
        theirs: local.UserHTTPRepository

        def make_repository(self, repository, session):
            return super().make_repository(repository, client if issubclass(repository, HTTPRepository) else session)

    async with Client(app=local.backend), Client(base_url=serve(remote.backend)) as client:
        async with GatewayWorker(local.backend) as worker:
            await worker.mine.create(ALICE)
            await worker.theirs.create(ALICE | {"name": "Alicia"})
            names = [await name_of(worker.mine, "1"), await name_of(worker.theirs, "1")]

    assert names == ["Alice", "Alicia"]


async def test_a_custom_method_is_part_of_the_unit_that_the_worker_manages(load):
    example = load("example_http")

    class CountingRepository(example.UserSQLRepository):
        async def count(self):
            return len((await self._connection.execute(self._table.select())).all())

    class CountingWorker(SQLAlchemyWorker):
        user: CountingRepository

    async with Client(app=example.backend):
        worker = CountingWorker(example.backend)
        with pytest.raises(RuntimeError, match="undo"):
            async with worker:
                await worker.user.create(ALICE)
                inside = await worker.user.count()
                raise RuntimeError("undo")
        async with worker:
            after = await worker.user.count()

    assert (inside, after) == (1, 0)
