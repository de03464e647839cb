"""A PostgreSQL database for the time of a benchmark."""

import collections.abc
import contextlib
import os
import secrets
import typing as t

import asyncpg
import sqlalchemy as sa

__all__ = ["POSTGRES", "fresh"]

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
