"""Requests that end in the middle, hold garbage, or come all at once: the application goes on serving."""

import asyncio
import contextlib
import gc
import http.client
import random
import socket
import time
import typing as t
import urllib.parse

import hypothesis
import pydantic
import pytest
from hypothesis import strategies as st

from flama import Component, Flama, Module, exceptions, http as flama_http, types
from flama.client import Client
from flama.middleware import Middleware
from tests.support import server

pytestmark = pytest.mark.anyio


class Record(pydantic.BaseModel):
    name: str
    age: int = 0


class Connection:
    pass


class Pool(Module, Component):
    """Counts what is checked out, with an await at every step as a real one has."""

    name = "pool"

    def __init__(self):
        self.out, self.most = 0, 0

    async def resolve(self) -> Connection:
        await asyncio.sleep(0)
        self.out += 1
        self.most = max(self.most, self.out)
        try:
            await asyncio.sleep(0)
            yield Connection()
        finally:
            self.out -= 1
        await asyncio.sleep(0)


class Waiting(Middleware):
    async def __call__(self, scope, receive, send):
        await asyncio.sleep(0)
        await self.app(scope, receive, send)
        await asyncio.sleep(0)


def application():
    """An application with a handler of every kind, each with awaits all along its way."""
    pool = Pool()
    app = Flama(modules=[pool], components=[pool], middleware=[Waiting()])

    @app.post("/body/")
    async def body(connection: Connection, data: Record):
        await asyncio.sleep(0)
        return data

    @app.post("/form/")
    async def form(connection: Connection, file: flama_http.UploadFile):
        await asyncio.sleep(0)
        return len(await file.read())

    @app.get("/stream/")
    async def stream(connection: Connection):
        for number in range(5):
            await asyncio.sleep(0)
            yield {"number": number}

    @app.get("/sync/")
    def sync(connection: Connection):
        time.sleep(0.0005)
        return 1

    @app.get("/error/")
    async def error(connection: Connection):
        await asyncio.sleep(0)
        raise exceptions.NotFoundError(resource="x")

    return app, pool


REQUESTS = [
    ("POST", "/body/", {"json": {"name": "A"}}),
    ("POST", "/body/", {"json": {}}),
    ("POST", "/form/", {"files": {"file": b"x" * 5000}}),
    ("GET", "/stream/", {}),
    ("GET", "/sync/", {}),
    ("GET", "/error/", {}),
    ("GET", "/nope/", {}),
]
STATUSES = [200, 400, 200, 200, 200, 404, 404]


async def cancelled_after(steps, request):
    """Run a request for so many turns of the loop, and cancel it."""
    task = asyncio.ensure_future(request)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_thousand_requests_cancelled_at_random_awaits_leave_the_application_serving(streamed):
    app, pool = application()
    chance = random.Random(2)

    async with Client(app=app) as client:

        async def send(method, path, request):
            if not streamed:
                return (await client.request(method, path, **request)).status_code
            async with client.stream(method, path, **request) as response:
                async for _ in response.aiter_raw():
                    await asyncio.sleep(0)
            return response.status_code

        for _ in range(20):
            lines = [chance.choice(REQUESTS) for _ in range(50)]
            await asyncio.gather(*(cancelled_after(chance.randrange(25), send(*line)) for line in lines))
            assert pool.out == 0
        after = [await send(*line) for line in REQUESTS]
        everyone = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    gc.collect()
    assert pool.most > 1
    assert after == STATUSES
    assert len(everyone) <= 2  # the application's own life


async def test_every_single_await_of_a_request_can_be_the_one_that_is_cancelled():
    app, pool = application()

    async with Client(app=app) as client:
        for method, path, request in REQUESTS:
            for steps in range(40):
                await cancelled_after(steps, client.request(method, path, **request))
                assert pool.out == 0
        after = [(await client.request(method, path, **request)).status_code for method, path, request in REQUESTS]

    assert after == STATUSES


async def test_cancelling_again_and_again_does_not_keep_clean_up_from_its_end():
    app, pool = application()

    async with Client(app=app) as client:
        for steps in range(15):
            task = asyncio.ensure_future(client.get("/stream/"))
            for _ in range(steps):
                await asyncio.sleep(0)
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)
            assert pool.out == 0
        response = await client.get("/stream/")

    assert response.status_code == 200


