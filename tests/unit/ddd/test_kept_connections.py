"""Connections to a service are kept from one unit to the next, while an application runs, and nothing else is."""

import asyncio
import contextlib
import random
import typing as t

import httpx
import pytest

from flama import Flama
from flama.client import ASGITransport, Client
from flama.ddd import Remote, Worker, WorkerComponent
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.workers.http import HTTPWorker

pytestmark = pytest.mark.anyio


class Users(HTTPResourceRepository):
    _resource = "/user"


class RemoteWorker(HTTPWorker):
    user: Users


class Service:
    """A server of HTTP on a socket, which counts its connections."""

    def __init__(self):
        self.connections = 0
        self.open = set()
        self.cookies = []
        self.pause = 0.0
        self.rest = 0.0  # seconds until the rest of a body

    async def serve(self, reader, writer):
        self.connections += 1
        self.open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.cookies.append(b"\r\ncookie: " in head.lower())
                await asyncio.sleep(random.uniform(0, self.pause))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: a=1\r\n")
                writer.write(b'content-length: 10\r\n\r\n{"id": ')
                await writer.drain()
                await asyncio.sleep(self.rest + random.uniform(0, self.pause))
                if writer.is_closing():  # on uvloop, to write then is an error
                    break
                writer.write(b"17}")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.remove(writer)
            writer.close()

    async def settled(self, number):
        """Wait until so many connections are open."""
        async with asyncio.timeout(5):
            while len(self.open) != number:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
async def service():
    service = Service()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield service
        await service.settled(0)


@contextlib.asynccontextmanager
async def running(worker):
    """Give an application's worker, for as long as that runs."""
    app = Flama(components=[WorkerComponent(worker=worker)])
    async with Client(app=app):
        yield worker.bound(app)


async def retrieve(worker):
    async with worker:
        return await worker.user.retrieve("17")


async def test_units_of_an_application_have_one_connection_after_the_other(service):
    async with running(RemoteWorker(service.url)) as worker:
        clients = set()
        for _ in range(5):
            async with worker:
                assert await worker.user.retrieve("17") == {"id": 17}
                clients.add(worker.client)
        assert service.connections == 1
        assert len(clients) == 5
        assert all(client.is_closed for client in clients)

    await service.settled(0)


async def test_units_of_a_mixed_worker_do_too(service):
    class Office(Worker):
        user: t.Annotated[Users, Remote(service.url)]
        others: t.Annotated[Users, Remote(f"{service.url}/others")]

    async with running(Office()) as office:
        for _ in range(5):
            assert await retrieve(office) == {"id": 17}
            async with office:
                await office.others.retrieve("17")

    assert service.connections == 2


async def test_what_a_service_has_a_client_keep_is_not_kept_for_another_unit(service):
    async with running(RemoteWorker(service.url)) as worker:
        for _ in range(2):
            async with worker:
                await worker.user.retrieve("1")
                await worker.user.retrieve("1")

    assert service.cookies == [False, True, False, True]


async def test_units_at_the_same_time_have_connections_of_their_own(service):
    service.pause = 0.02
    async with running(RemoteWorker(service.url)) as worker:
        for _ in range(2):
            await asyncio.gather(*(retrieve(worker) for _ in range(10)))

    assert 10 <= service.connections <= 20


async def test_idle_ones_are_closed_in_time(service):
    service.pause = 0.01
    async with running(RemoteWorker(service.url, limits=httpx.Limits(keepalive_expiry=0.1))) as worker:
        await asyncio.gather(*(retrieve(worker) for _ in range(40)))
        assert len(service.open) > 0
        await service.settled(0)


async def test_outside_of_an_application_a_unit_closes_what_it_opened(service):
    worker = RemoteWorker(service.url)
    for _ in range(2):
        assert await retrieve(worker) == {"id": 17}
        await service.settled(0)


async def test_an_application_in_this_process_is_reached_as_before():
    remote = Flama()
    remote.add_get("/user/{id:int}/", lambda id: {"id": id})
    async with Client(app=remote), running(RemoteWorker("http://x", transport=ASGITransport(remote))) as worker:
        for _ in range(2):
            assert await retrieve(worker) == {"id": 17}


async def test_a_proxy_of_the_environment_is_used(service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", service.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with running(RemoteWorker("http://nowhere.example")) as worker:
        assert await retrieve(worker) == {"id": 17}


async def test_two_applications_may_have_the_same_component(service):
    component = WorkerComponent(worker=RemoteWorker(service.url))
    async with Client(app=(first := Flama(components=[component]))):
        async with Client(app=Flama(components=[component])):
            pass
        for _ in range(3):
            await retrieve(component.worker.bound(first))

    assert service.connections == 1
    await service.settled(0)


async def test_a_worker_that_outlives_its_application_keeps_nothing(service):
    async with running(RemoteWorker(service.url)) as worker:
        await retrieve(worker)
    for _ in range(2):
        assert await retrieve(worker) == {"id": 17}
        await service.settled(0)


async def test_a_unit_in_another_event_loop_has_connections_of_its_own(service):
    async with running(RemoteWorker(service.url)) as worker:
        await retrieve(worker)
        assert await asyncio.to_thread(asyncio.run, retrieve(worker)) == {"id": 17}
        assert await retrieve(worker) == {"id": 17}

    assert service.connections == 2


async def test_a_response_that_nobody_closed_is_closed_with_the_unit(service):
    service.rest = 0.2
    async with running(RemoteWorker(service.url)) as worker:
        async with worker:
            request = worker.client.build_request("GET", "/user/1/")
            await worker.client.send(request, stream=True)
        await service.settled(0)
        assert await retrieve(worker) == {"id": 17}


async def test_an_old_connection_is_not_trusted(service):
    limits = httpx.Limits(keepalive_expiry=0.02)
    async with running(RemoteWorker(service.url, limits=limits)) as worker:
        await asyncio.gather(retrieve(worker), retrieve(worker))
        await service.settled(2)
        await asyncio.sleep(0.05)
        await service.settled(0)
        assert await retrieve(worker) == {"id": 17}


@pytest.mark.parametrize("times", [1, 20])
async def test_a_thousand_cancelled_calls_leave_all_of_it_whole(service, times):
    service.pause = 0.006
    loop = asyncio.get_running_loop()
    cancelled = 0
    async with running(RemoteWorker(service.url)) as worker:
        while cancelled < 1000:
            calls = [asyncio.create_task(retrieve(worker)) for _ in range(40)]
            for call in calls:
                at = random.uniform(0, 0.03)
                for again in range(times):
                    loop.call_later(at + again * 0.0001, call.cancel)
            await asyncio.wait(calls)
            cancelled += sum(call.cancelled() for call in calls)

        found = await asyncio.gather(*(retrieve(worker) for _ in range(20)))

        assert found == [{"id": 17}] * 20
        async with asyncio.timeout(5):
            while len(service.open) > 20:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
