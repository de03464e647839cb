"""Records of a tree are stored in whichever order they come, and deleted all at once."""

import asyncio

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st

from flama import Flama, exceptions
from flama.ddd import F, MemoryWorker
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

metadata = sa.MetaData()
table = sa.Table(
    "node",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("parent_id", sa.ForeignKey("node.id")),
    sa.Column("name", sa.String(9)),
)


class Nodes(SQLAlchemyTableRepository):
    _table = table


class NodeWorker(SQLAlchemyWorker):
    node: Nodes


class Unit:
    """Units of work, in a loop of their own, each undone at its end."""

    def __init__(self, runner, worker, name):
        self.runner, self.worker, self.name = runner, worker, name

    def run(self, steps):
        async def undone():
            async with self.worker as worker:
                try:
                    return await steps(worker.node)
                finally:
                    await worker.rollback()

        return self.runner.run(undone())


@pytest.fixture(scope="module", params=["memory", "sqlite", "asyncpg", "psycopg", "mariadb"])
def unit(request, tmp_path_factory):
    match request.param:
        case "memory":
            with asyncio.Runner() as runner:
                yield Unit(runner, MemoryWorker.of(NodeWorker)(), "memory")
            return
        case "sqlite":
            url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('nodes')}/data.db"
        case "mariadb":
            url = request.getfixturevalue("mariadb_url")
        case driver:
            url = request.getfixturevalue("postgres_url").replace("asyncpg", driver)
    module = SQLAlchemyModule(url)
    with asyncio.Runner() as runner:
        runner.run(module.on_startup())
        runner.run(of_tables(module, metadata.create_all))
        yield Unit(runner, NodeWorker(Flama(modules=[module])), request.param)
        runner.run(of_tables(module, metadata.drop_all))
        runner.run(module.on_shutdown())


async def of_tables(module, change):
    async with module.engine.begin() as connection:
        await connection.run_sync(change)


@st.composite
def forests(draw):
    """Records that name one another as parents, without a cycle, in any order; some have no name."""
    size = draw(st.integers(2, 12))
    parents = [draw(st.none() | st.integers(0, number)) for number in range(size)]
    records = [
        {"id": number, "parent_id": parent} | ({"name": "x"} if draw(st.booleans()) else {})
        for number, parent in enumerate(parents)
    ]
    return draw(st.permutations(records))


settings = hypothesis.settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)


@settings
@hypothesis.given(forests())
def test_a_forest_is_stored_in_any_order_and_deleted_at_once(unit, records):
    async def steps(nodes):
        return await nodes.create(*records), await nodes.drop(), await nodes.count()

    stored, dropped, left = unit.run(steps)

    assert stored == [{"name": None, **record} for record in records]
    assert (dropped, left) == (len(records), 0)


@settings
@hypothesis.given(forests())
def test_a_forest_is_upserted_in_any_order(unit, records):
    async def steps(nodes):
        return await nodes.upsert(*records), await nodes.drop(max_affected=len(records))

    stored, dropped = unit.run(steps)

    assert stored == [{"name": None, **record} for record in records]
    assert dropped == len(records)


def test_what_others_refer_to_is_not_deleted_without_them(unit):
    async def steps(nodes):
        await nodes.create({"id": 1}, {"id": 2, "parent_id": 1}, {"id": 3, "parent_id": 2})
        with pytest.raises(exceptions.IntegrityError) as error:
            await nodes.drop(F.id < 3)
        return error.value.kind, await nodes.count(), await nodes.drop(F.id > 1), await nodes.count()

    assert unit.run(steps) == ("foreign_key", 3, 2, 1)


def test_what_refers_to_each_other_is_stored_where_a_statement_is_checked_at_its_end(unit):
    async def steps(nodes):
        try:
            stored = await nodes.create({"id": 1, "parent_id": 2}, {"id": 2, "parent_id": 1}, {"id": 3, "parent_id": 2})
        except exceptions.IntegrityError:
            return "refused"
        return [node["id"] for node in stored], await nodes.drop()

    assert unit.run(steps) == ("refused" if unit.name == "mariadb" else ([1, 2, 3], 3))


def test_what_refers_to_each_other_is_deleted(unit):
    async def steps(nodes):
        await nodes.create({"id": 1}, {"id": 2, "parent_id": 1}, {"id": 3, "parent_id": 2})
        await nodes.update({"parent_id": 2}, id=1)
        return await nodes.drop()

    assert unit.run(steps) == 3
