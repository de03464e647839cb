"""What a repository's verbs cost beside the driver's own statements."""

import argparse
import asyncio
import collections.abc
import contextlib
import dataclasses
import gc
import json
import os
import pathlib
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

import asyncpg
import measure
import sqlalchemy as sa
from contenders import crud, database

LIBRARIES = ("sqlalchemy", "aiosqlite", "asyncpg", "psycopg")
POSTGRES = os.environ.get("FLAMA_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
PROCESSES = 2
ROUNDS = 15
USERS = 1000
MANY = 100_000
BULK = 10_000
CALLS = 100
HAND = "the driver by hand"
FLAMA = "flama"

Open: t.TypeAlias = collections.abc.Callable[[sa.URL], collections.abc.Awaitable[crud.Contender]]


def user(number: int, prefix: str = "user") -> dict[str, t.Any]:
    """Give a record."""
    return {
        "id": f"{prefix}-{number}",
        "name": "Alice",
        "surname": "Smith",
        "email": f"{prefix}-{number}@example.com",
        "password": "hashed_password",
        "active": number % 2 == 0,
    }


@dataclasses.dataclass(frozen=True)
class Backend:
    """A database by a driver, and who works on it."""

    title: str
    drivername: str
    hand: Open
    more: dict[str, Open] = dataclasses.field(default_factory=dict)

    @property
    def contenders(self) -> dict[str, Open]:
        """All of them, by name."""
        return {HAND: self.hand, FLAMA: crud.Flama.open, "SQLAlchemy Core": crud.Core.open, **self.more}


BACKENDS = {
    "aiosqlite": Backend("SQLite, aiosqlite", "sqlite+aiosqlite", crud.Aiosqlite.open),
    "asyncpg": Backend(
        "PostgreSQL, asyncpg",
        "postgresql+asyncpg",
        crud.Asyncpg.open,
        {"by hand, a savepoint for each write": lambda url: crud.Asyncpg.open(url, savepoints=True)},
    ),
    "psycopg": Backend("PostgreSQL, psycopg", "postgresql+psycopg", crud.Psycopg.open),
}


async def _retrieve(contender: crud.Contender) -> int:
    for number in range(CALLS):
        assert await contender.retrieve(f"user-{number}") == user(number)
    return CALLS


async def _create(contender: crud.Contender) -> int:
    for number in range(CALLS):
        assert await contender.create(user(number, "new")) == user(number, "new")
    return CALLS


async def _update(contender: crud.Contender) -> int:
    for number in range(CALLS):
        assert await contender.update(f"user-{number}", "Bob") == [{**user(number), "name": "Bob"}]
    return CALLS


async def _delete(contender: crud.Contender) -> int:
    for number in range(CALLS):
        await contender.delete(f"user-{number}")
    return CALLS


async def _list(contender: crud.Contender) -> int:
    for _ in range(3):
        assert len(await contender.list()) == USERS
    return 3


async def _stream(contender: crud.Contender) -> int:
    assert await contender.stream() == MANY
    return 1


async def _bulk(contender: crud.Contender) -> int:
    records = [user(number, "new") for number in range(BULK)]
    assert await contender.bulk(records) == records
    return 1


@dataclasses.dataclass(frozen=True)
class Case:
    """Something to do, in a transaction that has begun, and that is rolled back."""

    title: str
    work: collections.abc.Callable[[crud.Contender], collections.abc.Awaitable[int]]
    bar: float
    users: int = USERS
    begun: bool = True
    writes: bool = False
    rounds: int = ROUNDS


CASES = {
    "retrieve": Case("retrieve", _retrieve, 1.4),
    "create": Case("create, among others of a transaction", _create, 1.4, writes=True),
    "update": Case("update, among others of a transaction", _update, 1.4, writes=True),
    "delete": Case("delete, among others of a transaction", _delete, 1.4, writes=True),
    "create-first": Case("create, the first of its transaction", _create, 1.4, begun=False, writes=True),
    "update-first": Case("update, the first of its transaction", _update, 1.4, begun=False, writes=True),
    "delete-first": Case("delete, the first of its transaction", _delete, 1.4, begun=False, writes=True),
    "list": Case("list of 1,000 rows", _list, 1.3),
    "stream": Case("stream of 100,000 rows", _stream, 1.5, users=MANY, rounds=5),
    "bulk": Case("create of 10,000 rows at once", _bulk, 1.5, writes=True, rounds=5),
}


class _Firsts:
    # each call in a transaction of its own, of which only the beginning is timed

    def __init__(self, contender: crud.Contender) -> None:
        self._contender = contender
        self.seconds = 0.0

    def __getattr__(self, verb: str) -> t.Any:
        async def first(*args: t.Any) -> t.Any:
            begun = time.process_time_ns()
            await self._contender.begin()
            given = await getattr(self._contender, verb)(*args)
            self.seconds += (time.process_time_ns() - begun) / 1e9
            await self._contender.rollback()
            return given

        return first


async def _sample(case: Case, contender: crud.Contender) -> float:
    if not case.begun:
        firsts = _Firsts(contender)
        with measure.cpu():
            calls = await case.work(t.cast("crud.Contender", firsts))
        return firsts.seconds / calls
    await contender.begin()
    await contender.retrieve("user-0")
    with measure.cpu() as spent:
        calls = await case.work(contender)
    await contender.rollback()
    return spent.seconds / calls


@contextlib.asynccontextmanager
async def _database(backend: Backend, users: int) -> collections.abc.AsyncIterator[sa.URL]:
    async with contextlib.AsyncExitStack() as stack:
        if backend.drivername.startswith("sqlite"):
            file = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) / "users.db"
            sync, url = f"sqlite:///{file}", sa.make_url(f"{backend.drivername}:///{file}")
        else:
            address = await stack.enter_async_context(_postgres())
            sync, url = address.set(drivername="postgresql+psycopg"), address.set(drivername=backend.drivername)
        # in another process: what it needs of memory would hide what a stream needs
        address = sa.make_url(sync).render_as_string(hide_password=False)
        subprocess.run([sys.executable, __file__, "--fill", address, str(users)], check=True)  # noqa: ASYNC221
        yield url


