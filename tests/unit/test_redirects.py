"""What becomes of a call that is redirected: by every verb, every status, every way that a client has."""

import contextlib
import itertools

import httpx
import pytest

from flama import exceptions
from flama.client import Policy
from flama.client._redirects import find_next
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.retry import Backoff
from tests.support import ways
from tests.support.ways import Reply

pytestmark = pytest.mark.anyio

QUICK = Policy(backoff=Backoff(0.001, 0.002))
STATUSES = (301, 302, 303, 307, 308)
NDJSON = "content-type: application/x-ndjson"


class Things(HTTPResourceRepository):
    _resource = "/thing"
    _idempotent = True


class Bare(Things):
    _slash = False


#: What each verb sends, and what a service responds when it is done.
WRITES = {
    "create": (lambda things: things.create({"n": 1}), Reply(201, b'{"id": "a"}')),
    "create many": (lambda things: things.create({"n": 1}, {"n": 2}), Reply(201, b"[]")),
    "upsert": (lambda things: things.upsert({"n": 1}), Reply(200, b"[]")),
    "get_or_create": (lambda things: things.get_or_create({"n": 1}), Reply(201, b'{"id": "a"}')),
    "update": (lambda things: things.update("a", {"n": 1}), Reply(200, b'{"id": "a"}')),
    "update many": (lambda things: things.update({"n": 1}, n=0), Reply(200, b"[]")),
    "partial_update": (lambda things: things.partial_update("a", {"n": 1}), Reply(200, b'{"id": "a"}')),
    "delete": (lambda things: things.delete("a"), Reply(204)),
    "delete by filter": (lambda things: things.delete(n=1), Reply(200, b'{"deleted": 1}')),
    "replace": (lambda things: things.replace([{"n": 1}]), Reply(200, b"[]")),
    "partial_replace": (lambda things: things.partial_replace([{"n": 1}]), Reply(200, b"[]")),
    "drop": (lambda things: things.drop(), Reply(200, b'{"deleted": 0}')),
    "drop many": (lambda things: things.drop(n=1), Reply(200, b'{"deleted": 0}')),
}


async def _read_all(records):
    return [record async for record in records]


READS = {
    "retrieve": (lambda things: things.retrieve("a"), Reply(200, b'{"id": "a"}')),
    "get": (lambda things: things.get("a"), Reply(200, b'{"id": "a"}')),
    "first": (lambda things: things.first(n=1), Reply(200, b'{"data": []}')),
    "count": (lambda things: things.count(n=1), Reply(200, b'{"data": [], "meta": {"total": 0, "count": 0}}')),
    "list": (lambda things: _read_all(things.list(n=1)), Reply(200, b'{"data": []}')),
    "stream": (lambda things: _read_all(things.list(n=1, stream=True)), Reply(200, b'{"id": "a"}\n', (NDJSON,))),
}
VERBS = {**WRITES, **READS}


@pytest.fixture(params=ways.WAYS)
def way(request):
    return request.param


def redirect(status, location):
    return Reply(status, b"moved", (f"location: {location}",))


def parts(asked):
    """What of a request has to be the same when it is sent again."""
    kept = {"content-type", "idempotency-key", "accept", "authorization", "content-length"}
    return asked.method, asked.body, {name: value for name, value in asked.headers.items() if name in kept}


async def outcome(call, things):
    """What a call returns or raises."""
    try:
        return await call(things)
    except exceptions.ResourceException as error:
        return error


class Script:
    """What a service does in a test: its ``respond`` changes from call to call."""

    respond = None

    def __call__(self, asked):
        return self.respond(asked)


@contextlib.asynccontextmanager
async def connected(way, **settings):
    """Give a client, and a function that makes a call of a service which responds so, with what it was asked."""
    script = Script()
    async with ways.connected(way, script, policy=QUICK, **settings) as (client, service):

        async def run(respond, call, repository=Things):
            script.respond = respond
            service.asked.clear()
            return await outcome(call, repository(client)), list(service.asked)

        yield client, run


def is_not_followed(found, status, location):
    """Whether a call failed for a redirect there."""
    named = isinstance(found, exceptions.InvalidResponseError) and found.detail.startswith(f"{status} ")
    return (
        named
        and found.__notes__[0].startswith(f"It redirects to {location}")
        and location not in str(found)
        and found.detail.endswith("which is not followed")
    )


