"""Calls over a network: what comes back, from servers that behave and others, and what becomes of connections."""

import asyncio
import contextlib
import gc
import gzip
import random
import ssl
import time

import httpx
import pytest
import trustme

from flama.client import Client, ResponseTooLarge, make_transport, share
from flama.client._transports.asgi import DirectTransport
from tests.support import loops
from tests.support.scripted import answer, connected, scripted

pytestmark = pytest.mark.anyio

OK = answer(200, b"{}")


@pytest.fixture(params=["call", "request", "stream"])
def asked(request):
    """A function that asks a server, fast, by httpx, or bit by bit; and gives status and body."""

    async def by_call(client, path="/thing/", method="GET", limit=None):
        found = await client.call(method, client.resource_url(""), path, limit=limit)
        return found.status, found.body

    async def by_request(client, path="/thing/", method="GET", limit=None):
        response = await client.request(method, path)
        return response.status_code, response.content

    async def by_stream(client, path="/thing/", method="GET", limit=None):
        async with client.stream(method, path) as response:
            await response.aread()
        return response.status_code, response.content

    return {"call": by_call, "request": by_request, "stream": by_stream}[request.param]


class TestAnswers:
    @pytest.mark.parametrize(
        ("response", "body"),
        [
            (answer(200, b"body"), b"body"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n", b"body"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx: trailer\r\n\r\n", b"body"),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: <a>\r\n\r\n" + answer(200, b"body"), b"body"),
            (answer(200, gzip.compress(b"body"), "content-encoding: gzip"), b"body"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
            (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", b""),
        ],
        ids=["length", "chunks", "trailer", "informational", "gzip", "204", "304"],
    )
    async def test_every_form_of_a_body_is_read_and_the_connection_kept(self, asked, response, body):
        async with scripted(response) as server, Client(base_url=server.url) as client:
            for _ in range(3):
                assert (await asked(client))[1] == body

        assert server.connections == 1

    async def test_a_body_without_a_length_ends_with_the_connection(self, asked):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nbo")
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(b"dy")
            writer.close()

        async with scripted(script) as server, Client(base_url=server.url) as client:
            assert await asked(client) == (200, b"body")
            assert await asked(client) == (200, b"body")

        assert server.connections == 2

    async def test_a_head_has_no_body_whatever_its_length_says(self, asked):
        async with scripted(answer(200, length=10)) as server, Client(base_url=server.url) as client:
            assert await asked(client, method="HEAD") == (200, b"")
            assert await asked(client, method="HEAD") == (200, b"")

    async def test_a_body_goes_whole_or_in_chunks(self):
        async def chunks():
            for _ in range(3):
                yield b"x" * 100_000
                await asyncio.sleep(0)

        async with scripted(OK) as server, Client(base_url=server.url) as client:
            await client.post("/", content=chunks())
            await client.call("POST", client.resource_url("/a"), "/", body=b"y" * 1_000_000)

        assert [len(asked.body) for asked in server.asked] == [300_000, 1_000_000]

    async def test_a_large_body_is_read_as_fast_as_it_is_wanted(self):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n")
            for _ in range(500):
                writer.write(b"x" * 100_000)
                await writer.drain()
                sent.append(1)

        sent = []
        async with scripted(script) as server, Client(base_url=server.url) as client:
            async with client.stream("GET", "/") as response:
                chunks = response.aiter_raw()
                size = len(await anext(chunks))
                await asyncio.sleep(0.1)
                before = len(sent)
                async for chunk in chunks:
                    size += len(chunk)

        assert size == 50_000_000
        assert before < 200  # what the sockets of both sides hold

    @pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b"])
    async def test_a_header_that_would_be_another_line_is_not_sent(self, value):
        async with scripted(OK) as server, Client(base_url=server.url) as client:
            with pytest.raises(httpx.LocalProtocolError):
                await client.call("GET", client.resource_url("/a"), headers=[(b"x", value.encode())])

        assert server.asked == []


class TestFaults:
    @pytest.mark.parametrize(
        "response",
        [
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 500_000,
        ],
        ids=["nonsense", "two lengths", "length and chunks", "bad chunk", "upgrade", "endless head"],
    )
    async def test_what_is_not_http_is_an_error(self, asked, response):
        async with scripted(response) as server, Client(base_url=server.url) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await asked(client)

    @pytest.mark.parametrize("response", [b"", b"HTTP/1.1 2", answer(200, b"half", length=10)])
    async def test_a_connection_that_ends_too_early_is_an_error(self, asked, response):
        async def script(asked, writer):
            writer.write(response)
            writer.close()

        async with scripted(script) as server, Client(base_url=server.url) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await asked(client)

    async def test_what_comes_unasked_ends_the_connection(self, asked):
        async with scripted(OK + OK) as server, Client(base_url=server.url) as client:
            assert await asked(client) == (200, b"{}")
            assert await asked(client) == (200, b"{}")

        assert server.connections == 2

    async def test_a_server_that_wants_no_other_request_gets_none(self, asked):
        async with scripted(answer(200, b"{}", "connection: close")) as server, Client(base_url=server.url) as client:
            for _ in range(2):
                assert await asked(client) == (200, b"{}")

        assert server.connections == 2

    async def test_a_silent_server_is_a_timeout(self, asked):
        async def script(asked, writer):
            await asyncio.sleep(30)

        async with scripted(script) as server, Client(base_url=server.url, timeout=0.05) as client:
            with pytest.raises(httpx.ReadTimeout):
                await asked(client)

    async def test_a_server_that_takes_nothing_is_a_timeout(self):
        async def chunks():
            while True:
                yield b"x" * 1_000_000

        async def serve(reader, writer):
            await asyncio.sleep(30)

        async with connected(serve, limit=1) as url, Client(base_url=url, timeout=0.1) as client:
            with pytest.raises(httpx.WriteTimeout):
                await client.post("/", content=chunks())

    async def test_an_answer_that_comes_before_the_body_was_sent_is_taken(self):
        async def chunks():
            for _ in range(1_000):
                yield b"x" * 1_000
                await asyncio.sleep(0)

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(413, b"too much"))
            await writer.drain()
            await asyncio.sleep(0.2)
            writer.close()

        async with connected(serve) as url, Client(base_url=url) as client:
            assert (await client.post("/", content=chunks())).status_code == 413

    @loops.on_each
    async def test_a_body_may_end_after_the_server_has_answered_and_hung_up(self):
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(413, b"too much", "connection: close"))

        async def chunks():
            yield b"part"
            await asyncio.sleep(0.1)

        async with connected(serve) as url, Client(base_url=url) as client:
            assert (await client.post("/", content=chunks())).status_code == 413

    async def test_an_answer_that_is_too_long_is_not_read_to_its_end(self):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(2_000):
                    writer.write(b"x" * 100_000)
                    await writer.drain()
                    sent.append(1)

        sent = []
        async with scripted(script) as server, Client(base_url=server.url) as client:
            with pytest.raises(ResponseTooLarge, match="1,000,000 bytes"):
                await client.call("GET", client.resource_url("/a"), limit=1_000_000)

        assert len(sent) < 500

    async def test_nor_is_one_that_is_short_until_it_is_decompressed(self):
        bomb = answer(200, gzip.compress(b"x" * 50_000_000), "content-encoding: gzip")

        async with scripted(bomb) as server, Client(base_url=server.url) as client:
            with pytest.raises(ResponseTooLarge):
                await client.call("GET", client.resource_url("/a"), limit=1_000_000)

    async def test_a_server_that_is_not_there_is_an_error(self, asked):
        async with scripted(OK) as server:
            url = server.url
        async with Client(base_url=url) as client:
            with pytest.raises(httpx.ConnectError):
                await asked(client)


