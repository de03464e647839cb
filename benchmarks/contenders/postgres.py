"""A PostgreSQL database for the time of a benchmark."""

import collections.abc
import contextlib
import os
import pathlib
import secrets
import typing as t

import asyncpg
import sqlalchemy as sa

__all__ = ["POSTGRES", "fresh", "processes"]

POSTGRES: t.Final = os.environ.get("FLAMA_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")


@contextlib.asynccontextmanager
async def fresh(**settings: str) -> collections.abc.AsyncIterator[sa.URL]:
    """Give the URL of a database with nothing in it and these settings, which is dropped afterwards."""
    name = f"flama_{secrets.token_hex(6)}"
    server = await asyncpg.connect(POSTGRES)
    await server.execute(f"CREATE DATABASE {name}")
    try:
        for setting, value in settings.items():
            await server.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
        yield sa.make_url(POSTGRES).set(database=name)
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()


async def processes() -> list[int]:
    """Give the numbers of the server's processes for clients, if it is on this machine."""
    server = await asyncpg.connect(POSTGRES)
    found = await server.fetch("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
    await server.close()
    commands = {row["pid"]: pathlib.Path(f"/proc/{row['pid']}/cmdline") for row in found}
    return [number for number, path in commands.items() if path.exists() and b"postgres" in path.read_bytes()]
