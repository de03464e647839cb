"""Transports of asyncpg's by which what goes ahead of a statement is sent in one piece with it.

Event loops send what is written at once, and to send costs more than all else that is done for a BEGIN: it wakes the
server, which finds that there is nothing to answer yet.
"""

import asyncio
import collections.abc
import typing as t

import asyncpg
from asyncpg.protocol import Protocol

__all__ = ["Holding", "connect"]

_Made: t.TypeAlias = tuple[t.Any, t.Any]  # a transport and its protocol


class Holding:
    """A transport that can hold something back until the next write."""

    __slots__ = ("_held", "_write", "transport")

    def __init__(self, transport: t.Any) -> None:
        self._held = b""
        self.transport = transport
        self._write = transport.write

    def hold(self, data: bytes) -> None:
        """Send this with what is written next."""
        self._held += data

    def write(self, data: t.Any) -> None:
        """Write, in one piece with what was held back."""
        if self._held:
            data, self._held = self._held + data, b""
        self._write(data)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.transport, name)


async def connect(*args: t.Any, **options: t.Any) -> t.Any:
    """Connect as :func:`asyncpg.connect` does, by a transport that is :class:`Holding`."""
    return await asyncpg.connect(*args, **{"loop": _Loop(asyncio.get_running_loop()), **options})


class _Loop:
    # the event loop, except for how asyncpg's connections are made

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: t.Any, *args: t.Any, **options: t.Any) -> _Made:
        return await _made(self._loop.create_connection, factory, *args, **options)

    async def create_unix_connection(self, factory: t.Any, *args: t.Any, **options: t.Any) -> _Made:
        return await _made(self._loop.create_unix_connection, factory, *args, **options)

    async def start_tls(self, transport: Holding, *args: t.Any, **options: t.Any) -> Holding | None:
        encrypted = await self._loop.start_tls(transport.transport, *args, **options)
        return None if encrypted is None else Holding(encrypted)


async def _made(
    create: collections.abc.Callable[..., collections.abc.Awaitable[_Made]],
    factory: collections.abc.Callable[[], t.Any],
    *args: t.Any,
    **options: t.Any,
) -> _Made:
    def first() -> t.Any:
        protocol = factory()
        return _First(protocol) if isinstance(protocol, Protocol) else protocol  # another asks for encryption first

    transport, protocol = await create(first, *args, **options)
    return (protocol.transport, protocol.protocol) if isinstance(protocol, _First) else (Holding(transport), protocol)


class _First(asyncio.Protocol):
    # stands in for asyncpg's until there is a transport, which asyncpg's is then given in its wrapper

    transport: Holding

    def __init__(self, protocol: t.Any) -> None:
        self.protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = Holding(transport)
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.connection_lost(exc)
