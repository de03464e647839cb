"""Requests that a page of another site can have a browser send, with cookies: forms, and fetches without CORS."""

import dataclasses
import gzip
import typing as t

import msgspec
import pydantic
import pytest
import sqlalchemy as sa

from flama import Flama, exceptions, http, types
from flama.client import ASGITransport, Client
from flama.ddd import F
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.repositories.memory import MemoryRepository
from flama.ddd.workers.http import HTTPWorker
from flama.resources import CRUDResource
from flama.rest.operations import OPERATIONS

pytestmark = pytest.mark.anyio

puppies = sa.Table(
    "puppy",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), server_default="x", nullable=False),
)


class Puppies(MemoryRepository):
    _table = puppies


class Puppy(CRUDResource):
    repository = Puppies


class Model(pydantic.BaseModel):
    name: str


class Struct(msgspec.Struct):
    name: str


@dataclasses.dataclass
class Data:
    name: str


JSON = {"content-type": "application/json"}
BODIES = {
    "create": {"name": "a"},
    "get_or_create": {"id": 7, "name": "a"},
    "upsert": [{"id": 1, "name": "a"}],
    "update_where": {"name": "a"},
    "update": {"name": "a"},
    "partial_update": {"name": "a"},
    "replace": [{"name": "a"}],
    "partial_replace": [{"id": 1, "name": "a"}],
}
PATHS = {name: f"/:{operation.verb}/" if operation.verb else "/" for name, operation in OPERATIONS.items()}
PATHS |= {name: "/1/" for name, operation in OPERATIONS.items() if operation.kind == "element"}


def kennel(resource=Puppy, **options):
    app = Flama(**options)
    app.resources.add_resource("/puppy/", resource)
    return app


async def sent(client, method, path, content=b"", headers=()):
    """The response to exactly these headers, without those that a client adds of itself."""
    request = client.build_request(method, path, content=content)
    for name in ("content-type",):
        request.headers.pop(name, None)
    request.headers.update(dict(headers))
    return await client.send(request)


@pytest.mark.parametrize("name", BODIES)
async def test_a_resource_takes_no_body_without_a_content_type(name):
    operation, body = OPERATIONS[name], msgspec.json.encode(BODIES[name])
    async with Client(app=kennel()) as client:
        await client.post("/puppy/", json={"id": 1, "name": "x"})
        forged = [
            await sent(client, operation.method, f"/puppy{PATHS[name]}", content, headers)
            for content in (body, b"")
            for headers in ({}, {"content-type": "text/plain"}, {"content-type": "text/plain; x=application/json"})
        ]
        untouched = (await client.get("/puppy/")).json()["data"]
        honest = await sent(client, operation.method, f"/puppy{PATHS[name]}", body, JSON)

    assert {response.status_code for response in forged} == {415}
    assert "application/json" in forged[0].json()["detail"]
    assert untouched == [{"id": 1, "name": "x"}]
    assert honest.status_code in (200, 201)


@pytest.mark.parametrize(
    "annotation",
    [
        t.Annotated[types.Schema, types.SchemaMetadata(Model)], Model, Struct, Data, list[Model], dict[str, str],
        types.RequestData,
    ],
    ids=repr,
)  # fmt: skip
async def test_a_handler_takes_no_body_without_a_content_type(annotation):
    app, found = Flama(), []

    async def handler(data):
        found.append(data)

    handler.__annotations__["data"] = annotation
    app.add_post("/", handler)
    content = b'[{"name": "a"}]' if annotation == list[Model] else b'{"name": "a"}'
    async with Client(app=app) as client:
        forged = [await sent(client, "POST", "/", content, headers) for headers in ({}, {"content-type": "text/plain"})]
        assert found == []
        honest = [
            await sent(client, "POST", "/", content, {"content-type": kind})
            for kind in ("application/json", "application/json;charset=utf-8", "Application/VND.api+JSON", "a/b.c+json")
        ]

    assert {response.status_code for response in forged} == {415}
    assert {response.status_code for response in honest} == {204}


async def test_a_handler_with_members_takes_no_body_without_a_content_type():
    app = Flama()

    @app.post("/")
    async def handler(cat: Model, dog: Model):
        return cat.name + dog.name

    content = b'{"cat": {"name": "a"}, "dog": {"name": "b"}}'
    async with Client(app=app) as client:
        forged = await sent(client, "POST", "/", content)
        honest = await sent(client, "POST", "/", content, {"content-type": "application/vnd.api+json"})

    assert (forged.status_code, honest.status_code, honest.json()) == (415, 200, "ab")


