"""Null, or nothing, where a table has neither: its refusal, however it was sent."""

import pydantic
import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import F, HTTPResourceRepository
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule
from tests.unit.resources.conftest import Puppies, application

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

WRITES = {
    "create of null": ("POST", "/puppy/", {"name": None}, "name"),
    "create of nothing": ("POST", "/puppy/", {}, "name"),
    "create of null in spite of a default": ("POST", "/puppy/", {"name": "Max", "kind": None}, "kind"),
    "create of one of many": ("POST", "/puppy/", [{"name": "Max"}, {"age": 3}], "name"),
    "update to null": ("PUT", "/puppy/1/", {"name": None}, "name"),
    "update to nothing": ("PUT", "/puppy/1/", {"age": 3}, "name"),
    "partial update": ("PATCH", "/puppy/1/", {"name": None, "age": 4}, "name"),
    "replace by null": ("PUT", "/puppy/", [{"name": "Max"}, {"name": None}], "name"),
    "replace by nothing": ("PUT", "/puppy/", [{"name": "Max"}, {"age": 1}], "name"),
    "partial replace": ("PATCH", "/puppy/", [{"id": 1, "name": None}], "name"),
    "partial replace of what is new": ("PATCH", "/puppy/", [{"id": 1, "age": 3}, {"id": 7}], "name"),
    "upsert": ("POST", "/puppy/:upsert/", [{"id": 1, "name": None}], "name"),
    "update where": ("POST", "/puppy/:update/?age=3", {"kind": None}, "kind"),
}


@pytest.fixture
async def kept(client):
    return (await client.post("/puppy/", json={"name": "Bella", "age": 3})).json()


@pytest.mark.parametrize("write", WRITES)
async def test_it_is_the_constraints_refusal_and_nothing_is_done(client, kept, write):
    method, path, body, field = WRITES[write]

    response = await client.request(method, path, json=body)

    told = response.json()
    assert (response.status_code, told["error"], told["resource"]) == (400, "IntegrityError", "puppy")
    assert (told["kind"], told["fields"]) == ("not_null", [field])
    assert (await client.get("/puppy/")).json()["data"] == [kept]


async def test_it_is_the_same_to_a_repository_over_http(client, kept):
    class Remote(HTTPResourceRepository):
        _resource = "/puppy"

    puppies = Remote(client)
    for write in (
        lambda: puppies.create({"name": None}),
        lambda: puppies.create({"age": 3}),
        lambda: puppies.update({"name": None}, F.age == 3),
        lambda: puppies.partial_update(1, {"name": None}),
    ):
        with pytest.raises(exceptions.IntegrityError) as caught:
            await write()
        assert (caught.value.resource, caught.value.kind, caught.value.fields) == ("puppy", "not_null", ("name",))


@pytest.mark.parametrize("body", [{"name": None, "age": "x"}, {"age": "x"}, {"name": 7}, {"name": "x" * 21}], ids=str)
async def test_what_is_no_value_at_all_is_told_by_field_as_ever(client, body):
    response = await client.post("/puppy/", json=body)

    assert (response.status_code, response.json()["error"]) == (400, "ValidationError")
    assert list(response.json()["detail"]) == ["age" if "age" in body else "name"]


async def test_a_null_key_is_none_yet_and_what_may_be_null_becomes_it(client, kept):
    created = await client.post("/puppy/", json={"id": None, "name": "Max", "age": None})
    changed = await client.put("/puppy/1/", json={"name": "Bella"})

    assert (created.status_code, created.json()["age"]) == (201, None)
    assert (changed.status_code, changed.json()["age"]) == (200, None)


async def test_a_schema_of_ones_own_is_asked_first(client):
    class Named(pydantic.BaseModel):
        name: str

    class Whelp(CRUDResource):
        repository = Puppies
        input_schema = Named

    client.app.resources.add_resource("/whelp/", Whelp)

    response = await client.post("/whelp/", json={"name": None})

    assert (response.status_code, response.json()["error"]) == (400, "ValidationError")
    assert list(response.json()["detail"]) == ["name"]


async def test_a_key_is_never_null_whatever_the_database_would_take():
    table = sa.Table("tag", sa.MetaData(), sa.Column("code", sa.String, primary_key=True), sa.Column("name", sa.String))
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")])
    app.resources.add_resource("/tag/", type("Tag", (CRUDResource,), {"model": table}))
    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            # a table that nobody here designed
            await connection.execute(sa.text("CREATE TABLE tag (code TEXT PRIMARY KEY, name TEXT)"))
        writes = [("POST", "/tag/", {"name": "x"}), ("POST", "/tag/", [{"code": "a"}, {"code": None}])]
        writes += [("PUT", "/tag/", [{"name": "x"}]), ("PATCH", "/tag/", [{"code": None}])]
        writes += [("POST", "/tag/:upsert/", [{"name": "x"}])]
        answers = [await client.request(method, path, json=body) for method, path, body in writes]
        kept = await client.post("/tag/", json={"code": "b"})
        changed = await client.put("/tag/b/", json={"name": "x"})
        listed = await client.get("/tag/")

    assert [(each.status_code, each.json()["kind"], each.json()["fields"]) for each in answers] == [
        (400, "not_null", ["code"])
    ] * 5
    assert (kept.status_code, changed.json(), listed.json()["data"]) == (
        201,
        {"code": "b", "name": "x"},
        [changed.json()],
    )


def test_the_document_says_what_is_required_and_never_null():
    schemas = application("sqlite+aiosqlite:///").openapi["components"]["schemas"]

    whole, partial = schemas["PuppyInput"], schemas["PartialPuppyInput"]

    assert whole["required"] == ["name"]
    assert "required" not in partial
    for schema in (whole, partial):
        assert schema["properties"]["name"] == {"type": "string", "maxLength": 20, "title": "Name"}
        assert schema["properties"]["kind"] == {"type": "string", "maxLength": 8, "title": "Kind"}
