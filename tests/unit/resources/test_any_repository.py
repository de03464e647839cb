"""Resources over repositories of every kind."""

import asyncio

import pydantic
import pytest

from flama import Flama, exceptions, query
from flama.client import ASGITransport, Client
from flama.ddd import BaseRepository, HTTPResourceRepository, HTTPWorker, MemoryRepository, WorkerComponent
from flama.ddd.workers.composite import Worker
from flama.resources import CRUDResource
from flama.resources.exceptions import ResourceAttributeNotFound
from tests.unit.resources.conftest import application, tables

pytestmark = pytest.mark.anyio


class User(pydantic.BaseModel):
    id: str | None = None
    name: str = pydantic.Field(max_length=20)
    age: int | None = None


class Kept(MemoryRepository):
    _key = "id"


class Written(BaseRepository):
    """A repository by hand, which knows no more than all have in common."""

    records = {}

    async def create(self, *data):
        data = [{"id": None, **record} for record in data]
        self.records.update({record["id"]: record for record in data})
        return data

    async def retrieve(self, id):
        if id not in self.records:
            raise exceptions.NotFoundError(resource="written", id=id)
        return self.records[id]

    async def update(self, data, id):
        self.records[id] = {**await self.retrieve(id), **data}
        return [self.records[id]]

    async def delete(self, id):
        await self.retrieve(id)
        del self.records[id]

    async def list(self):
        for record in list(self.records.values()):
            yield record

    async def drop(self):
        deleted = len(self.records)
        self.records.clear()
        return deleted


@pytest.fixture(params=[Kept, Written, HTTPResourceRepository])
async def client(request):
    """A client of a resource over such a repository: over HTTP, it is another application's resource."""
    if request.param is HTTPResourceRepository:
        inner = Flama()
        inner.resources.add_resource("/user/", resource(Kept))

        class Remote(HTTPResourceRepository):
            _resource = "/user"

        class RemoteWorker(HTTPWorker):
            user: Remote

        async with Client(app=inner):
            worker = RemoteWorker("http://users", transport=ASGITransport(app=inner))
            outer = Flama(components=[WorkerComponent(worker)])
            outer.resources.add_resource("/user/", resource(Remote))
            async with Client(app=outer) as client:
                yield client
        return
    app = Flama()
    Written.records.clear()
    app.resources.add_resource("/user/", resource(request.param))
    async with Client(app=app) as client:
        yield client


def resource(kind):
    class Users(CRUDResource):
        repository = kind
        schema = User
        key = "id"

    return Users


async def test_a_record_is_created_read_changed_and_deleted(client):
    created = await client.post("/user/", json={"id": "a/b", "name": "Ada", "age": 36})
    url = created.headers["location"]
    found = await client.get(url)
    patched = await client.patch(url, json={"age": 37})
    put = await client.put(url, json={"name": "Ada L."})
    deleted = await client.delete(url)
    missing = await client.get(url)

    assert (created.status_code, url) == (201, "/user/a%2Fb/")
    assert found.json() == created.json() == {"id": "a/b", "name": "Ada", "age": 36}
    assert found.headers["etag"] == created.headers["etag"]
    assert patched.json() == {"id": "a/b", "name": "Ada", "age": 37}
    assert put.json() == {"id": "a/b", "name": "Ada L.", "age": None}
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (missing.status_code, missing.json()["error"], missing.json()["id"]) == (404, "NotFoundError", "a/b")


async def test_records_are_listed_in_pages_and_dropped(client):
    for number in range(12):
        assert (await client.post("/user/", json={"id": str(number), "name": "x"})).status_code == 201

    pages = [(await client.get("/user/", params={"page": page, "count": True})).json() for page in (1, 2)]
    cursor = (await client.get("/user/", params={"cursor": "", "limit": 7})).json()["meta"]["next"]
    rest = (await client.get("/user/", params={"cursor": cursor, "limit": 7})).json()["data"]
    stream = await client.get("/user/", headers={"accept": "application/x-ndjson"})
    dropped = await client.delete("/user/")

    assert [len(page["data"]) for page in pages] == [10, 2]
    assert [page["meta"]["next"] for page in pages] == [2, None]
    assert pages[0]["meta"]["count"] == 12
    assert len(rest) == 5
    assert len(stream.content.splitlines()) == 12
    assert dropped.json() == {"deleted": 12}


async def test_what_a_repository_cannot_do_is_refused():
    app = Flama()
    app.resources.add_resource("/user/", resource(Written))
    stream = {"accept": "application/x-ndjson"}
    async with Client(app=app) as client:
        asked = [
            await client.get("/user/", params={"name": "x"}),
            await client.get("/user/", params={"order_by": "name"}),
            await client.get("/user/", params={"name": "x"}, headers=stream),
            await client.delete("/user/", params={"name": "x"}),
            await client.delete("/user/", params={"max_affected": 1}),
        ]
        unserved = [await client.put("/user/", json=[]), await client.patch("/user/", json=[])]
        unserved += [await client.post(f"/user/:{verb}/", json=[]) for verb in ("upsert", "update", "drop")]

    assert [response.status_code for response in asked] == [422] * 5
    assert [response.status_code for response in unserved] == [405] * 5