class TestAnotherPath:
    @staticmethod
    def service(status, done):
        def respond(asked):
            return done if asked.target.startswith("/v2") else redirect(status, f"/v2{asked.target}")

        return respond

    async def test_a_request_is_repeated_as_it_was_where_307_and_308_say(self, way):
        async with connected(way) as (_, run):
            for (verb, (call, done)), status in itertools.product(VERBS.items(), (307, 308)):
                found, asked = await run(self.service(status, done), call)

                assert not isinstance(found, Exception), (verb, status)
                assert [each.target for each in asked] == [asked[0].target, f"/v2{asked[0].target}"], (verb, status)
                assert parts(asked[1]) == parts(asked[0]), (verb, status)

    @pytest.mark.parametrize("follows", [True, False])
    async def test_a_write_is_never_made_a_read(self, way, follows):
        async with connected(way, follow_redirects=follows) as (_, run):
            for (verb, (call, done)), status in itertools.product(WRITES.items(), (301, 302, 303)):
                found, asked = await run(self.service(status, done), call)

                assert is_not_followed(found, status, "/v2/thing"), (verb, status, found)
                assert len(asked) == 1, (verb, status)

    async def test_a_read_goes_there_when_the_client_follows(self, way):
        async with connected(way) as (client, run):
            for (verb, (call, done)), status in itertools.product(READS.items(), (301, 302, 303)):
                client.follow_redirects = False
                refused, once = await run(self.service(status, done), call)
                client.follow_redirects = True
                found, twice = await run(self.service(status, done), call)

                assert is_not_followed(refused, status, "/v2/thing"), (verb, status, refused)
                assert not isinstance(found, Exception), (verb, status, found)
                assert [each.method for each in (*once, *twice)] == ["GET"] * 3, (verb, status)


class TestSlashes:
    @staticmethod
    def service(status, done, *, with_slash):
        def respond(asked):
            path, mark, query = asked.target.partition("?")
            if path.endswith("/") == with_slash:
                return done
            other = f"{path}/" if with_slash else path.removesuffix("/")
            return redirect(status, f"{other}{mark}{query}")

        return respond

    @pytest.mark.parametrize("repository", [Things, Bare])
    async def test_one_that_is_missing_or_too_many_just_works(self, way, repository):
        async with connected(way) as (_, run):
            for (verb, (call, done)), status in itertools.product(VERBS.items(), STATUSES):
                service = self.service(status, done, with_slash=repository is Bare)
                found, asked = await run(service, call, repository)

                if verb in WRITES and status == 303:  # which tells of another resource
                    assert is_not_followed(found, status, "/thing"), (verb, found)
                    continue
                assert not isinstance(found, Exception), (verb, status, found)
                assert len(asked) == 2, (verb, status)
                assert parts(asked[1]) == parts(asked[0]), (verb, status)

    async def test_a_filter_that_the_redirect_loses_is_not_lost(self, way):
        async with connected(way, follow_redirects=True) as (_, run):
            for verb, status in itertools.product(("drop many", "update many", "first", "list", "stream"), STATUSES):
                call, done = VERBS[verb]

                def respond(asked, done=done, status=status):
                    path = asked.target.partition("?")[0]
                    return done if path.endswith("/") else redirect(status, f"{path}/")

                found, asked = await run(respond, call, Bare)

                assert is_not_followed(found, status, "/thing"), (verb, status, found)
                assert len(asked) == 1, (verb, status)


class TestOtherServers:
    @pytest.mark.parametrize("follows", [True, False])
    async def test_nothing_is_sent_there(self, way, follows):
        other = "http://127.0.0.1:9/thing"  # nobody listens there: whoever called would hear of it
        async with connected(way, follow_redirects=follows) as (_, run):
            for (verb, (call, _done)), status in itertools.product(VERBS.items(), STATUSES):
                found, asked = await run(lambda _, status=status: redirect(status, other), call)

                assert is_not_followed(found, status, other), (verb, status, found)
                assert len(asked) == 1, (verb, status)


