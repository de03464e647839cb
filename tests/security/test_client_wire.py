"""What the client sends is one request, what it reads one response, whatever callers and servers put into them."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import time
import tracemalloc
import zlib
from unittest import mock

import h11
import httptools
import httpx
import hypothesis
import pytest
import trustme
from hypothesis import strategies as st

from flama import Flama, http
from flama.client import Client, make_transport
from flama.client._transports import network
from flama.ddd.components import WorkerComponent
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.workers.http import HTTPWorker
from flama.exceptions import InvalidResponseError, UnavailableError
from flama.retry import Policy
from tests.support import loops, server
from tests.support.scripted import answer, connected, scripted

OK = answer(200, b"{}")
CONTEXT = ssl.create_default_context()
QUICK = Policy(deadline=1.0, attempts=1, max_size=1_000_000)


class Things(HTTPResourceRepository):
    _resource = "/thing"


class TestFraming:
    """Requests as strict servers read them."""

    FRAMING = st.sampled_from(
        [
            (b"content-length", b"0"),
            (b"content-length", b"3"),
            (b"Content-Length", b"5"),
            (b"content-length", b"+5"),
            (b"content-length", b"5, 5"),
            (b"content-length", b"99999999999999999999"),
            (b"transfer-encoding", b"chunked"),
            (b"Transfer-Encoding", b"Chunked"),
            (b"transfer-encoding", b"gzip, chunked"),
            (b"transfer-encoding", b"identity"),
            (b"transfer-encoding ", b"chunked"),
            (b"transfer-encoding\t", b"chunked"),
            (b"content-length:", b"3"),
            (b"expect", b"100-continue"),
            (b"connection", b"close"),
            (b"connection", b"upgrade"),
            (b"upgrade", b"h2c"),
            (b"trailer", b"x"),
            (b"te", b"trailers"),
            (b"host", b"other.example"),
            (b"", b"x"),
            (b"x y", b"1"),
            (b"x:y", b"1"),
            (b"x,y", b"1"),
        ]
    )
    OTHER = st.tuples(
        st.text("abcXY-_.!", min_size=1, max_size=5).map(lambda name: b"x-" + name.encode()),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(str.encode),
    )
    REQUESTS = st.fixed_dictionaries(
        {
            "method": st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "G T"]),
            "path": st.sampled_from(["/", "/a%20b/", "/%0d%0aX:y/", "//evil/", "/a?b=c", "/a;b"]),
            "headers": st.lists(FRAMING | OTHER, max_size=4),
            "body": st.sampled_from([b"", b"12345", b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n", b"x" * 70_000]),
            "way": st.sampled_from(["call", "request", "chunks"]),
            "has_aiohttp": st.sampled_from([True, True, False]),
        }
    )

    @hypothesis.settings(max_examples=60, deadline=None)
    @hypothesis.given(REQUESTS)
    def test_a_strict_server_reads_the_one_request_that_was_meant_or_nothing_is_sent(self, request_):
        raw, refused = asyncio.run(self.sent(**request_))

        if refused:
            assert self.parsed_by_h11(raw) is None  # a body that is cut in the middle is no request
            return
        target = ("/r" if request_["way"] == "call" else "") + request_["path"]
        for found in (self.parsed_by_h11(raw), self.parsed_by_httptools(raw)):
            assert found == (request_["method"].encode(), target.encode(), request_["body"])

    @staticmethod
    async def sent(method, path, headers, body, way, has_aiohttp):
        """Send a request, and return what a server receives of it, and whether the client refused."""
        received = bytearray()

        async def serve(reader, writer):
            while data := await reader.read(100_000):
                received.extend(data)
                if TestFraming.parsed_by_h11(bytes(received)) is not None:
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

        async def chunks():
            for start in range(0, len(body), 20_000):
                yield body[start : start + 20_000]

        with mock.patch.object(network, "_has_aiohttp", return_value=has_aiohttp):
            client = Client(timeout=5, verify=CONTEXT)
        async with connected(serve) as url, client:
            client.base_url = url
            try:
                if way == "call":
                    address = client.resource_url("/r")
                    await client.call(method, address, *path.split("?"), headers=headers, body=body)
                else:
                    content = body if way == "request" else chunks()
                    await client.request(method, url + path, headers=headers, content=content)
            except httpx.LocalProtocolError:
                return bytes(received), True
        return bytes(received), False

    @staticmethod
    def parsed_by_h11(raw):
        """Return method, target and body of the one request in the bytes; None while there is none, whole."""
        connection, found, body = h11.Connection(h11.SERVER), None, b""
        connection.receive_data(raw)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                found = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert connection.trailing_data[0] == b""
                return found.method, found.target, body
            else:
                return None

    @staticmethod
    def parsed_by_httptools(raw):
        class Events:
            target, body, complete = b"", b"", 0

            def on_url(self, url):
                self.target += url

            def on_body(self, body):
                self.body += body

            def on_message_complete(self):
                self.complete += 1

        events = Events()
        parser = httptools.HttpRequestParser(events)
        with contextlib.suppress(httptools.HttpParserUpgrade):
            parser.feed_data(raw)
        assert events.complete == 1
        return parser.get_method(), events.target, events.body


class TestForwardedHeaders:
    """The usual reverse proxy in ten lines doesn't let its caller run other requests."""

    @pytest.mark.parametrize("parser", ["httptools", "h11"])
    @pytest.mark.parametrize("framing", [["content-length: 4"], ["transfer-encoding: chunked"]])
    def test_a_caller_cannot_smuggle_a_request(self, parser, framing):
        inner, deleted = Flama(schema=None, docs=None), []

        @inner.route("/echo/", methods=["POST"])
        async def echo(data: http.Request) -> str:
            return (await data.body()).decode("latin-1")

        @inner.route("/victim/", methods=["DELETE"])
        def delete():
            deleted.append(1)

        outer = Flama(schema=None, docs=None)
        smuggled = b"DELETE /victim/ HTTP/1.1\r\nhost: x\r\n\r\n"
        hidden = smuggled if "chunked" not in framing[0] else b"0\r\n\r\n" + smuggled

        @outer.route("/raw/", methods=["POST"])
        async def forward(request: http.Request) -> int:
            await request.body()
            async with Client(base_url=url) as client:
                headers = [(b"content-type", b"text/plain"), *[tuple(line.encode().split(b": ")) for line in framing]]
                with contextlib.suppress(httpx.LocalProtocolError):
                    await client.call("POST", client.resource_url("/echo"), "/", headers=headers, body=hidden)
                    await client.call("GET", client.resource_url("/echo"), "/")
            return 1

        with server.served(inner, http=parser) as url, server.served(outer, http=parser) as outer_url:
            assert httpx.post(f"{outer_url}/raw/", content=b"x").status_code == 200

        assert deleted == []