async def test_a_change_of_another_state_is_refused(client):
    created = await client.post("/user/", json={"id": "a", "name": "Ada"})
    tag = {"if-match": created.headers["etag"]}

    first = await client.patch("/user/a/", json={"age": 1}, headers=tag)
    second = await client.patch("/user/a/", json={"age": 2}, headers=tag)

    assert (first.status_code, second.status_code) == (200, 412)


async def test_a_record_that_gets_no_key_is_refused():
    app = Flama()
    app.resources.add_resource("/user/", resource(Written))
    async with Client(app=app) as client:
        response = await client.post("/user/", json={"name": "Ada"})

    assert (response.status_code, response.json()["kind"], response.json()["fields"]) == (400, "not_null", ["id"])


async def test_what_is_no_record_is_refused(client):
    assert (await client.post("/user/", json={"name": "x" * 21})).status_code == 400


async def test_a_repository_of_a_type_needs_no_schema():
    class Typed(MemoryRepository[User]):
        _key = "id"

    class Users(CRUDResource):
        repository = Typed

    app = Flama()
    app.resources.add_resource("/user/", Users)
    async with Client(app=app) as client:
        created = await client.post("/user/", json={"id": "a", "name": "Ada"})
        refused = await client.post("/user/", json={"id": "b"})

    assert created.json() == {"id": "a", "name": "Ada", "age": None}
    assert refused.status_code == 400


def test_a_remote_repository_needs_somebody_to_say_where_it_is():
    class Remote(HTTPResourceRepository):
        _resource = "/user"

    with pytest.raises(ResourceAttributeNotFound, match="no worker has the repository Remote"):
        Flama().resources.add_resource("/user/", resource(Remote))


async def test_the_worker_is_that_which_has_the_repository():
    class Mine(Worker):
        users: Written

    class Users(CRUDResource):
        repository = Written
        worker = Mine
        schema = User

    app = Flama(components=[WorkerComponent(Mine())])
    app.resources.add_resource("/user/", Users)
    async with Client(app=app) as client:
        assert (await client.get("/user/")).status_code == 200


async def test_a_tower_of_resources_answers_as_its_foot_does():
    foot = application("sqlite+aiosqlite:///")

    class Remote(HTTPResourceRepository):
        _resource = "/puppy"

    class RemoteWorker(HTTPWorker):
        puppy: Remote

    class Puppy(pydantic.BaseModel):
        id: int | None = None
        name: str

    class Puppies(CRUDResource):
        repository = Remote
        schema = Puppy

    async with Client(app=foot) as below, tables(foot):
        tower = Flama(components=[WorkerComponent(RemoteWorker("http://foot", transport=ASGITransport(app=foot)))])
        tower.resources.add_resource("/puppy/", Puppies)
        async with Client(app=tower) as above:
            created = await above.post("/puppy/", json={"name": "Bella"})
            errors = [await client.post("/puppy/", json={"name": "Bella"}) for client in (above, below)]

    assert created.json() == {"id": 1, "name": "Bella"}
    assert errors[0].status_code == errors[1].status_code == 400
    assert errors[0].json() == errors[1].json()


class Ordered(BaseRepository):
    """A repository by hand that lists from a place on, and holds what it is asked to."""

    records = {}
    asked = []

    async def create(self, *data):
        self.records.update({record["id"]: record for record in data})
        return list(data)

    async def retrieve(self, id, lock=None):
        self.asked.append(("retrieve", lock))
        return self.records[id]

    async def update(self, data, id):
        self.asked.append(("update", id))
        self.records[id] = {**self.records[id], **data}
        return [self.records[id]]

    async def delete(self, id):
        self.records.pop(id)

    async def list(self, *conditions, order_by=None, limit=None, offset=0, after=None, before=None):
        self.asked.append(("list", offset))
        order = query.parse_order(order_by, keys=["id"])
        ends = [place(order, at) for place, at in ((query.after, after), (query.before, before)) if at is not None]
        found = [each for each in self.records.values() if all(one.matches(each) for one in [*conditions, *ends])]
        found = query.sort_records(found, order)
        is_last = before is not None and after is None
        for record in found[-limit:] if is_last and limit else found[offset:][:limit]:
            yield record

    async def count(self, *conditions):
        return len(self.records)


KEPT = {"kept": Kept, "ordered": Ordered}


