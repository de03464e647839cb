"""Database servers to test against: those of the machine, or one of our own.

``FLAMA_POSTGRES`` is the URL of another PostgreSQL, or ``embedded`` for one of the tests' own; ``FLAMA_MARIADB`` is the
URL of another MariaDB, or ``none``. So the tests run as they do on a machine that has neither.
"""

import collections.abc
import contextlib
import os
import secrets
import typing as t

import anyio
import asyncmy
import psycopg
import psycopg.sql
import sqlalchemy

from tests.support import cluster

__all__ = ["fresh_mariadb", "fresh_postgres", "mariadb_server", "missing_extensions", "postgres_server"]

_LOCAL_POSTGRES: t.Final = "postgresql://postgres@127.0.0.1:5432/postgres"
_POSTGRES: t.Final = os.environ.get("FLAMA_POSTGRES", "")
_MARIADB: t.Final = os.environ.get("FLAMA_MARIADB", "mysql://root@127.0.0.1:3306")


@contextlib.contextmanager
def postgres_server() -> collections.abc.Generator[str]:
    """Yield the address of the chosen or local server, else of one that runs for as long as this is open."""
    if _POSTGRES not in ("", "embedded"):
        yield _POSTGRES
    elif not _POSTGRES and _has_local_postgres():
        yield _LOCAL_POSTGRES
    else:
        with cluster.single() as server:
            yield server.url("psycopg").replace("+psycopg", "")


def _has_local_postgres() -> bool:
    try:
        psycopg.connect(_LOCAL_POSTGRES, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def missing_extensions(url: str, *names: str) -> set[str]:
    """Return those of the named extensions that can't be created in a PostgreSQL database."""
    address = sqlalchemy.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        rows = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
    return set(names) - {name for (name,) in rows}


@contextlib.contextmanager
def fresh_postgres(server: str) -> collections.abc.Generator[str]:
    """Give the asyncpg URL of a database that exists as long as this is open."""
    name = _fresh_name()
    with psycopg.connect(server, autocommit=True) as connection:
        database = psycopg.sql.Identifier(name)
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(database))
        # No test takes the server's power away, and most of the time of a small commit is the disk's.
        connection.execute(psycopg.sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(database))
        try:
            url = sqlalchemy.make_url(server).set(drivername="postgresql+asyncpg", database=name)
            yield url.render_as_string(hide_password=False)
        finally:
            connection.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


def mariadb_server() -> str | None:
    """Tell why there is no MariaDB to test against; None when there is one."""
    if _MARIADB == "none":
        return "no MariaDB: FLAMA_MARIADB is none"
    try:
        anyio.run(_mariadb, "SELECT 1")
    except asyncmy.errors.OperationalError as error:
        return f"no MariaDB answers at {_MARIADB}: {error}"
    return None


@contextlib.contextmanager
def fresh_mariadb() -> collections.abc.Generator[str]:
    """Give the asyncmy URL of a database that exists as long as this is open."""
    name = _fresh_name()
    anyio.run(_mariadb, f"CREATE DATABASE {name}")
    try:
        url = sqlalchemy.make_url(_MARIADB).set(drivername="mysql+asyncmy", database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        anyio.run(_mariadb, f"DROP DATABASE {name}")


async def _mariadb(statement: str) -> None:
    server = sqlalchemy.make_url(_MARIADB)
    connecting = asyncmy.connect(
        host=server.host, port=server.port or 3306, user=server.username, password=server.password or ""
    )
    async with connecting as connection, connection.cursor() as cursor:
        await cursor.execute(statement)


def _fresh_name() -> str:
    return f"flama_{secrets.token_hex(6)}"
