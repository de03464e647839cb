"""HTTP/1.1 over the network: requests and responses of httpx, connections of aiohttp."""

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

from flama._semaphore import FairSemaphore
from flama.client._framing import check_method, frame, measured
from flama.client.messages import Answer, Call, Headers, ResponseTooLarge, lowered
from flama.client.transport import BUFFERED, DirectTransport
from flama.limits import watch_of

__all__ = ["AiohttpTransport"]

_Framed: t.TypeAlias = tuple[multidict.CIMultiDict[str], int | None]
"""The headers of a request without those that frame its body, and the length of that."""

_SAFE: t.Final = {"GET", "HEAD", "OPTIONS"}
_PIECE: t.Final = 65_536  # bytes of a body that are written at a time
_SKIPPED: t.Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_EXTENSIONS: t.Final = {"http_version": b"HTTP/1.1"}

_TARGET: t.Final = re.compile(rb"[!-~]*")  # RFC 9112, section 3.2, percent-encoded


class AiohttpTransport(DirectTransport):
    """Send requests over HTTP/1.1 by a session of aiohttp whose cookies, redirects and decompression are off.

    At most ``limits.max_connections`` are in use at a time. A connection is kept for ``limits.keepalive_expiry``
    seconds; how many are isn't limited, unless ``limits.max_keepalive_connections`` is 0, which keeps none. A request
    that only reads is sent again when the server closes a kept connection instead of responding. A request that is
    cancelled closes its connection and makes room for another.

    :raises httpx.LocalProtocolError: a request has no form in HTTP/1.1, or headers that disagree with its body.
    """

    def __init__(self, context: ssl.SSLContext, limits: httpx.Limits) -> None:
        self._context = context
        self._limits = limits
        self._slots = FairSemaphore(math.inf if limits.max_connections is None else limits.max_connections)
        # the headers of the last call, and what is made of them: calls that only read have the same, once and again
        self._framed: tuple[Headers, _Framed] = [], (multidict.CIMultiDict(), 0)
        self._session: tuple[asyncio.AbstractEventLoop, aiohttp.ClientSession] | None = None

    async def answer(self, call: Call, *, timeout: httpx.Timeout, limit: int | None = None) -> Answer:
        """Return the response to a call, whole.

        :raises ResponseTooLarge: its body is longer than ``limit`` bytes; it isn't read to its end.
        """
        address = call.address
        url = _url(address.scheme, address.authority, call.target)
        headers, framed = self._framed
        if call.headers is not headers or call.body:
            framed = _framed(call.headers, len(call.body))
            if not call.body:
                self._framed = call.headers, framed
        return await self._answer(_Outgoing(call.method, url, framed, call.body, timeout), limit)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response to a request, whose body can be read while it arrives."""
        outgoing = _of_httpx(request)
        if request.extensions.get(BUFFERED):
            answer = await self._answer(outgoing, None)
            return _response(answer.status, answer.headers, httpx.ByteStream(answer.body))
        if not self._slots.acquire_nowait():
            await self._acquire(outgoing.timeout.pool)
        try:
            incoming = await self._start(outgoing)
        except BaseException:
            self._slots.release()
            raise
        stream = _Stream(incoming, outgoing, self._slots.release)
        return _response(incoming.status, lowered(incoming.raw_headers), stream)

    async def aclose(self) -> None:
        """Close all connections."""
        opened, self._session = self._session, None
        if opened is not None:
            await opened[1].close()

    async def _answer(self, outgoing: "_Outgoing", limit: int | None) -> Answer:
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
                    body = await _read(content, outgoing, limit)
            finally:
                if outgoing.is_open or not incoming.closed:
                    await _close(incoming, outgoing)
        finally:
            slots.release()
        return Answer(incoming.status, lowered(incoming.raw_headers), body)

    async def _start(self, outgoing: "_Outgoing") -> aiohttp.ClientResponse:
        """Send a request, and return its response when the head of that has arrived."""
        opened = self._session
        if opened is None or opened[0] is not asyncio.get_running_loop():
            opened = await self._open_session()
        may_repeat = outgoing.method in _SAFE and outgoing.is_whole
        while True:
            try:
                return _checked(await outgoing.send(opened[1]))
            except _NotSent:
                continue
            except BaseException as error:
                if may_repeat and isinstance(error, _INTERRUPTIONS) and outgoing.was_kept and not outgoing.is_over:
                    may_repeat = False
                    continue
                await outgoing.aclose()
                if (known := outgoing.translated(error)) is not None:
                    raise known from error
                raise

    async def _open_session(self) -> tuple[asyncio.AbstractEventLoop, aiohttp.ClientSession]:
        await self.aclose()  # of another event loop, which has ended
        self._session = opened = asyncio.get_running_loop(), _session(self._context, self._limits)
        return opened

    async def _acquire(self, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._slots.acquire()
        except TimeoutError:
            most = self._limits.max_connections
            raise httpx.PoolTimeout(f"each of the {most} connections was in use for {timeout:g} s") from None


class _Outgoing:
    """A request on its way, whose headers agree with its body.

    Its state: the connection, since when something is waited for, and what became of the body.
    """

    was_kept = False  # whether its connection has had another request before
    _is_sending = False
    _transport: asyncio.Transport | None = None
    _over: httpx.TimeoutException | None = None
    _chunks: collections.abc.AsyncGenerator[bytes] | None = None
    _error: Exception | None = None  # of what makes the body

    def __init__(
        self,
        method: str,
        url: yarl.URL,
        framed: "_Framed",
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
        self._watch = watch_of(asyncio.get_running_loop())

    @property
    def is_whole(self) -> bool:
        """Whether it can be sent again."""
        return isinstance(self._body, bytes)

    @property
    def is_open(self) -> bool:
        """Whether what makes the body has to be closed."""
        return self._chunks is not None or not self.is_whole

    @property
    def is_over(self) -> bool:
        """Whether the server has let its time pass."""
        return self._over is not None

    async def send(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        """Send it, and return its response when the head of that has arrived."""
        _sending.set(self)
        body, data = self._body, t.cast("t.Any", None)
        if not isinstance(body, bytes) or len(body) > _PIECE:
            self._paused = asyncio.Event()  # whether no chunk is being made
            self._paused.set()
            data = self._chunks = self._sent(_pieces(body) if isinstance(body, bytes) else body)
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
                skip_auto_headers=None if data is None and self.method in _SAFE else _SKIPPED,
                timeout=_timeout(self.timeout.connect),
                allow_redirects=False,
            )
        finally:
            self.rest()

    def connected(self, transport: asyncio.Transport | None, *, was_kept: bool) -> None:
        """Take the connection that it is sent over."""
        self._transport, self.was_kept = transport, was_kept
        if self._chunks is None:
            self.wait(self.timeout.read)

    def wait(self, seconds: float | None) -> None:
        """Begin to wait for the server."""
        if seconds is not None:
            self._watch.add(self, seconds)

    def rest(self) -> None:
        """Wait no more."""
        self._watch.remove(self)

    def expire(self) -> None:
        """Hang up, since the server has let its time pass."""
        if self._over is None and self._transport is not None:
            self._over = self._late()
            self._transport.abort()

    async def aclose(self) -> None:
        """Close what makes the body, however much of it was sent."""
        if self._chunks is not None:
            await self._paused.wait()  # the next chunk may be made in aiohttp's task, which has been cancelled
            await self._chunks.aclose()
        if not isinstance(self._body, bytes):
            await self._body.aclose()

    def translated(self, error: BaseException) -> Exception | None:
        """Return the error of httpx for one of aiohttp, or what failed in making the body; None for any other."""
        known = self._error or (self._over if isinstance(error, aiohttp.ClientError) else None)
        return known or _translated(error, self._url, self.timeout)

    async def _sent(self, chunks: collections.abc.AsyncIterable[bytes]) -> collections.abc.AsyncGenerator[bytes]:
        self._paused.clear()
        try:
            async for chunk in measured(chunks, self._length):
                self._is_sending = True
                self.wait(self.timeout.write)
                self._paused.set()
                yield chunk
                self._paused.clear()
                self._is_sending = False
                self.rest()
        except Exception as error:
            self._error = error
            raise
        finally:
            self._paused.set()
        self.wait(self.timeout.read)

    def _late(self) -> httpx.TimeoutException:
        if self._is_sending:
            return httpx.WriteTimeout(f"the server took nothing for {self.timeout.write:g} s")
        return httpx.ReadTimeout(f"the server was silent for {self.timeout.read:g} s")


#: The request that is being sent in this task.
_sending: contextvars.ContextVar[_Outgoing] = contextvars.ContextVar("_sending")


class _Stream(httpx.AsyncByteStream):
    """The body of a response that is read while it arrives.

    It is an iterator: a generator that isn't read to its end would be left to the event loop.
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
        if self._release is not None and (chunk := await _chunk(self._incoming.content, self._outgoing)):
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        release, self._release = self._release, None
        if release is None:
            return
        try:
            await _close(self._incoming, self._outgoing)
        finally:
            release()


