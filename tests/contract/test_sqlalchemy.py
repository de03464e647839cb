"""Repositories of SQL tables pass the contract: with each driver, directly or by SQLAlchemy."""

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy.drivers import _resolve
from flama.testing import RepositoryContract, WorkerContract


class SQLContract(RepositoryContract, WorkerContract):
    """The contract on a driver."""

    members = SQLAlchemyTableRepository
    can_be_direct = True

    async def test_statements_are_run_in_the_way_that_is_meant(self, unit, way):
        directly = _resolve.resolve_driver(unit.connection) is not None

        assert directly == (self.can_be_direct and way == "directly")


class TestSQLite(SQLContract):
    driver = "aiosqlite"
    capabilities = SQLContract.capabilities - {"reference_fields"}  # SQLite doesn't name them


class TestAsyncpg(SQLContract):
    driver = "asyncpg"


class TestPsycopg(SQLContract):
    driver = "psycopg"


class TestMariaDB(SQLContract):
    driver = "asyncmy"
    capabilities = SQLContract.capabilities - {"deferred_references"}  # MariaDB has no such references
    can_be_direct = False