@pytest.fixture(params=["kept", "ordered", "remote", "of"])
async def changing(request):
    """A client of a resource whose records come and go while somebody goes through its pages."""
    below = Flama()
    Ordered.records.clear()
    Ordered.asked.clear()
    users = resource(KEPT.get(request.param, Kept))
    below.resources.add_resource("/users/", users)
    async with Client(app=below) as client:
        if request.param in KEPT:
            yield client
            return
        attributes = {"_resource": "/users", "_pagination": "cursor"}
        remote = (
            HTTPResourceRepository.of(users)
            if request.param == "of"
            else type("Remote", (HTTPResourceRepository,), attributes)
        )
        worker = type("RemoteWorker", (HTTPWorker,), {"__annotations__": {"users": remote}})
        above = Flama(components=[WorkerComponent(worker("http://users", transport=ASGITransport(app=below)))])
        above.resources.add_resource("/users/", resource(remote))
        async with Client(app=above) as client:
            yield client


async def turned(client, **query):
    response = await client.get("/users/", params={"limit": 3, "order_by": "-age", **query})
    assert response.status_code == 200, response.text
    return [record["id"] for record in response.json()["data"]], response.json()["meta"]


async def test_a_cursor_is_a_place_whatever_comes_and_goes_before_it(changing):
    # nobody knows the age of "n" and "o"
    ages = {"a": 90, "b": 80, "c": 70, "d": 60, "e": 50, "n": None, "o": None}
    for id, age in ages.items():
        body = {"id": id, "name": "x", **({} if age is None else {"age": age})}
        assert (await changing.post("/users/", json=body)).status_code == 201

    first, meta = await turned(changing, cursor="", count=True)
    await changing.delete("/users/a/")
    await changing.delete("/users/b/")
    await changing.post("/users/", json={"id": "z", "name": "x", "age": 99})
    second, then = await turned(changing, cursor=meta["next"])
    third, last = await turned(changing, cursor=then["next"])
    back, start = await turned(changing, cursor=last["previous"])
    front, begin = await turned(changing, cursor=start["previous"])

    assert (first, second, third) == (["a", "b", "c"], ["d", "e", "n"], ["o"])
    assert (meta["count"], last["next"]) == (7, None)
    assert (back, front) == (second, ["z", "c"])
    assert begin["previous"] is None


async def test_a_cursor_that_is_none_is_refused(changing):
    for id in "abcd":
        await changing.post("/users/", json={"id": id, "name": "x"})
    _, meta = await turned(changing, cursor="")

    wrong = [
        await changing.get("/users/", params={"cursor": cursor, "order_by": order_by})
        for cursor, order_by in (("x", "-age"), (meta["next"], "age"), (f"A{meta['next'][1:]}", "-age"))
    ]

    assert [response.status_code for response in wrong] == [400] * 3


async def test_an_offset_is_asked_for_where_a_cursor_would_read_what_is_before():
    below = Flama()
    users = resource(Kept)
    below.resources.add_resource("/users/", users)
    async with Client(app=below) as client:
        repository = HTTPResourceRepository.of(users)(client)
        await repository.create(*({"id": str(n), "name": "x"} for n in range(9)))

        asked = []
        repository._resource_manager.call = spying(repository._resource_manager.call, asked)
        found = [record["id"] if isinstance(record, dict) else record.id async for record in repository.list(offset=7)]

    assert found == ["7", "8"]
    assert asked == [{"limit": "100", "offset": "7"}]


def spying(call, asked):
    async def spied(name, *args, query=(), **options):
        asked.append(dict(query))
        return await call(name, *args, query=query, **options)

    return spied


async def test_a_record_is_held_while_its_state_is_compared_where_the_repository_can():
    app = Flama()
    app.resources.add_resource("/users/", resource(Ordered))
    Ordered.records.clear()
    async with Client(app=app) as client:
        created = await client.post("/users/", json={"id": "a", "name": "x"})
        Ordered.asked.clear()
        await client.patch("/users/a/", json={"age": 1}, headers={"if-match": created.headers["etag"]})
        await client.get("/users/a/")

    assert Ordered.asked == [("retrieve", "update"), ("update", "a"), ("retrieve", None)]


@pytest.mark.parametrize("changing", ["kept", "remote", "of"], indirect=True)
async def test_of_many_changes_of_one_state_at_once_one_is_made(changing):
    created = await changing.post("/users/", json={"id": "a", "name": "x"})
    tag = {"if-match": created.headers["etag"]}

    changes = [changing.patch("/users/a/", json={"age": age}, headers=tag) for age in range(8)]
    statuses = [response.status_code for response in await asyncio.gather(*changes)]
    gone = [changing.delete("/users/a/", headers=tag) for _ in range(3)]
    refused = {response.status_code for response in await asyncio.gather(*gone)}

    assert sorted(statuses) == [200] + [412] * 7
    assert refused == {412}
