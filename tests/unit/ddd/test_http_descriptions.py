"""What a repository makes sure of beforehand: that the service has what it will be asked for."""

import typing as t

import pydantic
import pytest
import starlette.responses

from flama import Flama, exceptions, types
from flama.client import Client
from flama.ddd.repositories.http import HTTPResourceRepository

pytestmark = pytest.mark.anyio


class Person(pydantic.BaseModel):
    id: str
    name: str
    age: int | None = None


class Narrow(pydantic.BaseModel):
    id: str


class People(HTTPResourceRepository):
    _resource = "/person"


def service(model=Person):
    app = Flama()
    answer = t.Annotated[types.Schema, types.SchemaMetadata(model)]

    @app.get("/person/")
    async def list() -> types.Schema:
        return {}

    @app.get("/person/{person_id:str}/")
    async def retrieve(person_id: str) -> answer:
        return {}

    @app.delete("/person/{person_id:str}/")
    async def delete(person_id: str) -> None: ...

    return app


async def test_a_service_tells_what_it_has():
    async with Client(app=service()) as client:
        assert await People(client).check() == {"list", "retrieve", "delete"}
        assert await People(client).check("list", "delete") == {"list", "retrieve", "delete"}


async def test_what_it_lacks_is_told_by_name():
    async with Client(app=service()) as client:
        with pytest.raises(exceptions.InvalidResponseError, match="no create, update: it has delete, list, retrieve"):
            await People(client).check("retrieve", "update", "create")


async def test_a_resource_that_is_not_there_is_told():
    class Cats(HTTPResourceRepository):
        _resource = "/cat"

    async with Client(app=service()) as client:
        with pytest.raises(exceptions.InvalidResponseError, match="tells of no resource at '/cat'"):
            await Cats(client).check()


async def test_records_have_what_their_type_requires():
    async with Client(app=service()) as client:
        await HTTPPeople(client).check()
    async with Client(app=service(Narrow)) as client:
        with pytest.raises(exceptions.InvalidResponseError, match="its records have no 'name'"):
            await HTTPPeople(client).check()


class HTTPPeople(HTTPResourceRepository[Person]):
    _resource = "/person"


@pytest.mark.parametrize("base", ["http://localapp/api/v1", "http://localapp"])
async def test_a_document_below_a_base_is_about_what_is_there(base):
    document = {"paths": {"/api/v1/person/": {"get": {}, "post": {"responses": {}}}, "/person": {"get": {}}}}
    answered = {**document, "paths": {**document["paths"], "/person/": {"get": {"responses": {}}}}}

    async def app(scope, receive, send):
        await starlette.responses.JSONResponse(answered)(scope, receive, send)

    client = Client(app=app, base_url=base)
    has = await People(client).check(schema="/openapi.json")

    assert has == ({"list", "create"} if "api" in base else {"list"})


@pytest.mark.parametrize(
    "body", [b"html", b"[]", b"{}", b'{"paths": 7}', b'{"paths": {"/person/": 7}}', b"\xff", b"[" * 9_999]
)
async def test_what_is_no_document_is_told(body):
    async def app(scope, receive, send):
        await starlette.responses.Response(body)(scope, receive, send)

    with pytest.raises(exceptions.InvalidResponseError):
        await People(Client(app=app)).check()


async def test_a_document_that_is_not_there_is_told():
    with pytest.raises(exceptions.NotFoundError):
        await People(Client(app=starlette.responses.Response(status_code=404))).check()


async def test_references_that_go_in_a_circle_say_nothing():
    retrieve = {"responses": {"200": {"$ref": "#/a"}}}
    document = {"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}, "paths": {"/person/{id}/": {"get": retrieve}}}

    assert await HTTPPeople(Client(app=starlette.responses.JSONResponse(document))).check() == {"retrieve"}