def test_clients_that_leave_a_socket_at_any_byte_leave_the_application_serving(serve):
    app, pool = application()
    address = urllib.parse.urlsplit(serve(app))
    body = b'{"name": "A"}'
    whole = [
        b"POST /body/ HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n" + body,
        b"GET /stream/ HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /body/ HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nd\r\n" + body + b"\r\n0\r\n\r\n",
    ]

    for number in range(300):
        request = whole[number % 3]
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(request[: random.Random(number).randrange(1, len(request) + 1)])
    statuses = []
    for method, path in [("POST", "/body/"), ("GET", "/stream/"), ("GET", "/sync/")]:
        connection = http.client.HTTPConnection(address.netloc, timeout=5)
        connection.request(method, path, body if method == "POST" else None, {"content-type": "application/json"})
        statuses.append(connection.getresponse().status)
        connection.close()
    deadline = time.monotonic() + 5
    while pool.out and time.monotonic() < deadline:
        time.sleep(0.01)

    assert statuses == [200, 200, 200]
    assert pool.out == 0


async def test_two_hundred_requests_at_once_are_each_answered_their_own():
    app, pool = application()

    async with Client(app=app) as client:
        found = await asyncio.gather(*(client.post("/body/", json={"name": f"n{i}", "age": i}) for i in range(200)))

    assert [response.json() for response in found] == [{"name": f"n{i}", "age": i} for i in range(200)]
    assert pool.out == 0


async def test_more_synchronous_handlers_than_there_are_threads_are_all_answered():
    app = Flama()
    app.add_get("/", lambda: time.sleep(0.001))

    async with Client(app=app) as client:
        found = await asyncio.wait_for(asyncio.gather(*(client.get("/") for _ in range(200))), 10)

    assert {response.status_code for response in found} == {204}


Anything = t.Annotated[types.Schema, types.SchemaMetadata(Record)]
CONTENT_TYPES = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
    "",
    ";",
]


def careful():
    """An application whose handlers ask for something of every kind."""
    app = Flama()

    @app.post("/schema/{id}/{n:int}")
    async def schema(
        id: str, n: int, data: Anything, q: int | None, tags: list[int], c: t.Annotated[str, types.Cookie()] = ""
    ):
        return [id, n, data, q, tags, c]

    @app.post("/data/{rest:path}")
    async def data(
        rest: str, data: types.RequestData, cookies: types.Cookies, query: flama_http.QueryParams, url: types.URL
    ):
        return [rest, data if isinstance(data, list | dict) and not _files(data) else None, cookies, dict(query)]

    @app.post("/file/")
    async def file(f: flama_http.UploadFile | None, h: t.Annotated[str | None, types.Header("x-h")]):
        return h

    return app


def _files(data):
    """Whether a form holds a file, which no JSON can."""
    values = data.values() if isinstance(data, dict) else ()
    return any(isinstance(one, flama_http.UploadFile) for value in values for one in [value, *_listed(value)])


def _listed(value):
    return value if isinstance(value, list) else []


PIECES = st.sampled_from(
    [b'{"name": "A"}', b'{"name":', b"[]", b"null", b"NaN", b'"\\ud800"', b"--b\r\n", b"--b--", b"\r\n\r\n",
     b"a=b&", b"%ff", b"[" * 300, b'{"a":' * 300,
     b'content-disposition: form-data; name="f"; filename="\xff"', b'content-disposition: form-data; name="name"',
     b"\x00", b"\xff", b"9" * 400, b'{"name": 1180591620717411303424}', b'{"age": 1e400, "name": [NaN]}']
)  # fmt: skip
NAMES = st.sampled_from(["name", "age", "f", "x", 'f"; filename="f'])
PARTS = st.tuples(NAMES, st.binary(max_size=4)).map(
    lambda part: f'--b\r\ncontent-disposition: form-data; name="{part[0]}"\r\n\r\n'.encode() + part[1] + b"\r\n"
)
BODIES = st.lists(PIECES | st.binary(max_size=8), max_size=6).map(b"".join)
FORMS = st.lists(PARTS, max_size=4).map(lambda parts: b"".join(parts) + b"--b--\r\n")
SENT = st.tuples(st.sampled_from(CONTENT_TYPES), BODIES) | st.tuples(st.just("multipart/form-data; boundary=b"), FORMS)
PATHS = st.sampled_from(
    ["/schema/a/1", "/schema/%ff/x", "/data/", "/data/a/%2F/b", "/data/%ed%a0%80", "/file/", "/%zz"]
)
QUERIES = st.sampled_from(["", "?q=1&tags=2", "?q=x", "?q=%ff&tags=%00", "?tags=1&tags=x", "?%", "?q=" + "9" * 50])
HEADERS = st.dictionaries(st.sampled_from(["cookie", "x-h", "accept", "origin"]), st.binary(max_size=10).map(
    lambda value: bytes(byte for byte in value if byte >= 0x20 and byte != 0x7F)), max_size=2)  # fmt: skip


