"""An HTTP proxy, which forwards requests and makes tunnels, in a thread and on an event loop of its own."""

import asyncio
import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import threading
import urllib.parse

from tests.support import server

__all__ = ["Proxy", "proxied"]


@dataclasses.dataclass
class Proxy:
    """Where it is, and what it was asked for: methods and targets, as they were sent."""

    url: str
    requests: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
            self.requests.append((method, target))
            await (self._tunnel if method == "CONNECT" else self._forward)(target, head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, RuntimeError):  # the last is uvloop's, of a closed transport
            pass
        finally:
            writer.close()

    async def _tunnel(
        self, target: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = target.rpartition(":")
        async with _connected(host, int(port), writer) as (upstream_reader, upstream):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _relay_both_ways(reader, writer, upstream_reader, upstream)

    async def _forward(
        self, target: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # one request a connection: the next may be for another server
        url = urllib.parse.urlsplit(target)
        path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"proxy-"))]
        lines[0] = lines[0].replace(target.encode(), path.encode(), 1)
        async with _connected(url.hostname or "", url.port or 80, writer) as (upstream_reader, upstream):
            upstream.write(b"\r\n".join([lines[0], b"connection: close", *lines[1:]]))
            await _relay_both_ways(reader, writer, upstream_reader, upstream)


@contextlib.contextmanager
def proxied() -> collections.abc.Generator[Proxy]:
    """Yield a proxy, there for as long as this is open."""
    with server.listening() as listener:
        proxy = Proxy("http://{}:{}".format(*listener.getsockname()))
        started: concurrent.futures.Future[collections.abc.Callable[[], object]] = concurrent.futures.Future()

        async def serve() -> None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            async with await asyncio.start_server(proxy.serve, sock=listener.dup()):
                started.set_result(lambda: loop.call_soon_threadsafe(ended.set))
                await ended.wait()

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        stop = started.result()
        try:
            yield proxy
        finally:
            stop()
            thread.join()


@contextlib.asynccontextmanager
async def _connected(
    host: str, port: int, writer: asyncio.StreamWriter
) -> collections.abc.AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        reader, upstream = await asyncio.open_connection(host, port)
    except OSError:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        raise
    try:
        yield reader, upstream
    finally:
        upstream.close()


async def _relay_both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream_reader: asyncio.StreamReader,
    upstream: asyncio.StreamWriter,
) -> None:
    """Relay until either side hangs up."""
    ways = [asyncio.create_task(_relay(*way)) for way in ((reader, upstream), (upstream_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
