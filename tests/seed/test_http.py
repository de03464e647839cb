"""What the page says of HTTP repositories, sentence by sentence."""

import json
import sys
import threading
import urllib.parse

import httpx
import pytest

import flama.ddd.exceptions
import flama.exceptions
from flama import Flama
from flama.client import Client
from flama.ddd.exceptions import IntegrityError, NotFoundError
from flama.ddd.repositories import AbstractRepository, BaseRepository
from flama.ddd.repositories.http import HTTPRepository, HTTPResourceRepository

pytestmark = pytest.mark.anyio

ALICE = {"id": 1, "name": "Alice"}
BOB = {"id": 2, "name": "Bob"}


class UserRepository(HTTPResourceRepository):
    _resource = "/user"


class Recorder:
    """An application that notes the requests it gets, and answers all of them the same."""

    def __init__(self, body=None, status=200):
        self.requests = []
        self._body = json.dumps(body).encode()
        self._status = status

    async def __call__(self, scope, receive, send):
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode()))
        self.requests.append((scope["method"], scope["path"], json.loads(body) if body else None, query))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


def connected(recorder):
    return Client(transport=httpx.ASGITransport(recorder), base_url="http://service.example")


async def every(repository, **options):
    return [record async for record in repository.list(**options)]


# Repository hierarchy


def test_each_class_adds_to_the_one_above():
    hierarchy = [AbstractRepository, BaseRepository, HTTPRepository, HTTPResourceRepository]

    assert [base for base in reversed(HTTPResourceRepository.__mro__) if base in hierarchy] == hierarchy


async def test_an_http_repository_has_the_client_it_was_given():
    async with connected(Recorder()) as client:
        assert HTTPRepository(client)._client is client


# Built-in CRUD methods

VERBS = {
    "create": (lambda users: users.create(ALICE), ("POST", "/user/", ALICE), ALICE, ALICE),
    "retrieve": (lambda users: users.retrieve(1), ("GET", "/user/1/", None), ALICE, ALICE),
    "update": (lambda users: users.update(1, ALICE), ("PUT", "/user/1/", ALICE), ALICE, ALICE),
    "partial_update": (
        lambda users: users.partial_update(1, {"name": "Alice"}),
        ("PATCH", "/user/1/", {"name": "Alice"}),
        ALICE,
        ALICE,
    ),
    "delete": (lambda users: users.delete(1), ("DELETE", "/user/1/", None), None, None),
    "list": (every, ("GET", "/user/", None), {"data": []}, []),
    "replace": (lambda users: users.replace([ALICE, BOB]), ("PUT", "/user/", [ALICE, BOB]), [ALICE, BOB], [ALICE, BOB]),
    "partial_replace": (lambda users: users.partial_replace([BOB]), ("PATCH", "/user/", [BOB]), [BOB], [BOB]),
    "drop": (lambda users: users.drop(), ("DELETE", "/user/", None), {"deleted": 2}, 2),
}


@pytest.mark.parametrize(("call", "request_line", "answer", "value"), VERBS.values(), ids=VERBS)
async def test_a_method_is_its_verb_on_its_endpoint(call, request_line, answer, value):
    recorder = Recorder(answer)
    async with connected(recorder) as client:
        returned = await call(UserRepository(client))

    assert returned == value
    assert [seen[:3] for seen in recorder.requests] == [request_line]


async def test_the_resource_is_the_prefix_of_the_path():
    class NestedRepository(HTTPResourceRepository):
        _resource = "/v1/customer"

    recorder = Recorder(ALICE)
    async with connected(recorder) as client:
        await NestedRepository(client).create(ALICE)

    assert recorder.requests[0][:2] == ("POST", "/v1/customer/")


async def test_the_methods_go_through_a_manager_of_the_resource():
    async with connected(Recorder()) as client:
        assert UserRepository(client)._resource_manager.resource == "/user"


# Pagination

NAMES = [{"id": number} for number in range(25)]


def service():
    """Give an application that answers in pages of either style, never more than ten at a time."""
    app = Flama()
    asked = []

    @app.get("/page_number/")
    async def by_number(page: int = 1, page_size: int = 10):
        asked.append(page)
        size = min(page_size, 10)
        return {"meta": {"page": page, "page_size": size}, "data": NAMES[size * (page - 1) : size * page]}

    @app.get("/limit_offset/")
    async def by_offset(limit: int = 10, offset: int = 0):
        asked.append(offset)
        size = min(limit, 10)
        return {"meta": {"limit": size, "offset": offset}, "data": NAMES[offset : offset + size]}

    return app, asked


class PageNumberRepository(HTTPResourceRepository):
    _resource = "/page_number"


class LimitOffsetRepository(HTTPResourceRepository):
    _resource = "/limit_offset"


async def test_list_fetches_page_after_page_by_number_unless_told_otherwise():
    app, asked = service()
    async with Client(app=app) as client:
        listed = await every(PageNumberRepository(client))

    assert listed == NAMES
    assert asked[:3] == [1, 2, 3]


async def test_list_fetches_by_offset_when_told_so():
    app, asked = service()
    async with Client(app=app) as client:
        listed = await every(LimitOffsetRepository(client), pagination="limit_offset")

    assert listed == NAMES
    assert asked[:3] == [0, 10, 20]


# Error handling


def test_both_branches_have_the_same_exceptions():
    assert flama.ddd.exceptions.IntegrityError is flama.exceptions.IntegrityError
    assert flama.ddd.exceptions.NotFoundError is flama.exceptions.NotFoundError


WRITES = ("create", "update", "partial_update", "replace", "partial_replace")
ONE = ("retrieve", "update", "partial_update", "delete")


@pytest.mark.parametrize("method", WRITES)
async def test_a_write_answered_with_400_is_an_integrity_error(method):
    async with connected(Recorder({"detail": "Bad Request"}, 400)) as client:
        with pytest.raises(IntegrityError):
            await VERBS[method][0](UserRepository(client))


@pytest.mark.parametrize("method", ONE)
async def test_an_element_answered_with_404_is_not_found(method):
    async with connected(Recorder({"detail": "Not Found"}, 404)) as client:
        with pytest.raises(NotFoundError) as caught:
            await VERBS[method][0](UserRepository(client))

    assert caught.value.id == 1


# HTTP repository example


def test_the_client_extends_that_of_httpx():
    assert issubclass(Client, httpx.AsyncClient)


connections = []
sys.addaudithook(lambda event, _: connections.append(event) if event == "socket.connect" else None)


async def test_a_local_application_is_called_without_a_socket():
    app, _ = service()
    before = len(connections)

    async with Client(app=app) as client:
        await every(PageNumberRepository(client))

    assert connections[before:] == []


async def test_another_application_is_called_through_a_socket(serve):
    app, _ = service()
    threads = set()

    async def served(scope, receive, send):
        threads.add(threading.get_ident())
        await app(scope, receive, send)

    async with Client(base_url=serve(served)) as client:
        listed = await every(PageNumberRepository(client))

    assert listed == NAMES
    assert len(threads - {threading.get_ident()}) == 1
