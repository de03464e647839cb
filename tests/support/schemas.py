"""Tables that stay in a server's database from test to test, and are emptied in between."""

import collections.abc
import contextlib

import anyio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

__all__ = ["drop_kept", "tables"]

_Tables = tuple[sa.Table, ...]

_DRIVERS = {"postgresql": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}  # whichever others a test uses

_kept: dict[sa.URL, list[_Tables]] = {}  # by database; each is there, and empty between tests


@contextlib.asynccontextmanager
async def tables(engine: AsyncEngine, *wanted: sa.Table) -> collections.abc.AsyncGenerator[None]:
    """Make the tables exist and be empty, with keys that are counted from 1.

    A server keeps them for the next test, as emptying a table takes a twentieth of the time that it takes to create and
    drop it. A database of SQLite ends with its test.
    """
    if engine.dialect.name == "sqlite":
        async with engine.begin() as connection:
            await _create(connection, wanted)
        yield
        return
    kept = _kept.setdefault(engine.url.set(drivername=_DRIVERS[engine.dialect.name]), [])
    if wanted not in kept:
        async with engine.begin() as connection:
            await _make_room(connection, kept, {table.name for table in wanted})
            await _create(connection, wanted)
        kept.append(wanted)
    yield
    async with engine.begin() as connection:
        await _empty(connection, wanted)


def drop_kept() -> None:
    """Drop what was kept, so that tests with other tables of the same names find none."""
    if _kept:
        anyio.run(_drop_all)


async def _drop_all() -> None:
    while _kept:
        url, kept = _kept.popitem()
        engine = create_async_engine(url, poolclass=sa.NullPool)
        async with engine.begin() as connection:
            await _make_room(connection, kept, {table.name for each in kept for table in each})


async def _make_room(connection: AsyncConnection, kept: list[_Tables], names: set[str]) -> None:
    for each in [each for each in kept if names & {table.name for table in each}]:
        await connection.run_sync(each[0].metadata.drop_all, tables=each)
        kept.remove(each)


async def _create(connection: AsyncConnection, wanted: _Tables) -> None:
    await connection.run_sync(wanted[0].metadata.create_all, tables=wanted)


async def _empty(connection: AsyncConnection, wanted: _Tables) -> None:
    for table in reversed(wanted):
        await connection.execute(table.delete())
    for table in wanted:
        if (column := table.autoincrement_column) is not None and connection.dialect.name == "postgresql":
            of = sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name)
            await connection.execute(sa.select(sa.func.setval(of, 1, False)))
        elif column is not None:
            await connection.exec_driver_sql(f"ALTER TABLE `{table.name}` AUTO_INCREMENT = 1")
