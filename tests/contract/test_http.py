"""Repositories over HTTP keep to the contract, on a resource of a table in SQLite."""

import pytest

from flama import Flama
from flama.client import Client
from flama.ddd import HTTPWorker
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule
from tests.contract.suite import RepositoryContract

pytestmark = pytest.mark.anyio


class Listing(HTTPResourceRepository):
    """Gives lists where repositories of tables do, which over HTTP is so for many records."""

    async def create(self, *data):
        return await self._many("create_many", [*data])

    async def update(self, data, *clauses, max_affected=None, **filters):
        question = self._question(clauses, filters)
        return await self._many("update_where", data, question.pairs(max_affected))


class Members(Listing):
    _resource = "/member"


class Clubs(Listing):
    _resource = "/club"


class Remote(HTTPWorker):
    members: Members
    clubs: Clubs


@pytest.fixture(scope="class")
async def client(collections):
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")])
    for name in ("member", "club"):
        resource = type(name.title(), (CRUDResource,), {"model": getattr(collections, name)})
        app.resources.add_resource(f"/{name}/", resource)
    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(collections.metadata.create_all)
        yield client


@pytest.fixture(scope="class")
def new_worker(client):
    return lambda: Remote("http://localapp", transport=client._transport)


@pytest.fixture
async def unit(new_worker):
    async with new_worker() as unit:
        yield unit
        await unit.members.drop()
        await unit.clubs.drop()


class TestHTTP(RepositoryContract):
    # a query has no types: each value is of its field's; HTTP has no transaction, and a path no key of several fields
    capabilities = RepositoryContract.capabilities.union({"ids"}) - {
        *("composite", "deferred", "kinds", "transactions"),
        "reference_fields",  # SQLite doesn't tell
    }
