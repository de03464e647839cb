"""What records don't have, sent all the same: refused by name, unless it was answered, or the schema says otherwise."""

import dataclasses
import typing as t

import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from flama import Flama, exceptions
from flama.client import Client
from flama.ddd import HTTPResourceRepository, MemoryRepository
from flama.resources import CRUDResource
from tests.unit.resources.conftest import Puppies

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

ODD = {"name": "Bella", "nmae": "Bella", "age": 3, "aeg": None}
WRITES = {
    "create": ("POST", "/puppy/", ODD),
    "create of many": ("POST", "/puppy/", [{"name": "Max"}, {"nmae": 1}, {"aeg": 2, "nmae": 3}]),
    "update": ("PUT", "/puppy/1/", ODD),
    "partial update": ("PATCH", "/puppy/1/", ODD),
    "replace": ("PUT", "/puppy/", [ODD]),
    "partial replace": ("PATCH", "/puppy/", [ODD]),
    "upsert": ("POST", "/puppy/:upsert/", [ODD]),
    "update where": ("POST", "/puppy/:update/?age=3", ODD),
}


@pytest.mark.parametrize("write", WRITES)
async def test_all_of_them_are_named_and_nothing_is_done(client, write):
    method, path, body = WRITES[write]
    await client.post("/puppy/", json={"id": 1, "name": "Coco"})
    before = (await client.get("/puppy/")).json()

    response = await client.request(method, path, json=body)

    told = response.json()
    assert (response.status_code, told["error"], told["resource"]) == (422, "UnknownColumnError", "puppy")
    assert told["names"] == ["nmae", "aeg"]
    assert told["columns"] == ["id", "name", "age", "weight", "born", "kind", "good", "size"]
    assert (await client.get("/puppy/")).json() == before


async def test_they_are_named_whatever_else_is_wrong(client):
    response = await client.post("/puppy/", json={"name": None, "age": "x", "nope": 1})

    assert (response.status_code, response.json()["names"]) == (422, ["nope"])


async def test_what_was_answered_is_taken_back_by_every_write(client):
    toy = (await client.post("/toy/", json={"speed": 1.5})).json()
    path = f"/toy/{toy['id']}/"
    writes = [("PUT", path, toy), ("PATCH", path, toy), ("PUT", "/toy/", [toy]), ("PATCH", "/toy/", [toy])]
    writes += [("POST", "/toy/:upsert/", [toy]), ("POST", "/toy/:update/?speed=1.5", {**toy, "version": 9})]

    answers = [await client.request(method, path, json=body) for method, path, body in writes]

    assert [answer.status_code for answer in answers] == [200] * 6
    assert (await client.get(path)).json()["version"] < 9


