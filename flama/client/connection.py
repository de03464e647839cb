"""A connection to a server of HTTP/1.1, which answers one request at a time."""

import asyncio
import collections
import collections.abc
import select
import typing as t

import httptools
import httpx

from flama.client.messages import Answer, Headers, ResponseTooLarge

__all__ = ["Connection", "head"]

_HIGH_WATER: t.Final = 262_144  # bytes of a body that nobody has read yet, from which on the server has to wait
_LONGEST_HEAD: t.Final = 131_072
_IDLE: t.Final = 1.0  # seconds after which a server may have hung up, which is worth a look
_NO_BODY: t.Final = {204, 304}


def head(method: str, target: bytes, headers: Headers) -> bytes:
    """Give the first lines of a request.

    :raises httpx.LocalProtocolError: a header would be read as another line.
    """
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    text = b"%b %b HTTP/1.1\r\n%b\r\n" % (method.encode("ascii"), target, lines)
    count = len(headers) + 2
    if text.count(b"\n") != count or text.count(b"\r") != count or b"\0" in text:
        raise httpx.LocalProtocolError("a header has a line feed, a carriage return or NUL in it")
    return text


class Connection(asyncio.Protocol):
    """What a transport of asyncio talks to.

    Its state: the response as far as it has arrived, who waits for more of it, and whether the connection can be used
    again. The parser's callbacks are its methods.
    """

    transport: asyncio.Transport

    def __init__(self, origin: tuple[str, str, int]) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.used = False  # whether a response has come over it
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._alive = True
        self._begin("", None, None)
        self._complete = True

    def _begin(self, method: str, limit: int | None, patience: float | None) -> None:
        self._rest()
        self.status = 0
        self.headers: Headers = []
        self.error: httpx.HTTPError | None = None
        self._chunks: collections.deque[bytes] = collections.deque()
        self._size = self._unparsed = 0
        self._method, self._limit, self._patience = method, limit, patience
        self._complete = self._keeps_alive = self._to_the_end = self._streams = False
        self._heard = self._loop.time()
        if patience is not None:
            self._timer = self._loop.call_later(patience, self._look)

    def is_usable(self, *, surely: bool) -> bool:
        """Tell whether it is free for a request: nobody has hung up.

        What the event loop hasn't been told yet is looked at when that is likely, or ``surely``, since the request
        couldn't be sent again.
        """
        if not self._alive or not self._complete or self.transport.is_closing() or not self.is_here:
            return False
        is_fresh = not surely and self._loop.time() - self.idle_since < _IDLE
        return is_fresh or not _is_readable(self.transport)

    @property
    def is_here(self) -> bool:
        """Whether it is of the event loop that runs."""
        return self._loop is asyncio.get_running_loop()

    def is_reusable(self) -> bool:
        """Tell whether request and response went through to their ends, and the server would take another."""
        return self._alive and self._complete and self._keeps_alive and not self.transport.get_write_buffer_size()

    async def answer(
        self, method: str, request: bytes, *, limit: int | None = None, patience: float | None = None
    ) -> Answer:
        """Send a request that is there whole, and give the response whole; ``patience`` is for silences.

        :raises httpx.TransportError: there is none, or no more of it.
        :raises ResponseTooLarge: its body is longer than ``limit``.
        """
        self._begin(method, limit, patience)
        try:
            self.transport.write(request)
            if not self._complete and self.error is None:
                await self._more()
        finally:
            self._rest()
        if self.error is not None:
            raise self.error
        return Answer(self.status, self.headers, b"".join(self._chunks))

    async def start(
        self,
        method: str,
        request: bytes,
        body: collections.abc.AsyncIterable[bytes] | None,
        chunked: bool,
        timeout: httpx.Timeout,
    ) -> None:
        """Send a request, with a body that comes bit by bit if there is one, and wait for the response's head.

        :raises httpx.TransportError: there is none.
        """
        self._begin(method, None, None)
        self._streams = True
        self.transport.write(request)
        if body is not None:
            await self._send(body, chunked=chunked, patience=timeout.write)
        self._wait_for(timeout.read)
        while not self.status and self.error is None:
            await self._more()
        if self.error is not None and not self.status:
            raise self.error

    async def read(self) -> collections.abc.AsyncGenerator[bytes]:
        """Give the body of the response as it arrives.

        :raises httpx.TransportError: the rest doesn't arrive.
        """
        try:
            while self._chunks or not self._complete:
                while self._chunks:
                    chunk = self._chunks.popleft()
                    self._size -= len(chunk)
                    if self._size <= _HIGH_WATER:
                        self.transport.resume_reading()
                    yield chunk
                if self.error is not None:
                    raise self.error
                if not self._complete:
                    await self._more()
        finally:
            self._rest()

    def abort(self) -> None:
        """Hang up at once."""
        self._alive = False
        self._rest()
        self.transport.abort()

    def close(self) -> None:
        """Hang up."""
        self._alive = False
        self.transport.close()

    # What a transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = t.cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the server hung up, or we did."""
        self._alive = False
        self._writable.set()
        if not self.lost.done():
            self.lost.set_result(None)
        if not self._complete:
            started = "without sending a response" if not self.status else "before the end of its response"
            error = None if exc is None else httpx.ReadError(str(exc) or type(exc).__name__)
            self._fail(error or httpx.RemoteProtocolError(f"Server disconnected {started}."))

    def data_received(self, data: bytes) -> None:
        """Take what the server sends."""
        if self._complete:  # nobody has asked
            self.abort()
            return
        self._heard = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keeps_alive = False
            if not self._complete:
                self._fail(httpx.RemoteProtocolError(f"the server doesn't speak HTTP/1.1: {error}"))
            return
        self._check(len(data))

    def eof_received(self) -> None:
        """Take it that the server sends nothing more, which may be the end of a body."""
        if self._to_the_end and self.error is None:
            self._end()

    def pause_writing(self) -> None:
        """Wait for a server that lags behind."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Note that there is a response, which there has to be a request for."""
        if self._complete:
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes after the body is left out."""
        if not self.status and not self._complete:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the status, unless there is another to follow."""
        status = self._parser.get_status_code()
        if self._complete:
            return
        if status < 200:
            self.headers = []
            return
        self.status = status
        self._keeps_alive = self._parser.should_keep_alive()
        if self._method == "HEAD":
            self._keeps_alive = False  # the parser waits for a body
            self._end()
        elif status not in _NO_BODY:
            names = {name.lower() for name, _ in self.headers}
            self._to_the_end = names.isdisjoint((b"content-length", b"transfer-encoding"))

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if not self._complete and self.error is None:
            self._chunks.append(body)
            self._size += len(body)

    def on_message_complete(self) -> None:
        """Take it that the response is whole."""
        if self.status and not self._complete:
            self._end()

    def _end(self) -> None:
        self._complete = self.used = True
        self._wake()

    def _check(self, received: int) -> None:
        """See to it that the server doesn't send more than anybody can hold."""
        if not self.status:
            self._unparsed += received
            if self._unparsed > _LONGEST_HEAD:
                self._fail(httpx.RemoteProtocolError(f"the response's head is longer than {_LONGEST_HEAD:,} bytes"))
        elif self._limit is not None and self._size > self._limit:
            self._fail(ResponseTooLarge(self._limit))
        elif self._streams:
            self._wake()
            if self._size > _HIGH_WATER and not self._complete:
                self.transport.pause_reading()

    def _fail(self, error: httpx.HTTPError) -> None:
        self.error = self.error or error
        self._wake()
        self.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        """Wait until there is something new."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wait_for(self, patience: float | None) -> None:
        self._patience, self._heard = patience, self._loop.time()
        if patience is not None and self._timer is None and not self._complete:
            self._timer = self._loop.call_later(patience, self._look)

    def _look(self) -> None:
        """Give up a server that has been silent for too long, unless it is the reader who is."""
        self._timer = None
        patience = self._patience
        if patience is None or self._complete:
            return
        if self._streams and self._size:
            self._heard = self._loop.time()
        left = self._heard + patience - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._fail(httpx.ReadTimeout(f"the server was silent for {patience:g} s"))

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _send(self, body: collections.abc.AsyncIterable[bytes], *, chunked: bool, patience: float | None) -> None:
        async for chunk in body:
            if self._complete or self.error is not None:
                self._keeps_alive = False  # it has answered, and waits for no more
                return
            if chunk:
                self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            await self._drained(patience)
        if chunked and self.error is None and not self.transport.is_closing():  # else uvloop's raises RuntimeError
            self.transport.write(b"0\r\n\r\n")

    async def _drained(self, patience: float | None) -> None:
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(patience):
                await self._writable.wait()
        except TimeoutError:
            raise httpx.WriteTimeout(f"the server took nothing for {patience:g} s") from None


def _is_readable(transport: asyncio.Transport) -> bool:
    socket = transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
