"""Whether a connection's driver may be spoken to without SQLAlchemy in between."""

import importlib
import typing as t

import sqlalchemy as sa
from sqlalchemy.engine.util import TransactionalContext
from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers.driver import Driver
from flama.sqlalchemy.shapes import Shapes

__all__ = ["driver_of", "forget"]

# by dialect and driver, a module here and its class: what it speaks to need not be installed
_DRIVERS: t.Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("sqlite", "aiosqlite"): ("aiosqlite", "Aiosqlite"),
    ("postgresql", "asyncpg"): ("asyncpg", "Asyncpg"),
    ("postgresql", "psycopg"): ("psycopg", "Psycopg"),
}
# what is set on the driver's connection, and meant for it alone
_HARMLESS: t.Final = frozenset(("isolation_level", "postgresql_readonly", "postgresql_deferrable"))


def driver_of(connection: AsyncConnection) -> Driver | None:
    """Give the driver of a connection; None when what its statements mean is SQLAlchemy's to say.

    That is so for drivers that aren't known here, a connection or engine with somebody who listens to its statements,
    with execution options or a log of statements, and for one that has no connection, or no transaction to go on with.
    """
    sync = connection.sync_connection
    if sync is None or (fairy := sync._dbapi_connection) is None or not _open(sync):
        return None
    options = sync._execution_options
    if sync._echo or (options and not _HARMLESS.issuperset(options)):
        return None
    if (sync._has_events or sync.engine._has_events) and _heard(sync.dispatch):
        return None
    dialect: t.Any = sync.dialect
    if dialect._has_events and _run_by_others(dialect.dispatch):
        return None
    driver: Driver | None = fairy.info.get("flama")
    if driver is None or driver.adapter is not fairy.dbapi_connection:
        driver = fairy.info["flama"] = _made(sync, fairy)
    return driver


def forget(connection: AsyncConnection) -> None:
    """Forget what the connection's driver was told of a transaction that is to come."""
    sync = connection.sync_connection
    if sync is not None and (fairy := sync._dbapi_connection) is not None and (driver := fairy.info.get("flama")):
        driver.forget()


def _open(connection: sa.Connection) -> bool:
    transaction, nested = connection._transaction, connection._nested_transaction
    if (transaction is not None and not transaction.is_active) or (nested is not None and not nested.is_active):
        return False
    if connection._trans_context_manager is not None:
        TransactionalContext._trans_ctx_check(connection)
    return True


def _heard(events: t.Any) -> bool:
    return bool(
        events.before_cursor_execute or events.after_cursor_execute or events.before_execute or events.after_execute
    )


def _run_by_others(events: t.Any) -> bool:
    return bool(events.do_execute or events.do_execute_no_params or events.do_executemany)


def _made(connection: sa.Connection, fairy: t.Any) -> Driver | None:
    dialect = connection.dialect
    found = _DRIVERS.get((dialect.name, dialect.driver))
    if found is None or not type(dialect).__module__.startswith("sqlalchemy.dialects."):
        return None
    module, name = found
    made = getattr(importlib.import_module(f"flama.sqlalchemy.drivers.{module}"), name)
    return t.cast("Driver", made(fairy.dbapi_connection, Shapes.of(connection.engine.pool, dialect)))
