"""Bodies that are compressed: read to their ends, in every way that a client has, or an error."""

import gzip
import importlib
import importlib.util
import json
import random
import zlib

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from flama import exceptions
from flama.client import RawResponse, ResponseTooLarge
from flama.client._content_coding import decompress
from flama.ddd.repositories.http import HTTPResourceRepository
from tests.support import ways
from tests.support.ways import Reply

pytestmark = pytest.mark.anyio

NDJSON = "content-type: application/x-ndjson"


def deflate_bare(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def compress_brotli(data):
    return importlib.import_module("brotli").compress(data)


def compress_zstd(data):
    return importlib.import_module("zstandard").ZstdCompressor().compress(data)


#: By coding: what compresses a member; whether several may follow each other.
CODINGS = {
    "gzip": (gzip.compress, True),
    "x-gzip": (gzip.compress, True),
    "deflate": (zlib.compress, False),
    "deflate, bare": (deflate_bare, False),
}
if importlib.util.find_spec("brotli"):
    CODINGS["br"] = (compress_brotli, False)
if importlib.util.find_spec("zstandard"):
    CODINGS["zstd"] = (compress_zstd, True)
SEVERAL = [coding for coding, (_, several) in CODINGS.items() if several]


@pytest.fixture(params=CODINGS)
def coding(request):
    return request.param


def header(coding):
    return f"content-encoding: {coding.partition(',')[0]}"


def response(coding, body, status=200):
    name, _, value = header(coding).partition(": ")
    return RawResponse(status, [(name.encode(), value.encode())], body)


@pytest.mark.parametrize("data", [b"", b"x", b"text " * 10_000, random.Random(1).randbytes(10_000)], ids=len)
def test_a_body_is_what_it_was_before(coding, data):
    assert decompress(response(coding, CODINGS[coding][0](data))).body == data


@pytest.mark.parametrize("coding", SEVERAL)
@hypothesis.given(st.lists(st.binary(max_size=50), min_size=2, max_size=5))
def test_all_members_are_read(coding, members):
    body = b"".join(map(CODINGS[coding][0], members))

    assert decompress(response(coding, body)).body == b"".join(members)


def test_a_body_of_many_small_members_is_read_in_a_moment():
    assert decompress(response("gzip", gzip.compress(b"x") * 20_000)).body == b"x" * 20_000


def test_a_body_that_is_cut_anywhere_is_an_error(coding):
    body = CODINGS[coding][0](b"some text, " * 3)

    for end in range(1, len(body)):
        with pytest.raises(httpx.DecodingError):
            decompress(response(coding, body[:end]))


@pytest.mark.parametrize("coding", SEVERAL)
def test_so_is_one_whose_last_member_is_cut_anywhere(coding):
    one = CODINGS[coding][0](b"one")

    for end in range(1, len(one)):
        with pytest.raises(httpx.DecodingError):
            decompress(response(coding, one + one[:end]))


@pytest.mark.parametrize("rest", [b"\0", b"\0" * 8, b"x", b"garbage, more of it than a header has"])
def test_so_is_one_that_goes_on_after_its_end(coding, rest):
    with pytest.raises(httpx.DecodingError):
        decompress(response(coding, CODINGS[coding][0](b"text") + rest))


def test_so_is_one_whose_checksum_is_wrong():
    for compress in (gzip.compress, zlib.compress):
        body = bytearray(compress(b"text"))
        body[-5 if compress is gzip.compress else -1] ^= 1
        with pytest.raises(httpx.DecodingError):
            decompress(response("gzip" if compress is gzip.compress else "deflate", bytes(body)))


def test_what_is_not_of_its_coding_is_an_error(coding):
    with pytest.raises(httpx.DecodingError):
        decompress(response(coding, b'{"id": 1}' * 10))


def test_nothing_at_all_is_empty(coding):
    assert decompress(response(coding, b"")).body == b""


def test_a_refusal_whose_body_is_cut_is_told_by_its_status():
    assert decompress(response("gzip", gzip.compress(b"text")[:-1], 503)) == response("gzip", b"", 503)


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("identity", b"text"),
        ("", b"text"),
        ("utf-8", b"text"),
        ("GZIP", gzip.compress(b"text")),
        ("deflate, gzip", gzip.compress(zlib.compress(b"text"))),
        ("gzip,identity , deflate", zlib.compress(gzip.compress(b"te") + gzip.compress(b"xt"))),
    ],
    ids=lambda each: each if isinstance(each, str) else "",  # when a body was compressed is part of it
)
def test_codings_are_undone_in_the_reverse_order(value, body):
    assert decompress(RawResponse(200, [(b"content-encoding", value.encode())], body)).body == b"text"


def test_several_headers_are_one_list():
    headers = [(b"content-encoding", b"deflate"), (b"content-encoding", b"gzip")]

    assert decompress(RawResponse(200, headers, gzip.compress(zlib.compress(b"text")))).body == b"text"


@pytest.mark.parametrize("end", [-1, -9])
def test_each_of_several_codings_has_to_end(end):
    for body in (gzip.compress(zlib.compress(b"text" * 9)[:end]), gzip.compress(zlib.compress(b"text" * 9))[:end]):
        with pytest.raises(httpx.DecodingError):
            decompress(RawResponse(200, [(b"content-encoding", b"deflate, gzip")], body))


@pytest.mark.parametrize("coding", [coding for coding in ("br", "zstd") if coding not in CODINGS])
def test_a_coding_whose_package_is_not_there_is_named(coding):
    with pytest.raises(
        httpx.DecodingError, match=rf"coding '{coding}', which the package '(brotli>=1.2|zstandard)' reads"
    ):
        decompress(response(coding, b"something"))


