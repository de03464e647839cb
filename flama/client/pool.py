"""A pool of connections to servers."""

import asyncio
import contextlib
import ssl
import typing as t

import httpx

from flama.client._tcp import connect
from flama.client.connection import Connection
from flama.tasks import outlast

__all__ = ["Origin", "Pool"]

Origin: t.TypeAlias = tuple[str, str, int]
"""What a connection is made to: scheme, host, port."""

_PATIENCE: t.Final = 1.0  # seconds for connections to close


class Pool:
    """Connections that are open, which serve requests in the order of asking.

    Its state: those that are idle, oldest first, all that are open or being made, and how many more may be in use.
    What is acquired is released once, whatever became of it.
    """

    def __init__(self, limits: httpx.Limits, context: ssl.SSLContext) -> None:
        self._limits = limits
        self._context = context
        self._turns = None if limits.max_connections is None else asyncio.Semaphore(limits.max_connections)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._making: set[asyncio.Task[Connection]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def acquire(
        self, origin: Origin, timeout: httpx.Timeout, *, fresh: bool = False, surely: bool = False
    ) -> Connection:
        """Give a connection to a server, which nobody else has: a ``fresh`` one, or one that ``surely`` is open still.

        :raises httpx.PoolTimeout: all that there may be are in use.
        :raises httpx.ConnectError: the server can't be reached, or isn't the one of its certificate.
        :raises httpx.ConnectTimeout: it doesn't answer.
        """
        if self._turns is not None:
            await self._turn(self._turns, timeout.pool)
        try:
            idle = None if fresh else self._idle_one(origin, surely)
            return idle or await self._connected(origin, timeout.connect)
        except BaseException:
            self._pass_on()
            raise

    def release(self, connection: Connection) -> None:
        """Take a connection back, and keep it if it can be used again."""
        self._pass_on()
        if self._closed or not connection.is_reusable():
            connection.abort()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        most = self._limits.max_keepalive_connections
        if most is not None and len(self._idle) > most:
            self._idle.pop(0).close()
        if self._timer is None and self._limits.keepalive_expiry is not None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.keepalive_expiry, self._expire)

    async def aclose(self) -> None:
        """Close all connections, those in use too."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._idle.clear()
        for making in self._making:
            making.cancel()
        for connection in tuple(self._open):
            connection.abort()
        await outlast([*self._making, *(connection.lost for connection in self._open)], _PATIENCE, first=False)

    def _pass_on(self) -> None:
        if self._turns is not None:
            self._turns.release()

    async def _turn(self, turns: asyncio.Semaphore, patience: float | None) -> None:
        if not turns.locked() or patience is None:
            await turns.acquire()
            return
        try:
            async with asyncio.timeout(patience):
                await turns.acquire()
        except TimeoutError:
            most = self._limits.max_connections
            raise httpx.PoolTimeout(f"each of the {most} connections was in use for {patience:g} s") from None

    def _idle_one(self, origin: Origin, surely: bool) -> Connection | None:
        for place in range(len(self._idle) - 1, -1, -1):
            connection = self._idle[place]
            if connection.origin == origin:
                del self._idle[place]
                if connection.is_usable(surely=surely):
                    return connection
                if connection.is_here:
                    connection.abort()
        return None

    async def _connected(self, origin: Origin, patience: float | None) -> Connection:
        most = self._limits.max_connections
        if most is not None and len(self._open) >= most and self._idle:
            self._idle.pop(0).close()
        # asyncio may lose a socket whose connecting is cancelled when it is about to end: it ends in its own time
        making = asyncio.create_task(self._made(origin, patience))
        self._making.add(making)
        making.add_done_callback(self._making.discard)
        try:
            await asyncio.wait((making,))
        except asyncio.CancelledError:
            making.add_done_callback(_abort)
            raise
        return making.result()

    async def _made(self, origin: Origin, patience: float | None) -> Connection:
        scheme, host, port = origin
        context = self._context if scheme == "https" else None
        try:
            async with asyncio.timeout(patience):
                connection = await connect(lambda: Connection(origin), host, port, context)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{host}:{port} didn't answer for {patience:g} s") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error)) from error
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _: self._forget(connection))
        return connection

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def _expire(self) -> None:
        self._timer = None
        expiry = t.cast("float", self._limits.keepalive_expiry)
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0].idle_since + expiry <= loop.time():
            self._idle.pop(0).close()
        if self._idle:
            self._timer = loop.call_at(self._idle[0].idle_since + expiry, self._expire)


def _abort(making: asyncio.Task[Connection]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().abort()