class TestHosts:
    @pytest.mark.parametrize("name", loops.LOOPS)
    def test_an_international_name_is_looked_up_and_checked_as_it_is_written(self, name):
        """Not as ``strasse.example``, which is what Python's own codec makes of it."""
        authority, looked_up = trustme.CA(), []
        secret, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("strasse.example").configure_cert(secret)
        authority.configure_trust(trusting)
        [(_, options)] = [backend for each, backend in loops.BACKENDS.items() if each == name]
        made = options["loop_factory"]()
        made.close()

        class Resolving(type(made)):
            async def getaddrinfo(self, host, port, **options):
                looked_up.append(host)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        async def work():
            async with scripted(OK, ssl=secret) as service:
                port = httpx.URL(service.url).port
                for host in ("straße.example", "xn--strae-oqa.example"):
                    url = f"https://{host}:{port}"
                    async with Client(base_url=url, verify=trusting, headers={"authorization": "x"}) as client:
                        with pytest.raises(httpx.ConnectError, match="certificate"):
                            await client.call("GET", client.resource_url("/thing"))
                        with pytest.raises(httpx.ConnectError, match="certificate"):
                            await client.get("/")
                return service.asked

        with asyncio.Runner(loop_factory=Resolving) as runner:
            asked = runner.run(work())

        assert asked == []
        assert set(looked_up) - {"127.0.0.1"} == {"xn--strae-oqa.example"}


