"""Connections to hosts of several addresses, on each event loop."""

import asyncio
import contextlib
import gc
import pathlib
import socket

import httpx
import pytest

from flama.client import Client
from tests.support import loops
from tests.support.scripted import answer, scripted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not pathlib.Path("/proc/self/fd").exists(), reason="only Linux has 127.0.0.2 and counts sockets"
    ),
]

HOST = "several.example"
OK = answer(200, b"{}")


def resolving(factory, addresses):
    """Return what makes a loop on which HOST has these addresses; of another family, if the address is of one."""
    loop_class = type(made := factory())
    made.close()

    class Resolving(loop_class):
        async def getaddrinfo(self, host, port, **options):
            if host != HOST:
                return await super().getaddrinfo(host, port, **options)
            return [
                (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in addresses
            ]

    return Resolving


@pytest.fixture(params=loops.LOOPS)
def run(request):
    """A function that runs a coroutine on the loop, with the addresses that HOST has there."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    [(_, options)] = [backend for name, backend in loops.BACKENDS.items() if name == request.param]

    def run(work, *addresses):
        with asyncio.Runner(loop_factory=resolving(options["loop_factory"], addresses)) as runner:
            return runner.run(asyncio.wait_for(work, 10))

    return run


def open_sockets():
    gc.collect()
    links = (link for link in pathlib.Path("/proc/self/fd").iterdir() if link.is_symlink())
    found = []
    for link in links:
        with contextlib.suppress(OSError):
            found.append(str(link.readlink()))
    return sum(name.startswith("socket:") for name in found)


@contextlib.contextmanager
def silent(address, port):
    """Listen at an address without accepting, so that to connect takes for ever."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(2):  # the queue is full then
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield


def port_of(server):
    return httpx.URL(server.url).port


async def retrieve(port, **settings):
    async with Client(base_url=f"http://{HOST}:{port}", **settings) as client:
        return (await client.get("/")).status_code


def test_the_next_address_is_tried_when_one_refuses(run):
    async def work():
        async with scripted(OK) as server:
            return await retrieve(port_of(server))

    assert run(work(), "127.0.0.2", "127.0.0.3", "127.0.0.1") == 200


def test_the_next_address_is_tried_while_one_is_silent(run):
    async def work():
        async with scripted(OK) as server:
            with silent("127.0.0.2", port_of(server)):
                start = asyncio.get_running_loop().time()
                return await retrieve(port_of(server)), asyncio.get_running_loop().time() - start

    status, seconds = run(work(), "127.0.0.2", "127.0.0.1")

    assert status == 200
    assert seconds < 1


def test_families_take_turns(run):
    async def work():
        async with scripted(OK) as server:
            start = asyncio.get_running_loop().time()
            with silent("127.0.0.2", port_of(server)), silent("127.0.0.3", port_of(server)):
                return await retrieve(port_of(server)), asyncio.get_running_loop().time() - start

    status, seconds = run(work(), "::ffff:127.0.0.2", "::ffff:127.0.0.3", "127.0.0.1")

    assert status == 200
    assert seconds < 0.45  # before the second address of the first family was due


def test_a_host_all_of_whose_addresses_refuse_is_a_connect_error_that_names_it(run):
    async def work():
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with pytest.raises(httpx.ConnectError) as caught:
            await retrieve(port)
        return str(caught.value)

    message = run(work(), "127.0.0.2", "127.0.0.1")

    assert HOST in message
    assert "127.0.0.1" in message


def test_a_host_that_is_silent_is_a_connect_timeout_and_leaves_no_socket(run):
    async def work():
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with silent("127.0.0.1", port), silent("127.0.0.2", port):
            before = open_sockets()
            with pytest.raises(httpx.ConnectTimeout):
                await retrieve(port, timeout=0.4)
            await asyncio.sleep(0.05)
            return open_sockets() - before

    assert run(work(), "127.0.0.1", "127.0.0.2") == 0


def test_a_call_that_is_cancelled_while_it_connects_leaves_no_socket(run):
    async def work():
        async with scripted(OK) as server:
            with silent("127.0.0.2", port_of(server)):
                before = open_sockets()
                for wait in (0, 0.01, 0.1, 0.249, 0.25, 0.251, 0.252, 0.26):
                    task = asyncio.create_task(retrieve(port_of(server)))
                    await asyncio.sleep(wait)
                    task.cancel()
                    await asyncio.wait((task,))
                await asyncio.sleep(0.05)
                return open_sockets() - before

    assert run(work(), "127.0.0.2", "127.0.0.1") == 0


def test_a_host_without_an_address_is_a_connect_error(run):
    async def work():
        async with Client(base_url="http://nowhere.invalid") as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/")

    run(work())
