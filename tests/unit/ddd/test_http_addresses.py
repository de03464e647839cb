"""Where a repository's requests go: a base and a resource that paths can follow, or an error where they are named."""

import urllib.parse

import pytest

from flama.client import Client
from flama.ddd import F, HTTPResourceRepository, HTTPWorker, Remote
from flama.ddd.repositories.http import HTTPResourceManager
from flama.exceptions import ApplicationError
from tests.support import ways
from tests.support.ways import Reply

pytestmark = pytest.mark.anyio

RECORD = Reply(200, b'{"id": "a"}')


class Things(HTTPResourceRepository):
    _resource = "/thing"


class Shop(HTTPWorker):
    things: Things


MAKERS = {
    "client": lambda url: Client(base_url=url),
    "worker": Shop,
    "remote": lambda url: HTTPWorker.backend_for({"things": Things}, Remote(url), None),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("url", ["http://ann:secret@host/api?key=hidden&x=1", "http://host/api/?key=hidden"])
def test_a_base_with_a_query_is_refused_where_it_is_named(maker, url):
    with pytest.raises(ApplicationError, match=r"http://host/api/?' has a query.*params=\{'key': …") as caught:
        MAKERS[maker](url)

    assert "hidden" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("url", "part"), [("http://host/api?", "query"), ("http://host/api#x", "fragment")])
def test_so_is_one_with_an_empty_query_or_a_fragment(url, part):
    with pytest.raises(ApplicationError, match=f"has a {part}"):
        Client(base_url=url)


async def test_a_base_that_changes_is_looked_at_when_it_is_used():
    async with Client() as client:
        client.base_url = "http://host/api?key=1"
        with pytest.raises(ApplicationError, match="has a query"):
            await Things(client).retrieve("a")


async def test_so_is_one_that_a_function_gives():
    shop = Shop(lambda: "http://host/api?key=1")

    with pytest.raises(ApplicationError, match="has a query"):
        async with shop:
            pass


@pytest.mark.parametrize("resource", ["/thing?key=1", "https://host/thing?key=1", "/thing#x", "/thing?"])
def test_a_resource_with_a_query_is_refused_where_it_is_named(resource):
    with pytest.raises(ApplicationError, match="/thing' has a query or a fragment"):
        type("Bad", (HTTPResourceRepository,), {"_resource": resource})
    with pytest.raises(ApplicationError, match="/thing' has a query or a fragment"):
        HTTPResourceManager(resource, Client())


@pytest.mark.parametrize("way", ways.WAYS)
async def test_parameters_of_the_client_go_with_every_request(way):
    asked = []

    def respond(request):
        asked.append(request.target)
        if "application/x-ndjson" in request.headers["accept"]:
            return Reply(200, b"", ("content-type: application/x-ndjson",))
        return Reply(200, b'{"data": []}') if "page" in request.target else RECORD

    async with ways.connected(way, respond, params={"key": "1"}) as (client, _):
        await Things(client).update("a", {})
        await Things(client).first(F.n.in_([1, 2]), m="a b&c")
        assert [thing async for thing in Things(client).list(stream=True)] == []

    assert [target.partition("?")[0] for target in asked] == ["/thing/a/", "/thing/", "/thing/"]
    queries = [urllib.parse.parse_qs(target.partition("?")[2]) for target in asked]
    assert [query.pop("key") for query in queries] == [["1"]] * 3
    assert queries[0] == {}
    assert queries[1]["m"] == ["eq:a b&c"]
    assert queries[1]["n"] == ["in:1", "in:2"]


@pytest.mark.parametrize("way", ways.WAYS)
async def test_a_document_may_have_a_query(way):
    def respond(request):
        assert urllib.parse.urlsplit(request.target).path == "/openapi.json"
        assert "format=json" in request.target
        return Reply(200, b'\xef\xbb\xbf{"paths": {"/thing/": {"get": {"responses": {}}}}}')

    async with ways.connected(way, respond) as (client, _):
        assert "list" in await Things(client).check(schema="/openapi.json?format=json")
