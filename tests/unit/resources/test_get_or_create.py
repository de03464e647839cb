"""A record that may be there already: given as it is, or stored."""

import asyncio
import dataclasses

import msgspec
import pydantic
import pytest

from flama import Flama
from flama.client import Client
from flama.ddd import BaseRepository, HTTPResourceRepository, MemoryRepository
from flama.resources import CRUDResource
from tests.unit.resources.conftest import Puppy

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

PATH = "/puppy/:get_or_create/"
BY_NAME = {"on": "name"}

Puppies = HTTPResourceRepository.of(Puppy)


async def listed(client):
    return (await client.get("/puppy/")).json()["data"]


async def test_it_is_stored_once_and_given_then(client):
    created = await client.post(PATH, params=BY_NAME, json={"name": "Bella", "age": 3})
    found = await client.post(PATH, params=BY_NAME, json={"name": "Bella", "age": 4})
    at_its_path = await client.get(created.headers["location"])

    assert (created.status_code, found.status_code) == (201, 200)
    assert created.json() == found.json() == at_its_path.json()
    assert created.json()["age"] == 3
    assert created.headers["etag"] == found.headers["etag"] == at_its_path.headers["etag"]
    assert created.headers["location"] == f"/puppy/{created.json()['id']}/"
    assert "location" not in found.headers
    assert await listed(client) == [created.json()]


async def test_it_is_known_by_its_key_unless_it_is_said(client):
    created = await client.post(PATH, json={"id": 7, "name": "Bella"})
    found = await client.post(PATH, json={"id": 7, "name": "Max"})

    assert (created.status_code, found.status_code) == (201, 200)
    assert found.json()["name"] == "Bella"


@pytest.mark.parametrize(
    ("query", "body", "status", "error"),
    [
        ({"on": "nmae"}, {"name": "a"}, 422, "UnknownColumnError"),
        ({"on": "age"}, {"name": "a", "age": 1}, 400, "ValidationError"),
        ({"on": ""}, {"name": "a"}, 400, "ValidationError"),
        ({"on": "name,id"}, {"name": "a", "id": 1}, 400, "ValidationError"),
        ({"onn": "name"}, {"id": 1, "name": "a"}, 400, "ValidationError"),
        ({"on": "name", "set": "age"}, {"name": "a"}, 400, "ValidationError"),
        ({"on": "name"}, {"age": 1}, 422, "InvalidDataError"),
        ({"on": "name"}, {"name": None}, 422, "InvalidDataError"),
        ({}, {"name": "a"}, 422, "InvalidDataError"),
        ({}, {"id": None, "name": "a"}, 422, "InvalidDataError"),
        ({}, {"id": 1, "name": "a", "nmae": 1}, 422, "UnknownColumnError"),
        ({}, {"id": 1, "name": "a", "age": "x"}, 400, "ValidationError"),
        ({}, [{"id": 1, "name": "a"}], 400, "ValidationError"),
        ({}, {"id": 1, "name": None}, 400, "IntegrityError"),
        ({}, {"id": 1, "name": "Coco"}, 400, "IntegrityError"),
    ],
)
async def test_what_is_refused_is_not_stored(client, query, body, status, error):
    kept = (await client.post("/puppy/", json={"id": 9, "name": "Coco"})).json()

    response = await client.post(PATH, params=query, json=body)

    assert (response.status_code, response.json()["error"]) == (status, error)
    assert await listed(client) == [kept]


async def test_of_all_at_once_one_stores_it(client):
    responses = await asyncio.gather(
        *(client.post(PATH, params=BY_NAME, json={"name": "Bella", "age": age}) for age in range(6))
    )

    assert sorted(response.status_code for response in responses) == [200] * 5 + [201]
    (kept,) = await listed(client)
    assert all(response.json() == kept for response in responses)


async def test_a_repetition_by_its_key_is_answered_as_the_first_was(client):
    key = {"idempotency-key": "k"}
    first, again = [await client.post(PATH, params=BY_NAME, json={"name": "Bella"}, headers=key) for _ in range(2)]
    other = await client.post(PATH, params=BY_NAME, json={"name": "Bella"}, headers={"idempotency-key": "other"})

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 200)
    assert first.content == again.content
    assert (again.headers["location"], again.headers["idempotency-replayed"]) == (first.headers["location"], "true")


