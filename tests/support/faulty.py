"""A relay that fails at a chosen byte of what passes."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import typing as t

import sqlalchemy as sa

from tests.support import server
from tests.support.relay import Relay, connect

__all__ = ["Fault", "FaultyRelay", "Side", "faulty"]

Side: t.TypeAlias = t.Literal["client", "server"]


@dataclasses.dataclass
class Fault:
    """What becomes of all connections when so many bytes of one side have passed."""

    side: Side
    after: int
    kind: t.Literal["reset", "silence"]


@dataclasses.dataclass
class FaultyRelay(Relay):
    """Passes what comes, byte by byte if it drips, until its fault comes; ``passed`` is what did, by side.

    A silence is about the connections that there are then, and those that are made until ``speak``.
    """

    fault: Fault | None = None
    drips: bool = False
    passed: dict[Side, bytes] = dataclasses.field(default_factory=dict)
    failed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    _dark: bool = False
    _mute: set[asyncio.StreamWriter] = dataclasses.field(default_factory=set)
    _served: set[asyncio.Task[None]] = dataclasses.field(default_factory=set)

    def expect(self, fault: Fault | None = None) -> None:
        """Count from now on, and have this fault."""
        self.passed = {"client": b"", "server": b""}
        self.fault = fault
        self.failed.clear()

    def speak(self) -> None:
        """Let connections pass that are made from now on, and have no fault any more."""
        self._dark, self.fault = False, None

    async def end(self) -> None:
        """Reset every connection, and wait for their ends."""
        self.reset()
        await asyncio.gather(*self._served)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection to its end."""
        self._served.add(t.cast("asyncio.Task[None]", asyncio.current_task()))
        if self._dark:
            self._mute.add(writer)
            self._open.add(writer)
            await reader.read(-1)
            return
        await super().serve(reader, writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._carry("client", reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._carry("server", reader, writer)

    async def _carry(self, side: Side, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if writer in self._mute:
                continue
            due = self._due(side, data)
            for part in [data[i : i + 1] for i in range(len(data))] if self.drips else [data[:due]]:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            if due is not None:
                self._fail()
        if writer not in self._mute:
            writer.transport.abort()

    def _due(self, side: Side, data: bytes) -> int | None:
        """Tell after how many bytes of this the fault is due."""
        before = len(self.passed.get(side, b""))
        self.passed[side] = self.passed.get(side, b"") + data
        fault = self.fault
        if fault is None or fault.side != side or fault.after > before + len(data):
            return None
        return fault.after - before

    def _fail(self) -> None:
        fault, self.fault = self.fault, None
        self.failed.set()
        if fault is not None and fault.kind == "silence":
            self._dark = True
            self._mute |= self._open
        else:
            self.reset()


@contextlib.asynccontextmanager
async def faulty(url: sa.URL) -> collections.abc.AsyncGenerator[FaultyRelay]:
    """Give such a relay in front of a database's server, there for as long as this is open."""
    listener = server.listening()
    host, port = listener.getsockname()
    relay = FaultyRelay(connect(url), url.set(host=host, port=port).difference_update_query(["host"]))
    relay.speaking.set()
    listening = await asyncio.start_server(relay.serve, sock=listener)
    try:
        yield relay
    finally:
        listening.close()
        await relay.end()
        await listening.wait_closed()