class TestPool:
    async def test_a_read_is_sent_again_when_the_server_closed_the_kept_connection(self, asked):
        async def script(asked, writer):
            if len(server.asked) == 2:  # over the one that was kept
                writer.transport.abort()
                return
            writer.write(OK)

        async with scripted(script) as server, Client(base_url=server.url) as client:
            assert [await asked(client) for _ in range(2)] == [(200, b"{}")] * 2

        assert [asked.connection for asked in server.asked] == [1, 1, 2]

    async def test_a_write_is_not(self, asked):
        async def script(asked, writer):
            if len(server.asked) == 2:
                writer.transport.abort()
                return
            writer.write(OK)

        async with scripted(script) as server, Client(base_url=server.url) as client:
            await asked(client, method="POST")
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                await asked(client, method="POST")

        assert len(server.asked) == 2

    async def test_a_connection_that_was_closed_while_it_was_idle_is_not_used(self, asked):
        async with scripted(OK) as server, Client(base_url=server.url) as client:
            await asked(client)
            for writer in tuple(server.open):
                writer.close()
            await asyncio.sleep(0.01)
            await asked(client, method="POST")

        assert server.connections == 2

    async def test_there_are_never_more_connections_than_allowed_and_all_are_served(self, asked):
        busy = most = 0

        async def script(asked, writer):
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.001)
            busy -= 1
            writer.write(OK)

        limits = httpx.Limits(max_connections=3, max_keepalive_connections=2)
        async with scripted(script) as server, Client(base_url=server.url, limits=limits) as client:
            found = await asyncio.gather(*(asked(client) for _ in range(50)))

        assert found == [(200, b"{}")] * 50
        assert most <= 3

    async def test_who_waits_for_a_connection_in_vain_is_told(self, asked):
        async def script(asked, writer):
            await asyncio.sleep(0.5)
            writer.write(OK)

        settings = {"limits": httpx.Limits(max_connections=1), "timeout": httpx.Timeout(5, pool=0.05)}
        async with scripted(script) as server, Client(base_url=server.url, **settings) as client:
            first = asyncio.create_task(asked(client))
            await asyncio.sleep(0.01)
            with pytest.raises(httpx.PoolTimeout):
                await asked(client)
            await first

    async def test_idle_connections_are_closed_in_time(self, asked):
        limits = httpx.Limits(max_connections=5, keepalive_expiry=0.05)
        async with scripted(OK) as server, Client(base_url=server.url, limits=limits) as client:
            await asked(client)
            assert len(server.open) == 1
            await asyncio.sleep(0.2)
            assert len(server.open) == 0

    async def test_servers_share_the_places(self, asked):
        limits = httpx.Limits(max_connections=1)
        async with scripted(OK) as one, scripted(OK) as other, Client(limits=limits) as client:
            for _ in range(3):
                for server in (one, other):
                    assert (await client.get(server.url)).status_code == 200

    async def test_two_thousand_cancelled_calls_leave_the_pool_whole(self, asked):
        async def script(asked, writer):
            await asyncio.sleep(0)
            writer.write(answer(200, b"x" * 3, length=6))
            await asyncio.sleep(0)
            writer.write(b"yyy")

        limits = httpx.Limits(max_connections=5)
        before = asyncio.all_tasks()
        async with scripted(script) as server, Client(base_url=server.url, limits=limits) as client:
            ended = [0, 0]
            for turns in range(200):
                tasks = [asyncio.create_task(asked(client)) for _ in range(10)]
                for _ in range(turns % 40):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                    ended[isinstance(outcome, asyncio.CancelledError)] += 1
                    assert isinstance(outcome, asyncio.CancelledError) or outcome == (200, b"xxxyyy")

            async with asyncio.timeout(
                5
            ):  # all five places are there, and each connection is at the start of an answer
                assert await asyncio.gather(*(asked(client) for _ in range(20))) == [(200, b"xxxyyy")] * 20
            assert min(ended) > 0
            assert len(server.open) <= 5
            assert client.direct._slots.available == 5
            assert not client.direct._session[1].connector._acquired
        await asyncio.sleep(0.05)
        assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()

    async def test_connecting_that_takes_too_long_leaves_nothing_behind(self):
        chance = random.Random(1)

        async def impatient(url):
            async with Client(base_url=url, timeout=chance.uniform(0.0005, 0.02)) as client:
                with contextlib.suppress(httpx.TransportError):
                    await client.get("/")

        async with scripted(OK) as server:
            for _ in range(10):
                await asyncio.gather(*(impatient(server.url) for _ in range(20)))
            await asyncio.sleep(0.05)
        gc.collect()  # a socket that nobody closed warns, which is an error here

    async def test_a_stream_that_is_left_early_frees_its_connection(self):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0)

        limits = httpx.Limits(max_connections=1)
        async with scripted(script) as server, Client(base_url=server.url, limits=limits) as client:
            for _ in range(3):
                async with client.stream("GET", "/") as response:
                    async for _ in response.aiter_raw():
                        break
            await asyncio.sleep(0.05)
            assert len(server.open) == 0

    async def test_connections_can_be_kept_from_one_client_to_the_next(self, asked):
        async with scripted(OK) as server:
            kept = make_transport({})
            for _ in range(3):
                async with Client(base_url=server.url, transport=share(kept)) as client:
                    assert client.direct is not None
                    await asked(client)
            assert server.connections == 1
            await kept.aclose()
            await asyncio.sleep(0.05)
            assert len(server.open) == 0

    async def test_what_a_client_leaves_unread_goes_with_it(self):
        async def script(asked, writer):
            writer.write(answer(200, b"half", length=100))

        async with scripted(script) as server:
            kept = make_transport({})
            async with Client(base_url=server.url, transport=share(kept)) as client:
                await client.send(client.build_request("GET", "/"), stream=True)
            await asyncio.sleep(0.05)
            assert len(server.open) == 0
            assert kept._slots.available == 100
            await kept.aclose()

    async def test_closing_the_client_closes_all_connections(self, asked):
        async with scripted(OK) as server:
            async with Client(base_url=server.url) as client:
                await asyncio.gather(*(asked(client) for _ in range(5)))
                assert len(server.open) > 0
            await asyncio.sleep(0.05)
            assert len(server.open) == 0


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secret(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


class TestSecurity:
    async def test_a_server_is_the_one_of_its_certificate(self, asked, authority, secret):
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)

        async with scripted(OK, ssl=secret) as server:
            url = server.url.replace("127.0.0.1", "localhost")
            async with Client(base_url=url, verify=trusting) as client:
                assert [await asked(client) for _ in range(2)] == [(200, b"{}")] * 2
            async with Client(base_url=server.url, verify=trusting) as client:
                with pytest.raises(httpx.ConnectError, match=r"127\.0\.0\.1"):
                    await asked(client)
            async with Client(base_url=url) as client:
                with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                    await asked(client)

        assert len({asked.connection for asked in server.asked}) == 1

    async def test_who_wants_it_may_do_without(self, asked, secret):
        async with scripted(OK, ssl=secret) as server, Client(base_url=server.url, verify=False) as client:
            assert await asked(client) == (200, b"{}")


