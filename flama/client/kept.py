"""Connections to services that are kept from one client to the next."""

import asyncio
import collections
import collections.abc
import functools
import ssl
import typing as t

import httpx

from flama.tasks import finished, outlast

__all__ = ["KeptConnections", "ssl_context"]

_MOST: t.Final = 20  # idle connections to one origin
_EXPIRY: t.Final = 4.0  # seconds of being idle: servers often hang up after five
_ONE: t.Final = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_EXPIRY)

_Origin: t.TypeAlias = tuple[str, str, int | None]


class KeptConnections:
    """Connections to services, from which clients get theirs one after the other.

    ``options`` are those of :class:`httpx.AsyncHTTPTransport`. There is no limit to be exhausted: who finds no idle
    connection makes one. One whose request failed, was cancelled, or was not read to its end is closed, whatever state
    it is in, and nobody gets it again.
    """

    # httpx's own pool counts connections that a cancellation left half-made, or given to nobody, as being in use for
    # ever. So each of these is a pool of one, which is thrown away as a whole.

    def __init__(self, *, verify: t.Any = True, cert: t.Any = None, trust_env: bool = True, **options: t.Any) -> None:
        usual = (verify, cert, trust_env) == (True, None, True)
        context = ssl_context() if usual else httpx.create_ssl_context(verify, cert, trust_env)
        self._options = {"verify": context, **options}
        self._idle: dict[_Origin, collections.deque[_Connection]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def are_here(self) -> bool:
        """Whether they are of the event loop that runs."""
        return self._loop is asyncio.get_running_loop()

    def transport(self) -> httpx.AsyncBaseTransport:
        """Give the transport of a client, which closes nothing that is kept."""
        return _Lease(self)

    async def aclose(self) -> None:
        """Close the connections that are idle, and those in use when they are given back."""
        self._closed = True
        for idle in self._idle.values():
            for connection in idle:
                self.discard(connection)
        self._idle.clear()
        if self._closing:
            await outlast(set(self._closing), first=False)

    def take(self, request: httpx.Request) -> "_Connection":
        """Give a connection for a request, the one that was used last."""
        origin = request.url.scheme, request.url.host, request.url.port
        idle = self._idle.get(origin)
        return idle.pop() if idle else _Connection(origin, self._options)

    def give_back(self, connection: "_Connection") -> None:
        """Keep a connection that is whole, and close those that were idle for too long."""
        if self._closed:
            self.discard(connection)
            return
        idle = self._idle.setdefault(connection.origin, collections.deque())
        idle.append(connection)
        connection.since = asyncio.get_running_loop().time()
        while len(idle) > _MOST or idle[0].since < connection.since - _EXPIRY:
            self.discard(idle.popleft())

    def discard(self, connection: "_Connection") -> None:
        """Close a connection, whatever becomes of who had it."""
        closing = asyncio.create_task(connection.transport.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """Give what checks the certificates of servers: loading the authorities takes 25 ms."""
    return httpx.create_ssl_context()


class _Connection:
    def __init__(self, origin: _Origin, options: collections.abc.Mapping[str, t.Any]) -> None:
        self.origin = origin
        self.transport = httpx.AsyncHTTPTransport(limits=_ONE, **options)
        self.since = 0.0  # when it was last used


class _Lease(httpx.AsyncBaseTransport):
    def __init__(self, connections: KeptConnections) -> None:
        self._connections = connections
        self._open: set[_Body] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._connections.take(request)
        try:
            response = await connection.transport.handle_async_request(request)
        except BaseException:
            self._connections.discard(connection)
            raise
        body = _Body(t.cast("httpx.AsyncByteStream", response.stream), self._ended, connection)
        self._open.add(body)
        return httpx.Response(
            response.status_code, headers=response.headers, stream=body, extensions=response.extensions
        )

    async def aclose(self) -> None:
        # what nobody has closed
        for body in list(self._open):
            await finished(body.aclose())

    def _ended(self, body: "_Body", *, whole: bool) -> None:
        if body in self._open:
            self._open.remove(body)
            (self._connections.give_back if whole else self._connections.discard)(body.connection)


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, ended: t.Any, connection: _Connection) -> None:
        self.connection = connection
        self._stream = stream
        self._ended = ended
        self._read = False

    async def __aiter__(self) -> collections.abc.AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._read = True

    async def aclose(self) -> None:
        whole = False
        try:
            if self._read:
                await self._stream.aclose()
                whole = True
        finally:
            self._ended(self, whole=whole)
