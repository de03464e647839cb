"""An idempotency key is its caller's own: by the principal, or by all credentials that a request brings."""

import collections.abc
import contextlib
import dataclasses
import typing as t
import uuid

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions, types
from flama.client import ASGITransport, Client
from flama.ddd import MemoryWorker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.resources import CRUDResource
from flama.resources._idempotency import table as keys
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
note_table = sa.Table(
    "owned_note", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String(40))
)


class NoteRepository(SQLAlchemyTableRepository):
    _table = note_table


class NoteWorker(SQLAlchemyWorker):
    notes: NoteRepository


class Notes(CRUDResource):
    repository = NoteRepository
    idempotency = True
    idempotency_headers = ("X-Tenant",)


SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-Shop-Key"},
    "parameter": {"type": "apiKey", "in": "query", "name": "api_key"},
}


@contextlib.asynccontextmanager
async def served(principal: t.Any = None, *, memory: bool = False) -> collections.abc.AsyncGenerator[Client]:
    worker: t.Any = MemoryWorker.of(NoteWorker) if memory else NoteWorker
    app = Flama(
        principal=principal,
        modules=[SQLAlchemyModule("sqlite+aiosqlite://")],
        components=[WorkerComponent(worker())],
        openapi={"components": {"securitySchemes": SCHEMES}},
    )
    app.resources.add_resource("/notes/", Notes)
    async with Client(app=app, raise_app_exceptions=True) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(keys.metadata.create_all, tables=[keys])
        yield client


async def create(client: Client, text: str = "same", query: str = "", **headers: str) -> t.Any:
    told = {"idempotency-key": '"k"', **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await client.post(f"/notes/{query}", json={"text": text}, headers=told)


async def ids(client: Client) -> list[int]:
    return [note["id"] for note in (await client.get("/notes/")).json()["data"]]


CREDENTIALS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "authorization": ({"authorization": "Bearer alice"}, {"authorization": "Bearer bob"}),
    "a cookie": ({"cookie": "session=alice"}, {"cookie": "session=bob"}),
    "an API key": ({"x_api_key": "alice"}, {"x_api_key": "bob"}),
    "an API key of the document": ({"x_shop_key": "alice"}, {"x_shop_key": "bob"}),
    "a parameter of the document": ({"query": "?api_key=alice"}, {"query": "?api_key=bob"}),
    "a header that the resource names": ({"x_tenant": "alice"}, {"x_tenant": "bob"}),
    "a host": ({"host": "alice.example"}, {"host": "bob.example"}),
    "nothing but of one": ({"cookie": "session=alice"}, {}),
    "two in one": ({"cookie": "a", "authorization": "b"}, {"cookie": "b", "authorization": "a"}),
}


@pytest.mark.parametrize("memory", [False, True], ids=["sqlite", "memory"])
@pytest.mark.parametrize(("alice", "bob"), CREDENTIALS.values(), ids=CREDENTIALS)
async def test_a_key_of_other_credentials_is_another_key(alice, bob, memory):
    async with served(memory=memory) as client:
        first, again, others = await create(client, **alice), await create(client, **alice), await create(client, **bob)
        other_body = await create(client, text="other", **bob)

        assert [each.status_code for each in (first, again, others, other_body)] == [201, 201, 201, 422]
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in others.headers
        assert (first.json()["id"], again.json()["id"], others.json()["id"]) == (1, 1, 2)
        assert await ids(client) == [1, 2]


async def test_a_key_of_another_certificate_is_another_key():
    async with served() as client:
        app = t.cast(t.Any, client.app)

        async def as_known_by(name: str) -> str:
            async def tls(scope, receive, send):
                await app({**scope, "extensions": {"tls": {"client_cert_chain": [name]}}}, receive, send)

            async with Client(transport=ASGITransport(tls), base_url="http://localapp") as other:
                return (await create(other)).headers.get("idempotency-replayed", "false")

        assert [await as_known_by(name) for name in ("alice", "alice", "bob")] == ["false", "true", "false"]


@dataclasses.dataclass
class User:
    id: t.Any


@dataclasses.dataclass
class Keyed:
    id: int
    principal_key: str


@dataclasses.dataclass
class Bare:
    name: str


PRINCIPALS: dict[str, t.Callable[[str], t.Any]] = {
    "a string": lambda name: name,
    "a number": len,
    "a UUID": lambda name: uuid.uuid5(uuid.NAMESPACE_DNS, name),
    "an object with an id": User,
    "an object with a key": lambda name: Keyed(1, name),
    "claims": lambda name: {"sub": name},
}


@pytest.mark.parametrize("made", PRINCIPALS.values(), ids=PRINCIPALS)
async def test_a_key_is_the_principals_whatever_its_requests_bring(made):
    def principal(authorization: t.Annotated[str | None, types.Header()]):
        return None if authorization is None else made(authorization)

    async with served(principal) as client:
        first = await create(client, authorization="alice", cookie="visit=1")
        again = await create(client, authorization="alice", cookie="visit=2")
        others = await create(client, authorization="bob", cookie="visit=1")
        nobodys = await create(client, cookie="visit=1")

        assert [each.json()["id"] for each in (first, again, others, nobodys)] == [1, 1, 2, 3]
        assert again.headers["idempotency-replayed"] == "true"


async def test_a_number_and_its_text_are_two_principals():
    def principal(kind: t.Annotated[str, types.Header()], authorization: t.Annotated[str, types.Header()]):
        return int(authorization) if kind == "number" else authorization

    async with served(principal) as client:
        answers = [await create(client, kind=kind, authorization="1") for kind in ("number", "text")]

        assert [each.json()["id"] for each in answers] == [1, 2]


async def test_a_principal_that_none_can_be_told_from_fails_at_start_up_if_its_class_says_so():
    def principal() -> Bare:
        return Bare("alice")

    app = Flama(principal=principal, components=[WorkerComponent(NoteWorker())])
    app.resources.add_resource("/notes/", Notes)

    with pytest.raises(exceptions.ComponentError, match="Bare, which the application's principal is, has none of"):
        async with app.lifespan():
            pass


@pytest.mark.parametrize("found", [Bare("alice"), {"name": "alice"}, User(None), User(1.5), User([])])
async def test_a_principal_that_none_can_be_told_from_is_an_error_of_the_application(found):
    def principal():
        return found

    async with served(principal) as client:
        with pytest.raises(exceptions.ApplicationError, match="can't be told from those of others"):
            await create(client)
        assert await ids(client) == []


async def test_what_only_reads_asks_for_no_principal():
    calls: list[str] = []

    def principal():
        calls.append("called")

    async with served(principal) as client:
        await client.get("/notes/")

        assert calls == []
