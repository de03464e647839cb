"""Repositories of SQL tables keep to the contract: on each driver, spoken to directly or by SQLAlchemy."""

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.sqlalchemy.drivers import choice
from tests.contract.suite import CAPABILITIES, RepositoryContract

# What was found to be wrong, by the names of the tests that tell; whoever mends it takes the line away.
_WRITTEN = "test_(an_odd_value_is_stored|a_record_takes)_.*"


class SQLContract(RepositoryContract):
    """The contract on a driver."""

    members = SQLAlchemyTableRepository
    can_be_direct = True

    async def test_statements_are_run_in_the_way_that_is_meant(self, unit, way):
        directly = choice.driver_of(unit.connection) is not None

        assert directly == (self.can_be_direct and way == "directly")


class TestSQLite(SQLContract):
    driver = "aiosqlite"
    capabilities = frozenset(CAPABILITIES) - {"reference_fields"}  # SQLite doesn't tell
    faults = {"test_a_nul_is_in_no_other_text_": "GLOB's pattern ends at the NUL, and so is found in every text"}


class TestAsyncpg(SQLContract):
    driver = "asyncpg"


class TestPsycopg(SQLContract):
    driver = "psycopg"
    faults = {
        f"{_WRITTEN}list": "a list is stored as a text that PostgreSQL makes of it",
    }


class TestMariaDB(SQLContract):
    driver = "asyncmy"
    capabilities = frozenset(CAPABILITIES) - {"deferred"}  # MariaDB has no such references
    can_be_direct = False
    faults = {
        "odd_value_.*minus infinity": "it stands in the SQL as a column's name, which gives UnavailableError",
        f"{_WRITTEN}mapping": "a mapping is stored as what Python's str() makes of it",
        f"{_WRITTEN}list": "asyncmy's TypeError isn't translated",
        "test_a_condition_on_an_odd_value_.*text for a number": "the text is taken for 0",
        "test_an_error_tells_which_reference_holds_": "the fields are the columns' names instead of their keys",
    }
