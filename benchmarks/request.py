"""What a request costs, called directly by ASGI, beside a function written by hand."""

import argparse
import asyncio
import collections.abc
import contextlib
import dataclasses
import gc
import itertools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import typing as t

import aiosqlite
import measure
from contenders import by_hand, database, model, with_fastapi, with_flama, with_litestar, with_starlette
from sqlalchemy.ext.asyncio import create_async_engine

from flama.client import LifespanContextManager

LIBRARIES = ("starlette", "fastapi", "litestar", "pydantic", "msgspec", "sqlalchemy", "aiosqlite")
FRAMEWORKS = {"flama": with_flama, "Starlette": with_starlette, "Litestar": with_litestar, "FastAPI": with_fastapi}
HAND = "by hand"
PROCESSES = 3
BATCH = 0.004  # seconds that each sample should last
LARGEST = 2000
WARM_UP = 25
BROWSER = (
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
)
USER = {
    "id": "f1b5c7e0-9c55-4a0f-8d0b-2f6f6f4a6a11",
    "name": "Alice",
    "surname": "Smith",
    "email": "alice@example.com",
    "password": "hashed_password",
    "active": True,
}


@dataclasses.dataclass(frozen=True)
class Request:
    """A request, and the JSON that answers it."""

    path: bytes
    answer: t.Any
    method: bytes = b"GET"
    query: bytes = b""
    body: bytes = b""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Six headers, as a browser or a client sends them."""
        if self.body:
            size = str(len(self.body)).encode()
            return (*BROWSER, (b"content-type", b"application/json"), (b"content-length", size))
        return (*BROWSER, (b"accept-language", b"en-GB,en;q=0.5"), (b"connection", b"keep-alive"))

    def scope(self) -> dict[str, t.Any]:
        """A scope as uvicorn makes it, every text and header a new object: no hash is known yet."""
        scope: dict[str, t.Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 30123),
            "scheme": "http",
            "root_path": "",
            "headers": [(bytes(bytearray(name)), bytes(bytearray(value))) for name, value in self.headers],
            "state": {},
        }
        scope["method"] = self.method.decode("ascii")
        scope["path"] = self.path.decode("ascii")
        scope["raw_path"] = bytes(bytearray(self.path))
        scope["query_string"] = bytes(bytearray(self.query))
        return scope

    def receive(self) -> collections.abc.Callable[[], collections.abc.Awaitable[dict[str, t.Any]]]:
        """What gives the body, again and again."""

        async def receive() -> dict[str, t.Any]:
            return {"type": "http.request", "body": self.body, "more_body": False}

        return receive


@dataclasses.dataclass(frozen=True)
class Contender:
    """An application, and the requests that it is sent in turn."""

    app: t.Any
    requests: tuple[Request, ...]

    async def check(self) -> None:
        """See that every request is answered as it should be, and one for no path of the application is not."""
        for request in self.requests:
            status, headers, body = await _exchange(self.app, request)
            assert (status, json.loads(body)) == (200, request.answer), (status, body)
            assert headers[b"content-type"].split(b";")[0] == b"application/json", headers
            assert int(headers[b"content-length"]) == len(body), headers
        status, _, _ = await _exchange(self.app, Request(b"/nowhere/at/all", None))
        assert status == 404, status

    async def check_refusal(self) -> None:
        """See that a body that doesn't fit the model is refused."""
        [request] = self.requests
        status, _, _ = await _exchange(self.app, dataclasses.replace(request, body=b'{"name": "Alice"}'))
        assert status in (400, 422), status

    async def spend(self, size: int) -> float:
        """Serve so many requests, and give the CPU that one took."""
        receive = self.requests[0].receive()
        await _serve(self.app, self._scopes(WARM_UP), receive)
        scopes = self._scopes(size)
        with measure.cpu() as spent:
            await _serve(self.app, scopes, receive)
        return spent.seconds / size

    async def sample(self) -> measure.Sample:
        """Give what takes one sample: of as many requests as fill the time."""
        cost = min([await self.spend(100) for _ in range(5)])
        size = max(WARM_UP, min(LARGEST, round(BATCH / cost)))
        return lambda: self.spend(size)

    def _scopes(self, size: int) -> list[dict[str, t.Any]]:
        return [request.scope() for request in itertools.islice(itertools.cycle(self.requests), size)]


async def _serve(app, scopes, receive) -> None:
    for scope in scopes:
        await app(scope, receive, _send)


async def _send(message) -> None:
    pass


async def _exchange(app, request: Request) -> tuple[int, dict[bytes, bytes], bytes]:
    messages: list[dict[str, t.Any]] = []

    async def send(message) -> None:
        messages.append(message)

    await app(request.scope(), request.receive(), send)
    start, *rest = messages
    return start["status"], dict(start["headers"]), b"".join(message.get("body", b"") for message in rest)


@dataclasses.dataclass(frozen=True)
class Case:
    """One kind of request: who serves it, how often it is measured, and by how much flama may exceed the baseline."""

    title: str
    contenders: collections.abc.Callable[[], contextlib.AbstractAsyncContextManager[dict[str, Contender]]]
    rows: collections.abc.Sequence[measure.Row] = ()
    of: str = HAND
    rounds: int = 60
    bar: float | None = None


def _alike(name: str, request: Request):
    """The same route and request for all."""

    @contextlib.asynccontextmanager
    async def contenders():
        async with contextlib.AsyncExitStack() as stack:
            apps = {HAND: getattr(by_hand, name)}
            for title, framework in FRAMEWORKS.items():
                apps[title] = await _started(stack, getattr(framework, name)())
            yield {title: Contender(app, (request,)) for title, app in apps.items()}

    return contenders


