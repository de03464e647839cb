"""Whom a request is from: declared once, found once in a request, by whatever asks."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import typing as t

import pytest
import sqlalchemy as sa

from flama import Component, Flama, exceptions, types
from flama.client import Client
from flama.ddd import F, HTTPResourceRepository, HTTPWorker, MemoryWorker, Remote, Worker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.http import Headers, Request
from flama.resources import CRUDResource
from flama.routing import Mount
from flama.sqlalchemy import SQLAlchemyModule
from flama.types import Principal

pytestmark = pytest.mark.anyio


@dataclasses.dataclass
class User:
    name: str


class Token(str):
    pass


class TokenComponent(Component):
    def resolve(self, headers: Headers) -> Token | None:
        return Token(headers["authorization"]) if "authorization" in headers else None


@contextlib.asynccontextmanager
async def served(principal: t.Any, *handlers: t.Any, **options: t.Any) -> collections.abc.AsyncGenerator[Client]:
    app = Flama(principal=principal, **options)
    for handler in handlers:
        app.add_route(f"/{handler.__name__}/", handler)
    async with Client(app=app, raise_app_exceptions=True) as client:
        yield client


def of_header(authorization: t.Annotated[str | None, types.Header()]) -> User | None:
    return None if authorization is None else User(authorization)


async def of_header_later(authorization: t.Annotated[str | None, types.Header()]) -> User | None:
    await asyncio.sleep(0)
    return of_header(authorization)


def of_cookie(session: t.Annotated[str | None, types.Cookie()]) -> User | None:
    return None if session is None else User(session)


def of_component(token: Token | None) -> User | None:
    return None if token is None else User(token)


def of_request(request: Request) -> User | None:
    return of_header(request.headers.get("authorization"))


def plain(user: Principal):
    return {"name": user.name}


def by_class(user: User):
    return {"name": user.name}


def maybe(user: Principal | None, also: User | None):
    return {"name": None if user is None else user.name, "same": user is also}


@pytest.mark.parametrize("principal", [of_header, of_header_later, of_cookie, of_component, of_request])
async def test_a_handler_receives_whom_its_request_is_from(principal):
    class Tokens(TokenComponent):
        def can_handle_parameter(self, parameter):
            return parameter.annotation == Token | None

    async with served(principal, plain, by_class, maybe, components=[Tokens()]) as client:
        known = {"authorization": "alice", "cookie": "session=alice"}
        answers = [(await client.get(path, headers=known)).json() for path in ("/plain/", "/by_class/", "/maybe/")]
        refused = [await client.get(path) for path in ("/plain/", "/by_class/")]

        assert answers == [{"name": "alice"}, {"name": "alice"}, {"name": "alice", "same": True}]
        assert (await client.get("/maybe/")).json() == {"name": None, "same": True}
        assert [(each.status_code, each.headers["www-authenticate"]) for each in refused] == [(401, "Bearer")] * 2


async def test_the_principal_is_found_once_in_a_request_and_only_where_it_is_asked_for():
    calls: list[str] = []

    def principal() -> User:
        calls.append("called")
        return User("alice")

    class Greeting(str):
        pass

    class GreetingComponent(Component):
        cacheable = False

        def resolve(self, user: Principal) -> Greeting:
            return Greeting(f"Hello {user.name}")

    def greeted(user: User, again: Principal, greeting: Greeting, other: Greeting):
        return [greeting, other]

    def open_to_all():
        return {}

    async with served(principal, greeted, open_to_all, components=[GreetingComponent()]) as client:
        assert (await client.get("/open_to_all/")).json() == {}
        assert calls == []
        assert (await client.get("/greeted/")).json() == ["Hello alice"] * 2
        assert calls == ["called"]


async def test_a_function_that_refuses_is_answered_as_it_says():
    def principal(kind: str):
        if kind == "http":
            raise exceptions.HTTPException(401, "Log in", {"www-authenticate": 'Basic realm="shop"'})
        raise exceptions.UnauthenticatedError(resource="session", detail="it has ended")

    async with served(principal, plain) as client:
        answers = [await client.get("/plain/", params={"kind": kind}) for kind in ("http", "other")]

        assert [each.status_code for each in answers] == [401, 401]
        assert answers[0].headers["www-authenticate"] == 'Basic realm="shop"'
        assert answers[1].json()["resource"] == "session"


async def test_a_principal_of_text_is_no_parameter_of_the_query():
    def principal() -> str:
        return "alice"

    def both(user: Principal, name: str):
        return [user, name]

    async with served(principal, both) as client:
        assert (await client.get("/both/", params={"name": "bob"})).json() == ["alice", "bob"]


async def test_a_mounted_application_has_the_principal_around_it_or_its_own():
    def inner() -> User:
        return User("inner")

    own, inheriting = Flama(principal=inner), Flama()
    for app in (own, inheriting):
        app.add_route("/", plain)
    outer = Flama(principal=of_header, routes=[Mount("/own", app=own), Mount("/inheriting", app=inheriting)])

    async with Client(app=outer) as client:
        known = {"authorization": "alice"}
        names = [(await client.get(path, headers=known)).json()["name"] for path in ("/own/", "/inheriting/")]

        assert names == ["inner", "alice"]


async def test_without_a_declared_principal_a_handler_that_asks_for_it_fails_at_start_up():
    app = Flama()
    app.add_route("/", plain)

    with pytest.raises(exceptions.ComponentNotFound, match="parameter 'user' for function 'plain'"):
        async with app.lifespan():
            pass


metadata = sa.MetaData()
account_table = sa.Table("principal_account", metadata, sa.Column("id", sa.String(40), primary_key=True))


class AccountRepository(SQLAlchemyTableRepository):
    _table = account_table


class AccountWorker(SQLAlchemyWorker):
    accounts: AccountRepository


class Account(t.TypedDict):
    id: str


async def of_database(worker: AccountWorker, token: t.Annotated[str | None, types.Header("authorization")]):
    async with worker:
        return await worker.accounts.get(id=token)


async def test_a_function_may_look_the_principal_up_by_a_worker_without_a_scope():
    def name(user: Principal):
        return user["id"]

    worker = MemoryWorker.of(AccountWorker)()
    async with served(of_database, name, components=[WorkerComponent(worker)]) as client:
        async with worker as unit:
            await unit.accounts.create({"id": "alice"})

        answers = [await client.get("/name/", headers={"authorization": each}) for each in ("alice", "bob")]

        assert [each.status_code for each in answers] == [200, 401]


async def test_a_principal_that_is_looked_up_within_its_own_scope_fails_at_start_up():
    def scope(user: Principal):
        return None

    app = Flama(principal=of_database, components=[WorkerComponent(AccountWorker(), scope=scope)])
    app.add_route("/", plain)

    with pytest.raises(exceptions.ComponentError, match="need one another in a circle"):
        async with app.lifespan():
            pass


async def test_a_web_socket_of_nobody_is_closed_before_it_is_accepted():
    app = Flama(principal=of_header)
    sent: list[t.Any] = []

    @app.websocket_route("/ws/")
    async def socket(user: User):
        raise AssertionError

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/ws/",
        "raw_path": b"/ws/",
        "root_path": "",
        "headers": [],
        "query_string": b"",
    }
    async with app.lifespan():
        await app(scope, receive, send)

    assert [(each["type"], each["code"]) for each in sent] == [("websocket.close", 1008)]


# Headers of remote calls


class ItemRepository(HTTPResourceRepository):
    _resource = "/items/"


class ItemWorker(HTTPWorker):
    items: ItemRepository


class MixedWorker(Worker):
    items: ItemRepository
    accounts: AccountRepository


def forwarded(request: Request) -> dict[str, str]:
    return {name: request.headers[name] for name in ("authorization", "traceparent") if name in request.headers}


def all_of(request: Request) -> t.Any:
    return request.headers


class Upstream(t.NamedTuple):
    app: Flama
    seen: list[dict[str, str]]


def upstream() -> Upstream:
    app, seen = Flama(), list[dict[str, str]]()

    @app.get("/items/{id}/")
    async def item(id: str, headers: Headers):
        seen.append(dict(headers))
        await asyncio.sleep(0.001)
        return {"id": id, "for": headers.get("authorization")}

    @app.get("/items/")
    async def items(headers: Headers):
        seen.append(dict(headers))
        return {"data": [], "meta": {"page": 1, "page_size": 1, "count": 0}}

    @app.post("/items/")
    async def create(headers: Headers):
        seen.append(dict(headers))
        return {"id": "new"}

    return Upstream(app, seen)


async def retrieved(worker: ItemWorker, id: str):
    async with worker:
        return await worker.items.retrieve(id=id)


async def in_parts(worker: MixedWorker, id: str):
    async with worker:
        return await worker.items.retrieve(id=id)


@contextlib.asynccontextmanager
async def gateway(
    url: t.Any, forward: t.Any = forwarded, handler: t.Any = retrieved, **options: t.Any
) -> collections.abc.AsyncGenerator[Client]:
    worker: t.Any = MixedWorker(items=Remote(url)) if handler is in_parts else ItemWorker(url, **options)
    modules = [SQLAlchemyModule("sqlite+aiosqlite://")]
    async with served(None, handler, modules=modules, components=[WorkerComponent(worker, headers=forward)]) as client:
        yield client


@pytest.mark.parametrize("handler", [retrieved, in_parts])
async def test_a_remote_service_receives_the_headers_of_the_request(serve, handler):
    service = upstream()
    async with gateway(serve(service.app), handler=handler) as client:
        path, told = (
            f"/{handler.__name__}/?id=1",
            {"authorization": "alice", "traceparent": "00-1-2-03", "x-other": "x"},
        )
        answer = await client.get(path, headers=told)
        await client.get(path)

        assert answer.json()["for"] == "alice"
        assert service.seen[0]["traceparent"] == "00-1-2-03"
        assert {"x-other", "authorization", "traceparent"}.isdisjoint(service.seen[1])


async def test_they_arrive_as_the_bytes_that_they_came_as(serve):
    service = upstream()
    sent = ["Bearer caf\xe9".encode(), "Bearer caf\xe9".encode("latin-1")]
    async with gateway(serve(service.app)) as client:
        statuses = [
            (await client.get("/retrieved/?id=1", headers={"authorization": each})).status_code for each in sent
        ]

    # over a network, aiohttp can't send the second, which is no UTF-8
    refused = [status for status in statuses if status == 422]
    assert [each["authorization"] for each in service.seen] == [each.decode("latin-1") for each in sent][
        : 2 - len(refused)
    ]
    assert statuses[0] != 422


async def test_they_take_the_place_of_those_of_the_client(serve):
    service = upstream()
    shared = {"Authorization": "shop", "X-Shop": "1"}
    async with gateway(serve(service.app), headers=shared) as client:
        await client.get("/retrieved/?id=1", headers={"authorization": "alice"})
        await client.get("/retrieved/?id=1")

    assert [(each["authorization"], each["x-shop"]) for each in service.seen] == [("alice", "1"), ("shop", "1")]


async def test_requests_at_once_never_send_one_anothers_headers_though_some_are_cancelled(serve):
    service = upstream()
    async with gateway(serve(service.app)) as client:

        async def ask(number: int) -> str | None:
            headers = {"authorization": f"caller {number}"}
            call = client.get(f"/retrieved/?id={number}", headers=headers)
            try:
                answer = await asyncio.wait_for(call, 0.0005 if number % 5 == 0 else 30)
            except TimeoutError:
                return None
            return str(answer.json()["for"])

        answers = await asyncio.gather(*map(ask, range(1, 101)))

    assert {number: got for number, got in enumerate(answers, 1) if got not in (None, f"caller {number}")} == {}
    assert len([got for got in answers if got is not None]) >= 80


OWN = {
    "connection": "close",
    "content-length": "3",
    "content-type": "text/plain",
    "expect": "100-continue",
    "Host": "other.example",
    "idempotency-key": '"k"',
    "if-match": '"1"',
    "keep-alive": "1",
    "Proxy-Authorization": "Basic x",
    "te": "trailers",
    "trailer": "x",
    "Transfer-Encoding": "chunked",
    "upgrade": "h2c",
}


@pytest.mark.parametrize("name", OWN)
async def test_headers_that_a_call_sets_itself_are_refused_by_name(name):
    service = upstream()

    def smuggled() -> dict[str, str]:
        return {"authorization": "alice", name: OWN[name]}

    async with gateway("http://127.0.0.1:9", smuggled) as client:
        with pytest.raises(
            exceptions.ApplicationError, match=rf"smuggled\(\) returned {name}, which a call sets itself"
        ):
            await client.get("/retrieved/?id=1")
    assert service.seen == []


@pytest.mark.parametrize(
    "headers",
    [
        {"bad name": "x"},
        {"a:b": "x"},
        {"": "x"},
        {"x": "a\r\nb: c"},
        {"x": "a\0"},
        {"x": "\u20ac"},
        {"x": " a"},
        {"x": 1},
        [("x", "y")],
    ],
)
async def test_what_is_no_header_is_refused(headers):
    async with gateway("http://127.0.0.1:9", lambda: headers) as client:
        with pytest.raises(exceptions.ApplicationError, match="header"):
            await client.get("/retrieved/?id=1")


async def test_all_headers_of_the_caller_are_not_sent_on_unnoticed():
    async with gateway("http://127.0.0.1:9", all_of) as client:
        with pytest.raises(exceptions.ApplicationError, match=r"all_of\(\) returned .*host"):
            await client.get("/retrieved/?id=1")


async def test_headers_for_a_worker_that_calls_nobody_fail_at_start_up():
    app = Flama(
        modules=[SQLAlchemyModule("sqlite+aiosqlite://")],
        components=[WorkerComponent(AccountWorker(), headers=forwarded)],
    )

    with pytest.raises(exceptions.ApplicationError, match="AccountWorker calls no remote service"):
        async with app.lifespan():
            pass


async def test_a_tower_of_resources_passes_its_callers_authorization_on(serve):
    """A resource over HTTP before one with a scope: who asks the first is who asks the second."""

    def own(user: User):
        return F.id == user.name

    class Accounts(CRUDResource):
        repository = AccountRepository
        scope = own

    inner = Flama(principal=of_header, components=[WorkerComponent(MemoryWorker.of(AccountWorker)())])
    inner.resources.add_resource("/accounts/", Accounts)

    class RemoteAccounts(HTTPWorker):
        accounts: HTTPResourceRepository.of(Accounts, "/accounts/")  # type: ignore[valid-type]

    class Front(CRUDResource):
        name = "front"
        repository = RemoteAccounts._declarations.resolve()["accounts"].repository
        schema = Account

    worker = RemoteAccounts(serve(inner))
    outer = Flama(components=[WorkerComponent(worker, headers=forwarded)])
    outer.resources.add_resource("/front/", Front)

    async with Client(app=outer) as client:
        created = await client.post("/front/", json={"id": "alice"}, headers={"authorization": "alice"})
        denied = await client.post("/front/", json={"id": "alice"}, headers={"authorization": "bob"})
        lists = [(await client.get("/front/", headers={"authorization": each})).json() for each in ("alice", "bob")]
        nobodys = await client.get("/front/")

    assert (created.status_code, denied.status_code, nobodys.status_code) == (201, 403, 401)
    assert [len(each["data"]) for each in lists] == [1, 0]
