"""Servers that respond in rare ways that are right, or nearly: a repository reads and writes, over every socket."""

import contextlib
import zlib

import pytest

from flama import exceptions
from flama.client import Policy
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.retry import Backoff
from tests.support import ways
from tests.support.scripted import answer

pytestmark = pytest.mark.anyio

QUICK = Policy(backoff=Backoff(0.001, 0.002))
BODY = b'{"id": "a"}'
WHOLE = answer(200, BODY)


def compress_bare(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def chunked(*lines):
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(lines)


#: What a server writes for each request, and whether it hangs up then.
SERVERS = {
    "HTTP/1.0, until it hangs up": (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, True),
    "HTTP/1.0 with a length": (b"HTTP/1.0 200 OK\r\ncontent-length: 11\r\n\r\n" + BODY, True),
    "HTTP/1.0 that keeps": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 11\r\n\r\n" + BODY, False),
    "no length": (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + BODY, True),
    "no reason": (b"HTTP/1.1 200 \r\ncontent-length: 11\r\n\r\n" + BODY, False),
    "spaces around values": (b"HTTP/1.1 200 OK\r\ncontent-length:   11  \r\n\r\n" + BODY, False),
    "capitals": (b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 11\r\nCONTENT-TYPE: APPLICATION/JSON\r\n\r\n" + BODY, False),
    "another content type": (answer(200, BODY, "content-type: text/plain"), False),
    "chunks with extensions": (chunked(b"b;a=b\r\n%b\r\n0;c\r\n\r\n" % BODY), False),
    "chunks with trailers": (chunked(b"b\r\n%b\r\n0\r\nx-t: 1\r\n\r\n" % BODY), False),
    "sizes of chunks in capitals and zeros": (chunked(b"000B\r\n%b\r\n000\r\n\r\n" % BODY), False),
    "a chunk for each byte": (chunked(*(b"1\r\n%b\r\n" % BODY[i : i + 1] for i in range(11)), b"0\r\n\r\n"), False),
    "100 before": (b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE, False),
    "103 twice before": (b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 2 + WHOLE, False),
    "bare deflate": (answer(200, compress_bare(BODY), "content-encoding: deflate"), False),
    "a coding that is no coding": (answer(200, BODY, "content-encoding: utf-8"), False),
    "a byte order mark": (answer(200, b"\xef\xbb\xbf" + BODY), False),
    "space around the JSON": (answer(200, b"\r\n " + BODY + b"\n\n"), False),
    "hangs up after each response": (WHOLE, True),
    "says that it closes": (answer(200, BODY, "connection: close"), False),
    "a cookie that is none": (answer(200, BODY, "set-cookie: ;;;="), False),
    "an entity tag that is none": (answer(200, BODY, "etag: x y"), False),
}


class Things(HTTPResourceRepository):
    _resource = "/thing"


async def outcome(call):
    try:
        return await call
    except exceptions.ResourceException as error:
        return error


WAYS = [way for way in ways.WAYS if "in process" not in way]


def writing(response, *, hangs_up):
    async def script(asked, writer):
        with contextlib.suppress(OSError):
            writer.write(response)
            await writer.drain()
            if hangs_up:
                writer.close()

    return script


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("server", SERVERS)
async def test_records_are_read_and_written(server, way):
    response, hangs_up = SERVERS[server]

    async with ways.reached(way, writing(response, hangs_up=hangs_up), policy=QUICK) as client:
        things = Things(client)
        found = [await call() for call in 2 * [lambda: things.retrieve("a"), lambda: things.update("a", {})]]

    assert found == [{"id": "a"}] * 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("response", [WHOLE + b"GARBAGE", answer(200, BODY, "x: \xff")])
async def test_what_is_not_quite_right_is_read_or_an_error_of_the_resource(response, way):
    """What follows a response is never a part of another: aiohttp refuses both, httpx takes it for the next one."""
    async with ways.reached(way, writing(response, hangs_up=False), policy=QUICK) as client:
        outcomes = [await outcome(Things(client).update("a", {})) for _ in range(3)]

    failed = [found for found in outcomes if found != {"id": "a"}]
    assert [(type(error), error.maybe_applied) for error in failed] == [(exceptions.UnavailableError, True)] * len(
        failed
    )
    assert not failed or b"GARBAGE" in response
