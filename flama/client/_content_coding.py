"""Decompression of response bodies (RFC 9110, section 8.4), which fails for a body that is cut or has a foreign end."""

import collections.abc
import contextlib
import functools
import importlib
import types
import typing as t
import zlib

import httpx

from flama.client.messages import Answer, Headers, ResponseTooLarge

__all__ = ["decompress", "iter_decompressed", "iter_raw"]

_PIECE: t.Final = 4_096  # bytes that are decompressed at a time: they can't become too many before they are counted
_GZIP: t.Final = zlib.MAX_WBITS | 16


def decompress(answer: Answer, limit: int | None = None) -> Answer:
    """Return the response with its body as it was before it was compressed.

    What is refused is refused by its status: a body of it that can't be decompressed is left out.

    :raises ResponseTooLarge: the body is longer than ``limit``, before or after.
    :raises httpx.DecodingError: it isn't what its ``Content-Encoding`` says, or ends early.
    """
    if limit is not None and len(answer.body) > limit:
        raise ResponseTooLarge(limit)
    decoder = _find_decoder(answer.headers)
    if decoder is None:
        return answer
    try:
        return answer._replace(body=_decompress_whole(decoder, answer.body, limit))
    except httpx.DecodingError:
        if answer.is_success:
            raise
        return answer._replace(body=b"")


async def iter_decompressed(response: httpx.Response) -> collections.abc.AsyncGenerator[bytes]:
    """Yield the body of a response as it was before it was compressed, while it arrives.

    A body that an event hook has read already is the one that httpx made of it.

    :raises httpx.DecodingError: it isn't what its ``Content-Encoding`` says, or ends early.
    """
    if response.is_stream_consumed:
        yield response.content
        return
    decoder = _find_decoder(response.headers.raw)
    async with contextlib.aclosing(iter_raw(response)) as chunks:
        async for chunk in chunks:
            for part in (chunk,) if decoder is None else decoder.decode(chunk):
                yield part
    if decoder is not None:
        decoder.check_end()


def iter_raw(response: httpx.Response) -> collections.abc.AsyncGenerator[bytes]:
    """Return what yields the body of a response as it arrives, to be closed where it isn't read to its end."""
    return t.cast("collections.abc.AsyncGenerator[bytes]", response.aiter_raw())


def _decompress_whole(decoder: "_Decoder", body: bytes, limit: int | None) -> bytes:
    parts, size = list[bytes](), 0
    for part in decoder.decode(body):
        size += len(part)
        if limit is not None and size > limit:
            raise ResponseTooLarge(limit)
        parts.append(part)
    decoder.check_end()
    return b"".join(parts)


def _find_decoder(headers: Headers) -> "_Decoder | None":
    values = [value for name, value in headers if name.lower() == b"content-encoding"]
    if not values:
        return None
    named = [coding.strip().lower() for coding in b",".join(values).decode("latin-1").split(",")]
    codings = [coding for coding in named if coding in _CODINGS]  # others are passed on as they are, as httpx does
    return _Decoder(codings) if codings else None


class _Decoder:
    """What decompresses one body, which may have been compressed several times."""

    def __init__(self, codings: list[str]) -> None:
        self._layers = [_Layer(coding) for coding in reversed(codings)]

    def decode(self, data: bytes) -> collections.abc.Iterator[bytes]:
        """Yield what the next bytes of the body are decompressed to.

        :raises httpx.DecodingError: they are no such bytes.
        """
        parts = (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
        for layer in self._layers:
            parts = layer.decode(parts)
        return parts

    def check_end(self) -> None:
        """Make sure that the body is whole.

        :raises httpx.DecodingError: it isn't.
        """
        for layer in self._layers:
            layer.check_end()


class _Decompressor(t.Protocol):
    """What :func:`zlib.decompressobj` returns, as far as it is used here."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Layer:
    """One coding of a body: a single member, or several in a row where the format has them."""

    # Its state: the decompressor of the member that has begun and not ended, and whether one has ended.

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._member: _Decompressor | None = None
        self._has_ended = False

    def decode(self, parts: collections.abc.Iterable[bytes]) -> collections.abc.Generator[bytes]:
        for part in parts:
            yield from self._decode_part(part)

    def _decode_part(self, data: bytes) -> collections.abc.Iterator[bytes]:
        while data:
            member = self._member = self._member or self._begin()
            try:
                decoded = member.decompress(data)
            except _ERRORS as error:
                raise httpx.DecodingError(f"the body is not in its coding '{self._coding}': {error}") from error
            data = b""
            if member.eof:
                data, self._member, self._has_ended = member.unused_data, None, True
            if decoded:
                yield decoded

    def check_end(self) -> None:
        # nothing at all is no member that was cut: servers send it for an empty body
        if self._member is not None:
            raise httpx.DecodingError(f"the body of the coding '{self._coding}' ends early")

    def _begin(self) -> _Decompressor:
        if self._has_ended and self._coding not in _SEVERAL:
            raise httpx.DecodingError(f"the body goes on after the end of its coding '{self._coding}'")
        return _CODINGS[self._coding]()


class _Deflate:
    """The format of zlib (RFC 1950), or the bare deflate (RFC 1951) that some servers send under the same name."""

    def __init__(self) -> None:
        self._begun = b""
        self._decompressor: _Decompressor | None = None  # until the two bytes are there that tell which it is

    @property
    def eof(self) -> bool:
        return self._decompressor is not None and self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return b"" if self._decompressor is None else self._decompressor.unused_data

    def decompress(self, data: bytes, /) -> bytes:
        if self._decompressor is None:
            data = self._begun = self._begun + data
            if len(data) < 2:
                return b""
            is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
            self._decompressor = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        return self._decompressor.decompress(data)


class _Brotli:
    """The decompressor of brotli or brotlicffi, by the names of zlib's."""

    unused_data = b""  # they fail where anything follows the end

    def __init__(self) -> None:
        self._decompressor = _require(_brotli, "br", "brotli").Decompressor()

    @property
    def eof(self) -> bool:
        return bool(self._decompressor.is_finished())

    def decompress(self, data: bytes, /) -> bytes:
        return t.cast("bytes", self._decompressor.process(data))


def _begin_zstd() -> _Decompressor:
    decompressor = _require(_zstd, "zstd", "zstandard").ZstdDecompressor()
    is_zstandard = hasattr(decompressor, "decompressobj")  # Python's own has no such step
    return t.cast("_Decompressor", decompressor.decompressobj() if is_zstandard else decompressor)


def _require(module: types.ModuleType | None, coding: str, package: str) -> t.Any:
    if module is None:
        raise httpx.DecodingError(f"the body is of the coding '{coding}', which the package '{package}' reads")
    return module


def _import_first(*names: str) -> types.ModuleType | None:
    for name in names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


# Those by which httpx and httpx2 decide what they ask servers for.
_brotli = _import_first("brotli", "brotlicffi")
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
    "zstd": _begin_zstd,
}

#: The codings whose bodies may have several members (RFC 1952, section 2.2) or frames (RFC 8878, section 3.1).
_SEVERAL: t.Final = {"gzip", "x-gzip", "zstd"}
