"""Transports for asyncpg that send pending messages together with the next statement.

Event loops send each write at once. Sending costs more than everything else that is done for a BEGIN: it wakes the
server, which finds nothing to respond to yet.
"""

import asyncio
import collections.abc
import typing as t

import asyncpg
from asyncpg.protocol import Protocol

__all__ = ["WriteBufferingTransport", "connect"]

_Made: t.TypeAlias = tuple[t.Any, t.Any]  # a transport and its protocol


class WriteBufferingTransport:
    """A transport that can delay data until the next write."""

    __slots__ = ("_held", "_write", "transport")

    def __init__(self, transport: t.Any) -> None:
        self._held = b""
        self.transport = transport
        self._write = transport.write

    def hold(self, data: bytes) -> None:
        """Delay data, and send it with the next write."""
        self._held += data

    def write(self, data: t.Any) -> None:
        """Write data, in one piece with what was held back."""
        if self._held:
            data, self._held = self._held + data, b""
        self._write(data)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.transport, name)


async def connect(*args: t.Any, **options: t.Any) -> t.Any:
    """Connect as :func:`asyncpg.connect` does, over a :class:`WriteBufferingTransport`."""
    return await asyncpg.connect(*args, **{"loop": _LoopProxy(asyncio.get_running_loop()), **options})


class _LoopProxy:
    # the event loop, except for the methods that make asyncpg's connections

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: t.Any, *args: t.Any, **options: t.Any) -> _Made:
        return await _create_buffered(self._loop.create_connection, factory, *args, **options)

    async def create_unix_connection(self, factory: t.Any, *args: t.Any, **options: t.Any) -> _Made:
        return await _create_buffered(self._loop.create_unix_connection, factory, *args, **options)

    async def start_tls(
        self, transport: WriteBufferingTransport, *args: t.Any, **options: t.Any
    ) -> WriteBufferingTransport | None:
        encrypted = await self._loop.start_tls(transport.transport, *args, **options)
        return None if encrypted is None else WriteBufferingTransport(encrypted)


async def _create_buffered(
    create: collections.abc.Callable[..., collections.abc.Awaitable[_Made]],
    factory: collections.abc.Callable[[], t.Any],
    *args: t.Any,
    **options: t.Any,
) -> _Made:
    def first() -> t.Any:
        protocol = factory()
        return (
            _BootstrapProtocol(protocol) if isinstance(protocol, Protocol) else protocol
        )  # another protocol first requests encryption

    transport, protocol = await create(first, *args, **options)
    return (
        (protocol.transport, protocol.protocol)
        if isinstance(protocol, _BootstrapProtocol)
        else (WriteBufferingTransport(transport), protocol)
    )


class _BootstrapProtocol(asyncio.Protocol):
    # stands in for asyncpg's protocol until there is a transport, then passes the wrapped transport to it

    transport: WriteBufferingTransport

    def __init__(self, protocol: t.Any) -> None:
        self.protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = WriteBufferingTransport(transport)
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.connection_lost(exc)
