"""Fixtures of the whole suite: databases that are fresh, and applications behind a socket."""

import collections.abc
import contextlib
import gc
import typing as t

import hypothesis
import pytest

from tests.support import combinations, databases, loops, schemas, server

# How long an example takes says what else the machine does, and whether Python is in its development mode.
hypothesis.settings.register_profile("tests", deadline=None, max_examples=50)
hypothesis.settings.register_profile("exhaustive", deadline=None, max_examples=500)
hypothesis.settings.load_profile("tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as exhaustive what pairs of parameters' values don't need, and leave out what another test does the same."""
    left_out = {item for item in items if combinations.is_twin(item)}
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]
    for item in combinations.beyond_pairs(items):
        item.add_marker(pytest.mark.exhaustive)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> collections.abc.Generator[None, object, object]:
    """Keep the garbage collector from looking at thousands of tests while they are collected, and while they run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
        # By default it looks after each 700 new objects, which takes 6 % of the tests' time.
        gc.set_threshold(10_000, 5)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(
    report: object,
) -> collections.abc.Generator[None, dict[str, t.Any], dict[str, t.Any]]:
    """Send no keywords from pytest-xdist's workers: they are most of a report, and nothing here reads them."""
    data = yield
    return {**data, "keywords": {}} if "keywords" in data else data


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, t.Any]]:
    """Run every asynchronous test on the event loop that ``--loop`` chose."""
    return loops.BACKENDS[loops.chosen()]


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


@pytest.fixture(scope="module", autouse=True)
def _tables_of_one_module() -> collections.abc.Generator[None]:
    """Drop the tables that servers keep from test to test when the module ends."""
    yield
    schemas.drop_kept()


@pytest.fixture
def serve() -> collections.abc.Generator[collections.abc.Callable[[t.Any], str]]:
    """Give a function that puts an application behind a socket until the test ends, and gives its URL."""
    with contextlib.ExitStack() as stack:
        yield lambda app: stack.enter_context(server.served(app))