async def _started(stack: contextlib.AsyncExitStack, app):
    await stack.enter_async_context(LifespanContextManager(app))
    return app


def _few_and_many(parametrised: bool, asked: slice = slice(None)):
    """Applications of 10 and of 1,000 routes, half of them without a parameter, half with; those asked for, in turn."""

    @contextlib.asynccontextmanager
    async def contenders():
        async with contextlib.AsyncExitStack() as stack:
            found = {}
            for title, framework in FRAMEWORKS.items():
                for count in (10, 1000):
                    static = [f"/page-{number}/" for number in range(count // 2)]
                    dynamic = [f"/item-{number}/" for number in range(count // 2)]
                    app = await _started(stack, framework.many(static, dynamic))
                    found[_sized(title, count)] = Contender(
                        app,
                        tuple(Request(f"{path}42/".encode(), {"id": 42}) for path in dynamic[asked])
                        if parametrised
                        else tuple(Request(path.encode(), model.GREETING) for path in static[asked]),
                    )
            yield found

    return contenders


def _sized(title: str, count: int) -> str:
    return f"{title}, {count:,} routes"


MANY_ROWS = [measure.Row(_sized(title, 1000), _sized(title, 10)) for title in FRAMEWORKS]


@contextlib.asynccontextmanager
async def _from_database():
    """A SQLite file of 1,000 users, a hundred of which are asked for."""
    users = [{**USER, "id": f"user-{number}", "email": f"{number}@example.com"} for number in range(1000)]
    requests = tuple(Request(f"/user/{user['id']}/".encode(), user) for user in users[::10])
    async with contextlib.AsyncExitStack() as stack:
        file = str(pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) / "users.db")
        database.create(file, users)
        engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
        stack.push_async_callback(engine.dispose)
        apps = {
            "SQLAlchemy Core by hand": database.with_sqlalchemy(engine),
            "flama": await _started(stack, database.with_flama(file)),
            "aiosqlite by hand, without transaction": database.with_driver(
                await stack.enter_async_context(aiosqlite.connect(file))
            ),
        }
        yield {title: Contender(app, requests) for title, app in apps.items()}


CASES = {
    "hello": Case("A greeting", _alike("hello", Request(b"/", model.GREETING)), bar=1.5),
    "dynamic": Case("A path with an integer", _alike("dynamic", Request(b"/item/42/", {"id": 42})), bar=2),
    "post": Case(
        "A validated POST of six fields",
        _alike("post", Request(b"/user/", USER, b"POST", body=json.dumps(USER).encode())),
        bar=2,
    ),
    "query": Case(
        "Two query parameters",
        _alike("query", Request(b"/search", {"text": "a hammer", "limit": 5}, query=b"text=a+hammer&limit=5")),
    ),
    "static-of-many": Case(
        "1,000 routes: all those without parameters, in turn", _few_and_many(False), MANY_ROWS, "10 routes", rounds=20
    ),
    "dynamic-of-many": Case(
        "1,000 routes: all those with an integer, in turn", _few_and_many(True), MANY_ROWS, "10 routes", rounds=20
    ),
    "last-of-many": Case(
        "1,000 routes: the last one, with an integer, again and again",
        _few_and_many(True, slice(-1, None)),
        MANY_ROWS,
        "10 routes",
        rounds=20,
    ),
    "database": Case("A row of a SQLite file", _from_database, of="SQLAlchemy Core by hand"),
}


async def _measured(case: Case) -> measure.Figures:
    async with case.contenders() as contenders:
        for contender in contenders.values():
            await contender.check()
            if contender.requests[0].body:
                await contender.check_refusal()
        samples = {name: await contender.sample() for name, contender in contenders.items()}
        gc.collect()
        gc.freeze()  # what start-up made is not looked through before each sample
        return await measure.interleaved(samples, case.rounds)


def _figures(name: str) -> measure.Figures:
    """Measure a case in processes of its own: where objects lie and how strings hash differs from one to the next."""
    figures: measure.Figures = {}
    print(f"measuring {name}", file=sys.stderr)
    for _ in range(PROCESSES):
        run = subprocess.run([sys.executable, __file__, "--measure", name], stdout=subprocess.PIPE, check=True)
        for contender, spent in json.loads(run.stdout).items():
            figures.setdefault(contender, []).extend(spent)
    return figures


def _answer(name: str) -> collections.abc.Iterator[str]:
    case, figures = CASES[name], _figures(name)
    yield f"### {case.title}"
    yield ""
    rows = case.rows or measure.rows_of(figures, case.of)
    yield from measure.table(figures, rows, unit="CPU µs", scale=1e6, of=case.of)
    if case.bar is not None:
        ratio = statistics.median(measure.ratios(figures, "flama", case.of))
        verdict = "holds" if ratio <= case.bar else "**missed**"
        yield ""
        yield f"flama at most {case.bar} times {case.of}: {verdict}."
    yield ""


def main() -> int:
    """Answer for the cases named, or for all; with ``--measure``, print the figures of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    named = f"which to measure, all unless named: {', '.join(CASES)}"
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="case", help=named)
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(_measured(CASES[options.measure]))))
        return 0
    try:
        lines = [line for name in options.cases or CASES for line in _answer(name)]
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd[-1]}: an answer is wrong, or there is none", file=sys.stderr)
        return 1
    if options.cases:
        print("\n".join(lines))
    else:
        measure.report("What a request costs", lines, LIBRARIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