@pytest.mark.anyio
class TestResponses:
    async def test_what_arrives_between_two_calls_is_no_response(self):
        async def script(asked, writer):
            writer.write(answer(200, b'{"id": "mine"}'))
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(answer(200, b'{"id": "POISON"}'))

        async with scripted(script) as service, Client(base_url=service.url) as client:
            found = []
            for method in ("retrieve", "retrieve", "update"):
                arguments = ("a",) if method == "retrieve" else ("a", {})
                found.append(await getattr(Things(client), method)(*arguments))
                await asyncio.sleep(0.05)

        assert found == [{"id": "mine"}] * 3

    @pytest.mark.parametrize(
        "endless",
        [
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 10_000,
            b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000,
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
            b"HTTP/1.1 200 " + b"y" * 100_000,
            b"HTTP/1.1 102 Processing\r\n\r\n" * 1_000,
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 100_000,
        ],
        ids=["trailers", "headers", "header", "reason", "informational", "extension"],
    )
    async def test_what_never_ends_is_an_error_in_time(self, endless):
        async def script(asked, writer):
            writer.write(endless)
            with contextlib.suppress(OSError):
                while True:
                    writer.write(endless[-5_000:])
                    await writer.drain()

        async with scripted(script) as service, Client(base_url=service.url, policy=QUICK) as client:
            began = time.monotonic()
            tracemalloc.start()
            with pytest.raises((UnavailableError, InvalidResponseError)):
                await Things(client).retrieve("a")
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

        assert time.monotonic() - began < 10
        assert peak < 30_000_000

    @pytest.mark.parametrize("status", ["000", "101", "099"])
    async def test_a_status_that_no_response_has_is_an_error(self, status):
        response = f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}".encode()

        async with scripted(response) as service, Client(base_url=service.url, policy=QUICK) as client:
            with pytest.raises(UnavailableError):
                await Things(client).retrieve("a")

    @pytest.mark.parametrize(
        "value",
        [
            "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
            "Mon, 01 Jan 99999 00:00:00 GMT",
            "9" * 100_000,
            "Mon, 31 Dec 9999 23:59:59 -2359",
            "-1",
            "NaN",
            "\xff",
            ",".join(["Mon"] * 10_000),
        ],
    )
    async def test_whatever_retry_after_says_it_is_unavailable(self, value):
        response = answer(503, b"", f"retry-after: {value[:8_000]}")
        async with scripted(response) as service, Client(base_url=service.url, policy=QUICK) as client:
            with pytest.raises(UnavailableError) as caught:
                await Things(client).retrieve("a")

        assert caught.value.retry_after is None or 0 <= caught.value.retry_after <= 1e9


def nested(*layers, size):
    """A body of so many zeros, compressed by each in turn."""
    body = b"\0" * size
    for compress in layers:
        body = compress(body)
    return body


@pytest.mark.anyio
class TestBombs:
    """Bodies that become more than was allowed, by however little."""

    BODIES = {
        "gzip": lambda: nested(gzip.compress, size=30_000_000),
        "deflate": lambda: nested(zlib.compress, size=30_000_000),
        "gzip, gzip": lambda: nested(gzip.compress, gzip.compress, size=30_000_000),
        "gzip, deflate": lambda: nested(gzip.compress, zlib.compress, size=30_000_000),
        "gzip, gzip, gzip": lambda: nested(gzip.compress, gzip.compress, gzip.compress, size=30_000_000),
    }

    @pytest.mark.parametrize("settings", [{}, {"auth": ("ann", "secret")}], ids=["direct", "httpx"])
    @pytest.mark.parametrize("coding", BODIES)
    async def test_it_is_an_error_before_it_is_whole(self, coding, settings):
        response = answer(200, self.BODIES[coding](), f"content-encoding: {coding}")

        async with scripted(response) as service:
            async with Client(base_url=service.url, policy=QUICK, **settings) as client:
                await self.check(client, Things(client).retrieve("a"))

    @pytest.mark.parametrize("coding", BODIES)
    async def test_so_it_is_in_a_stream(self, coding):
        types = ("content-type: application/x-ndjson", f"content-encoding: {coding}")

        async with scripted(answer(200, self.BODIES[coding](), *types)) as service:
            async with Client(base_url=service.url, policy=QUICK) as client:
                await self.check(client, anext(aiter(Things(client).list(stream=True))))

    @staticmethod
    async def check(client, work):
        tracemalloc.start()
        with pytest.raises(InvalidResponseError):
            await work
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12_000_000  # a few times the million bytes that were allowed

    async def test_a_line_takes_time_linear_in_its_length(self):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(150):
                    writer.write(b"1\r\nx\r\n" * 1_000)
                    await writer.drain()

        policy = Policy(deadline=20.0, attempts=1, max_size=100_000)
        async with scripted(script) as service, Client(base_url=service.url, policy=policy) as client:
            with pytest.raises(InvalidResponseError, match="100,000 bytes"):
                await anext(aiter(Things(client).list(stream=True)))


