"""Fixtures of the contracts: workers on SQL databases, whose statements run directly or by SQLAlchemy."""

import re
import types

import pytest
import sqlalchemy as sa

from flama.sqlalchemy import SQLAlchemyModule
from tests.contract import tables


def pytest_collection_modifyitems(items):
    """Expect the tests to fail whose names match the patterns in the ``faults`` of their class."""
    for item in items:
        for tests, reason in getattr(getattr(item, "cls", None), "faults", {}).items():
            if re.search(tests, item.name):
                item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


@pytest.fixture(scope="class")
def url(request):
    match request.cls.driver:
        case "aiosqlite":
            return "sqlite+aiosqlite://"
        case "asyncmy":
            return request.getfixturevalue("mariadb_url")
        case driver:
            return request.getfixturevalue("postgres_url").replace("asyncpg", driver)


@pytest.fixture(scope="class")
def collections(request):
    return tables.collections(deferred="deferred_references" in request.cls.capabilities)


@pytest.fixture(scope="class", params=["directly", "by SQLAlchemy"])
def way(request):
    return request.param


@pytest.fixture(scope="class")
async def module(url, collections, way):
    """A module on a database with the tables; an event listener on its engine requires SQLAlchemy to run statements."""
    module = SQLAlchemyModule(url)
    await module.on_startup()
    if way == "by SQLAlchemy":
        sa.event.listen(module.engine.sync_engine, "before_cursor_execute", lambda *_: None)
    async with module.engine.begin() as connection:
        await connection.run_sync(collections.metadata.create_all)
    yield module
    assert module.engine.pool.checkedout() == 0
    async with module.engine.begin() as connection:
        await connection.run_sync(collections.metadata.drop_all)
    await module.on_shutdown()


@pytest.fixture(scope="class")
def new_worker(request, module, collections):
    """A function that creates a worker, with a repository of the class ``members`` of the tests."""
    worker = tables.worker_of(collections, request.cls.members)
    return lambda: worker(types.SimpleNamespace(sqlalchemy=module))


@pytest.fixture
async def unit(new_worker):
    """An open unit, which is rolled back after the test."""
    unit = new_worker()
    await unit.begin()
    yield unit
    await unit.end(rollback=True)


@pytest.fixture
async def repository(unit):
    return unit.members


@pytest.fixture
async def clubs(unit):
    return unit.clubs


@pytest.fixture
async def seats(unit):
    return unit.seats


@pytest.fixture
async def worker(new_worker):
    yield new_worker()
    async with new_worker() as unit:
        await unit.members.drop()
        await unit.clubs.drop()