@contextlib.asynccontextmanager
async def _postgres() -> collections.abc.AsyncIterator[sa.URL]:
    name = f"flama_{secrets.token_hex(6)}"
    server = await asyncpg.connect(POSTGRES)
    await server.execute(f"CREATE DATABASE {name}")
    try:
        yield sa.make_url(POSTGRES).set(database=name)
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()


async def _measured(backend: Backend, case: Case) -> measure.Figures:
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(_database(backend, case.users))
        samples: dict[str, measure.Sample] = {}
        for name, opened in backend.contenders.items():
            if (case.writes and case.begun) or name not in backend.more:
                contender = await opened(url)
                stack.push_async_callback(contender.close)
                samples[name] = lambda contender=contender: _sample(case, contender)
                await samples[name]()  # what is made once is made now
        gc.collect()
        gc.freeze()
        return await measure.interleaved(samples, case.rounds)


async def _grown(backend: Backend, name: str) -> float:
    """Give by how many MB the process grows while it streams, at most."""
    async with _database(backend, MANY) as url:
        contender = await backend.contenders[name](url)
        await contender.begin()
        await contender.retrieve("user-0")
        before = _peak()
        await _stream(contender)
        grown = _peak() - before
        await contender.rollback()
        await contender.close()
    return grown


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _child(*arguments: str) -> t.Any:
    run = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


def _answer(backend: str, case: str) -> collections.abc.Iterator[str]:
    print(f"measuring {case} on {backend}", file=sys.stderr)
    figures: measure.Figures = {}
    for _ in range(PROCESSES):
        for name, spent in _child("--measure", backend, case).items():
            figures.setdefault(name, []).extend(spent)
    yield f"### {BACKENDS[backend].title}: {CASES[case].title}"
    yield ""
    yield from measure.table(figures, measure.rows_of(figures, HAND), unit="CPU µs", scale=1e6, of=HAND)
    ratio = statistics.median(measure.ratios(figures, FLAMA, HAND))
    yield ""
    yield f"flama at most {CASES[case].bar} times {HAND}: {'holds' if ratio <= CASES[case].bar else '**missed**'}."
    if case == "stream":
        yield ""
        grown = {name: _child("--memory", backend, name) for name in (HAND, FLAMA)}
        yield f"The process grows by {grown[HAND]:.1f} MB at most by hand, by {grown[FLAMA]:.1f} MB with flama."
    yield ""


def main() -> int:
    """Answer for the cases named, or for all; with ``--measure`` or ``--memory``, print one figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="case", help=", ".join(CASES))
    parser.add_argument("--on", choices=BACKENDS, action="append", help="which database, all unless named")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--fill", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        address, users = options.fill
        database.create_on(address, [user(number) for number in range(int(users))])
        return 0
    if options.measure:
        backend, case = options.measure
        print(json.dumps(asyncio.run(_measured(BACKENDS[backend], CASES[case]))))
        return 0
    if options.memory:
        backend, name = options.memory
        print(json.dumps(asyncio.run(_grown(BACKENDS[backend], name))))
        return 0
    lines = [line for on in options.on or BACKENDS for case in options.cases or CASES for line in _answer(on, case)]
    if options.cases or options.on:
        print("\n".join(lines))
    else:
        measure.report("What a repository's verbs cost", lines, LIBRARIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
