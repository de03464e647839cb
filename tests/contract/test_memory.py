"""Repositories in memory keep to the contract, made of those of SQL tables."""

import pytest

from flama.ddd import MemoryWorker
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.memory import Store
from tests.contract import tables
from tests.contract.suite import RepositoryContract


@pytest.fixture(scope="class")
def collections():
    """Give the tables, of which memory knows everything."""
    return tables.expressed(tables.collections.__wrapped__(deferred=True))


@pytest.fixture(scope="class")
def new_worker(collections):
    """Give a function that makes a worker on the same store as the others."""
    worker, store = MemoryWorker.of(tables.worker_of(collections, SQLAlchemyTableRepository)), Store()
    return lambda: worker(store=store)


class TestMemory(RepositoryContract):
    pass