class _Request(aiohttp.ClientRequest):
    """A request with the headers it was given, sent only over a connection on which nothing has arrived unasked.

    aiohttp itself takes what arrives on an idle connection for the response to the next request. Before a write, which
    can't be sent again, the socket is asked as well: the event loop may not yet know that the server has hung up.
    """

    # The headers are there already: to pass them through the session and build them here takes 4 % of a call.

    def update_headers(self, headers: t.Any) -> None:
        self.headers = _sending.get().headers.copy()

    def update_auto_headers(self, skip_auto_headers: collections.abc.Iterable[str] | None) -> None:
        if skip_auto_headers is not None:
            super().update_auto_headers(skip_auto_headers)

    def send(self, conn: t.Any) -> t.Any:
        protocol, transport = conn.protocol, conn.transport
        was_kept = hasattr(protocol, "flama_used")
        if was_kept and (protocol.should_close or (self.method not in _SAFE and _is_readable(transport))):
            raise _NotSent
        protocol.flama_used = True
        _sending.get().connected(transport, was_kept=was_kept)
        return super().send(conn)


class _NotSent(aiohttp.ClientConnectionError):
    """A kept connection can't be used any more."""


_CONNECTING: t.Final = (aiohttp.ClientConnectorError, aiohttp.ClientSSLError)
_INTERRUPTIONS: t.Final = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)  # of which some are of connecting