async def test_a_repository_over_http_tells_whether_it_was_stored(client):
    puppies = Puppies(client)

    stored, created = await puppies.get_or_create({"name": "Bella"}, on="name")
    found, again = await puppies.get_or_create({"name": "Bella", "age": 4}, on=["name"])

    assert (created, again) == (True, False)
    assert found == stored


async def test_only_post_is_for_it(client):
    response = await client.get(PATH)

    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, POST")


class User(pydantic.BaseModel):
    id: str | None = None
    name: str
    age: int | None = None


class Kept(MemoryRepository):
    _key = "id"


async def test_it_is_served_of_any_repository_that_can():
    class Users(CRUDResource):
        repository = Kept
        schema = User

    app = Flama()
    app.resources.add_resource("/user/", Users)
    async with Client(app=app) as client:
        path = "/user/:get_or_create/"
        created = await client.post(path, json={"id": "a/b", "name": "Ada"})
        found = await client.post(path, params={"on": "id"}, json={"id": "a/b", "name": "Eve"})
        refused = await client.post(path, params={"on": "name"}, json={"id": "c", "name": "Eve"})
        upsert = await client.post("/user/:upsert/", params={"on": "name"}, json=[{"id": "c", "name": "Eve"}])

    assert (created.status_code, created.headers["location"]) == (201, "/user/a%2Fb/")
    assert (found.status_code, found.json()) == (200, {"id": "a/b", "name": "Ada", "age": None})
    assert (refused.status_code, upsert.status_code) == (400, 400)


async def test_it_is_not_served_of_one_that_cannot():
    class Written(BaseRepository):
        async def retrieve(self, id):
            return {"id": id, "name": "x"}

    class Users(CRUDResource):
        repository = Written
        schema = User

    app = Flama()
    app.resources.add_resource("/user/", Users)
    async with Client(app=app) as client:
        response = await client.post("/user/:get_or_create/", json={"id": "a", "name": "Ada"})

    assert response.status_code == 405


class Struct(msgspec.Struct):
    id: str
    name: str = "nobody"
    age: int | None = None


@dataclasses.dataclass
class Data:
    id: str
    name: str = "nobody"
    age: int | None = None


class Model(pydantic.BaseModel):
    id: str
    name: str = pydantic.Field("nobody", alias="Name")
    age: int | None = None


@pytest.mark.parametrize("given", [Struct, Data, Model], ids=lambda each: each.__name__)
async def test_an_upsert_changes_only_what_was_sent_whatever_the_schema_would_add(given):
    class Users(CRUDResource):
        repository = Kept
        schema = given

    app, name = Flama(), "Name" if given is Model else "name"
    app.resources.add_resource("/user/", Users)
    async with Client(app=app) as client:
        kept = (await client.post("/user/", json={"id": "a", name: "Ada", "age": 36})).json()
        response = await client.post("/user/:upsert/", json=[{"id": "a", "age": 37}, {"id": "b", name: "Bob"}])
        refused = await client.post("/user/:upsert/", json=[{"id": "a", "age": "x"}, {"age": 3}])

    assert response.json() == [{**kept, "age": 37}, {"id": "b", name: "Bob", "age": None}]
    assert min(refused.json()["detail"]) == "0.age"


async def test_what_is_set_in_an_upsert_need_not_be_what_is_asked_for(client):
    class Whelp(CRUDResource):
        repository = Puppy.repository
        filters = ("age",)

    client.app.resources.add_resource("/whelp/", Whelp)
    await client.post("/puppy/", json={"id": 1, "name": "Bella", "age": 3})
    options = {"on": "id", "set": "kind,age"}

    response = await client.post("/whelp/:upsert/", params=options, json=[{"id": 1, "name": "x", "kind": "wolf"}])
    refused = await client.post("/whelp/:upsert/", params={"set": "nope,none"}, json=[{"id": 1, "name": "x"}])

    assert (response.status_code, response.json()[0]["kind"], response.json()[0]["name"]) == (200, "wolf", "Bella")
    assert (refused.status_code, refused.json()["names"]) == (422, ["nope", "none"])
