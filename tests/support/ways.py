"""A service that responds by a function, reached in every way that a client has."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import typing as t
import urllib.parse

import httpx

from flama.client import Client
from tests.support import scripted

__all__ = ["WAYS", "Reply", "Service", "connected", "reached"]


@dataclasses.dataclass(frozen=True)
class Reply:
    """A response: ``headers`` are lines."""

    status: int = 200
    body: bytes = b""
    headers: tuple[str, ...] = ()


Respond: t.TypeAlias = collections.abc.Callable[[scripted.Asked], Reply]


@dataclasses.dataclass
class Service:
    """An ASGI application, and a script of a socket's server, that respond alike; with what they were asked."""

    respond: Respond
    asked: list[scripted.Asked] = dataclasses.field(default_factory=list)

    async def script(self, asked: scripted.Asked, writer: asyncio.StreamWriter) -> None:
        """Respond over a socket, also as a proxy, which is asked for whole URLs."""
        reply = self._reply(dataclasses.replace(asked, target=_path_of(asked.target)))
        writer.write(scripted.answer(reply.status, reply.body, *reply.headers))

    async def __call__(self, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        """Respond within the process."""
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        target = (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode("ascii")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        reply = self._reply(scripted.Asked(scope["method"], target, headers, body, 0))
        lines = (line.partition(": ") for line in reply.headers)
        sent = [(name.encode(), value.encode("latin-1")) for name, _, value in lines]
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        for start in range(0, len(reply.body), 7):
            await send({"type": "http.response.body", "body": reply.body[start : start + 7], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _reply(self, asked: scripted.Asked) -> Reply:
        self.asked.append(asked)
        return self.respond(asked)


def _path_of(target: str) -> str:
    parts = urllib.parse.urlsplit(target)
    return urllib.parse.urlunsplit(("", "", *parts[2:])) if parts.scheme else target


async def _watch(_: t.Any) -> None:
    """An event hook that does nothing."""


_HOOKS: t.Final = {"event_hooks": {"request": [_watch]}}

#: The settings of a client for each way, by the URL of the service; certificates, which take long to load, aren't used.
_OVER_SOCKETS: dict[str, collections.abc.Callable[[str], dict[str, t.Any]]] = {
    "direct": lambda url: {"base_url": url},
    "hooks": lambda url: {"base_url": url, **_HOOKS},
    "auth": lambda url: {"base_url": url, "auth": ("ann", "secret")},
    "user in the URL": lambda url: {"base_url": url.replace("://", "://ann:secret@")},
    "params": lambda url: {"base_url": url, "params": {"key": "1"}},
    "proxy": lambda url: {"base_url": "http://service.example", "proxy": url, "verify": False},
    "httpx": lambda url: {"base_url": url, "transport": httpx.AsyncHTTPTransport(verify=False)},
}
_IN_PROCESS: dict[str, dict[str, t.Any]] = {"in process": {}, "in process, hooks": _HOOKS}

#: The names of all ways.
WAYS: t.Final = (*_OVER_SOCKETS, *_IN_PROCESS)


@contextlib.asynccontextmanager
async def connected(
    way: str, respond: Respond, **settings: t.Any
) -> collections.abc.AsyncGenerator[tuple[Client, Service]]:
    """Give a client of a service, with the service."""
    service = Service(respond)
    if way not in _IN_PROCESS:
        async with reached(way, service.script, **settings) as client:
            yield client, service
        return
    async with Client(app=service, **{**_IN_PROCESS[way], **settings}) as client:
        yield client, service


@contextlib.asynccontextmanager
async def reached(way: str, script: scripted.Script, **settings: t.Any) -> collections.abc.AsyncGenerator[Client]:
    """Give a client of a server of this script, by a way over sockets."""
    async with scripted.scripted(script) as server, Client(**{**_OVER_SOCKETS[way](server.url), **settings}) as client:
        yield client
