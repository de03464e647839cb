"""The way of a request to a server on the network."""

import collections.abc
import copy
import functools
import ssl
import types as python_types
import typing as t
import urllib.request

import httpx

from flama.client.connection import Connection, head
from flama.client.messages import Answer, Call, Headers, default_port
from flama.client.pool import Origin, Pool
from flama.client.transport import BUFFERED

__all__ = ["HTTPX", "NetworkTransport", "network_transport", "ssl_context"]

#: A client's arguments that only httpx's own transport knows what to do with, or that are another way.
HTTPX: t.Final = ("cert", "http2", "mounts", "proxy", "transport")

_LIMITS: t.Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)
_SAFE: t.Final = {"GET", "HEAD", "OPTIONS"}
_CLOSED: t.Final = (httpx.RemoteProtocolError, httpx.ReadError)


class NetworkTransport(httpx.AsyncBaseTransport):
    """Carry requests to servers by HTTP/1.1, over connections that are kept.

    It does as httpx's own does, for a fifth of the work. A call that is cancelled, at whatever moment, closes its
    connection and makes room for another. A request that only reads is sent again when a connection that was kept
    turns out to have been closed meanwhile. There are no proxies and there is no HTTP/2: a client that is given either
    has httpx's own transport.
    """

    # Its state, beside the pool: the responses that are being read.

    def __init__(
        self, *, verify: ssl.SSLContext | str | bool = True, trust_env: bool = True, limits: httpx.Limits = _LIMITS
    ) -> None:
        usual = verify is True and trust_env
        self._pool = Pool(limits, ssl_context() if usual else httpx.create_ssl_context(verify, trust_env=trust_env))
        self._streams: set[_Stream] = set()
        self._is_lease = False

    def lease(self) -> "NetworkTransport":
        """Give a transport over the same connections, which keeps them when it is closed.

        A client that lives as long as one unit of work is given one; who made the first closes it.
        """
        lease = copy.copy(self)
        lease._streams, lease._is_lease = set(), True
        return lease

    async def answer(self, call: Call, *, timeout: httpx.Timeout, limit: int | None = None) -> Answer:
        """Give the answer to a call, past what httpx would make of the two."""
        request = head(call.method, call.target, call.headers) + call.body
        return await self._answer(call.address.origin, call.method, request, timeout, limit)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Give a server's response to a request."""
        url, timeout = request.url, _timeout(request)
        if url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol '{url.scheme}://'.")
        origin = url.scheme, url.host, url.port or default_port(url.scheme)
        lines = head(request.method, url.raw_path, request.headers.raw)
        content = _content(request)
        if content is not None and request.extensions.get(BUFFERED):
            answer = await self._answer(origin, request.method, lines + content, timeout, None)
            return _response(answer.status, answer.headers, httpx.ByteStream(answer.body))
        connection = await self._started(request, origin, lines, content)
        stream = _Stream(self._pool, connection, self._streams)
        return _response(connection.status, connection.headers, stream)

    async def aclose(self) -> None:
        """Close all connections, but those that others may use."""
        for stream in tuple(self._streams):
            await stream.aclose()
        if not self._is_lease:
            await self._pool.aclose()

    async def _answer(
        self, origin: Origin, method: str, request: bytes, timeout: httpx.Timeout, limit: int | None
    ) -> Answer:
        fresh = False
        while True:
            connection = await self._pool.acquire(origin, timeout, fresh=fresh, surely=method not in _SAFE)
            fresh = not connection.used
            try:
                return await connection.answer(method, request, limit=limit, patience=timeout.read)
            except _CLOSED:
                if fresh or connection.status or method not in _SAFE:
                    raise
                fresh = True
            finally:
                self._pool.release(connection)

    async def _started(self, request: httpx.Request, origin: Origin, lines: bytes, content: bytes | None) -> Connection:
        timeout, fresh = _timeout(request), False
        body = None if content is not None else t.cast("httpx.AsyncByteStream", request.stream)
        while True:
            surely = request.method not in _SAFE
            connection = await self._pool.acquire(origin, timeout, fresh=fresh, surely=surely)
            fresh = not connection.used
            try:
                await connection.start(request.method, lines + (content or b""), body, _is_chunked(request), timeout)
            except BaseException as error:
                connection.abort()
                self._pool.release(connection)
                if fresh or body or request.method not in _SAFE or not isinstance(error, _CLOSED):
                    raise
                fresh = True
            else:
                return connection
            finally:
                if body is not None:
                    await body.aclose()  # the generator that makes it, wherever the sending stopped


class _Stream(httpx.AsyncByteStream):
    """The body of a response that is read while it arrives."""

    # Its state: the connection, until it is given back, and what reads it, from the first chunk on. It is an iterator
    # of its own, since a generator that isn't read to its end would be left to the event loop.

    def __init__(self, pool: Pool, connection: Connection, open: "set[_Stream]") -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self._chunks: collections.abc.AsyncGenerator[bytes] | None = None
        self._open = open
        open.add(self)

    def __aiter__(self) -> collections.abc.AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        if self._chunks is None:
            self._chunks = self._connection.read()
        return await anext(self._chunks)

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        self._open.discard(self)
        if connection is None:
            return
        try:
            chunks = self._chunks
            # one that is running is read by another task
            if isinstance(chunks, python_types.AsyncGeneratorType) and not chunks.ag_running:
                await chunks.aclose()
        finally:
            self._pool.release(connection)


def _timeout(request: httpx.Request) -> httpx.Timeout:
    limits: dict[str, float | None] = request.extensions.get("timeout", {})
    return httpx.Timeout(**{**dict.fromkeys(("connect", "read", "write", "pool")), **limits})


def _is_chunked(request: httpx.Request) -> bool:
    return "chunked" in request.headers.get_list("transfer-encoding")


def _content(request: httpx.Request) -> bytes | None:
    try:
        return request.content
    except httpx.RequestNotRead:
        return None


def _response(status: int, headers: Headers, stream: httpx.AsyncByteStream | httpx.ByteStream) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=stream, extensions={"http_version": b"HTTP/1.1"})


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """Give what checks the certificates of servers, unless it is said otherwise."""
    # Loading the certificate authorities takes 25 ms: too much for a client that lives as long as one unit of work.
    return httpx.create_ssl_context()


def network_transport(options: collections.abc.Mapping[str, t.Any]) -> NetworkTransport | None:
    """Give what takes the requests of a client with these arguments to servers; None where it isn't ours to do so."""
    proxies = urllib.request.getproxies() if options.get("trust_env", True) else {}
    if any(map(options.get, HTTPX)) or not proxies.keys().isdisjoint({"http", "https", "all"}):
        return None
    return NetworkTransport(**{name: options[name] for name in ("verify", "trust_env", "limits") if name in options})
