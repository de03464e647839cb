"""What a whole unit of work costs: entered, a record read by its key, committed, left."""

import asyncio
import collections.abc
import contextlib
import statistics
import sys
import types
import typing as t

import asyncpg
import measure
import sqlalchemy as sa
from contenders import postgres
from contenders.database import UserRepository, create_on, user_table
from sqlalchemy.ext.asyncio import create_async_engine

from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

USER = {"id": "1", "name": "A", "surname": "S", "email": "a@example.com", "password": "p", "active": True}
BY_KEY = 'SELECT id, name, surname, email, password, active FROM "user" WHERE id = $1 LIMIT 2'
HAND = "the driver by hand"
BAR = 1.5
UNITS = 100
ROUNDS = 40

Unit: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[dict[str, t.Any]]]


class Users(SQLAlchemyWorker):
    """A worker."""

    users: UserRepository


@contextlib.asynccontextmanager
async def by_hand(url: sa.URL) -> collections.abc.AsyncIterator[Unit]:
    """Acquire from the driver's pool, BEGIN, SELECT, COMMIT, release."""
    async with asyncpg.create_pool(url.render_as_string(False), min_size=1, max_size=5) as pool:

        async def unit() -> dict[str, t.Any]:
            async with pool.acquire() as connection, connection.transaction():
                [row] = await connection.fetch(BY_KEY, "1")
                return dict(row)

        yield unit


@contextlib.asynccontextmanager
async def by_flama(url: sa.URL) -> collections.abc.AsyncIterator[Unit]:
    """Enter a worker."""
    module = SQLAlchemyModule(url.set(drivername="postgresql+asyncpg").render_as_string(False))
    await module.on_startup()
    worker = Users(types.SimpleNamespace(sqlalchemy=module))

    async def unit() -> dict[str, t.Any]:
        async with worker:
            return await worker.users.retrieve(id="1")

    yield unit
    await module.on_shutdown()


@contextlib.asynccontextmanager
async def by_core(url: sa.URL) -> collections.abc.AsyncIterator[Unit]:
    """Begin SQLAlchemy's own transaction."""
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"))
    by_key = sa.select(user_table).where(user_table.c.id == sa.bindparam("id")).limit(2)

    async def unit() -> dict[str, t.Any]:
        async with engine.begin() as connection:
            return dict((await connection.execute(by_key, {"id": "1"})).mappings().one())

    yield unit
    await engine.dispose()


CONTENDERS = {HAND: by_hand, "flama": by_flama, "SQLAlchemy Core": by_core}


@contextlib.asynccontextmanager
async def database() -> collections.abc.AsyncIterator[sa.URL]:
    """Give a database with one user."""
    async with postgres.fresh() as url:
        create_on(url.set(drivername="postgresql+psycopg").render_as_string(False), [USER])
        yield url


def sample(unit: Unit) -> measure.Sample:
    """Give what times some units."""

    async def timed() -> float:
        with measure.cpu() as spent:
            for _ in range(UNITS):
                assert await unit() == USER
        return spent.seconds / UNITS

    return timed


async def measured() -> measure.Figures:
    """Give what each contender spends."""
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(database())
        units = {name: await stack.enter_async_context(opened(url)) for name, opened in CONTENDERS.items()}
        samples = {name: sample(unit) for name, unit in units.items()}
        for once in samples.values():
            await once()
        measure.settle(*await postgres.processes())
        return await measure.interleaved(samples, ROUNDS)


def main() -> int:
    """Answer."""
    figures = asyncio.run(measured())
    ratio = statistics.median(measure.ratios(figures, "flama", HAND))
    verdict = "holds" if ratio <= BAR else "**missed**"
    lines = measure.table(figures, measure.rows_of(figures, HAND), unit="CPU µs", scale=1e6, of=HAND)
    lines = [*lines, "", f"flama at most {BAR} times {HAND}: {verdict}."]
    measure.report("What a unit of work on PostgreSQL costs", lines, ("sqlalchemy", "asyncpg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
