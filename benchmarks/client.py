"""What a call of a service costs the client's process, in it and over a socket, beside plain httpx and others."""

import argparse
import asyncio
import collections.abc
import contextlib
import itertools
import statistics
import sys
import typing as t

import aiohttp
import httptools
import httpx
import measure
import msgspec
import uvloop
from contenders import remote

from flama.client import Client
from flama.ddd.repositories.http import HTTPResourceRepository

LIBRARIES = ("httpx", "httptools", "aiohttp", "msgspec", "uvicorn", "uvloop")
ROUNDS = 60
REPOSITORY = "flama's repository"
HTTPX = "plain httpx"
AIOHTTP = "aiohttp by hand"
APP = "the application alone"
HAND = "a bare socket by hand"
PAGE = 1_000
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

Call: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[t.Any]]


class Users(HTTPResourceRepository):
    """The service's users."""

    _resource = "/user"
    _page_size = PAGE


@contextlib.asynccontextmanager
async def in_process() -> collections.abc.AsyncIterator[dict[str, Call]]:
    """Calls of an application in this process, and its own cost: being called with a scope that is there."""
    headers = [(b"host", b"localapp"), (b"accept", b"*/*"), (b"user-agent", b"flama")]
    scope = {"type": "http", "method": "GET", "path": "/user/1/", "query_string": b"", "headers": headers}
    sent: list[t.Any] = []

    async def receive() -> dict[str, t.Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: t.Any) -> None:
        sent.append(message)

    async def alone() -> t.Any:
        sent.clear()
        await remote.app(scope, receive, send)
        return msgspec.json.decode(sent[1]["body"])

    transport = httpx.ASGITransport(app=remote.app)
    async with (
        Client(app=remote.app) as ours,
        httpx.AsyncClient(base_url="http://localapp", transport=transport) as plain,
    ):
        users = Users(ours)
        yield {
            APP: alone,
            REPOSITORY: lambda: users.retrieve("1"),
            "flama's client as httpx's": lambda: _json(ours.get("/user/1/")),
            HTTPX: lambda: _json(plain.get("/user/1/")),
        }


@contextlib.asynccontextmanager
async def over_a_socket() -> collections.abc.AsyncIterator[dict[str, Call]]:
    """Calls of a server in another process."""
    with remote.served() as url:
        async with (
            Client(base_url=url) as ours,
            httpx.AsyncClient(base_url=url) as plain,
            aiohttp.ClientSession() as session,
        ):
            users = Users(ours)

            async def by_aiohttp() -> t.Any:
                async with session.get(f"{url}/user/1/") as response:
                    return msgspec.json.decode(await response.read())

            yield {
                AIOHTTP: by_aiohttp,
                REPOSITORY: lambda: users.retrieve("1"),
                "flama's client as httpx's": lambda: _json(ours.get("/user/1/")),
                HTTPX: lambda: _json(plain.get("/user/1/")),
            }


@contextlib.asynccontextmanager
async def listing() -> collections.abc.AsyncIterator[dict[str, Call]]:
    """All rows of a server in another process, page by page."""
    with remote.served() as url:
        async with Client(base_url=url) as ours, httpx.AsyncClient(base_url=url) as plain:
            users = Users(ours)

            async def by_repository() -> list[t.Any]:
                return [user async for user in users.list()]

            async def by_httpx() -> list[t.Any]:
                found: list[t.Any] = []
                for page in range(1, remote.ROWS // PAGE + 1):
                    query = {"page": page, "page_size": PAGE}
                    found += (await plain.get("/user/", params=query)).json()["data"]
                return found

            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), limit=2**20)

            async def by_hand() -> list[t.Any]:
                found: list[t.Any] = []
                for page in range(1, remote.ROWS // PAGE + 1):
                    path = f"/user/?page={page}&page_size={PAGE}"
                    writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
                    found += msgspec.json.decode(await _Response().read(reader))["data"]
                return found

            yield {HAND: by_hand, REPOSITORY: by_repository, HTTPX: by_httpx}
            writer.close()


class _Response:
    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._is_complete = False

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Give the body."""
        parser = httptools.HttpResponseParser(self)
        while not self._is_complete:
            parser.feed_data(await reader.read(2**18))
        return b"".join(self._parts)

    def on_body(self, body: bytes) -> None:
        """Take a part."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Take the end."""
        self._is_complete = True


async def _json(response: collections.abc.Awaitable[httpx.Response]) -> t.Any:
    return (await response).json()


class Case(t.NamedTuple):
    """A question: who takes part, by whom they are divided, how many calls are a sample, what the answer should be."""

    title: str
    contenders: collections.abc.Callable[[], contextlib.AbstractAsyncContextManager[dict[str, Call]]]
    base: str
    calls: int
    answer: t.Any
    verdict: collections.abc.Callable[[measure.Figures], str]


def _above(figures: measure.Figures) -> str:
    pairs = zip(figures[REPOSITORY], figures[APP], strict=True)
    above = statistics.median(spent - own for spent, own in pairs) * 1e6
    return f"{REPOSITORY} at most 60 µs above {APP}: {_holds(above <= 60)}, with {above:.1f} µs."


def _beside_aiohttp(figures: measure.Figures) -> str:
    ratio = statistics.median(measure.ratios(figures, REPOSITORY, AIOHTTP))
    return f"{REPOSITORY} at most 1.25 times {AIOHTTP}: {_holds(ratio <= 1.25)}, with {ratio:.2f}."


def _twice(figures: measure.Figures) -> str:
    ratio = statistics.median(measure.ratios(figures, REPOSITORY, HAND))
    return f"{REPOSITORY} at most 2 times {HAND}: {_holds(ratio <= 2)}, with {ratio:.2f}."


def _holds(is_so: bool) -> str:
    return "holds" if is_so else "**missed**"


EVERY = [{**remote.USER, "id": str(number)} for number in range(remote.ROWS)]
CASES = {
    "process": Case("In the client's process: retrieve", in_process, APP, 100, remote.USER, _above),
    "socket": Case("Over a socket: retrieve", over_a_socket, AIOHTTP, 50, remote.USER, _beside_aiohttp),
    "list": Case(f"Over a socket: list {remote.ROWS:,} by pages of {PAGE:,}", listing, HAND, 1, EVERY, _twice),
}


async def measured(case: Case) -> measure.Figures:
    """Give what each contender spends for a call."""

    def sample(call: Call) -> measure.Sample:
        async def timed() -> float:
            with measure.cpu() as spent:
                for _ in range(case.calls):
                    answer = await call()
            assert answer == case.answer
            return spent.seconds / case.calls

        return timed

    async with case.contenders() as calls:
        samples = {name: sample(call) for name, call in calls.items()}
        for once in samples.values():
            await once()
        return await measure.interleaved(samples, ROUNDS)


def main() -> int:
    """Answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", choices=[*CASES, []])
    chosen = parser.parse_args().case
    lines: list[str] = []
    for case, loop in itertools.product((CASES[name] for name in chosen or CASES), LOOPS):
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            figures = runner.run(measured(case))
        table = measure.table(figures, measure.rows_of(figures, case.base), unit="CPU µs", scale=1e6, of=case.base)
        lines += [f"### {case.title}, on {loop}", "", *table, "", case.verdict(figures), ""]
    if chosen:
        print("\n".join(lines))
    else:
        measure.report("What a call of a service costs", lines, LIBRARIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
