"""Selection of the driver that runs a connection's statements without SQLAlchemy in between.

A read by its key takes 15 times the instructions when SQLAlchemy builds, compiles and runs it.
"""

import importlib
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama._private import sqlalchemy as private
from flama.sqlalchemy._events import has_listeners, is_logged
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
    if sync is None or (proxy := private.quiet_proxy(sync) or _find_proxy(sync)) is None:
        return None
    if private.has_events(sync.dialect) and _is_replaced(sync.dialect):
        return None
    driver: Driver | None = proxy.info.get(_DRIVER)
    if driver is None or driver.adapter is not proxy.dbapi_connection:
        driver = proxy.info[_DRIVER] = _make_driver(sync, proxy)
    return driver


def cached_driver(connection: sa.Connection) -> Driver | None:
    """Return the driver last used on this DBAPI connection; None if there is none."""
    if (proxy := private.proxy(connection)) is None:
        return None
    driver: Driver | None = proxy.info.get(_DRIVER)
    return driver if driver is not None and driver.adapter is proxy.dbapi_connection else None


def reset_transaction_options(connection: AsyncConnection) -> None:
    """Discard the options that the connection's driver has for the next transaction."""
    sync = connection.sync_connection
    if sync is not None and (driver := cached_driver(sync)):
        driver.forget()


def _find_proxy(connection: sa.Connection) -> t.Any:
    """Return the proxy of a connection whose statements the driver may run; None when SQLAlchemy has to."""
    transaction, nested = connection.get_transaction(), connection.get_nested_transaction()
    if (transaction is not None and not transaction.is_active) or (nested is not None and not nested.is_active):
        return None
    options = connection.get_execution_options()
    if not _HARMLESS.issuperset(options) or (private.is_watched(connection) and _is_watched(connection)):
        return None
    return private.proxy(connection)


def _is_replaced(dialect: t.Any) -> bool:
    """Return whether listeners may run the dialect's statements in its place."""
    calls = dialect.dispatch
    return has_listeners(calls.do_execute, calls.do_execute_no_params, calls.do_executemany)


def _is_watched(connection: sa.Connection) -> bool:
    """Return whether the connection's statements have listeners, or a log."""
    events: t.Any = connection.dispatch
    is_heard = (
        events.before_cursor_execute or events.after_cursor_execute or events.before_execute or events.after_execute
    )
    return bool(is_heard) or is_logged(connection)


def _make_driver(connection: sa.Connection, proxy: t.Any) -> Driver | None:
    dialect = connection.dialect
    found = _DRIVERS.get((dialect.name, dialect.driver))
    if found is None or not type(dialect).__module__.startswith("sqlalchemy.dialects."):
        return None
    module, name = found
    kind: type[Driver] = getattr(importlib.import_module(f"flama.sqlalchemy.drivers.{module}"), name)
    if not kind.is_supported():
        return None
    return kind(proxy.dbapi_connection, CompiledCache.of(connection.engine.pool, dialect))
