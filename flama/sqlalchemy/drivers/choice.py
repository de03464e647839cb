"""Whether a connection's driver may be spoken to without SQLAlchemy in between."""

import importlib
import typing as t

import sqlalchemy as sa
from sqlalchemy.engine.util import TransactionalContext
from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers.driver import Driver
from flama.sqlalchemy.listeners import are_heard
from flama.sqlalchemy.shapes import Shapes

__all__ = ["driver_of", "forget", "last_driver_of"]

# by dialect and driver, a module here and its class: what it speaks to need not be installed
_DRIVERS: t.Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("sqlite", "aiosqlite"): ("aiosqlite", "Aiosqlite"),
    ("postgresql", "asyncpg"): ("asyncpg", "Asyncpg"),
    ("postgresql", "psycopg"): ("psycopg", "Psycopg"),
}
_DRIVER: t.Final = "flama"  # as which it is noted on its line
# what is set on the driver's connection, and meant for it alone
_HARMLESS: t.Final = frozenset(("isolation_level", "postgresql_readonly", "postgresql_deferrable"))


def driver_of(connection: AsyncConnection) -> Driver | None:
    """Give the driver of a connection; None when what its statements mean is SQLAlchemy's to say.

    That is so for drivers that aren't known here, a connection or engine with somebody who listens to its statements,
    with execution options or a log of statements, and for one that has no connection, or no transaction to go on with.
    """
    sync = connection.sync_connection
    if sync is None or (fairy := sync._dbapi_connection) is None:
        return None
    transaction, nested = sync._transaction, sync._nested_transaction
    if (transaction is not None and not transaction.is_active) or (nested is not None and not nested.is_active):
        return None
    if sync._trans_context_manager is not None:
        TransactionalContext._trans_ctx_check(sync)
    options = sync._execution_options
    if sync._echo or (options and not _HARMLESS.issuperset(options)):
        return None
    if (sync._has_events or sync.engine._has_events) and _heard(sync.dispatch):
        return None
    dialect: t.Any = sync.dialect
    events = dialect.dispatch
    if dialect._has_events and are_heard(events.do_execute, events.do_execute_no_params, events.do_executemany):
        return None
    driver: Driver | None = fairy.info.get(_DRIVER)
    if driver is None or driver.adapter is not fairy.dbapi_connection:
        driver = fairy.info[_DRIVER] = _made(sync, fairy)
    return driver


def last_driver_of(connection: sa.Connection) -> Driver | None:
    """Give the driver by which a connection, or one by the same line before it, was last spoken to; None by none."""
    if (fairy := connection._dbapi_connection) is None:
        return None
    driver: Driver | None = fairy.info.get(_DRIVER)
    return driver if driver is not None and driver.adapter is fairy.dbapi_connection else None


def forget(connection: AsyncConnection) -> None:
    """Forget what the connection's driver was told of a transaction that is to come."""
    sync = connection.sync_connection
    if sync is not None and (driver := last_driver_of(sync)):
        driver.forget()


def _heard(events: t.Any) -> bool:
    return bool(
        events.before_cursor_execute or events.after_cursor_execute or events.before_execute or events.after_execute
    )


def _made(connection: sa.Connection, fairy: t.Any) -> Driver | None:
    dialect = connection.dialect
    found = _DRIVERS.get((dialect.name, dialect.driver))
    if found is None or not type(dialect).__module__.startswith("sqlalchemy.dialects."):
        return None
    module, name = found
    made = getattr(importlib.import_module(f"flama.sqlalchemy.drivers.{module}"), name)
    return t.cast("Driver", made(fairy.dbapi_connection, Shapes.of(connection.engine.pool, dialect)))
