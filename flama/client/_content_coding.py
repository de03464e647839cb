"""Decompression of response bodies (RFC 9110, section 8.4), which refuses truncated bodies or trailing data."""

import asyncio
import collections.abc
import contextlib
import functools
import importlib
import types
import typing as t
import zlib

import httpx

from flama.client._models import Headers, RawResponse, ResponseTooLarge, lower_names

__all__ = ["ACCEPTED", "decompress", "iter_decompressed", "iter_raw"]

_MAX_OUTPUT: t.Final = 65_536  # bytes that a body is decompressed to at a time
_MAX_INPUT: t.Final = 64  # bytes that are decompressed at a time where the size of the output can't be bounded
_YIELD_AFTER: t.Final = 1_048_576  # bytes after which other tasks get a turn
_MAX_CODINGS: t.Final = 2
_GZIP: t.Final = zlib.MAX_WBITS | 16


def decompress(response: RawResponse, limit: int | None = None) -> RawResponse:
    """Return the response with its body decompressed.

    If the response is an error and its body can't be decompressed, the body is left out: the status is enough.

    :raises ResponseTooLarge: the body is longer than ``limit`` bytes, before, after or between two codings.
    :raises httpx.DecodingError: it doesn't match its ``Content-Encoding``, ends early, or has more than two codings.
    """
    if limit is not None and len(response.body) > limit:
        raise ResponseTooLarge(limit)
    try:
        decoder = _find_decoder(response.headers, limit)
        return response if decoder is None else response._replace(body=_decompress_whole(decoder, response.body))
    except httpx.DecodingError:
        if response.is_success:
            raise
        return response._replace(body=b"")


async def iter_decompressed(response: httpx.Response) -> collections.abc.AsyncGenerator[bytes]:
    """Yield the decompressed body of a response while it arrives, in chunks of at most 64 KiB.

    A body that an event hook has already read is yielded whole, as httpx decoded it.

    :raises httpx.DecodingError: the body doesn't match its ``Content-Encoding``, or ends early.
    """
    if response.is_stream_consumed:
        yield response.content
        return
    decoder, size = _find_decoder(lower_names(response.headers.raw), None), 0
    async with contextlib.aclosing(iter_raw(response)) as chunks:
        async for chunk in chunks:
            for part in (chunk,) if decoder is None else decoder.decode(chunk):
                size += len(part)
                if size > _YIELD_AFTER:
                    size = 0
                    await asyncio.sleep(0)
                yield part
    if decoder is not None:
        decoder.check_end()


def iter_raw(response: httpx.Response) -> collections.abc.AsyncGenerator[bytes]:
    """Return a generator of the body of a response as it arrives; close it if it isn't read to its end."""
    return t.cast("collections.abc.AsyncGenerator[bytes]", response.aiter_raw())


def _decompress_whole(decoder: "_Decoder", body: bytes) -> bytes:
    whole = b"".join(decoder.decode(body))
    decoder.check_end()
    return whole


def _find_decoder(headers: Headers, limit: int | None) -> "_Decoder | None":
    values = [value for name, value in headers if name == b"content-encoding"]
    if not values:
        return None
    named = [coding.strip().lower() for coding in b",".join(values).decode("latin-1").split(",")]
    codings = [coding for coding in named if coding in _CODINGS]  # bodies of unknown codings are unchanged, as in httpx
    if len(codings) > _MAX_CODINGS:
        raise httpx.DecodingError(f"the body has {len(codings)} codings: {_MAX_CODINGS} are decompressed at most")
    return _Decoder(codings, limit) if codings else None


class _Decoder:
    """A decoder of one body of one or two codings, with output in steps of a bounded size."""

    def __init__(self, codings: list[str], limit: int | None) -> None:
        self._layers = [_Layer(coding, limit) for coding in reversed(codings)]

    def decode(self, data: bytes) -> collections.abc.Iterator[bytes]:
        """Yield the next decompressed bytes of the body.

        :raises httpx.DecodingError: the data isn't in the coding.
        :raises ResponseTooLarge: there are more bytes than the limit.
        """
        parts = iter((data,))
        for layer in self._layers:
            parts = layer.decode(parts)
        return parts

    def check_end(self) -> None:
        """Check that the body is complete.

        :raises httpx.DecodingError: it ended early.
        """
        for layer in self._layers:
            layer.check_end()


