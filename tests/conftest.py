"""Fixtures of the whole suite: databases that are fresh, and applications behind a socket."""

import collections.abc
import contextlib
import typing as t

import hypothesis
import pytest

from tests.support import databases, server

# How long an example takes says what else the machine does, and whether Python is in its development mode.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run every asynchronous test on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> collections.abc.Generator[str]:
    """Give the address of a PostgreSQL server."""
    with databases.postgres_server() as address:
        yield address


@pytest.fixture(scope="session")
def postgres_url(postgres_server: str) -> collections.abc.Generator[str]:
    """Give the URL of a PostgreSQL database of this session's own."""
    with databases.fresh_postgres(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url() -> collections.abc.Generator[str]:
    """Give the URL of a MariaDB database of this session's own."""
    if absent := databases.mariadb_server():
        pytest.skip(absent)
    with databases.fresh_mariadb() as url:
        yield url


@pytest.fixture
def serve() -> collections.abc.Generator[collections.abc.Callable[[t.Any], str]]:
    """Give a function that puts an application behind a socket until the test ends, and gives its URL."""
    with contextlib.ExitStack() as stack:
        yield lambda app: stack.enter_context(server.served(app))