class TestChoice:
    async def test_servers_are_called_past_httpx(self):
        async with Client() as client:
            assert isinstance(client.direct, DirectTransport)

    @pytest.mark.parametrize(
        "settings",
        [
            {"proxy": "http://127.0.0.1:1"},
            {"mounts": {"http://x": httpx.MockTransport(lambda request: httpx.Response(204))}},
            {"transport": httpx.MockTransport(lambda request: httpx.Response(204))},
        ],
        ids=["proxy", "mounts", "transport"],
    )
    async def test_what_it_does_not_know_goes_by_httpx(self, settings):
        async with Client(**settings) as client:
            assert client.direct is None

    async def test_a_proxy_of_the_environment_is_used(self, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

        async with Client() as client:
            assert client.direct is None
        async with Client(trust_env=False) as client:
            assert client.direct is not None

    async def test_clients_of_a_proxy_share_their_tls_context(self):
        def contexts():
            gc.collect()  # those of other tests, which may go at any moment
            return sum(isinstance(each, ssl.SSLContext) for each in gc.get_objects())

        async with Client(proxy="http://127.0.0.1:1"):
            before = contexts()
            async with Client(proxy="http://127.0.0.1:1"), Client(proxy="http://127.0.0.1:1", http2=False):
                assert contexts() == before


class TestHTTPX:
    """What a client's settings ask of httpx's layer is done for calls too."""

    async def called(self, **settings):
        async with scripted(OK) as server, Client(base_url=server.url, **settings) as client:
            await client.call("GET", client.resource_url("/thing"), "/1/")
        return server.asked

    async def test_authentication(self):
        [asked] = await self.called(auth=("ann", "secret"))

        assert asked.headers["authorization"].startswith("Basic ")

    async def test_hooks_see_the_request_and_the_response(self):
        seen = []

        async def request(request):
            request.headers["x-hooked"] = "1"

        async def response(response):
            await response.aread()
            seen.append(response.status_code)

        [asked] = await self.called(event_hooks={"request": [request], "response": [response]})

        assert asked.headers["x-hooked"] == "1"
        assert seen == [200]

    async def test_cookies_go_and_come(self):
        async def script(asked, writer):
            writer.write(answer(200, b"{}", f"set-cookie: seen={len(server.asked)}"))

        async with scripted(script) as server, Client(base_url=server.url) as client:
            for _ in range(3):
                await client.call("GET", client.resource_url("/thing"))

        assert [asked.headers.get("cookie") for asked in server.asked] == [None, "seen=1", "seen=2"]

    async def test_a_client_that_sends_in_its_own_way_is_let(self):
        class Signing(Client):
            async def send(self, request, **kwargs):
                request.headers["x-signed"] = "1"
                return await super().send(request, **kwargs)

        async with scripted(OK) as server, Signing(base_url=server.url) as client:
            await client.call("GET", client.resource_url("/thing"))

        assert server.asked[0].headers["x-signed"] == "1"

    async def test_redirects_are_followed_on_the_same_server_alone(self):
        async def script(asked, writer):
            target = {"/there/": "/here/", "/away/": other.url}.get(asked.target)
            writer.write(answer(307, b"", f"location: {target}") if target else OK)

        settings = {"follow_redirects": True}
        async with scripted(OK) as other, scripted(script) as server:
            async with Client(base_url=server.url, **settings) as client:
                there = await client.call("GET", client.resource_url("/there"), "/")
                away = await client.call("GET", client.resource_url("/away"), "/")

        assert (there.status, away.status) == (200, 307)
        assert other.asked == []

    async def test_redirects_that_never_end_are_an_error(self):
        async with scripted(answer(302, b"", "location: /")) as server:
            async with Client(base_url=server.url, follow_redirects=True) as client:
                with pytest.raises(httpx.TooManyRedirects):
                    await client.call("GET", client.resource_url("/a"))


@pytest.mark.parametrize("hooks", [{}, {"request": [lambda _: asyncio.sleep(0)]}], ids=["fast", "slow"])
class TestBothWays:
    async def test_a_cancelled_call_is_cancelled_at_the_application(self, hooks):
        log = []

        async def app(scope, receive, send):
            try:
                await asyncio.sleep(30)
            finally:
                log.append("ended")

        client = Client(app=app, event_hooks=hooks)
        task = asyncio.create_task(client.call("GET", client.resource_url("/a")))
        await asyncio.sleep(0.01)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["ended"]

    async def test_a_call_takes_no_longer_than_its_timeout(self, hooks):
        async def script(asked, writer):
            await asyncio.sleep(30)

        async with scripted(script) as server:
            async with Client(base_url=server.url, event_hooks=hooks, timeout=0.05) as client:
                began = time.monotonic()
                with pytest.raises(httpx.ReadTimeout):
                    await client.call("GET", client.resource_url("/a"))

        assert time.monotonic() - began < 5

    async def test_a_closed_client_calls_nobody(self, hooks):
        async with scripted(OK) as server:
            async with Client(base_url=server.url, event_hooks=hooks) as client:
                address = client.resource_url("/a")
            with pytest.raises(RuntimeError, match="closed"):
                await client.call("GET", address)

        assert server.asked == []
