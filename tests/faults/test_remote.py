"""Repositories of a service that fails in every way that a network has."""

import asyncio
import contextlib
import gzip
import itertools
import json
import time

import pytest

from flama import exceptions
from flama.client import Client, Policy
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.workers.http import HTTPWorker
from flama.retry import Backoff
from tests.support.scripted import answer, connected, scripted

pytestmark = pytest.mark.anyio

QUICK = Policy(backoff=Backoff(0.001, 0.002))
RECORD = answer(200, b'{"id": "a"}')
PAGE = answer(200, b'{"data": []}')


class Things(HTTPResourceRepository):
    _resource = "/thing"
    _page_size = 10


class Kept(Things):
    _idempotent = True


CALLS = {
    "create": lambda things: things.create({}),
    "create many": lambda things: things.create({}, {}),
    "upsert": lambda things: things.upsert({}),
    "retrieve": lambda things: things.retrieve("a"),
    "get": lambda things: things.get("a"),
    "first": lambda things: things.first(),
    "count": lambda things: things.count(),
    "exists": lambda things: things.exists(),
    "update": lambda things: things.update("a", {}),
    "update many": lambda things: things.update({}, age=1),
    "partial_update": lambda things: things.partial_update("a", {}),
    "delete": lambda things: things.delete("a"),
    "delete by filter": lambda things: things.delete(age=1),
    "replace": lambda things: things.replace([]),
    "partial_replace": lambda things: things.partial_replace([]),
    "drop": lambda things: things.drop(),
    "drop many": lambda things: things.drop(age=1),
    "list": lambda things: anext(things.list()),
    "stream": lambda things: anext(things.list(stream=True)),
}
READS = {"retrieve", "get", "first", "count", "exists", "list", "stream"}


@pytest.fixture(params=CALLS)
def name(request):
    return request.param


def closing(response):
    async def script(asked, writer):
        writer.write(response)
        writer.close()

    return script


def resetting(response):
    async def script(asked, writer):
        writer.write(response)
        await writer.drain()
        await asyncio.sleep(0.005)
        writer.transport.abort()

    return script