def _session(context: ssl.SSLContext, limits: httpx.Limits) -> aiohttp.ClientSession:
    keeping: dict[str, t.Any] = {"keepalive_timeout": limits.keepalive_expiry}
    if limits.max_keepalive_connections == 0 or limits.keepalive_expiry == 0:
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
    # There is no option for it: aiohttp would send PUT and DELETE again when a kept connection ends without a response.
    session._retry_connection = False
    return session


def _of_httpx(request: httpx.Request) -> _Outgoing:
    url = request.url
    if url.scheme not in {"http", "https"}:
        raise httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol '{url.scheme}://'.")
    try:
        body: bytes | httpx.AsyncByteStream = request.content
    except httpx.RequestNotRead:
        body = t.cast("httpx.AsyncByteStream", request.stream)
    limits: dict[str, float | None] = request.extensions.get("timeout", {})
    timeout = httpx.Timeout(**{**dict.fromkeys(("connect", "read", "write", "pool")), **limits})
    target = _url(url.scheme, url.netloc, url.raw_path)
    framed = _framed(request.headers.raw, len(body) if isinstance(body, bytes) else None)
    return _Outgoing(request.method, target, framed, body, timeout)


def _url(scheme: str, authority: bytes, target: bytes) -> yarl.URL:
    if _TARGET.fullmatch(target) is None:
        raise httpx.LocalProtocolError(f"the path {target!r} isn't percent-encoded")
    return yarl.URL(f"{scheme}://{authority.decode('ascii')}{target.decode('ascii')}", encoded=True)


