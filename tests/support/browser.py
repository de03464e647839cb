"""A real browser without a window, spoken to by the DevTools protocol."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import itertools
import json
import pathlib
import shutil
import typing as t

import httpx
import websockets.asyncio.client

from tests.support import server

__all__ = ["Page", "executable", "opened"]

_PATIENCE = 30.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def executable() -> str | None:
    """Give the path of Chromium, or of Chrome; None when neither is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclasses.dataclass
class Page:
    """A page of the browser, with what it has requested and complained of so far."""

    socket: websockets.asyncio.client.ClientConnection
    requests: list[str] = dataclasses.field(default_factory=list)
    complaints: list[str] = dataclasses.field(default_factory=list)
    numbers: t.Iterator[int] = dataclasses.field(default_factory=itertools.count)

    async def call(self, method: str, **parameters: t.Any) -> t.Any:
        """Give the result of a method of the protocol."""
        number = next(self.numbers)
        await self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(await self.socket.recv())).get("id") != number:
            self._note(message["method"], message["params"])
        assert "error" not in message, message
        return message["result"]

    async def evaluate(self, expression: str) -> t.Any:
        """Give the value of a JavaScript expression."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> t.Any:
        """Wait until a JavaScript expression is true, and give its value."""
        async with asyncio.timeout(_PATIENCE):
            while not (value := await self.evaluate(expression)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # nothing tells of it
        return value

    def _note(self, event: str, details: t.Any) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.requests.append(details["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(details["exceptionDetails"]))
            case "Log.entryAdded" if details["entry"]["level"] in ("error", "warning"):
                self.complaints.append(str(details["entry"]))
            case "Runtime.consoleAPICalled" if details["type"] in ("error", "warning"):
                self.complaints.append(str(details["args"]))


@contextlib.asynccontextmanager
async def opened(url: str, profile: pathlib.Path) -> collections.abc.AsyncGenerator[Page]:
    """Give the page at a URL, in a browser of its own that keeps what it must in the folder ``profile``."""
    with server.listening() as listener:
        port = listener.getsockname()[1]  # free a moment ago
    options = (f"--user-data-dir={profile}", f"--remote-debugging-port={port}", "about:blank")
    process = await asyncio.create_subprocess_exec(
        str(executable()), *_FLAGS, *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with websockets.asyncio.client.connect(await _target(port), max_size=None) as socket:
            page = Page(socket)
            for domain in ("Log", "Network", "Page", "Runtime"):
                await page.call(f"{domain}.enable")
            await page.call("Page.navigate", url=url)
            yield page
    finally:
        process.terminate()
        await process.wait()


async def _target(port: int) -> str:
    """The address at which the browser's page is spoken to, once it is there."""
    async with asyncio.timeout(_PATIENCE), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                targets = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
                return next(str(one["webSocketDebuggerUrl"]) for one in targets if one["type"] == "page")
            except (httpx.TransportError, StopIteration):
                await asyncio.sleep(0.05)