HALF = answer(200, b'{"data": [', "content-type: application/x-ndjson", length=1_000)
FAULTS = {
    "500": (answer(500, b"oops"), exceptions.UnavailableError),
    "503": (answer(503, b"", "retry-after: 0"), exceptions.UnavailableError),
    "503, much later": (answer(503, b"", "retry-after: 3600"), exceptions.UnavailableError),
    "429": (answer(429, b"", "retry-after: 0"), exceptions.TooManyRequestsError),
    **{
        f"{status} of a proxy": (answer(status, b"<html>Bad gateway</html>"), exceptions.UnavailableError)
        for status in (502, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530)
    },
    "a page of a proxy": (answer(200, b"\xef\xbb\xbf\r\n<!doctype html>"), exceptions.UnavailableError),
    "half a page": (answer(503, gzip.compress(b"<html>")[:-4], "content-encoding: gzip"), exceptions.UnavailableError),
    "no answer": (closing(b""), exceptions.UnavailableError),
    "reset": (resetting(b""), exceptions.UnavailableError),
    "reset amid the head": (resetting(b"HTTP/1.1 200 OK\r\ncontent-"), exceptions.UnavailableError),
    "reset amid the body": (resetting(HALF), exceptions.UnavailableError),
    "end amid the body": (closing(HALF), exceptions.UnavailableError),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", exceptions.UnavailableError),
    "bad JSON": (answer(200, b'{"data": [}'), exceptions.InvalidResponseError),
    "bad UTF-8": (answer(200, b'{"data": "\xff"}'), exceptions.InvalidResponseError),
    "wrong shape": (answer(200, b"7"), exceptions.InvalidResponseError),
    "HTML": (answer(200, b"<html>Welcome</html>", "content-type: text/html"), exceptions.UnavailableError),
    "nothing": (answer(200, b""), exceptions.InvalidResponseError),
    "nested": (answer(200, b'{"data":' * 100_000), exceptions.InvalidResponseError),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_is_an_error_of_the_resource(name, fault):
    response, error = FAULTS[fault]

    async with scripted(response) as server, Client(base_url=server.url, policy=QUICK, timeout=5) as client:
        if name == "delete" and error is exceptions.InvalidResponseError:
            assert await CALLS[name](Things(client)) is None  # what its answer says doesn't matter
            return
        with pytest.raises(exceptions.ResourceException) as caught:
            await CALLS[name](Things(client))

    assert type(caught.value) is error
    assert caught.value.resource == "thing"
    if "proxy" in fault or fault == "HTML":
        assert caught.value.maybe_applied is (name not in READS)


@pytest.mark.parametrize("call", ["first", "count", "exists", "list"])
@pytest.mark.parametrize("body", [b'{"items": []}', b"[]", b'{"data": {}}', b'{"data": [7]}', b'{"data": null}'])
async def test_a_page_in_another_envelope_is_an_error(call, body):
    async with scripted(answer(200, body)) as server, Client(base_url=server.url) as client:
        with pytest.raises(exceptions.InvalidResponseError):
            await CALLS[call](Things(client))


class TestRepetitions:
    @pytest.mark.parametrize(
        "fault",
        ["500", "503", "429", "502 of a proxy", "522 of a proxy", "a page of a proxy", "HTML", "half a page"]
        + ["no answer", "reset", "reset amid the body", "no HTTP"],
    )
    async def test_what_only_reads_is_repeated_and_a_write_is_not(self, name, fault):
        async with scripted(self.once(FAULTS[fault][0])) as server:
            async with Client(base_url=server.url, policy=QUICK) as client:
                with contextlib.suppress(exceptions.ResourceException, StopAsyncIteration):
                    await CALLS[name](Things(client))

        if name != "stream" or fault != "reset amid the body":  # which has begun
            assert len(server.asked) == (2 if name in READS else 1)

    @pytest.mark.parametrize("call", sorted(CALLS.keys() - READS))
    async def test_a_write_with_a_key_is(self, call):
        async with scripted(self.once(answer(503))) as server, Client(base_url=server.url, policy=QUICK) as client:
            with contextlib.suppress(exceptions.InvalidResponseError):
                await CALLS[call](Kept(client))

        assert len(server.asked) == 2
        assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1

    def once(self, response):
        script = response if callable(response) else None

        async def once(asked, writer):
            if len(once.asked) == 0:
                once.asked.append(asked)
                if script is not None:
                    await script(asked, writer)
                else:
                    writer.write(response)
            else:
                writer.write(RECORD if asked.target.startswith("/thing/a") else PAGE)

        once.asked = []
        return once

    async def test_there_are_three_attempts(self):
        async with scripted(answer(503)) as server, Client(base_url=server.url, policy=QUICK) as client:
            with pytest.raises(exceptions.UnavailableError):
                await Things(client).retrieve("a")

        assert len(server.asked) == 3

    async def test_a_refusal_is_not_repeated(self):
        for status in (400, 401, 403, 404, 409, 412, 422):
            async with scripted(answer(status)) as server, Client(base_url=server.url, policy=QUICK) as client:
                with pytest.raises(exceptions.ResourceException):
                    await Things(client).retrieve("a")

            assert len(server.asked) == 1

    async def test_a_service_is_given_the_time_that_it_asks_for(self):
        moments = []

        async def script(asked, writer):
            moments.append(time.monotonic())
            writer.write(answer(503, b"", "retry-after: 1") if len(moments) == 1 else RECORD)

        async with scripted(script) as server, Client(base_url=server.url, policy=QUICK) as client:
            await Things(client).retrieve("a")

        assert moments[1] - moments[0] >= 1

    async def test_but_nobody_waits_for_an_hour(self):
        late = answer(503, b"", "retry-after: 3600")
        async with scripted(late) as server, Client(base_url=server.url, policy=QUICK) as client:
            with pytest.raises(exceptions.UnavailableError) as caught:
                await Things(client).retrieve("a")

        assert caught.value.retry_after == 3600
        assert len(server.asked) == 1

    async def test_there_is_a_budget_of_repetitions(self):
        policy = Policy(backoff=Backoff(0, 0), failures=1_000, budget=0.1)
        async with scripted(answer(503)) as server, Client(base_url=server.url, policy=policy) as client:
            for _ in range(100):
                with pytest.raises(exceptions.UnavailableError):
                    await Things(client).retrieve("a")

        assert len(server.asked) == 110  # those that it begins with: none is earned by failures

    async def test_after_many_failures_none_is_made_for_a_while(self):
        policy = Policy(attempts=1, failures=5, rest=0.3)
        healthy = False

        async def script(asked, writer):
            writer.write(RECORD if healthy else answer(503))

        async with scripted(script) as server, Client(base_url=server.url, policy=policy) as client:
            things = Things(client)
            for _ in range(20):
                with pytest.raises(exceptions.UnavailableError) as caught:
                    await things.retrieve("a")
            assert len(server.asked) == 5
            assert "its last 5 calls failed" in str(caught.value)
            assert 0 < caught.value.retry_after <= 0.3
            assert caught.value.maybe_applied is False

            healthy = True
            await asyncio.sleep(0.35)
            for _ in range(3):
                assert await things.retrieve("a") == {"id": "a"}

    async def test_timeouts_are_such_failures(self):
        async def script(asked, writer):
            await asyncio.sleep(10)

        policy = Policy(attempts=1, failures=3)
        async with scripted(script) as server, Client(base_url=server.url, policy=policy, timeout=0.05) as client:
            for _ in range(6):
                with pytest.raises(exceptions.UnavailableError):
                    await Things(client).retrieve("a")

        assert len(server.asked) == 3

    async def test_connections_that_end_at_once_are_not_and_the_first_call_after_them_is_made(self):
        healthy = False

        async def script(asked, writer):
            writer.write(RECORD) if healthy else writer.transport.abort()

        policy = Policy(attempts=1, failures=3)
        async with scripted(script) as server, Client(base_url=server.url, policy=policy) as client:
            for _ in range(6):
                with pytest.raises(exceptions.UnavailableError):
                    await Things(client).retrieve("a")
            healthy = True

            assert await Things(client).retrieve("a") == {"id": "a"}

    async def test_what_a_unit_has_learned_the_next_one_knows(self):
        class Shop(HTTPWorker):
            things: Things

        async with scripted(answer(503)) as server:
            shop = Shop(server.url, policy=Policy(attempts=1, failures=3))
            for _ in range(5):
                with pytest.raises(exceptions.UnavailableError):
                    async with shop:
                        await shop.things.retrieve("a")

        assert len(server.asked) == 3


class TestDeadlines:
    @pytest.mark.parametrize("part", ["head", "body"])
    @pytest.mark.parametrize("name", ["create", "retrieve", "list", "stream"])
    async def test_a_server_that_drips_cannot_hold_a_call(self, name, part):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n" if part == "head" else b"")
            writer.write(
                answer(200, b"", "content-type: application/x-ndjson", length=10_000) if part == "body" else b""
            )
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

        policy = Policy(deadline=0.1)
        async with scripted(script) as server, Client(base_url=server.url, policy=policy) as client:
            began = time.monotonic()
            with pytest.raises(exceptions.UnavailableError, match="took longer") as caught:
                await CALLS[name](Things(client))

        assert time.monotonic() - began < 5
        assert caught.value.maybe_applied is (name not in READS)

    async def test_it_is_one_for_all_attempts(self):
        async def script(asked, writer):
            await asyncio.sleep(0.2)
            writer.write(answer(503))

        policy = Policy(deadline=0.5, attempts=100, backoff=Backoff(0, 0))
        async with scripted(script) as server, Client(base_url=server.url, policy=policy) as client:
            began = time.monotonic()
            with pytest.raises(exceptions.UnavailableError):
                await Things(client).retrieve("a")

        assert time.monotonic() - began < 5
        assert len(server.asked) < 10

    async def test_it_is_kept_by_an_application_in_this_process(self):
        async def app(scope, receive, send):
            await asyncio.sleep(60)

        async with asyncio.timeout(10):
            client = Client(app=app, policy=Policy(deadline=0.1))
            with pytest.raises(exceptions.UnavailableError, match="took longer"):
                await Things(client).retrieve("a")


class TestSizes:
    async def test_a_page_of_200_megabytes_is_not_read(self):
        sent = []

        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(2_000):
                writer.write(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
                await writer.drain()
                sent.append(1)

        async with scripted(script) as server, Client(base_url=server.url) as client:
            with pytest.raises(exceptions.InvalidResponseError, match="longer than 33,554,432 bytes"):
                [thing async for thing in Things(client).list()]

        assert len(sent) < 500

    async def test_nor_is_a_refusal_of_a_stream(self):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
                await writer.drain()

        async with scripted(script) as server, Client(base_url=server.url) as client:
            with pytest.raises(exceptions.UnavailableError):
                [thing async for thing in Things(client).list(stream=True)]


class TestPages:
    @pytest.mark.parametrize("style", ["page_number", "limit_offset", "cursor"])
    @pytest.mark.parametrize("told", ["nothing", "always another"])
    async def test_pages_that_never_end_are_an_error_or_as_long_as_they_are(self, style, told):
        """A server with ever new records isn't in a circle: who reads it decides. One that repeats itself is told."""
        pages = itertools.count()

        async def script(asked, writer):
            number = next(pages) % 7
            meta = {"next": f"c{number}" if style == "cursor" else number} if told == "always another" else {}
            body = {"data": [{"id": 10 * number + place} for place in range(10)], "meta": meta}
            writer.write(answer(200, json.dumps(body).encode()))

        async with scripted(script) as server, Client(base_url=server.url) as client:
            with pytest.raises(exceptions.InvalidResponseError):
                async with asyncio.timeout(10):
                    [thing async for thing in Things(client).list(pagination=style)]

        assert len(server.asked) < 40

    async def test_redirects_are_not_followed_to_another_server(self, name):
        async with scripted(PAGE) as other, scripted(answer(307, b"", f"location: {other.url}/thing/")) as server:
            for settings in ({}, {"follow_redirects": True}):
                async with Client(base_url=server.url, policy=QUICK, **settings) as client:
                    with pytest.raises(exceptions.InvalidResponseError) as caught:
                        await CALLS[name](Things(client))

        assert other.asked == []
        assert "307" in str(caught.value)


class TestCancellations:
    async def test_two_thousand_cancelled_calls_leave_the_client_whole(self):
        async def script(asked, writer):
            await asyncio.sleep(0)
            writer.write(RECORD[:-5])
            await asyncio.sleep(0)
            writer.write(RECORD[-5:])

        before = asyncio.all_tasks()
        async with scripted(script) as server, Client(base_url=server.url, policy=QUICK) as client:
            things = Things(client)
            for turns in range(200):
                tasks = [asyncio.create_task(things.retrieve("a")) for _ in range(10)]
                for _ in range(turns % 30):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            async with asyncio.timeout(10):
                assert await asyncio.gather(*(things.retrieve("a") for _ in range(150))) == [{"id": "a"}] * 150
            assert client.direct._slots.available == 100
        await asyncio.sleep(0.05)
        assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()

    async def test_a_server_that_accepts_and_says_nothing_does_not_hold_a_cancelled_call(self):
        async def silent(reader, writer):
            await asyncio.sleep(60)

        async with connected(silent) as url, Client(base_url=url) as client:
            task = asyncio.create_task(Things(client).retrieve("a"))
            await asyncio.sleep(0.05)
            task.cancel()
            async with asyncio.timeout(1):
                with pytest.raises(asyncio.CancelledError):
                    await task