class _Decompressor(t.Protocol):
    """A step-wise decompressor of one member of a body."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Layer:
    """One coding of a body: a single member, or several in a row if the format allows them."""

    # Its state: the decompressor of the unfinished member, whether a member has ended, and the number of bytes so far.

    def __init__(self, coding: str, limit: int | None) -> None:
        self._coding = coding
        self._limit = limit
        self._member: _Decompressor | None = None
        self._has_ended = False
        self._size = 0

    def decode(self, parts: collections.abc.Iterable[bytes]) -> collections.abc.Generator[bytes]:
        for part in parts:
            yield from self._decode_part(part)

    def _decode_part(self, data: bytes) -> collections.abc.Iterator[bytes]:
        is_full = False
        while data or is_full:
            member = self._member = self._member or self._create_member()
            try:
                decoded = member.decompress(data, _MAX_OUTPUT)
            except _ERRORS as error:
                raise httpx.DecodingError(f"the body is not in its coding '{self._coding}': {error}") from error
            # a full output may go on without more data
            data, is_full = member.unconsumed_tail, len(decoded) >= _MAX_OUTPUT
            if member.eof:
                data, self._member, self._has_ended, is_full = member.unused_data, None, True, False
            self._size += len(decoded)
            if self._limit is not None and self._size > self._limit:
                raise ResponseTooLarge(self._limit)
            if decoded:
                yield decoded

    def check_end(self) -> None:
        # no data at all isn't a truncated member: servers send it for an empty body
        if self._member is not None:
            raise httpx.DecodingError(f"the body of the coding '{self._coding}' ends early")

    def _create_member(self) -> _Decompressor:
        if self._has_ended and self._coding not in _MULTI_MEMBER:
            raise httpx.DecodingError(f"the body goes on after the end of its coding '{self._coding}'")
        return _CODINGS[self._coding]()


class _Deflate:
    """The format of zlib (RFC 1950), or raw deflate (RFC 1951), which some servers send under the same name."""

    def __init__(self) -> None:
        self._header = b""
        self._decompressor: _Decompressor | None = None  # None until the first two bytes show the format

    @property
    def eof(self) -> bool:
        return self._decompressor is not None and self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return b"" if self._decompressor is None else self._decompressor.unused_data

    @property
    def unconsumed_tail(self) -> bytes:
        return b"" if self._decompressor is None else self._decompressor.unconsumed_tail

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._decompressor is None:
            data = self._header = self._header + data
            if len(data) < 2:
                return b""
            is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
            self._decompressor = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        return self._decompressor.decompress(data, max_length)


class _Brotli:
    """The decompressor of brotli or brotlicffi, which buffers data that isn't decompressed yet."""

    unused_data = b""  # both raise if data follows the end
    unconsumed_tail = b""

    def __init__(self) -> None:
        self._decompressor = _require(_brotli, "br", "brotli>=1.2").Decompressor()

    @property
    def eof(self) -> bool:
        return bool(self._decompressor.is_finished())

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return t.cast("bytes", self._decompressor.process(data, output_buffer_limit=max_length))


class _Zstandard:
    """A frame of Zstandard, decompressed by Python's own module or by zstandard.

    zstandard can't bound its output: a block of four bytes may become 128 KiB. So its input comes in small pieces.
    """

    unconsumed_tail = b""

    def __init__(self) -> None:
        decompressor = _require(_zstd, "zstd", "zstandard").ZstdDecompressor()
        self._is_bounded = not hasattr(decompressor, "decompressobj")
        self._decompressor = decompressor if self._is_bounded else decompressor.decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._decompressor.eof)

    @property
    def unused_data(self) -> bytes:
        return t.cast("bytes", self._decompressor.unused_data) + (self.unconsumed_tail if self.eof else b"")

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._is_bounded:
            return t.cast("bytes", self._decompressor.decompress(data, max_length))
        data, self.unconsumed_tail = data[:_MAX_INPUT], data[_MAX_INPUT:]
        return t.cast("bytes", self._decompressor.decompress(data))


def _require(module: types.ModuleType | None, coding: str, package: str) -> t.Any:
    if module is None:
        raise httpx.DecodingError(f"the body is of the coding '{coding}', which the package '{package}' reads")
    return module


def _import_first(*names: str) -> types.ModuleType | None:
    for name in names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


_brotli = _import_first("brotli", "brotlicffi")
if _brotli is not None and not hasattr(_brotli.Decompressor, "can_accept_more_data"):
    _brotli = None  # before 1.2, a few bytes become gigabytes at once
_zstd = _import_first("zstandard", "compression.zstd", "backports.zstd")

_ERRORS: t.Final[tuple[type[Exception], ...]] = (
    zlib.error,
    *([] if _brotli is None else [_brotli.error]),
    *([] if _zstd is None else [_zstd.ZstdError]),
)

_begin_gzip: t.Final = functools.partial(zlib.decompressobj, _GZIP)

_CODINGS: t.Final[collections.abc.Mapping[str, collections.abc.Callable[[], _Decompressor]]] = {
    "gzip": _begin_gzip,
    "x-gzip": _begin_gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstandard,
}

#: The codings whose bodies may have several members (RFC 1952, section 2.2) or frames (RFC 8878, section 3.1).
_MULTI_MEMBER: t.Final = {"gzip", "x-gzip", "zstd"}

#: The value of ``Accept-Encoding``: the codings that can be decompressed within bounds.
ACCEPTED: t.Final = ", ".join(
    ["gzip", "deflate", *([] if _brotli is None else ["br"]), *([] if _zstd is None else ["zstd"])]
)