@pytest.mark.parametrize("annotation", [Model | None, types.RequestData], ids=repr)
async def test_where_there_is_no_body_there_is_no_content_type_either(annotation):
    app = Flama()

    async def handler(data=None):
        return "none" if data in (None, {}) else "some"

    handler.__annotations__["data"] = annotation
    app.add_post("/", handler)
    async with Client(app=app) as client:
        response = await sent(client, "POST", "/")

    assert response.json() == "none"


@pytest.mark.parametrize(
    "kind", ["a/b+json, text/plain", "text/plain, a/b+json", "+json", "a/+json", "a b/c+json", "a/b/c+json"]
)
async def test_what_no_header_can_be_a_media_type_of_json(kind):
    async with Client(app=kennel()) as client:
        response = await sent(client, "POST", "/puppy/", b'{"name": "a"}', {"content-type": kind})

    assert response.status_code == 415


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "identity, gzip"])
async def test_a_body_in_a_content_coding_is_a_415(coding):
    app = kennel()

    @app.post("/data/")
    async def data(data: Model):
        return data.name

    headers = {**JSON, "content-encoding": coding}
    async with Client(app=app) as client:
        for path in ("/puppy/", "/data/"):
            response = await sent(client, "POST", path, gzip.compress(b'{"name": "a"}'), headers)
            assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")
            assert coding in response.json()["detail"]
            plain = await sent(client, "POST", path, b'{"name": "a"}', {**JSON, "content-encoding": "identity"})
            assert plain.status_code in (200, 201)


async def test_who_reads_the_raw_body_may_read_any_coding():
    app = Flama()

    @app.post("/")
    async def raw(body: types.Body):
        return gzip.decompress(body).decode()

    async with Client(app=app) as client:
        response = await sent(client, "POST", "/", gzip.compress(b"raw"), {"content-encoding": "gzip"})

    assert response.json() == "raw"


FORGEABLE = [
    {},
    {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "multipart/form-data; boundary=x"},
]


@pytest.mark.parametrize("headers", FORGEABLE, ids=repr)
@pytest.mark.parametrize("query", ["", "?name=x"])
async def test_no_form_drops_records(headers, query):
    async with Client(app=kennel()) as client:
        await client.post("/puppy/", json={"name": "x"})
        forged = await sent(client, "POST", f"/puppy/:drop/{query}", b"", headers)
        left = len((await client.get("/puppy/")).json()["data"])

    assert (forged.status_code, left) == (415, 1)
    assert "application/json" in forged.json()["detail"]
    assert "X-Requested-With" in forged.json()["detail"]


@pytest.mark.parametrize("headers", [JSON, {"x-requested-with": "XMLHttpRequest"}], ids=repr)
async def test_what_no_form_can_send_drops_records(headers):
    async with Client(app=kennel()) as client:
        await client.post("/puppy/", json={"name": "x"})
        response = await sent(client, "POST", "/puppy/:drop/", b"", headers)

    assert response.json() == {"deleted": 1}


async def test_a_resource_may_take_simple_requests():
    class Open(CRUDResource):
        repository = Puppies
        simple_requests = True

    async with Client(app=kennel(Open)) as client:
        await client.post("/puppy/", json={"name": "x"})
        response = await sent(client, "POST", "/puppy/:drop/")
        bodies = await sent(client, "POST", "/puppy/", b"{}")

    assert response.json() == {"deleted": 1}
    assert bodies.status_code == 415


async def test_the_document_says_what_a_drop_needs():
    class Open(CRUDResource):
        repository = Puppies
        simple_requests = True

    found = []
    for resource in (Puppy, Open):
        operation = kennel(resource).openapi["paths"]["/puppy/:drop/"]["post"]
        names = [each["name"] for each in operation["parameters"] if each["in"] == "header" and each["required"]]
        found.append((names, "415" in operation["responses"]))

    assert found == [(["X-Requested-With"], True), ([], False)]


async def test_a_repository_over_http_drops_records():
    class Remote(HTTPResourceRepository):
        _resource = "/puppy"

    service = kennel()
    async with Client(app=service) as client:
        await client.post("/puppy/", json=[{"name": "a"}, {"name": "b"}])

        class Worker(HTTPWorker):
            puppy: Remote

        async with Worker("http://service", transport=ASGITransport(app=service)) as worker:
            dropped = await worker.puppy.drop(F.name == "a")
            await worker.puppy.delete(F.name == "b")

    assert dropped == 1


