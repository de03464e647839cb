"""The fast way of a call is held to the slow one, httpx's."""

import asyncio
import contextlib
import gzip
import urllib.parse

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from flama.client import Client
from tests.support import server

SETTINGS = hypothesis.settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)

TEXT = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=8)
TOKEN = st.text("abcdefgh-", min_size=1, max_size=8).filter(lambda name: name.strip("-"))
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=10)
HEADERS = st.lists(st.tuples(TOKEN.map("x-{}".format), VALUE), max_size=3, unique_by=lambda header: header[0])

ANSWERS = st.fixed_dictionaries(
    {
        "status": st.sampled_from([200, 201, 204, 301, 304, 400, 404, 500, 503, 599]),
        "headers": st.lists(
            st.sampled_from(
                [
                    ["content-type", "application/json"],
                    ["set-cookie", "a=b"],
                    ["set-cookie", "c=d; Path=/"],
                    ["location", "/other/"],
                    ["x-twice", "1"],
                    ["x-twice", "2"],
                ]
            ),
            max_size=4,
        ),
        "chunks": st.lists(st.text(max_size=20), max_size=3),
        "compressed": st.booleans(),
        "fails": st.sampled_from(["", "", "", "before", "between", "after"]),
    }
)
CALLS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]),
        "path": st.lists(TEXT.filter(lambda part: part not in {"", ".", ".."}), max_size=2).map(
            lambda parts: "".join(f"/{urllib.parse.quote(part, safe='')}" for part in parts) + "/"
        ),
        "query": st.lists(st.tuples(TEXT, TEXT), max_size=2).map(urllib.parse.urlencode),
        "headers": HEADERS.map(lambda headers: [(name.encode(), value.encode()) for name, value in headers]),
        "body": st.binary(max_size=20),
        "limit": st.sampled_from([None, None, 5, 10_000]),
    }
)
CLIENTS = st.fixed_dictionaries(
    {"headers": HEADERS.map(dict)},
    optional={"params": st.just({"shared": "1"}), "cookies": st.just({"k": "v"}), "auth": st.just(("ann", "secret"))},
)


class Programmable:
    """An application that answers as it is told, and notes what it is asked."""

    def __init__(self):
        self.asked = []
        self.answer = {}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        told = ("method", "path", "raw_path", "query_string", "scheme", "http_version")
        self.asked.append([*map(scope.get, told), sorted(scope["headers"]), body])
        await self._respond(send, **self.answer)

    async def _respond(self, send, *, status, headers, chunks, compressed, fails):
        chunks = [chunk.encode("utf-8", "replace") for chunk in chunks]
        headers = [(name.encode(), value.encode()) for name, value in headers]
        if status in {204, 304}:
            chunks = []
        if compressed and chunks:
            chunks = [gzip.compress(b"".join(chunks))]
            headers.append((b"content-encoding", b"gzip"))
        if fails == "before":
            raise LookupError("a bug")
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if fails == "between":
                raise LookupError("a bug")
        await send({"type": "http.response.body", "body": b""})
        if fails == "after":
            raise LookupError("a bug")


async def nothing(_):
    """A hook, for which a call has to go by httpx."""


async def called(client, method, path, query, headers, body, limit):
    address = client.resource_url("/thing")
    try:
        answer = await client.call(method, address, path, query, headers=headers, body=body, limit=limit)
    except httpx.HTTPError as error:
        return type(error).__name__
    uncounted = {b"date", b"server"}
    kept = sorted((name.lower(), value) for name, value in answer.headers if name.lower() not in uncounted)
    return answer.status, kept, answer.body, sorted(client.cookies.items())


async def both(app, connect, settings, call, answer):
    """Give what the fast way and the slow way come to, with what the application was asked."""
    app.answer = answer
    outcomes = []
    for hooks in ({}, {"request": [nothing]}):
        app.asked.clear()
        async with connect(event_hooks=hooks, **settings) as client:
            outcomes.append((await called(client, **call), list(app.asked)))
    return outcomes


@pytest.fixture(scope="module")
def app():
    return Programmable()


@pytest.fixture(scope="module", params=["in process", "socket"])
def connect(request, app):
    with contextlib.ExitStack() as stack:
        if request.param == "in process":
            yield lambda **settings: Client(app=app, **settings)
        else:
            url = stack.enter_context(server.served(app, server_header=False, date_header=False))
            yield lambda **settings: Client(base_url=url, **settings)


@pytest.fixture(scope="module")
def run():
    with asyncio.Runner() as runner:
        yield lambda work: runner.run(asyncio.wait_for(work, 20))


@hypothesis.given(settings=CLIENTS, call=CALLS, answer=ANSWERS)
@hypothesis.example(
    settings={"headers": {}},
    call={"method": "GET", "path": "/", "query": "", "headers": [], "body": b"", "limit": 5},
    answer={"status": 200, "headers": [], "chunks": [""], "compressed": True, "fails": ""},
)
@SETTINGS
def test_a_call_is_what_the_request_is(app, connect, run, caplog, settings, call, answer):
    # of an answer that is too long and cut off, either is told
    hypothesis.assume(call["limit"] is None or answer["fails"] != "between")
    caplog.set_level("CRITICAL")
    fast, slow = run(both(app, connect, settings, call, answer))

    assert fast == slow
