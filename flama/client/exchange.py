"""A request on its way through an application, with what the application answers."""

import asyncio
import collections
import collections.abc
import types as python_types
import typing as t

from flama import types
from flama.client.messages import Answer, Headers, lowered

__all__ = ["Body", "Exchange", "StreamedExchange"]

Body: t.TypeAlias = bytes | collections.abc.AsyncIterator[bytes]

_HIGH_WATER = 65_536


class Exchange:
    """One request and its response, as the application's ``receive`` and ``send`` see them.

    Its state: what of the request is unread, the response as far as it was sent, and whether the exchange is over,
    because the response is complete or because the caller went away.
    """

    def __init__(self, scope: types.Scope, body: Body) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.status = 0
        self.headers: Headers = []
        self.chunks: collections.deque[bytes] = collections.deque()
        self.complete = False
        self.over = False
        self.unsent: Exception | None = None
        self._unread: Body | None = body
        self._ended: asyncio.Event | None = None
        self._bodiless = False
        self._missing: int | None = None

    @property
    def answer(self) -> Answer:
        """The response as far as it was sent."""
        return Answer(self.status, self.headers, b"".join(self.chunks))

    def fail(self) -> None:
        """Answer as a server does for an application that failed."""
        self.status, self.headers = 500, [(b"content-type", b"text/plain; charset=utf-8")]
        self.chunks.append(b"Internal Server Error")
        self.complete = True

    def end(self) -> None:
        """Let the application know that nothing more comes, and nothing more is wanted."""
        self.over = True
        if self._ended is not None:
            self._ended.set()

    async def close(self) -> None:
        """End the exchange, and close the generator that makes the request's body.

        One that is left open is closed by the event loop when it is collected, in a task that nobody waits for.
        """
        self.end()
        unread = self._unread
        # one that is running is read by a task that the application left
        if isinstance(unread, python_types.AsyncGeneratorType) and not unread.ag_running:
            self._unread = None
            await unread.aclose()

    async def receive(self) -> types.Message:
        """Give the application the next message of ASGI."""
        if isinstance(self._unread, bytes):
            body, self._unread = self._unread, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._unread is not None and not self.over:
            return await self._receive_chunk(self._unread)
        if not self.over:
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()
        return {"type": "http.disconnect"}

    async def _receive_chunk(self, chunks: collections.abc.AsyncIterator[bytes]) -> types.Message:
        try:
            return {"type": "http.request", "body": await anext(chunks), "more_body": True}
        except StopAsyncIteration:
            self._unread = None
            return {"type": "http.request", "body": b"", "more_body": False}
        except Exception as error:  # noqa: BLE001 - the caller's own, raised there again
            self.unsent = error
            self.end()
            return {"type": "http.disconnect"}

    async def send(self, message: types.Message) -> None:
        """Take a message of ASGI from the application.

        :raises RuntimeError: it may not be sent here.
        :raises OSError: the caller went away.
        """
        match message["type"]:
            case "http.response.start" if not self.status:
                self.status = message["status"]
                self.headers = lowered(message.get("headers", ()))
                self._bodiless = self.method == "HEAD" or self.status in {204, 304}
                self._missing = None if self._bodiless else _content_length(self.headers)
            case "http.response.body" if self.status and not self.complete:
                more = message.get("more_body", False)
                self._append(message.get("body", b""), more=more)
                if not more:
                    self.complete = True
                    self.end()
            case unexpected:
                raise RuntimeError(f"'{unexpected}' may not be sent here")

    def _append(self, chunk: bytes, *, more: bool) -> None:
        if self.over:
            raise OSError("The client has gone")
        if self._missing is not None:
            self._missing -= len(chunk)
            if self._missing < 0 or (self._missing > 0 and not more):
                raise RuntimeError("The body is not as long as its Content-Length says")
        if chunk and not self._bodiless:
            self._keep(bytes(chunk))

    def _keep(self, chunk: bytes) -> None:
        self.chunks.append(chunk)


class StreamedExchange(Exchange):
    """An exchange whose response is read while it is sent; the sender waits for a reader that lags behind."""

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
        while self._size > _HIGH_WATER and not self.over:
            self._writable.clear()
            await self._writable.wait()

    def _keep(self, chunk: bytes) -> None:
        super()._keep(chunk)
        self._size += len(chunk)

    async def until_started(self) -> None:
        """Wait until there is a response, or will be none."""
        while not self.status and not self.over:
            await self._next()

    async def read(self) -> bytes:
        """Return the next chunk of the body; nothing when no more comes."""
        while not self.chunks and not self.over:
            await self._next()
        if not self.chunks:
            return b""
        chunk = self.chunks.popleft()
        self._size -= len(chunk)
        self._writable.set()
        return chunk

    async def _next(self) -> None:
        self._readable.clear()
        await self._readable.wait()


def _content_length(headers: Headers) -> int | None:
    return next((int(value) for name, value in headers if name == b"content-length"), None)
