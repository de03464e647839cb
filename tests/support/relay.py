"""A TCP relay in front of a server, which counts what passes and misbehaves when told to."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import typing as t

import sqlalchemy as sa

from tests.support import server

Connect: t.TypeAlias = collections.abc.Callable[
    [], collections.abc.Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
]

__all__ = ["Relay", "relayed"]


@dataclasses.dataclass
class Relay:
    """What stands between a client and a server.

    ``cut_after`` is how many bytes of the server's answers still pass before every connection is reset; while
    ``speaking`` is cleared, nothing passes, in either direction; ``refusing`` resets whoever connects; ``drip`` is
    how many seconds each byte of the server's takes.
    """

    connect: Connect
    url: sa.URL
    connections: int = 0
    answered: bytes = b""  # by the server, since it was last emptied
    recording: bool = False
    cut_after: int | None = None
    refusing: bool = False
    drip: float = 0
    speaking: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    _open: set[asyncio.StreamWriter] = dataclasses.field(default_factory=set)
    _forgotten: set[asyncio.StreamWriter] = dataclasses.field(default_factory=set)

    def reset(self) -> None:
        """Reset every connection."""
        for writer in list(self._open):
            writer.transport.abort()

    def forget(self) -> None:
        """Drop, from now on and without a word, all that comes on the connections there are."""
        self._forgotten |= self._open

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection to its end."""
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        upstream_reader, upstream = await self.connect()
        self._open |= {writer, upstream}
        try:
            await asyncio.gather(self._pass(reader, upstream), self._answer(upstream_reader, writer))
        except (OSError, RuntimeError):  # the latter is uvloop's, of a transport that is closed
            pass
        finally:
            self._open -= {writer, upstream}
            self._forgotten -= {writer, upstream}
            writer.transport.abort()
            upstream.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.speaking.wait()
            if writer in self._forgotten:
                continue
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.speaking.wait()
            if writer in self._forgotten:
                continue
            if self.recording:
                self.answered += data
            if self.cut_after is not None:
                data, self.cut_after = data[: self.cut_after], max(0, self.cut_after - len(data))
            for part in [data[i : i + 1] for i in range(len(data))] if self.drip else [data]:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(self.drip)
            if self.cut_after == 0:
                self.reset()
        writer.transport.abort()


@contextlib.asynccontextmanager
async def relayed(url: sa.URL) -> collections.abc.AsyncGenerator[Relay]:
    """Give a relay in front of a database's server, there for as long as this is open; its URL is the database's."""
    listener = server.listening()
    host, port = listener.getsockname()
    through = url.set(host=host, port=port).difference_update_query(["host"])
    relay = Relay(connect(url), through)
    relay.speaking.set()
    listening = await asyncio.start_server(relay.serve, sock=listener)
    try:
        yield relay
    finally:
        relay.reset()
        listening.close()
        await listening.wait_closed()


def connect(url: sa.URL) -> Connect:
    directory = url.query.get("host")
    if directory is not None:
        return lambda: asyncio.open_unix_connection(f"{directory}/.s.PGSQL.{url.port or 5432}")
    return lambda: asyncio.open_connection(url.host, url.port)
