"""Repositories over HTTP pass the contract: on resources of tables, of memory, and of repositories over HTTP."""

import pydantic
import pytest

from flama import Flama
from flama.client import ASGITransport, Client
from flama.ddd import HTTPWorker, MemoryWorker, Select, WorkerComponent
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule
from flama.testing import RepositoryContract, WorkerContract
from tests.contract import tables

pytestmark = pytest.mark.anyio


class Listing(HTTPResourceRepository):
    """A repository that returns lists as those of tables do: it always calls the bulk operations."""

    async def create(self, *data):
        return self._read(await self._send("create_many", self._rows(data)))

    async def update(self, data, *clauses, max_affected=None, **filters):
        return self._read(await self._update(Select("update", clauses, filters), data, max_affected))


class Members(Listing):
    _resource = "/member"


class Clubs(Listing):
    _resource = "/club"


class Remote(HTTPWorker):
    members: Members
    clubs: Clubs


class MembersBelow(HTTPResourceRepository):
    _resource = "/member"


class ClubsBelow(HTTPResourceRepository):
    _resource = "/club"


class LowerLevel(HTTPWorker):
    """A unit on the level below a resource."""

    members: MembersBelow
    clubs: ClubsBelow


class Member(pydantic.BaseModel):
    """A member to a resource without a table: the level below validates it."""

    id: int | None = None
    name: str | None = "unnamed"
    email: str | None = None
    age: int | None = 18
    points: int | None = None
    note: str | None = None
    club: int | None = None
    mentor: int | None = None


class Club(pydantic.BaseModel):
    """A club, likewise."""

    id: int | None = None
    name: str | None = None


def serving(app, **resources):
    """Return the application with a resource for each of the collections."""
    for name, attributes in resources.items():
        app.resources.add_resource(f"/{name}/", type(name.title(), (CRUDResource,), attributes))
    return app


@pytest.fixture(scope="class")
async def client(app):
    async with Client(app=app) as client:
        yield client


@pytest.fixture(scope="class")
async def of_tables(collections):
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")])
    async with Client(app=serving(app, member={"model": collections.member}, club={"model": collections.club})):
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(collections.metadata.create_all)
        yield app


@pytest.fixture(scope="class")
def new_worker(client):
    return lambda: Remote("http://localapp", transport=client._transport)


@pytest.fixture
async def unit(new_worker):
    async with new_worker() as unit:
        yield unit
        await unit.members.drop()
        await unit.clubs.drop()


class HTTPContract(RepositoryContract, WorkerContract):
    """The contract over HTTP."""

    # A query string has no types, HTTP no transactions, and a path no composite keys.
    absent = {"composite_keys", "deferred_references", "strict_types", "transactions"}
    capabilities = RepositoryContract.capabilities.union({"positional_ids"}) - absent


class TestTables(HTTPContract):
    capabilities = HTTPContract.capabilities - {"reference_fields"}  # SQLite doesn't name them

    @pytest.fixture(scope="class")
    @classmethod
    def app(cls, of_tables):
        return of_tables


class TestMemory(HTTPContract):
    @pytest.fixture(scope="class")
    @classmethod
    def collections(cls):
        return tables.expressed(tables.collections.__wrapped__(deferred=False))

    @pytest.fixture(scope="class")
    @classmethod
    def app(cls, collections):
        kinds = {
            f"{name}s": type(name, (SQLAlchemyTableRepository,), {"_table": getattr(collections, name)})
            for name in ("member", "club")
        }
        worker = type("TableWorker", (SQLAlchemyWorker,), {"__annotations__": dict(kinds)})
        app = Flama(components=[WorkerComponent(MemoryWorker.of(worker)())])
        return serving(app, member={"repository": kinds["members"]}, club={"repository": kinds["clubs"]})


class TestRepositoriesOverHTTP(HTTPContract):
    capabilities = TestTables.capabilities

    @pytest.fixture(scope="class")
    @classmethod
    def app(cls, of_tables):
        return serving(
            Flama(components=[WorkerComponent(LowerLevel("http://below", transport=ASGITransport(of_tables)))]),
            member={"repository": MembersBelow, "schema": Member},
            club={"repository": ClubsBelow, "schema": Club},
        )
