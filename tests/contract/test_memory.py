"""Repositories in memory, derived from those of SQL tables, pass the contract."""

import pytest

from flama.ddd import MemoryWorker
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.memory import Store
from flama.testing import RepositoryContract, WorkerContract
from tests.contract import tables


@pytest.fixture(scope="class")
def collections():
    """The tables, with all constraints in the form that the memory backend checks."""
    return tables.expressed(tables.collections.__wrapped__(deferred=True))


@pytest.fixture(scope="class")
def new_worker(collections):
    """A function that creates a worker on one store for all tests."""
    worker, store = MemoryWorker.of(tables.worker_of(collections, SQLAlchemyTableRepository)), Store()
    return lambda: worker(store=store)


class TestMemory(RepositoryContract, WorkerContract):
    pass