class TestLimits:
    def test_more_than_the_limit_is_too_large_before_and_after(self, coding):
        small, large = CODINGS[coding][0](b"x" * 1_001), CODINGS[coding][0](random.Random(1).randbytes(2_000))
        for body in (small, large):
            with pytest.raises(ResponseTooLarge):
                decompress(response(coding, body), 1_000)

        assert len(decompress(response(coding, small), 1_001).body) == 1_001

    def test_members_count_together(self):
        with pytest.raises(ResponseTooLarge):
            decompress(response("gzip", gzip.compress(b"x" * 600) * 2), 1_000)


class Things(HTTPResourceRepository):
    _resource = "/thing"


RECORD = json.dumps({"id": "a", "text": "x" * 100}).encode()
LINES = [b'{"id": "a"}\n', b'{"id": "b"}\n', b'{"id": "c"}\n']


async def read(way, reply, *, stream):
    async with ways.connected(way, lambda _: reply) as (client, _):
        if stream:
            return "".join([record["id"] async for record in Things(client).list(stream=True)])
        return (await Things(client).retrieve("a"))["id"]


@pytest.mark.parametrize("way", ways.WAYS)
class TestEveryWay:
    async def test_bodies_are_read_to_their_ends(self, way, coding):
        compress, several = CODINGS[coding]
        lines = b"".join(map(compress, LINES)) if several else compress(b"".join(LINES))
        record = compress(RECORD[:50]) + compress(RECORD[50:]) if several else compress(RECORD)

        assert await read(way, Reply(200, lines, (NDJSON, header(coding))), stream=True) == "abc"
        assert await read(way, Reply(200, record, (header(coding),)), stream=False) == "a"

    @pytest.mark.parametrize("fault", ["cut", "cut between lines", "garbage"])
    async def test_what_does_not_end_as_it_should_is_an_error(self, way, coding, fault):
        compress, several = CODINGS[coding]
        lines, record = compress(b"".join(LINES)), compress(RECORD)
        if fault == "cut between lines" and several:
            lines, record = (
                compress(LINES[0]) + compress(b"".join(LINES[1:]))[:5],
                compress(RECORD) + compress(b" ")[:5],
            )
        elif fault.startswith("cut"):
            lines, record = lines[:-1], record[:-1]
        else:
            lines, record = lines + b"garbage", record + b"garbage"

        for body, kind in ((lines, (NDJSON,)), (record, ())):
            with pytest.raises(exceptions.InvalidResponseError, match="coding"):
                await read(way, Reply(200, body, (*kind, header(coding))), stream=bool(kind))


@pytest.mark.parametrize("way", ways.WAYS)
class TestMarksAndLastLines:
    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n  "])
    async def test_a_last_line_counts_without_a_line_feed(self, way, mark, end):
        body = mark + b"\n".join([b'{"id": "a"}', b'{"id": "b"}']) + end

        assert await read(way, Reply(200, body, (NDJSON,)), stream=True) == "ab"

    async def test_the_type_of_a_stream_may_be_in_capitals(self, way):
        assert await read(way, Reply(200, LINES[0], ("Content-Type: Application/X-NDJSON",)), stream=True) == "a"

    @pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"\n"])
    async def test_a_stream_without_records_has_none(self, way, body):
        assert await read(way, Reply(200, body, (NDJSON,)), stream=True) == ""

    @pytest.mark.parametrize("body", [b'{"id": "a"}\n{"id": "b"', b'{"id": "a"}\n\xef\xbb\xbf{"id": "b"}', b"\xef\xbb"])
    async def test_a_line_that_is_no_record_is_an_error(self, way, body):
        with pytest.raises(exceptions.InvalidResponseError):
            await read(way, Reply(200, body, (NDJSON,)), stream=True)

    async def test_a_mark_before_json_is_skipped(self, way):
        assert await read(way, Reply(200, b"\xef\xbb\xbf" + RECORD), stream=False) == "a"

    async def test_a_mark_before_an_error_is_skipped(self, way):
        body = b'\xef\xbb\xbf{"status_code": 404, "error": "NotFoundError", "resource": "other", "id": 7}'

        with pytest.raises(exceptions.NotFoundError) as caught:
            await read(way, Reply(404, body), stream=False)

        assert (caught.value.resource, caught.value.id) == ("other", 7)


#: Those of them that reach a socket, where a message can be cut.
SOCKETS = [way for way in ways.WAYS if "in process" not in way]


@pytest.mark.parametrize("way", SOCKETS)
@pytest.mark.parametrize("framing", ["content-length", "chunked"])
class TestMessages:
    @staticmethod
    def script(framing, body, *, whole):
        async def script(asked, writer):
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n"
            if framing == "chunked":
                writer.write(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body))
                writer.write(b"0\r\n\r\n" if whole else b"")
            else:
                writer.write(head + b"content-length: %d\r\n\r\n%b" % (len(body) + (not whole), body))
            await writer.drain()
            if not whole:
                writer.close()

        return script

    async def test_a_whole_message_has_its_last_line(self, way, framing):
        body = b'{"id": "a"}\n{"id": "b"}'

        async with ways.reached(way, self.script(framing, body, whole=True)) as client:
            found = [record["id"] async for record in Things(client).list(stream=True)]

        assert found == ["a", "b"]

    @pytest.mark.parametrize("body", [b'{"id": "a"}\n{"id": "b"}', b'{"id": "a"}\n{"id": "b"}\n'])
    async def test_a_message_that_is_cut_is_an_error(self, way, framing, body):
        async with ways.reached(way, self.script(framing, body, whole=False)) as client:
            with pytest.raises(exceptions.UnavailableError):
                [record async for record in Things(client).list(stream=True)]
