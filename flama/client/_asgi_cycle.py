"""The ASGI cycle of one request to an application: its ``receive``, its ``send``, and the response."""

import asyncio
import collections
import collections.abc
import types as python_types
import typing as t

from flama import types
from flama.client._models import Headers, RawResponse, lower_names

__all__ = ["Body", "RequestResponseCycle", "StreamingCycle"]

Body: t.TypeAlias = bytes | collections.abc.AsyncIterator[bytes]

_HIGH_WATER = 65_536


class RequestResponseCycle:
    """One request and its response, as the application's ``receive`` and ``send`` see them.

    Its state: the unread part of the request, the response as far as it was sent, and whether the exchange is over.
    It is over when the response is complete or the caller has disconnected.
    """

    def __init__(self, scope: types.Scope, body: Body) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.status = 0
        self.headers: Headers = []
        self.chunks: collections.deque[bytes] = collections.deque()
        self.complete = False
        self.is_over = False
        self.request_error: Exception | None = None
        self._unread: Body | None = body
        self._over_event: asyncio.Event | None = None
        self._has_no_body = False
        self._bytes_expected: int | None = None

    @property
    def response(self) -> RawResponse:
        """The response as far as it was sent."""
        return RawResponse(self.status, self.headers, b"".join(self.chunks))

    def fail(self) -> None:
        """Set the response that a server sends for an application that failed."""
        self.status, self.headers = 500, [(b"content-type", b"text/plain; charset=utf-8")]
        self.chunks.append(b"Internal Server Error")
        self.complete = True

    def end(self) -> None:
        """End the exchange: the application receives ``http.disconnect``, and can't send any more."""
        self.is_over = True
        if self._over_event is not None:
            self._over_event.set()

    async def close(self) -> None:
        """End the exchange, and close the generator of the request's body.

        The event loop would close an open generator when it is collected, in a task that is never awaited.
        """
        self.end()
        unread = self._unread
        # a running generator is being read by a task that the application left behind
        if isinstance(unread, python_types.AsyncGeneratorType) and not unread.ag_running:
            self._unread = None
            await unread.aclose()

    async def receive(self) -> types.Message:
        """Return the next ASGI message for the application."""
        if isinstance(self._unread, bytes):
            body, self._unread = self._unread, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._unread is not None and not self.is_over:
            return await self._receive_chunk(self._unread)
        if not self.is_over:
            self._over_event = self._over_event or asyncio.Event()
            await self._over_event.wait()
        return {"type": "http.disconnect"}

    async def _receive_chunk(self, chunks: collections.abc.AsyncIterator[bytes]) -> types.Message:
        try:
            return {"type": "http.request", "body": await anext(chunks), "more_body": True}
        except StopAsyncIteration:
            self._unread = None
            return {"type": "http.request", "body": b"", "more_body": False}
        except Exception as error:  # noqa: BLE001 - an error of the caller's generator, raised again in the caller
            self.request_error = error
            self.end()
            return {"type": "http.disconnect"}

    async def send(self, message: types.Message) -> None:
        """Process an ASGI message of the application.

        :raises RuntimeError: the message isn't allowed here.
        :raises OSError: the caller has disconnected.
        """
        match message["type"]:
            case "http.response.start" if not self.status:
                self.status = message["status"]
                self.headers = lower_names(message.get("headers", ()))
                self._has_no_body = self.method == "HEAD" or self.status in {204, 304}
                self._bytes_expected = None if self._has_no_body else _content_length(self.headers)
            case "http.response.body" if self.status and not self.complete:
                more = message.get("more_body", False)
                self._append(message.get("body", b""), more=more)
                if not more:
                    self.complete = True
                    self.end()
            case unexpected:
                raise RuntimeError(f"'{unexpected}' may not be sent here")

    def _append(self, chunk: bytes, *, more: bool) -> None:
        if self.is_over:
            raise OSError("The client has gone")
        if self._bytes_expected is not None:
            self._bytes_expected -= len(chunk)
            if self._bytes_expected < 0 or (self._bytes_expected > 0 and not more):
                raise RuntimeError("The body is not as long as its Content-Length says")
        if chunk and not self._has_no_body:
            self._store_chunk(bytes(chunk))

    def _store_chunk(self, chunk: bytes) -> None:
        self.chunks.append(chunk)


class StreamingCycle(RequestResponseCycle):
    """An exchange whose response is read while it is sent; the sender waits for a slow reader."""

    def __init__(self, scope: types.Scope, body: Body) -> None:
        super().__init__(scope, body)
        self.error: Exception | None = None
        self._size = 0
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    def end(self) -> None:
        super().end()
        self._readable.set()
        self._writable.set()

    async def send(self, message: types.Message) -> None:
        await super().send(message)
        self._readable.set()
        while self._size > _HIGH_WATER and not self.is_over:
            self._writable.clear()
            await self._writable.wait()

    def _store_chunk(self, chunk: bytes) -> None:
        super()._store_chunk(chunk)
        self._size += len(chunk)

    async def wait_for_start(self) -> None:
        """Wait until the response starts or the exchange is over."""
        while not self.status and not self.is_over:
            await self._wait_readable()

    async def read(self) -> bytes:
        """Return the next chunk of the body; empty at the end."""
        while not self.chunks and not self.is_over:
            await self._wait_readable()
        if not self.chunks:
            return b""
        chunk = self.chunks.popleft()
        self._size -= len(chunk)
        self._writable.set()
        return chunk

    async def _wait_readable(self) -> None:
        self._readable.clear()
        await self._readable.wait()


def _content_length(headers: Headers) -> int | None:
    return next((int(value) for name, value in headers if name == b"content-length"), None)
