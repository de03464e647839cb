"""The HTTP/1.1 transport to servers: requests and responses are httpx's, connections aiohttp's."""

import asyncio
import collections.abc
import contextvars
import functools
import math
import re
import select
import ssl
import typing as t

import aiohttp
import httpx
import multidict
import yarl

from flama._private import aiohttp as private
from flama._semaphore import FairSemaphore
from flama._timeouts import get_scheduler
from flama.client._framing import check_length, check_method, frame
from flama.client._models import Headers, RawRequest, RawResponse, ResponseTooLarge, lower_names
from flama.client._transports.asgi import READ_BODY, DirectTransport

__all__ = ["AiohttpTransport"]

_FramedHeaders: t.TypeAlias = tuple[multidict.CIMultiDict[str], int | None]
"""The headers of a request without those that frame its body, and the length of the body."""

_SAFE: t.Final = {"GET", "HEAD", "OPTIONS"}
_CHUNK_SIZE: t.Final = 65_536  # bytes of a body that are written at a time
_SKIP_AUTO_HEADERS: t.Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_EXTENSIONS: t.Final = {"http_version": b"HTTP/1.1"}

_TARGET: t.Final = re.compile(rb"[!-~]*")  # RFC 9112, section 3.2, percent-encoded


class AiohttpTransport(DirectTransport):
    """Send requests over HTTP/1.1 through a session of aiohttp without cookies, redirects or decompression.

    At most ``limits.max_connections`` connections are in use at a time. An idle connection stays open for
    ``limits.keepalive_expiry`` seconds. The number of idle connections isn't limited, but none stays open if
    ``limits.max_keepalive_connections`` is 0. A request that only reads is sent again when the server closes a reused
    connection instead of responding. A cancelled request closes its connection and makes room for another.

    :raises httpx.LocalProtocolError: a request has no form in HTTP/1.1, or headers that disagree with its body.
    """

    def __init__(self, context: ssl.SSLContext, limits: httpx.Limits) -> None:
        self._context = context
        self._limits = limits
        self._slots = FairSemaphore(math.inf if limits.max_connections is None else limits.max_connections)
        # the headers of the last call, and their encoded form: calls that only read send the same list each time
        self._last_headers: tuple[Headers, _FramedHeaders] = [], (multidict.CIMultiDict(), 0)
        self._session: tuple[asyncio.AbstractEventLoop, aiohttp.ClientSession] | None = None

    async def handle(self, request: RawRequest, *, timeout: httpx.Timeout, limit: int | None = None) -> RawResponse:
        """Return the response to a call, with its whole body.

        :raises ResponseTooLarge: the body is longer than ``limit`` bytes; it isn't read to its end.
        """
        resource = request.resource
        url = _build_url(resource.scheme, resource.authority, request.target)
        headers, framed = self._last_headers
        if request.headers is not headers or request.body:
            framed = _frame_headers(request.headers, len(request.body))
            if not request.body:
                self._last_headers = request.headers, framed
        return await self._read_response(_Outgoing(request.method, url, framed, request.body, timeout), limit)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response to a request; its body can be read while it arrives."""
        outgoing = _convert_request(request)
        if request.extensions.get(READ_BODY):
            answer = await self._read_response(outgoing, None)
            return _build_response(answer.status, answer.headers, httpx.ByteStream(answer.body))
        if not self._slots.acquire_nowait():
            await self._acquire(outgoing.timeout.pool)
        try:
            incoming = await self._start(outgoing)
        except BaseException:
            self._slots.release()
            raise
        stream = _Stream(incoming, outgoing, self._slots.release)
        return _build_response(incoming.status, lower_names(incoming.raw_headers), stream)

    async def aclose(self) -> None:
        """Close all connections."""
        opened, self._session = self._session, None
        if opened is not None:
            await opened[1].close()

    async def _read_response(self, outgoing: "_Outgoing", limit: int | None) -> RawResponse:
        slots = self._slots
        if not slots.acquire_nowait():
            await self._acquire(outgoing.timeout.pool)
        try:
            incoming = await self._start(outgoing)
            try:
                content = incoming.content
                if content.is_eof() and content.exception() is None and content.total_bytes <= (limit or 0):
                    body = content.read_nowait()  # it has arrived with the head, as most do
                else:
                    body = await _read_body(content, outgoing, limit)
            finally:
                if outgoing.is_open or not incoming.closed:
                    await _close_response(incoming, outgoing)
        finally:
            slots.release()
        return RawResponse(incoming.status, lower_names(incoming.raw_headers), body)

    async def _start(self, outgoing: "_Outgoing") -> aiohttp.ClientResponse:
        """Send a request, and return its response when the response's head has arrived."""
        opened = self._session
        if opened is None or opened[0] is not asyncio.get_running_loop():
            opened = await self._open_session()
        can_retry = outgoing.method in _SAFE and outgoing.is_whole
        while True:
            try:
                return _check_status(await outgoing.send(opened[1]))
            except _StaleConnection:
                continue
            except BaseException as error:
                if can_retry and isinstance(error, _INTERRUPTIONS) and outgoing.is_reused and not outgoing.is_timed_out:
                    can_retry = False
                    continue
                await outgoing.aclose()
                if (translated := outgoing.translate_error(error)) is not None:
                    raise translated from error
                raise

    async def _open_session(self) -> tuple[asyncio.AbstractEventLoop, aiohttp.ClientSession]:
        await self.aclose()  # of another event loop, which has ended
        self._session = opened = asyncio.get_running_loop(), _create_session(self._context, self._limits)
        return opened

    async def _acquire(self, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._slots.acquire()
        except TimeoutError:
            most = self._limits.max_connections
            raise httpx.PoolTimeout(f"each of the {most} connections was in use for {timeout:g} s") from None


class _Outgoing:
    """A request being sent, whose headers agree with its body.

    Its state: the connection, the wait that is timed, and how far the body was sent.
    """

    is_reused = False  # whether its connection has had another request before
    _is_sending = False
    _transport: asyncio.Transport | None = None
    _timeout_error: httpx.TimeoutException | None = None
    _chunks: collections.abc.AsyncGenerator[bytes] | None = None
    _error: Exception | None = None  # raised by the body's iterator

    def __init__(
        self,
        method: str,
        url: yarl.URL,
        framed: _FramedHeaders,
        body: "bytes | httpx.AsyncByteStream",
        timeout: httpx.Timeout,
    ) -> None:
        if method not in _SAFE:
            check_method(method)
        self.method = method
        self.timeout = timeout
        self._url = url
        self.headers, self._length = framed
        self._body = body
        self._scheduler = get_scheduler(asyncio.get_running_loop())

    @property
    def is_whole(self) -> bool:
        """Whether the body is in memory, so that the request can be sent again."""
        return isinstance(self._body, bytes)

    @property
    def is_open(self) -> bool:
        """Whether the body's iterator has to be closed."""
        return self._chunks is not None or not self.is_whole

    @property
    def is_timed_out(self) -> bool:
        """Whether the request timed out."""
        return self._timeout_error is not None

    async def send(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        """Send the request, and return its response when the response's head has arrived."""
        _sending.set(self)
        body, data = self._body, t.cast("t.Any", None)
        if not isinstance(body, bytes) or len(body) > _CHUNK_SIZE:
            self._paused = asyncio.Event()  # whether no chunk is being made
            self._paused.set()
            data = self._chunks = self._iter_body(_split_body(body) if isinstance(body, bytes) else body)
            if self._length is not None:
                self.headers = self.headers.copy()
                self.headers["Content-Length"] = str(self._length)
        elif body:
            data = body
        try:
            return await session.request(
                self.method,
                self._url,
                data=data,
                skip_auto_headers=None if data is None and self.method in _SAFE else _SKIP_AUTO_HEADERS,
                timeout=_client_timeout(self.timeout.connect),
                allow_redirects=False,
            )
        finally:
            self.stop_timeout()

    def set_connection(self, transport: asyncio.Transport | None, *, is_reused: bool) -> None:
        """Set the connection that the request is sent over."""
        self._transport, self.is_reused = transport, is_reused
        if self._chunks is None:
            self.start_timeout(self.timeout.read)

    def start_timeout(self, seconds: float | None) -> None:
        """Start a timeout for the server's next action."""
        if seconds is not None:
            self._scheduler.add(self, seconds)

    def stop_timeout(self) -> None:
        """Stop the timeout."""
        self._scheduler.remove(self)

    def expire(self) -> None:
        """Abort the connection, because the timeout has expired."""
        if self._timeout_error is None and self._transport is not None:
            self._timeout_error = self._make_timeout_error()
            self._transport.abort()

    async def aclose(self) -> None:
        """Close the body's iterator, however much of it was sent."""
        if self._chunks is not None:
            await self._paused.wait()  # the next chunk may be made in aiohttp's task, which has been cancelled
            await self._chunks.aclose()
        if not isinstance(self._body, bytes):
            await self._body.aclose()

    def translate_error(self, error: BaseException) -> Exception | None:
        """Return httpx's error for one of aiohttp, or the error of the body's iterator; None for any other error."""
        own = self._error or (self._timeout_error if isinstance(error, aiohttp.ClientError) else None)
        return own or _translate_error(error, self._url, self.timeout)

    async def _iter_body(self, chunks: collections.abc.AsyncIterable[bytes]) -> collections.abc.AsyncGenerator[bytes]:
        self._paused.clear()
        try:
            async for chunk in check_length(chunks, self._length):
                self._is_sending = True
                self.start_timeout(self.timeout.write)
                self._paused.set()
                yield chunk
                self._paused.clear()
                self._is_sending = False
                self.stop_timeout()
        except Exception as error:
            self._error = error
            raise
        finally:
            self._paused.set()
        self.start_timeout(self.timeout.read)

    def _make_timeout_error(self) -> httpx.TimeoutException:
        if self._is_sending:
            return httpx.WriteTimeout(f"the server took nothing for {self.timeout.write:g} s")
        return httpx.ReadTimeout(f"the server was silent for {self.timeout.read:g} s")


#: The request that is being sent in this task.
_sending: contextvars.ContextVar[_Outgoing] = contextvars.ContextVar("_sending")


class _Stream(httpx.AsyncByteStream):
    """The body of a response that is read while it arrives.

    It is an iterator: an unfinished generator would be left for the event loop to close.
    """

    def __init__(
        self, incoming: aiohttp.ClientResponse, outgoing: _Outgoing, release: collections.abc.Callable[[], None]
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._release: collections.abc.Callable[[], None] | None = release  # until it is closed

    def __aiter__(self) -> collections.abc.AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._release is not None and (chunk := await _read_chunk(self._incoming.content, self._outgoing)):
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        release, self._release = self._release, None
        if release is None:
            return
        try:
            await _close_response(self._incoming, self._outgoing)
        finally:
            release()


class _Request(aiohttp.ClientRequest):
    """A request with ready-made headers, sent only over a connection on which no unsolicited data has arrived.

    aiohttp takes data that arrives on an idle connection for the response to the next request. Before a write, which
    can't be sent again, the socket is checked as well: the event loop may not have seen yet that the server closed it.
    """

    # The headers are ready-made: passing them through the session and building them here takes 4 % of a call.

    def update_headers(self, headers: t.Any) -> None:
        self.headers = _sending.get().headers.copy()

    def update_auto_headers(self, skip_auto_headers: collections.abc.Iterable[str] | None) -> None:
        if skip_auto_headers is not None:
            super().update_auto_headers(skip_auto_headers)

    def send(self, conn: t.Any) -> t.Any:
        protocol, transport = conn.protocol, conn.transport
        is_reused = hasattr(protocol, "flama_used")
        if is_reused and (protocol.should_close or (self.method not in _SAFE and _is_readable(transport))):
            raise _StaleConnection
        protocol.flama_used = True
        _sending.get().set_connection(transport, is_reused=is_reused)
        return super().send(conn)


class _StaleConnection(aiohttp.ClientConnectionError):
    """A connection can't be reused."""


_CONNECTING: t.Final = (aiohttp.ClientConnectorError, aiohttp.ClientSSLError)
_INTERRUPTIONS: t.Final = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)  # includes errors of connecting


def _create_session(context: ssl.SSLContext, limits: httpx.Limits) -> aiohttp.ClientSession:
    keeping: dict[str, t.Any] = {"keepalive_timeout": limits.keepalive_expiry}
    if limits.max_keepalive_connections == 0 or limits.keepalive_expiry == 0 or not private.HAS["retries"]:
        keeping = {"force_close": True}
    connector = aiohttp.TCPConnector(
        ssl=context, limit=0, use_dns_cache=False, resolver=aiohttp.ThreadedResolver(), **keeping
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        request_class=_Request,
    )
    private.disable_retries(session)
    return session


def _convert_request(request: httpx.Request) -> _Outgoing:
    url = request.url
    if url.scheme not in {"http", "https"}:
        raise httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol '{url.scheme}://'.")
    try:
        body: bytes | httpx.AsyncByteStream = request.content
    except httpx.RequestNotRead:
        body = t.cast("httpx.AsyncByteStream", request.stream)
    limits: dict[str, float | None] = request.extensions.get("timeout", {})
    timeout = httpx.Timeout(**{**dict.fromkeys(("connect", "read", "write", "pool")), **limits})
    target = _build_url(url.scheme, url.netloc, url.raw_path)
    framed = _frame_headers(request.headers.raw, len(body) if isinstance(body, bytes) else None)
    return _Outgoing(request.method, target, framed, body, timeout)


def _build_url(scheme: str, authority: bytes, target: bytes) -> yarl.URL:
    if _TARGET.fullmatch(target) is None:
        raise httpx.LocalProtocolError(f"the path {target!r} isn't percent-encoded")
    return yarl.URL(f"{scheme}://{authority.decode('ascii')}{target.decode('ascii')}", encoded=True)


def _frame_headers(headers: Headers, length: int | None) -> _FramedHeaders:
    """Return headers in aiohttp's form without those that frame the body, and the length of the body."""
    rest, length = frame(headers, length)
    try:
        return multidict.CIMultiDict([(name.decode("ascii"), value.decode()) for name, value in rest]), length
    except UnicodeDecodeError as error:
        raise httpx.LocalProtocolError(f"a header isn't UTF-8: {error.object!r}") from None


def _check_status(incoming: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    if 200 <= incoming.status < 1_000:
        return incoming
    incoming.close()
    raise httpx.RemoteProtocolError(f"a response can't have the status {incoming.status}")


async def _split_body(body: bytes) -> collections.abc.AsyncGenerator[bytes]:
    for start in range(0, len(body), _CHUNK_SIZE):
        yield body[start : start + _CHUNK_SIZE]


async def _read_body(content: aiohttp.StreamReader, outgoing: _Outgoing, limit: int | None) -> bytes:
    parts, size = list[bytes](), 0
    while not content.at_eof():
        chunk = await _read_chunk(content, outgoing)
        size += len(chunk)
        if limit is not None and size > limit:
            raise ResponseTooLarge(limit)
        parts.append(chunk)
    return b"".join(parts)


async def _read_chunk(content: aiohttp.StreamReader, outgoing: _Outgoing) -> bytes:
    """Return the next chunk of a body; empty at the end."""
    if not content.is_eof():
        outgoing.start_timeout(outgoing.timeout.read)
    try:
        return await content.readany()
    except (aiohttp.ClientError, OSError) as error:
        raise t.cast("Exception", outgoing.translate_error(error)) from error
    finally:
        outgoing.stop_timeout()


async def _close_response(incoming: aiohttp.ClientResponse, outgoing: _Outgoing) -> None:
    """Close a response; its connection is reused if the request and the response are complete."""
    incoming.close()
    await outgoing.aclose()


def _build_response(
    status: int,
    headers: collections.abc.Sequence[tuple[bytes, bytes]],
    stream: httpx.AsyncByteStream | httpx.ByteStream,
) -> httpx.Response:
    return httpx.Response(status, headers=[*headers], stream=stream, extensions=_EXTENSIONS)


@functools.lru_cache(maxsize=64)
def _client_timeout(connect: float | None) -> aiohttp.ClientTimeout:
    # `connect` covers everything before a request can be sent, including the DNS lookup
    return aiohttp.ClientTimeout(total=None, connect=connect)


def _translate_error(error: BaseException, url: yarl.URL, timeout: httpx.Timeout) -> httpx.HTTPError | None:
    match error:
        case aiohttp.ServerDisconnectedError():
            return httpx.RemoteProtocolError("Server disconnected without sending a response.")
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(f"{url.host_subcomponent}:{url.port} didn't answer for {timeout.connect:g} s")
        case aiohttp.ClientPayloadError():
            return httpx.RemoteProtocolError(f"Server disconnected before the end of its response: {error}")
        case aiohttp.ClientResponseError():
            return httpx.RemoteProtocolError(f"the server doesn't speak HTTP/1.1: {error.message}")
        case aiohttp.ClientError() | OSError():  # before ValueError: a certificate error is both
            kind = httpx.ConnectError if isinstance(error, _CONNECTING) else httpx.ReadError
            return kind(str(error) or type(error).__name__)
        case ValueError():
            return httpx.LocalProtocolError(str(error))
    return None


def _is_readable(transport: asyncio.Transport | None) -> bool:
    """Whether the socket has data, or was closed, before the event loop has noticed."""
    socket = None if transport is None else transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