class Guarded(CRUDResource):
    repository = Puppies
    preconditions = True


BULK = ["upsert", "update_where", "replace", "partial_replace", "drop", "drop_where"]
ONE = ["update", "partial_update", "delete"]


def written(client, name, headers):
    operation = OPERATIONS[name]
    content = msgspec.json.encode(BODIES[name]) if name in BODIES else b""
    return sent(client, operation.method, f"/puppy{PATHS[name]}", content, {**JSON, **headers})


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("none_match", ['"junk"', "*", 'W/"junk"'])
async def test_if_none_match_is_no_precondition_of_a_change(name, none_match):
    async with Client(app=kennel(Guarded)) as client:
        tag = (await client.post("/puppy/", json={"id": 1, "name": "x"})).headers["etag"]
        refused = await written(client, name, {"if-none-match": none_match})
        stale = await written(client, name, {"if-match": '"old"'})
        changed = await written(client, name, {"if-match": tag})

    assert (refused.status_code, stale.status_code) == (428, 412)
    assert "If-Match" in refused.json()["detail"]
    assert changed.status_code in (200, 204)


@pytest.mark.parametrize("name", BULK)
async def test_a_change_of_many_records_needs_a_precondition_too(name):
    async with Client(app=kennel(Guarded)) as client:
        await client.post("/puppy/", json={"id": 1, "name": "x"})
        refused = [await written(client, name, headers) for headers in ({}, {"if-none-match": '"junk"'})]
        failed = await written(client, name, {"if-match": '"junk"'})
        untouched = (await client.get("/puppy/")).json()["data"]
        changed = await written(client, name, {"if-match": "*"})

    assert [response.status_code for response in refused] == [428, 428]
    assert "If-Match: *" in refused[0].json()["detail"]
    assert failed.status_code == 412
    assert untouched == [{"id": 1, "name": "x"}]
    assert changed.status_code == 200


@pytest.mark.parametrize("name", ["create", "get_or_create"])
async def test_what_only_creates_needs_no_precondition(name):
    async with Client(app=kennel(Guarded)) as client:
        response = await written(client, name, {})

    assert response.status_code == 201


@pytest.mark.parametrize("name", BULK)
async def test_a_tag_is_none_of_a_collection(name):
    async with Client(app=kennel()) as client:
        await client.post("/puppy/", json={"id": 1, "name": "x"})
        failed = await written(client, name, {"if-match": '"junk"'})
        bad = await written(client, name, {"if-match": "junk"})

    assert (failed.status_code, bad.status_code) == (412, 400)


async def test_the_document_says_which_preconditions_are_required():
    paths = kennel(Guarded).openapi["paths"]

    def required(path, method):
        return [
            each["name"] for each in paths[path][method]["parameters"] if each["in"] == "header" and each["required"]
        ]

    assert required("/puppy/{resource_id}/", "put") == ["If-Match"]
    assert required("/puppy/:upsert/", "post") == ["If-Match"]
    assert "If-Match" in required("/puppy/", "delete")
    assert "parameters" not in paths["/puppy/"]["post"]


@pytest.fixture
def chat():
    app = Flama()

    @app.websocket_route("/", allowed_origins=["https://a.example"])
    async def echo(websocket: http.WebSocket):
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    return app


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        (None, True), ("https://a.example", True), ("HTTPS://A.example", True), ("https://evil.example", False),
        ("http://a.example", False), ("https://a.example:8443", False), ("null", False), ("", False),
        ("https://a.example.evil.example", False),
    ],
)  # fmt: skip
async def test_a_web_socket_is_opened_by_pages_of_its_own_sites_only(chat, origin, is_let_in):
    sent = []
    headers = [] if origin is None else [(b"origin", origin.encode())]

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    async with chat.lifespan():
        scope = {
            "type": "websocket",
            "path": "/",
            "raw_path": b"/",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
        }
        await chat(scope, receive, send)

    assert sent[0]["type"] == ("websocket.accept" if is_let_in else "websocket.close")


@pytest.mark.parametrize("origins", ["https://a.example", ["a.example"], ["https://a.example/"], [7], ["*"]], ids=repr)
def test_what_is_no_origin_fails_where_the_route_is_declared(origins):
    async def handler(websocket: http.WebSocket): ...

    with pytest.raises(exceptions.ApplicationError, match=r"https://example\.com"):
        Flama().add_websocket_route("/", handler, allowed_origins=origins)