@pytest.mark.anyio
class TestGateways:
    """What a gateway answers when the service behind it is in trouble."""

    @pytest.fixture
    async def answered(self):
        async def answered(url, **settings):
            class Worker(HTTPWorker):
                things: Things

            app = Flama(schema=None, docs=None, components=[WorkerComponent(Worker(url, policy=QUICK, **settings))])

            @app.route("/thing/")
            async def retrieve(worker: Worker) -> dict:
                async with worker:
                    return await worker.things.retrieve("a")

            async with Client(app=app) as client:
                return await client.get("/thing/")

        return answered

    async def test_a_server_that_is_not_there_is_not_named(self, answered, caplog):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]

        response = await answered(f"http://127.0.0.1:{port}")

        assert response.status_code == 503
        assert "127.0.0.1" not in response.text
        assert str(port) not in response.text
        assert str(port) in caplog.text  # for those who run it

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_nor_is_the_place_that_it_redirects_to(self, answered, caplog, status):
        location = "location: http://internal.example/steal/?token=secret"
        async with scripted(answer(status, b"", location)) as service:
            response = await answered(service.url)

        assert response.status_code == 502
        assert "internal" not in response.text
        assert "internal.example" in caplog.text

    async def test_nor_what_a_server_says_that_speaks_no_http(self, answered):
        async with scripted(b"SECRET banner of 10.0.0.1\r\n") as service:
            response = await answered(service.url)

        assert response.status_code == 503
        assert "SECRET" not in response.text
        assert "10.0.0.1" not in response.text


@pytest.mark.anyio
class TestWithoutAiohttp:
    """httpx's own transport takes its place."""

    @pytest.fixture(autouse=True)
    def hidden(self, monkeypatch):
        monkeypatch.setattr(network, "_has_aiohttp", lambda: False)

    async def test_calls_and_streams_work(self):
        lines = answer(200, b'{"id": "a"}\n', "content-type: application/x-ndjson")

        async def script(asked, writer):
            writer.write(lines if "ndjson" in asked.headers.get("accept", "") else answer(200, b'{"id": "a"}'))

        async with scripted(script) as service, Client(base_url=service.url, policy=QUICK) as client:
            assert client.direct is None
            things = Things(client)
            assert await things.retrieve("a") == {"id": "a"}
            assert [record async for record in things.list(stream=True)] == [{"id": "a"}]

    async def test_units_of_an_application_share_its_connections(self):
        class Worker(HTTPWorker):
            things: Things

        async with scripted(answer(200, b'{"id": "a"}')) as service:
            app = Flama(schema=None, docs=None, components=[WorkerComponent(Worker(service.url))])

            @app.route("/thing/")
            async def retrieve(worker: Worker) -> dict:
                async with worker:
                    return await worker.things.retrieve("a")

            async with Client(app=app) as client:
                for _ in range(3):
                    assert (await client.get("/thing/")).json() == {"id": "a"}

            assert service.connections == 1

    async def test_the_headers_that_frame_a_body_are_checked_as_well(self):
        async with scripted(OK) as service, Client(base_url=service.url) as client:
            with pytest.raises(httpx.LocalProtocolError):
                await client.post("/", content=b"12345", headers={"content-length": "3"})

        assert isinstance(make_transport({}), httpx.AsyncHTTPTransport)