def _framed(headers: Headers, length: int | None) -> _Framed:
    """Return headers as aiohttp takes them, without those that frame the body."""
    rest, length = frame(headers, length)
    try:
        return multidict.CIMultiDict([(name.decode("ascii"), value.decode()) for name, value in rest]), length
    except UnicodeDecodeError as error:
        raise httpx.LocalProtocolError(f"a header isn't UTF-8: {error.object!r}") from None


def _checked(incoming: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    if 200 <= incoming.status < 1_000:
        return incoming
    incoming.close()
    raise httpx.RemoteProtocolError(f"a response can't have the status {incoming.status}")


async def _pieces(body: bytes) -> collections.abc.AsyncGenerator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


async def _read(content: aiohttp.StreamReader, outgoing: _Outgoing, limit: int | None) -> bytes:
    parts, size = list[bytes](), 0
    while not content.at_eof():
        chunk = await _chunk(content, outgoing)
        size += len(chunk)
        if limit is not None and size > limit:
            raise ResponseTooLarge(limit)
        parts.append(chunk)
    return b"".join(parts)


async def _chunk(content: aiohttp.StreamReader, outgoing: _Outgoing) -> bytes:
    """Return what has arrived of a body; nothing at its end."""
    if not content.is_eof():
        outgoing.wait(outgoing.timeout.read)
    try:
        return await content.readany()
    except (aiohttp.ClientError, OSError) as error:
        raise t.cast("Exception", outgoing.translated(error)) from error
    finally:
        outgoing.rest()


async def _close(incoming: aiohttp.ClientResponse, outgoing: _Outgoing) -> None:
    """Leave a response: its connection is kept if request and response have gone through to their ends."""
    incoming.close()
    await outgoing.aclose()


def _response(
    status: int,
    headers: collections.abc.Sequence[tuple[bytes, bytes]],
    stream: httpx.AsyncByteStream | httpx.ByteStream,
) -> httpx.Response:
    return httpx.Response(status, headers=[*headers], stream=stream, extensions=_EXTENSIONS)


@functools.lru_cache(maxsize=64)
def _timeout(connect: float | None) -> aiohttp.ClientTimeout:
    # `connect` is for all that there is to do before a request can be sent, looking the host up included
    return aiohttp.ClientTimeout(total=None, connect=connect)


def _translated(error: BaseException, url: yarl.URL, timeout: httpx.Timeout) -> httpx.HTTPError | None:
    match error:
        case aiohttp.ServerDisconnectedError():
            return httpx.RemoteProtocolError("Server disconnected without sending a response.")
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(f"{url.host_subcomponent}:{url.port} didn't answer for {timeout.connect:g} s")
        case aiohttp.ClientPayloadError():
            return httpx.RemoteProtocolError(f"Server disconnected before the end of its response: {error}")
        case aiohttp.ClientResponseError():
            return httpx.RemoteProtocolError(f"the server doesn't speak HTTP/1.1: {error.message}")
        case aiohttp.ClientError() | OSError():  # which the error of a certificate is, as well as a ValueError
            kind = httpx.ConnectError if isinstance(error, _CONNECTING) else httpx.ReadError
            return kind(str(error) or type(error).__name__)
        case ValueError():
            return httpx.LocalProtocolError(str(error))
    return None


def _is_readable(transport: asyncio.Transport | None) -> bool:
    """Whether something has arrived, or the end, that the event loop hasn't been told of."""
    socket = None if transport is None else transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