@pytest.fixture(scope="module")
def loop():
    """One loop and one running application for all the examples."""
    with asyncio.Runner() as runner:
        client = Client(app=careful())
        runner.run(client.__aenter__())
        yield lambda *args, **kwargs: runner.run(client.request(*args, **kwargs))
        runner.run(client.__aexit__())


@hypothesis.settings(
    max_examples=500, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(PATHS, QUERIES, HEADERS, SENT)
def test_nothing_that_a_client_sends_is_a_server_error(loop, path, query, headers, sent):
    type_, body = sent

    response = loop("POST", path + query, headers={**headers, "content-type": type_}, content=body)

    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json().keys() == {"status_code", "detail", "error"}


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /data/ HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n\xff\xfe\x00\x00",
        b"POST /schema/\xff/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        b"POST /data/%2F%00 HTTP/1.1\r\nhost: \xff\r\ncontent-length: 0\r\n\r\n",
        b"POST /data/ HTTP/1.1\r\nhost: a:99999999\r\ncontent-length: 0\r\n\r\n",
        b"POST /data/ HTTP/1.1\r\nhost: [::1\r\ncontent-length: 0\r\n\r\n",
        b"POST /data/ HTTP/1.0\r\ncontent-length: 0\r\n\r\n",
        b"POST /data/?\xff=\xfe HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        b"POST http://other/data/ HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /data/ HTTP/1.1\r\nhost: a\r\ncookie: \xff=\xfe; ==;;\r\ncontent-length: 0\r\n\r\n",
        b"BREW /data/ HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
    ids=[f"request {number}" for number in range(11)],
)
@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_no_line_of_a_request_over_a_socket_is_a_server_error(parser, request_):
    with server.served(careful(), http=parser) as url:
        address = urllib.parse.urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(request_)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(100)

    assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), answer


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/static", "/" * 60_000),
        ("/{a}/{b}/x", "/a" * 30_000),
        ("/{a}-{b}.json", "/" + "-" * 60_000),
        ("/{rest:path}", "/%2F" * 15_000),
    ],
    ids=["slashes", "segments", "one segment", "quoted slashes"],
)
async def test_a_path_of_any_length_and_form_is_answered_in_no_time(template, path):
    app = Flama()
    app.add_post(template, lambda: None)
    app.mount("/mounted", Flama())

    async with Client(app=app) as client:
        began = time.process_time()
        response = await client.get("http://localapp" + path)
        taken = time.process_time() - began

    assert response.status_code in (404, 405)
    assert taken < 1


def test_a_client_that_drips_its_body_holds_nobody_else_up(serve):
    app, _ = application()
    address = urllib.parse.urlsplit(serve(app))

    with socket.create_connection((address.hostname, address.port), timeout=5) as dripping:
        dripping.sendall(
            b"POST /body/ HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"
        )
        connection = http.client.HTTPConnection(address.netloc, timeout=5)
        connection.request("GET", "/sync/")
        meanwhile = connection.getresponse().status
        connection.close()
        dripping.sendall(b'"name": "A"}')
        answer = dripping.recv(100)

    assert meanwhile == 200
    assert answer.startswith(b"HTTP/1.1 200")