class TestLoops:
    @pytest.mark.parametrize("verb", ["update", "retrieve", "stream"])
    async def test_redirects_that_never_end_are_an_error(self, way, verb):
        def swap_slashes(asked):
            path, mark, query = asked.target.partition("?")
            return redirect(308, (path.removesuffix("/") if path.endswith("/") else f"{path}/") + mark + query)

        def repeat(asked):
            return redirect(307, "")

        async with connected(way, max_redirects=5) as (_, run):
            for respond in (swap_slashes, repeat):
                found, asked = await run(respond, VERBS[verb][0])

                assert isinstance(found, exceptions.InvalidResponseError)
                assert "maximum allowed redirects" in found.detail
                assert len(asked) == 6

    async def test_as_many_as_the_client_allows_are_followed(self, way):
        def respond(asked):
            path, mark, query = asked.target.partition("?")
            return redirect(307, f"{path}x/{mark}{query}") if path.count("x/") < 5 else Reply(200, b'{"id": "a"}')

        async with connected(way, max_redirects=5) as (_, run):
            assert (await run(respond, VERBS["update"][0]))[0] == {"id": "a"}


async def test_a_location_that_is_no_url_is_no_response(way):
    async with connected(way) as (_, run):
        found, asked = await run(lambda _: redirect(307, "http://h:x/"), VERBS["retrieve"][0])

    assert isinstance(found, exceptions.UnavailableError)
    assert len(asked) == 3


async def test_a_cookie_of_the_redirect_is_sent_where_it_leads(way):
    def respond(asked):
        if asked.target.startswith("/v2"):
            return Reply(200, b'{"id": "a"}')
        return Reply(307, b"", (f"location: /v2{asked.target}", "set-cookie: seen=1; Path=/"))

    async with connected(way) as (_, run):
        _, asked = await run(respond, VERBS["update"][0])

    assert [each.headers.get("cookie") for each in asked] == [None, "seen=1"]


URL = "http://user:pw@host:8080/a/b%2Fc/?x=1&y=2"
TARGETS = [
    # method, status, location, whether the client follows reads; where it goes
    ("GET", 200, "/a/", True, None),
    ("GET", 304, "/a/", True, None),
    ("GET", 301, None, True, None),
    ("PUT", 307, "/z?y=2&x=1", False, "http://user:pw@host:8080/z?y=2&x=1"),
    ("PUT", 307, "/z?x=1&y=2&z=3", False, "http://user:pw@host:8080/z?x=1&y=2&z=3"),
    ("PUT", 307, "/z?x=1", False, None),
    ("PUT", 307, "/z", False, None),
    ("PUT", 308, "http://HOST:8080/z?x=1&y=2", False, "http://user:pw@host:8080/z?x=1&y=2"),
    ("PUT", 308, "//host:8080/z?x=1&y=2", False, "http://user:pw@host:8080/z?x=1&y=2"),
    ("PUT", 308, "//host/z?x=1&y=2", False, None),
    ("PUT", 308, "https://host:8080/z?x=1&y=2", False, None),
    ("PUT", 308, "http://other:8080/z?x=1&y=2", False, None),
    ("PUT", 308, "ftp://host:8080/z?x=1&y=2", False, None),
    ("PUT", 301, "/a/b%2fc?x=1&y=2", False, "http://user:pw@host:8080/a/b%2fc?x=1&y=2"),
    ("PUT", 302, "../b%2Fc?x=1&y=2", False, "http://user:pw@host:8080/a/b%2Fc?x=1&y=2"),
    ("PUT", 301, "/a/b/c?x=1&y=2", True, None),
    ("PUT", 301, "/a/b%2Fc//?x=1&y=2", True, None),
    ("PUT", 301, "/a/b%2Fc/?x=1&y=2", True, None),
    ("PUT", 303, "/a/b%2Fc?x=1&y=2", True, None),
    ("HEAD", 303, "/a/b%2Fc?x=1&y=2", False, "http://user:pw@host:8080/a/b%2Fc?x=1&y=2"),
    ("OPTIONS", 302, "/z?x=1&y=2", True, "http://user:pw@host:8080/z?x=1&y=2"),
    ("OPTIONS", 302, "/z?x=1&y=2", False, None),
]


@pytest.mark.parametrize(("method", "status", "location", "follows", "target"), TARGETS)
def test_where_a_request_goes(method, status, location, follows, target):
    found = find_next(method, httpx.URL(URL), status, location, follows_reads=follows)

    assert found == (None if target is None else httpx.URL(target))


@pytest.mark.parametrize(("port", "location"), [("", "http://host:80/b/"), (":80", "http://host/b/")])
def test_the_usual_port_is_the_same_said_or_not(port, location):
    found = find_next("GET", httpx.URL(f"http://host{port}/a/"), 307, location, follows_reads=False)

    assert found == httpx.URL("http://host/b/")
