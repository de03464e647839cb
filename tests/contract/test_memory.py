"""Repositories in memory keep to the contract, made of those of SQL tables."""

import pytest
import sqlalchemy as sa

from flama.ddd import MemoryWorker
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.memory import Store
from tests.contract import tables
from tests.contract.suite import RepositoryContract


@pytest.fixture(scope="class")
def collections():
    """Give the tables, with the CHECK constraint as an expression: memory holds none that is a text."""
    collections = tables.collections.__wrapped__(deferred=True)
    member = collections.member
    (text,) = (each for each in member.constraints if isinstance(each, sa.CheckConstraint))
    member.constraints.remove(text)
    member.append_constraint(sa.CheckConstraint(member.c.age < 150, name=text.name))
    return collections


@pytest.fixture(scope="class")
def new_worker(collections):
    """Give a function that makes a worker on the same store as the others."""
    worker, store = MemoryWorker.of(tables.worker_of(collections, SQLAlchemyTableRepository)), Store()
    return lambda: worker(store=store)


class TestMemory(RepositoryContract):
    pass
