"""What a page of 10 costs of a resource of 100 rows and of 200,000, at any depth."""

import asyncio
import collections.abc
import contextlib
import json
import statistics
import sys
import time
import typing as t
import urllib.parse

import measure
import psycopg
import sqlalchemy as sa
from contenders import postgres

from flama import Flama
from flama.client import Client
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule, metadata

ROWS = {"few": 100, "many": 200_000}
ROUNDS = 40
REQUESTS = 20
BAR = 1.3
BASE = f"{ROWS['few']} rows, the first by keyset"
TABLES = {
    name: sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("age", sa.Integer, nullable=False),
    )
    for name in ROWS
}

Times: t.TypeAlias = dict[str, list[float]]


class Few(CRUDResource):
    """The small one."""

    model = TABLES["few"]


class Many(CRUDResource):
    """The large one."""

    model = TABLES["many"]


class Page(t.NamedTuple):
    """A page to ask for: of which resource, by which query, and the id of its first record."""

    resource: str
    query: dict[str, t.Any]
    first: int
    held: bool = True


def fill(url: sa.URL) -> None:
    """Make the tables, with their rows."""
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"))
    metadata.create_all(engine, list(TABLES.values()))
    engine.dispose()
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        for name, rows in ROWS.items():
            values = "SELECT n, 'user ' || n, mod(n, 90) FROM generate_series(1, %s) AS n"
            connection.execute(f"INSERT INTO {name} {values}", [rows])
        connection.execute("VACUUM ANALYZE")


async def cursor(client: Client, name: str, after: int) -> str:
    """Give the cursor of the page that follows so many records, as a walk through all of them meets it."""
    query: dict[str, t.Any] = {"cursor": "", "limit": 1_000}
    while after:
        query["limit"] = min(1_000, after)
        answer = await client.get(f"/{name}/", params=query)
        query["cursor"] = answer.json()["meta"]["next"]
        after -= query["limit"]
    return t.cast("str", query["cursor"])


async def pages(client: Client) -> dict[str, Page]:
    """Give the pages that are measured."""
    found: dict[str, Page] = {}
    for name, rows in ROWS.items():
        for place, after in {"the first": 0, "in the middle": rows // 2, "the last": rows - 10}.items():
            query = {"cursor": await cursor(client, name, after), "limit": 10}
            found[f"{rows:,} rows, {place} by keyset"] = Page(name, query, after + 1)
        found[f"{rows:,} rows, the first by limit and offset"] = Page(name, {"limit": 10, "offset": 0}, 1)
    last = ROWS["many"] - 10
    deep = Page("many", {"limit": 10, "offset": last}, last + 1, held=False)
    return {**found, f"{ROWS['many']:,} rows, the last by limit and offset": deep}


def sample(app: Flama, page: Page, walls: list[float]) -> measure.Sample:
    """Give what times some requests for a page; how long they took by the clock goes to ``walls``."""
    query = urllib.parse.urlencode(page.query).encode()
    messages: list[t.Any] = []

    async def receive() -> dict[str, t.Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: t.Any) -> None:
        messages.append(message)

    async def timed() -> float:
        scopes = [_scope(f"/{page.resource}/", query) for _ in range(REQUESTS)]
        with measure.cpu() as spent:
            begun = time.perf_counter()
            for scope in scopes:
                messages.clear()
                await app(scope, receive, send)
            walls.append((time.perf_counter() - begun) / REQUESTS)
        ids = [record["id"] for record in json.loads(messages[1]["body"])["data"]]
        assert ids == list(range(page.first, page.first + 10)), ids
        return spent.seconds / REQUESTS

    return timed


def _scope(path: str, query: bytes) -> dict[str, t.Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", b"application/json")],
        "state": {},
    }


@contextlib.asynccontextmanager
async def served() -> collections.abc.AsyncIterator[tuple[Flama, Client]]:
    """Give the application, and a client of it."""
    async with postgres.fresh() as url:
        fill(url)
        address = url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
        app = Flama(modules=[SQLAlchemyModule(address)])
        app.resources.add_resource("/few/", Few)
        app.resources.add_resource("/many/", Many)
        async with Client(app=app) as client:
            yield app, client


async def measured() -> tuple[dict[str, Page], measure.Figures, measure.Figures]:
    """Give the pages, and what each took: CPU, and time by the clock."""
    async with served() as (app, client):
        asked = await pages(client)
        warm: list[float] = []
        for page in asked.values():
            await sample(app, page, warm)()
        walls: measure.Figures = {name: [] for name in asked}
        samples = {name: sample(app, page, walls[name]) for name, page in asked.items()}
        return asked, await measure.interleaved(samples, ROUNDS), walls


def _section(title: str, unit: str, figures: measure.Figures, asked: dict[str, Page]) -> collections.abc.Iterator[str]:
    yield f"### {title}"
    yield ""
    yield from measure.table(figures, measure.rows_of(figures, BASE), unit=unit, scale=1e6, of=BASE)
    yield ""
    ratios = {name: statistics.median(measure.ratios(figures, name, BASE)) for name in asked if asked[name].held}
    most = max(ratios, key=lambda name: ratios[name])
    verdict = "holds" if ratios[most] <= BAR else "**missed**"
    yield f"Every page at most {BAR} times that, but those far behind an offset: {verdict}; {most}: {ratios[most]:.2f}."
    yield ""


def main() -> int:
    """Answer."""
    asked, costs, walls = asyncio.run(measured())
    lines = [
        *_section("CPU of the service's process", "CPU µs", costs, asked),
        *_section("By the clock, the database's work in it", "µs", walls, asked),
    ]
    measure.report("What a page of 10 costs", lines, ("sqlalchemy", "asyncpg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
