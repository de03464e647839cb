"""Repositories over HTTP whose calls pyreqwest carries."""

import asyncio

import pydantic
import pytest

from flama import Flama, exceptions
from flama.client import Client, Policy
from flama.ddd import F, HTTPResourceRepository, MemoryRepository
from flama.resources import CRUDResource
from tests.support.server import listening

pyreqwest = pytest.importorskip("flama.client.pyreqwest")
pytestmark = pytest.mark.anyio


class Tool(pydantic.BaseModel):
    id: str
    name: str
    stock: int | None = None


class Kept(MemoryRepository):
    _key = "id"


class Tools(CRUDResource):
    repository = Kept
    schema = Tool


class Remote(HTTPResourceRepository[Tool]):
    _resource = "/tools"
    _page_size = 2


@pytest.fixture
def url(serve):
    app = Flama()
    app.resources.add_resource("/tools/", Tools)
    return serve(app)


def client_of(url, **options):
    return Client(base_url=url, transport=pyreqwest.PyreqwestTransport(), **options)


async def test_a_record_lives_and_dies(url):
    async with client_of(url) as client:
        tools = Remote(client)
        created = await tools.create(Tool(id="saw 1/2", name="Säge", stock=3))
        changed = await tools.partial_update("saw 1/2", {"stock": 2})
        await tools.delete(id="saw 1/2")
        gone = await tools.get("saw 1/2")

    assert created == Tool(id="saw 1/2", name="Säge", stock=3)
    assert (changed.stock, gone) == (2, None)


@pytest.mark.parametrize("options", [{}, {"pagination": "cursor"}, {"stream": True}], ids=str)
async def test_lists_are_read_to_the_end(url, options):
    async with client_of(url) as client:
        tools = Remote(client)
        await tools.create(*(Tool(id=str(n), name="x", stock=n) for n in range(7)))
        found = [tool.id async for tool in tools.list(F.stock > 1, order_by="-stock", **options)]
        first = [tool.id async for tool in tools.list(order_by="-stock", limit=3, **options)]

    assert (found, first) == (["6", "5", "4", "3", "2"], ["6", "5", "4"])


async def test_a_refusal_is_the_error_that_it_tells_of(url):
    async with client_of(url) as client:
        tools = Remote(client)
        await tools.create(Tool(id="a", name="x"))
        with pytest.raises(exceptions.IntegrityError) as taken:
            await tools.create(Tool(id="a", name="x"))
        with pytest.raises(exceptions.NotFoundError) as missing:
            await tools.retrieve("nobody")

    assert (taken.value.kind, taken.value.fields) == ("unique", ("id",))
    assert missing.value.id == "nobody"


async def test_a_service_that_is_not_there_is_unavailable():
    with listening() as listener:  # bound, and never listened on
        url = "http://{}:{}".format(*listener.getsockname())
        async with client_of(url, policy=Policy(attempts=1)) as client:
            with pytest.raises(exceptions.UnavailableError) as raised:
                await Remote(client).create(Tool(id="a", name="x"))

    assert not raised.value.maybe_applied


async def test_a_service_that_says_nothing_does_not_hold_a_call():
    with listening() as listener:
        listener.listen()
        url = "http://{}:{}".format(*listener.getsockname())
        async with client_of(url, policy=Policy(attempts=1, deadline=0.3)) as client:
            with pytest.raises(exceptions.UnavailableError, match=r"0\.3"):
                await asyncio.wait_for(Remote(client).retrieve("a"), 5)


def test_a_transport_that_follows_redirects_by_itself_is_refused():
    compatibility = pytest.importorskip("pyreqwest.compatibility.httpx")
    for settings in (
        {"transport": compatibility.HttpxTransport()},
        {"mounts": {"all://": compatibility.HttpxTransport()}},
    ):
        with pytest.raises(exceptions.ApplicationError, match=r"transport=PyreqwestTransport\(\)"):
            Client(**settings)