class Named(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize("output", [None, Named], ids=["answered", "not even answered"])
async def test_the_key_may_be_in_a_body_whose_path_has_it(client, output):
    class Whelp(CRUDResource):
        repository = Puppies
        input_schema = Named
        output_schema = output
        without = ("list",)

    client.app.resources.add_resource("/whelp/", Whelp)
    await client.post("/puppy/", json={"id": 1, "name": "Bella"})

    for method in ("PUT", "PATCH"):
        response = await client.request(method, "/whelp/1/", json={"id": 9, "name": method})
        assert response.status_code == 200
    assert (await client.get("/puppy/1/")).json()["name"] == "PATCH"


class Extra(pydantic.BaseModel):
    id: str
    name: str = ""


class Ignoring(Extra):
    model_config = {"extra": "ignore"}


class Ignored(Ignoring):
    pass


class Allowing(Extra):
    model_config = {"extra": "allow"}


class Forbidding(Extra):
    model_config = {"extra": "forbid"}


class Renamed(pydantic.BaseModel):
    id: str
    name: str = pydantic.Field("", alias="Name", validation_alias=pydantic.AliasChoices("Name", "nickname"))


class Renaming(Renamed):
    model_config = {"validate_by_name": True}


class Computing(Extra):
    @pydantic.computed_field
    @property
    def shout(self) -> str:
        return self.name.upper()


class Item(msgspec.Struct):
    id: str
    name: str = ""


class Camel(msgspec.Struct, rename="upper", tag_field="kind", tag="camel"):
    id: str
    name: str = ""


class Strict(Item, forbid_unknown_fields=True):
    pass


class Dictionary(t.TypedDict):
    id: str
    name: t.NotRequired[str]


@dataclasses.dataclass
class Data:
    id: str
    name: str = ""


@pydantic.dataclasses.dataclass(config={"extra": "ignore"})
class IgnoringData(Data):
    pass


@pydantic.dataclasses.dataclass(config={"extra": "allow"})
class AllowingData(Data):
    pass


async def answer_of(schema, body, method="POST"):
    """What a resource of this schema answers to what is sent."""

    class Kept(MemoryRepository):
        _key = "id"

    app = Flama()
    attributes = {"repository": Kept, "schema": schema}
    app.resources.add_resource("/user/", type("Users", (CRUDResource,), attributes))
    async with Client(app=app) as client:
        return await client.request(method, "/user/", json=body if method == "POST" else [body])


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "schema",
    [Extra, Forbidding, Computing, Item, Strict, Dictionary, Data, AllowingData],
    ids=lambda each: each.__name__,
)
async def test_a_schema_that_says_nothing_of_others_refuses_them(schema, method):
    response = await answer_of(schema, {"id": "a", "nmae": "A", "": 1}, method)

    told = response.json()
    assert (response.status_code, told["error"], told["resource"]) == (422, "UnknownColumnError", "Kept")
    assert (told["names"], told["columns"]) == (["nmae", ""], ["id", "name"])


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("schema", [Ignoring, Ignored, IgnoringData], ids=lambda each: each.__name__)
async def test_a_schema_may_say_that_they_are_passed_over(schema, method):
    response = await answer_of(schema, {"id": "a", "nmae": "A"}, method)

    assert response.is_success
    assert "nmae" not in response.text


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_schema_may_say_that_they_are_taken_and_then_the_repository_has_its_say(method):
    taken = await answer_of(Allowing, {"id": "a", "nmae": "A"}, method)

    assert taken.is_success
    assert "nmae" in taken.text


@pytest.mark.parametrize(
    ("schema", "names", "columns"),
    [
        (Renamed, ["Name", "nickname"], ["id", "Name", "nickname"]),
        (Renaming, ["name", "Name", "nickname"], ["id", "Name", "nickname", "name"]),
        (Camel, ["NAME", "kind"], ["kind", "ID", "NAME"]),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_fields_go_by_all_the_names_under_which_they_may_be_sent(schema, names, columns):
    key = "ID" if schema is Camel else "id"
    sent = [await answer_of(schema, {key: "a", name: "camel"}) for name in names]
    refused = await answer_of(schema, {key: "a", "Nmae": "A"})

    assert [response.status_code for response in sent] == [201] * len(names)
    assert (refused.status_code, refused.json()["columns"]) == (422, columns)


async def test_what_is_computed_may_come_back():
    response = await answer_of(Computing, {"id": "a", "name": "x", "shout": "?"})

    assert (response.status_code, response.json()) == (201, {"id": "a", "name": "x", "shout": "X"})


async def test_a_resource_over_any_repository_names_them_to_a_repository_over_http():
    class Kept(MemoryRepository[Extra]):
        _key = "id"

    class Users(CRUDResource):
        repository = Kept

    app = Flama()
    app.resources.add_resource("/users/", Users)
    async with Client(app=app) as client:
        users = HTTPResourceRepository.of(Users)(client)
        with pytest.raises(exceptions.UnknownColumnError) as caught:
            await users.create({"id": "a", "nmae": "A"})

    assert (caught.value.resource, caught.value.names, caught.value.columns) == ("Kept", ("nmae",), ("id", "name"))


@pytest.mark.parametrize("body", [b"", b"null", b"7", b"[", b"[7]", b"[[{}]]", b'{"nope": NaN, "name": 1', b"\xff"])
async def test_what_is_no_record_has_no_fields_and_is_refused_as_before(client, body):
    response = await client.post("/puppy/", content=body, headers={"content-type": "application/json"})

    assert response.status_code == 400


async def test_numbers_that_json_has_not_do_not_hide_them(client):
    body = b'{"name": "a", "nope": 1, "weight": NaN}'

    response = await client.post("/puppy/", content=body, headers={"content-type": "application/json"})

    assert (response.status_code, response.json()["names"]) == (422, ["nope"])
