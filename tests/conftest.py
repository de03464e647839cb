"""Fixtures of the whole suite: databases that are fresh, and applications behind a socket."""

import collections.abc
import contextlib
import typing as t

import pytest

from tests.support import databases, loops, server


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, t.Any]]:
    """Run every asynchronous test on the event loop that ``--loop`` chose."""
    return loops.BACKENDS[loops.chosen()]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Generator[str]:
    """Give the address of a PostgreSQL server."""
    with databases.postgres_server(tmp_path_factory.mktemp("postgres")) as address:
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
