"""The transport to servers on the network, over aiohttp's connections if it is installed, else over httpx's."""

import collections.abc
import contextlib
import functools
import importlib
import importlib.util
import ssl
import typing as t
import urllib.request

import httpx

from flama.client._content import GeneratedContent
from flama.client._framing import check_length, check_method, frame
from flama.client._models import RawRequest, RawResponse
from flama.client._transports.asgi import DirectTransport

__all__ = ["SharedTransport", "make_transport", "share", "ssl_context"]

#: Arguments of a client that only httpx's own transport supports, or that replace the transport.
_HTTPX_ONLY_OPTIONS: t.Final = ("cert", "http2", "mounts", "proxy", "transport")

_LIMITS: t.Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)


def make_transport(options: collections.abc.Mapping[str, t.Any]) -> httpx.AsyncBaseTransport | None:
    """Return the transport of a client with these arguments; None if httpx's client has to create it."""
    trust_env = options.get("trust_env", True)
    proxies = urllib.request.getproxies() if trust_env else {}
    if any(map(options.get, _HTTPX_ONLY_OPTIONS)) or not proxies.keys().isdisjoint({"http", "https", "all"}):
        return None
    verify, limits = options.get("verify", True), options.get("limits", _LIMITS)
    is_default = verify is True and trust_env
    context = ssl_context() if is_default else httpx.create_ssl_context(verify, trust_env=trust_env)
    if _has_aiohttp():
        return t.cast(
            "httpx.AsyncBaseTransport",
            importlib.import_module("flama.client._transports._aiohttp").AiohttpTransport(context, limits),
        )
    return _HTTPXTransport(verify=context, trust_env=trust_env, limits=limits)


class _HTTPXTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport, which sends headers that agree with the request's body."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        check_method(request.method)
        stream = request.stream
        is_whole = isinstance(stream, httpx.ByteStream)
        headers, length = frame(request.headers.raw, len(request.content) if is_whole else None)
        framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
        is_framed = not is_whole or length or request.method in {"POST", "PUT", "PATCH"}
        request.headers = httpx.Headers([*headers, framing] if is_framed else headers)
        if isinstance(stream, httpx.ByteStream):
            return await super().handle_async_request(request)
        chunks = t.cast("httpx.AsyncByteStream", stream)
        request.stream = content = GeneratedContent(check_length(chunks, length))
        async with contextlib.aclosing(chunks), contextlib.aclosing(content):
            return await super().handle_async_request(request)


class SharedTransport(httpx.AsyncBaseTransport):
    """A transport for a short-lived client that shares the connections of another transport.

    Closing it closes the open responses, and leaves the connections open.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._streams: set[_Stream] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the shared transport's response."""
        response = await self._transport.handle_async_request(request)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Stream(response.stream, self._streams)
        return response

    async def aclose(self) -> None:
        """Close the open responses."""
        for stream in tuple(self._streams):
            await stream.aclose()


class _SharedDirectTransport(SharedTransport, DirectTransport):
    _transport: DirectTransport

    async def handle(self, request: RawRequest, *, timeout: httpx.Timeout, limit: int | None = None) -> RawResponse:
        return await self._transport.handle(request, timeout=timeout, limit=limit)


def share(transport: httpx.AsyncBaseTransport) -> SharedTransport:
    """Return a lease of the transport; it is a :class:`DirectTransport` if the transport is one."""
    return _SharedDirectTransport(transport) if isinstance(transport, DirectTransport) else SharedTransport(transport)


class _Stream(httpx.AsyncByteStream):
    """The body of a response, registered as open until it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, open_streams: "set[_Stream]") -> None:
        self._stream = stream
        self._open_streams = open_streams
        open_streams.add(self)

    def __aiter__(self) -> collections.abc.AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        self._open_streams.discard(self)
        await self._stream.aclose()


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """Return the TLS context that verifies servers' certificates by the usual authorities."""
    # Loading them takes 25 ms: too much for a client that lives as long as one unit of work.
    return httpx.create_ssl_context()


@functools.cache
def _has_aiohttp() -> bool:
    return importlib.util.find_spec("aiohttp") is not None
