"""A byte order mark before the JSON of a request, which some programs send, is skipped (RFC 8259, section 8.1)."""

import typing as t

import msgspec
import pydantic
import pytest

from flama import Flama, types
from flama.client import Client
from flama.ddd import MemoryRepository
from flama.resources import CRUDResource

pytestmark = pytest.mark.anyio

MARK = b"\xef\xbb\xbf"
JSON = {"content-type": "application/json"}


class Tool(pydantic.BaseModel):
    id: str
    name: str


class Struct(msgspec.Struct):
    name: str


class Kept(MemoryRepository):
    _key = "id"


class Tools(CRUDResource):
    name = "tool"
    repository = Kept
    schema = Tool


@pytest.fixture
async def client():
    app = Flama()
    app.resources.add_resource("/tool/", Tools)

    @app.post("/model/")
    async def model(tool: t.Annotated[types.Schema, types.SchemaMetadata(Tool)]) -> dict[str, t.Any]:
        return {"got": tool}

    @app.post("/struct/")
    async def struct(data: Struct) -> dict[str, t.Any]:
        return {"got": data.name}

    @app.post("/data/")
    async def data(data: types.RequestData) -> dict[str, t.Any]:
        return {"got": data}

    @app.post("/raw/")
    async def raw(body: types.Body) -> dict[str, t.Any]:
        return {"got": body.hex()}

    async with Client(app=app) as client:
        yield client


RECORD = b'{"id": "a", "name": "saw"}'
REQUESTS = [
    ("POST", "/model/", RECORD),
    ("POST", "/struct/", b'{"name": "saw"}'),
    ("POST", "/data/", RECORD),
    ("POST", "/tool/", RECORD),
    ("POST", "/tool/", b"[%b]" % RECORD),
    ("POST", "/tool/:upsert/", b"[%b]" % RECORD),
    ("POST", "/tool/:get_or_create/", RECORD),
    ("PUT", "/tool/a/", RECORD),
    ("PATCH", "/tool/a/", b'{"name": "axe"}'),
    ("PUT", "/tool/", b"[%b]" % RECORD),
    ("PATCH", "/tool/", b"[%b]" % RECORD),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_a_mark_changes_nothing(client, method, path, body):
    outcomes = []
    for mark in (b"", MARK):
        await client.delete("/tool/")
        if "a/" in path[5:]:
            await client.post("/tool/", content=RECORD, headers=JSON)
        response = await client.request(method, path, content=mark + body, headers=JSON)
        outcomes.append((response.status_code, response.json()))

    assert outcomes[1] == outcomes[0]
    assert outcomes[0][0] < 300


@pytest.mark.parametrize("body", [MARK, MARK + b" ", MARK + b"null", MARK + MARK + b"[]"])
async def test_a_mark_alone_is_no_list_of_none(client, body):
    await client.post("/tool/", content=RECORD, headers=JSON)

    response = await client.put("/tool/", content=body, headers=JSON)

    assert response.status_code == 400
    assert (await client.get("/tool/a/")).status_code == 200


async def test_who_reads_the_bytes_has_all_of_them(client):
    assert (await client.post("/raw/", content=MARK + b"x")).json() == {"got": (MARK + b"x").hex()}
