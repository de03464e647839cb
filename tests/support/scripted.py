"""A server of HTTP that answers by a script, byte for byte."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import typing as t

from tests.support import server

__all__ = ["Asked", "Scripted", "answer", "connected", "scripted"]


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request, as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


Script: t.TypeAlias = collections.abc.Callable[[Asked, asyncio.StreamWriter], collections.abc.Awaitable[None]]
Handler: t.TypeAlias = collections.abc.Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], collections.abc.Awaitable[None]
]


@dataclasses.dataclass
class Scripted:
    """What such a server was asked, and where it is."""

    url: str
    script: Script
    asked: list[Asked] = dataclasses.field(default_factory=list)
    connections: int = 0
    open: set[asyncio.StreamWriter] = dataclasses.field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until either side hangs up."""
        self.connections += 1
        number = self.connections
        self.open.add(writer)
        try:
            while not writer.is_closing():
                asked = await _asked(reader, number)
                self.asked.append(asked)
                await self.script(asked, writer)
                await writer.drain()
        finally:
            self.open.discard(writer)


def answer(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Give a response with this body, which says that it is so long."""
    lines = [f"HTTP/1.1 {status} Status", f"content-length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def scripted(script: Script | bytes, **options: t.Any) -> collections.abc.AsyncGenerator[Scripted]:
    """Give a server of this script, or of this one answer, there for as long as this is open.

    ``options`` are those of :func:`asyncio.start_server`.
    """
    service = Scripted("", _answering(script) if isinstance(script, bytes) else script)
    async with connected(service.serve, **options) as service.url:
        yield service


@contextlib.asynccontextmanager
async def connected(handler: Handler, **options: t.Any) -> collections.abc.AsyncGenerator[str]:
    """Give the URL of a server that does this with each connection."""
    tasks: dict[asyncio.Task[t.Any], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks[t.cast("asyncio.Task[t.Any]", asyncio.current_task())] = writer
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    listener = server.listening()
    listening = await asyncio.start_server(serve, sock=listener, **options)
    try:
        yield "{}://{}:{}".format("https" if options.get("ssl") else "http", *listener.getsockname())
    finally:
        listening.close()
        for task, writer in tasks.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*tasks)
        await listening.wait_closed()


def _answering(response: bytes) -> Script:
    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(response)

    return script


async def _asked(reader: asyncio.StreamReader, connection: int) -> Asked:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    if headers.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    return Asked(method, target, headers, body, connection)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body
