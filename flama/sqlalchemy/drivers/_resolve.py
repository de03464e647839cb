"""Selection of the driver that runs a connection's statements without SQLAlchemy in between."""

import importlib
import typing as t

import sqlalchemy as sa
from sqlalchemy.engine.util import TransactionalContext
from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy._events import has_listeners
from flama.sqlalchemy.drivers._compiled_cache import CompiledCache
from flama.sqlalchemy.drivers._driver import Driver

__all__ = ["cached_driver", "reset_transaction_options", "resolve_driver"]

# by dialect and driver: a module here and its class, imported on use, as the driver may not be installed
_DRIVERS: t.Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("sqlite", "aiosqlite"): ("aiosqlite", "Aiosqlite"),
    ("postgresql", "asyncpg"): ("asyncpg", "Asyncpg"),
    ("postgresql", "psycopg"): ("psycopg", "Psycopg"),
}
_DRIVER: t.Final = "flama"  # its key in the DBAPI connection's info
# options that only affect the driver's connection
_HARMLESS: t.Final = frozenset(("isolation_level", "postgresql_readonly", "postgresql_deferrable"))


def resolve_driver(connection: AsyncConnection) -> Driver | None:
    """Return the driver of a connection; None when SQLAlchemy has to run its statements.

    That applies to unknown drivers, and to a connection or engine with statement listeners, a statement log or
    execution options. It also applies to a connection that isn't checked out, or whose transaction is no longer active.
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
    if dialect._has_events and has_listeners(events.do_execute, events.do_execute_no_params, events.do_executemany):
        return None
    driver: Driver | None = fairy.info.get(_DRIVER)
    if driver is None or driver.adapter is not fairy.dbapi_connection:
        driver = fairy.info[_DRIVER] = _made(sync, fairy)
    return driver


def cached_driver(connection: sa.Connection) -> Driver | None:
    """Return the driver last used on this DBAPI connection; None if there is none."""
    if (fairy := connection._dbapi_connection) is None:
        return None
    driver: Driver | None = fairy.info.get(_DRIVER)
    return driver if driver is not None and driver.adapter is fairy.dbapi_connection else None


def reset_transaction_options(connection: AsyncConnection) -> None:
    """Discard the options that the connection's driver has for the next transaction."""
    sync = connection.sync_connection
    if sync is not None and (driver := cached_driver(sync)):
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
    return t.cast("Driver", made(fairy.dbapi_connection, CompiledCache.of(connection.engine.pool, dialect)))
