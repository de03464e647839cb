"""The unit of work that the resources of an application share."""

import typing as t

import pydantic
import pytest
import sqlalchemy as sa

from flama import Flama, exceptions, types
from flama.client import Client
from flama.ddd import WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource, FlamaWorker, Resource, ResourceRoute, RESTResource
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
puppy = sa.Table(
    "puppy", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20), nullable=False)
)
kennel = sa.Table(
    "kennel",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("dog", sa.ForeignKey("puppy.id", deferrable=True, initially="DEFERRED")),
)


class Named(pydantic.BaseModel):
    name: str


class Puppy(CRUDResource):
    model = puppy

    async def create(self, worker: FlamaWorker, data: t.Annotated[types.Schema, types.SchemaMetadata(Named)]):
        async with worker:
            [dog] = await worker.repositories[self._meta.name].create(data)
            [home] = await worker.repositories["kennel"].create({"dog": dog["id"]})
            if dog["name"] == "Rex":
                raise exceptions.ConflictError(resource="puppy")
        return {**dog, "kennel": home["id"]}

    @ResourceRoute.method("/names/", methods=["GET"])
    async def names(self, worker: FlamaWorker):
        async with worker:
            return [record["name"] async for record in worker.repositories[self._meta.name].list()]


class Kennel(RESTResource):
    model = kennel


@pytest.fixture
async def client(tmp_path):
    app = Flama(modules=[SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db")])
    app.resources.add_resource("/puppy/", Puppy)
    app.resources.add_resource("/kennel/", Kennel)
    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield client
        assert app.sqlalchemy.engine.pool.checkedout() == 0


async def test_a_handler_has_the_repositories_of_all_resources_in_one_unit(client):
    created = await client.post("/puppy/", json={"name": "Bella"})
    refused = await client.post("/puppy/", json={"name": "Rex"})
    names = await client.get("/puppy/names/")

    assert created.json() == {"id": 1, "name": "Bella", "kennel": 1}
    assert refused.status_code == 409
    assert names.json() == ["Bella"]
    async with client.app.resources.worker.bound(client.app) as worker:
        assert await worker.repositories["kennel"].count() == 1


async def test_any_handler_of_the_application_can_ask_for_it(client):
    @client.app.get("/count/")
    async def count(worker: FlamaWorker):
        async with worker:
            return {name: await repository.count() for name, repository in worker.repositories.items()}

    await client.post("/puppy/", json={"name": "Bella"})

    assert (await client.get("/count/")).json() == {"puppy": 1, "kennel": 1}


async def test_a_repository_is_the_same_within_a_unit_and_of_the_next_another(client):
    worker = client.app.resources.worker.bound(client.app)

    async with worker:
        first = worker.repositories["puppy"]
        assert worker.repositories["puppy"] is first
        assert first._connection is worker.connection
    async with worker:
        assert worker.repositories["puppy"] is not first


async def test_outside_of_a_unit_there_are_no_repositories(client):
    with pytest.raises(exceptions.ApplicationError, match="Repositories not initialized"):
        _ = client.app.resources.worker.repositories


async def test_a_resource_that_is_not_there_is_named_with_those_that_are(client):
    async with client.app.resources.worker.bound(client.app) as worker:
        with pytest.raises(KeyError, match=r"no resource 'cat' .* there are \['kennel', 'puppy'\]"):
            _ = worker.repositories["cat"]


async def test_a_constraint_that_is_checked_at_the_end_is_told(client):
    worker = client.app.resources.worker.bound(client.app)

    with pytest.raises(exceptions.IntegrityError) as raised:
        async with worker:
            await worker.repositories["kennel"].create({"dog": 404})

    assert raised.value.kind == "foreign_key"


async def test_repositories_of_no_resource_can_be_added_and_removed(client):
    class Mine(SQLAlchemyTableRepository):
        _table = puppy

    client.app.resources.add_repository("mine", Mine)
    async with client.app.resources.worker.bound(client.app) as worker:
        assert isinstance(worker.repositories["mine"], Mine)
    client.app.resources.remove_repository("mine")
    async with client.app.resources.worker.bound(client.app) as worker:
        assert len(worker.repositories) == 2


def test_two_resources_of_one_name_are_refused():
    class Other(RESTResource):
        name = "puppy"
        model = puppy

    app = Flama()
    app.resources.add_resource("/puppy/", Puppy)
    app.resources.add_resource("/again/", Puppy)

    with pytest.raises(exceptions.ApplicationError, match="'puppy' of the application's resources is PuppyRepository"):
        app.resources.add_resource("/other/", Other)


def test_a_repository_that_has_a_worker_of_its_own_is_that_ones():
    class Puppies(SQLAlchemyTableRepository):
        _table = puppy

    class PuppyWorker(SQLAlchemyWorker):
        puppy: Puppies

    class Dog(CRUDResource):
        repository = Puppies

    app = Flama(components=[WorkerComponent(PuppyWorker())])
    app.resources.add_resource("/dog/", Dog)
    app.resources.add_resource("/kennel/", Kennel)

    assert list(app.resources.worker._known) == ["kennel"]


async def test_who_asks_for_another_worker_is_not_given_this_one(tmp_path):
    class Mine(SQLAlchemyWorker):
        pass

    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")], components=[WorkerComponent(Mine())])
    app.resources.add_resource("/kennel/", Kennel)

    @app.get("/who/")
    async def who(mine: Mine, any: SQLAlchemyWorker):
        return [type(mine).__name__, type(any).__name__]

    async with Client(app=app) as client:
        assert (await client.get("/who/")).json() == ["Mine", "Mine"]


async def test_a_resource_of_no_database_needs_none():
    class Hello(Resource):
        @ResourceRoute.method("/")
        def hi(self) -> str:
            return "hi"

    app = Flama()
    app.resources.add_resource("/hello/", Hello)
    async with Client(app=app) as client:
        assert (await client.get("/hello/")).json() == "hi"
    assert list(app.components) == []


async def test_a_mounted_application_has_its_own(client):
    class Other(CRUDResource):
        name = "puppy"
        model = puppy

        @ResourceRoute.method("/there/", methods=["GET"])
        async def there(self, worker: FlamaWorker):
            async with worker:
                return [sorted(worker.repositories), type(worker.repositories["puppy"]).__name__]

    inner, outer = Flama(), Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite:///")])
    outer.resources.add_resource("/puppy/", Puppy)
    outer.resources.add_resource("/kennel/", Kennel)
    outer.mount("/inner", inner)
    inner.parent = outer
    inner.resources.add_resource("/puppy/", Other)

    async with Client(app=outer) as client:
        found = await client.get("/inner/puppy/there/")

    assert found.json() == [["puppy"], "OtherRepository"]
