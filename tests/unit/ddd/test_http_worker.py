"""Units of work on a remote service."""

import asyncio
import json

import pytest

from flama.client import ASGITransport, Client
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.workers.http import HTTPWorker
from flama.exceptions import SessionClosedError

pytestmark = pytest.mark.anyio


async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = json.dumps({"path": scope["path"], "agent": dict(scope["headers"]).get(b"user-agent", b"").decode()})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})


class Users(HTTPResourceRepository):
    _resource = "/user"


class RemoteWorker(HTTPWorker):
    user: Users


@pytest.fixture
def worker():
    return RemoteWorker("http://users/api", transport=ASGITransport(app), headers={"User-Agent": "mine"})


async def test_its_repositories_share_a_client_of_the_service(worker):
    async with worker:
        answer = await worker.user.retrieve(id="1")
        assert worker.user._client is worker.client

    assert answer == {"path": "/api/user/1/", "agent": "mine"}


async def test_outside_of_a_unit_there_is_neither_client_nor_repository(worker):
    with pytest.raises(AttributeError, match="Client not initialized"):
        _ = worker.client
    with pytest.raises(AttributeError):
        _ = worker.user

    async with worker:
        assert isinstance(worker.client, Client)

    with pytest.raises(AttributeError, match="Client not initialized"):
        _ = worker.client


async def test_the_client_is_closed_when_the_unit_ends_however_it_ends(worker):
    with pytest.raises(KeyError):
        async with worker:
            client, users = worker.client, worker.user
            raise KeyError

    assert client.is_closed
    with pytest.raises(SessionClosedError):
        await users.retrieve("1")


async def test_a_url_that_is_a_function_is_asked_for_each_unit():
    urls = iter(["http://one", "http://two"])
    worker = RemoteWorker(lambda: next(urls), transport=ASGITransport(app))
    seen = []

    for _ in range(2):
        async with worker:
            seen.append(worker.client.base_url.host)

    assert seen == ["one", "two"]


async def test_the_url_can_be_asked_for():
    assert RemoteWorker("http://one").url == "http://one"
    assert RemoteWorker(lambda: "http://two").url == "http://two"


async def test_tasks_that_share_a_worker_have_clients_of_their_own(worker):
    async def unit():
        async with worker:
            await asyncio.sleep(0.01)
            return worker.client

    clients = await asyncio.gather(*(unit() for _ in range(10)))

    assert len({id(client) for client in clients}) == 10
    assert all(client.is_closed for client in clients)


async def test_commit_and_rollback_do_nothing_and_the_unit_goes_on(worker):
    async with worker:
        await worker.commit()
        await worker.rollback()
        assert await worker.user.retrieve("1")
