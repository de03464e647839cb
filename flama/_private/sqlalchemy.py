"""The private parts of SQLAlchemy that are used here, and what takes their place in a version without them."""

# pyright: reportPrivateUsage=false

import collections.abc
import functools
import typing as t

import sqlalchemy as sa
from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_connection, AsyncAdapt_dbapi_cursor
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection, PGDialect_asyncpg
from sqlalchemy.engine import default
from sqlalchemy.engine.base import NestedTransaction
from sqlalchemy.ext.asyncio import AsyncResult
from sqlalchemy.pool import base

from flama._private import Private, exist

__all__ = [
    "HAS",
    "NAMES",
    "PooledConnection",
    "adapter_transaction",
    "autocommits",
    "checkout",
    "constraints",
    "detach_proxy",
    "driver_cursor",
    "end_proxy",
    "execution_context",
    "forget_schema",
    "has_events",
    "has_lock",
    "is_current",
    "is_invalidated",
    "is_watched",
    "move_proxy",
    "outer_savepoint",
    "pooled_connection",
    "prepare",
    "prepared_cache",
    "proxy",
    "quiet_proxy",
    "raise_error",
    "record",
    "schema_changed",
    "set_adapter_transaction",
    "set_execute_mutex",
    "start_transaction",
    "variants",
    "without_lock",
]

_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]

_Proxy: t.Final[t.Any] = getattr(base, "_ConnectionFairy", None)
_Record: t.Final[t.Any] = getattr(base, "_ConnectionRecord", None)

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "asyncpg": (
        Private(AsyncAdapt_asyncpg_connection, "_execute_mutex", "SQLAlchemy runs all statements on asyncpg."),
        Private(AsyncAdapt_asyncpg_connection, "_invalidate_schema_cache_asof", "The same."),
        Private(AsyncAdapt_asyncpg_connection, "_prepare", "The same."),
        Private(AsyncAdapt_asyncpg_connection, "_prepared_statement_cache", "The same."),
        Private(AsyncAdapt_asyncpg_connection, "_start_transaction", "The same."),
        Private(AsyncAdapt_asyncpg_connection, "_transaction", "The same."),
        Private(PGDialect_asyncpg, "_invalidate_schema_cache", "The same."),
        Private(PGDialect_asyncpg, "_invalidate_schema_cache_asof", "The same."),
    ),
    "checkouts": (
        Private(sa.Connection, "_dbapi_connection", "Each checkout takes a greenlet. See Connection.connection."),
        Private(sa.Connection, "_transaction", "The same. See Connection.close()."),
        Private(_Proxy, "_connection_record", "The same. See Pool.connect()."),
        Private(_Proxy, "_finalizer", "The same. See PoolProxiedConnection.detach()."),
    ),
    "constraints": (
        Private(sa.Table, "_sorted_constraints", "A constraint with a generated name may be mistaken for another."),
    ),
    "cursors": (
        Private(AsyncResult, "_real_result", "A list that isn't read to its end occupies asyncpg's server until the "
                "transaction ends."),
        Private(AsyncAdapt_dbapi_cursor, "_cursor", "The same."),
    ),
    "dispatch": (
        Private(sa.Connection.dispatch, "_for_instance", "Connections join their engine's listeners on creation."),
        Private(sa.Connection.dispatch, "_join", "The same. See Connection.__init__()."),
        Private(sa.Connection, "_has_events", "The same."),
    ),
    "errors": (
        Private(sa.Connection, "_handle_dbapi_exception", "SQLAlchemy runs all statements."),
        Private(AsyncAdapt_dbapi_connection, "_handle_exception", "The same."),
        Private(default.DefaultExecutionContext, "_dbapi_connection", "The same."),
    ),
    "events": (
        Private(sa.Connection, "_echo", "Listeners and the log are looked for at each step. See Engine.echo."),
        Private(sa.Connection, "_has_events", "The same."),
        Private(sa.Engine, "_has_events", "The same."),
    ),
    "invalidation": (
        Private(_Record, "_is_hard_or_soft_invalidated", "A soft invalidation is noticed late."),
    ),
    "isolation": (
        Private(sa.Connection, "_is_autocommit_isolation", "A lost connection didn't autocommit."),
    ),
    "locks": (
        Private(sa.Select, "_for_update_arg", "A read over asyncpg or psycopg begins a transaction. See the SQL."),
    ),
    "states": (
        Private(sa.Connection, "_dbapi_connection", "None but time: documented readers are used."),
        Private(sa.Connection, "_echo", "The same."),
        Private(sa.Connection, "_execution_options", "The same."),
        Private(sa.Connection, "_has_events", "The same."),
        Private(sa.Connection, "_nested_transaction", "The same."),
        Private(sa.Connection, "_transaction", "The same."),
        Private(sa.Engine, "_has_events", "The same."),
    ),
    # FairPool and LazyConnection are subclasses of SQLAlchemy's classes, and override or read these as their own.
    "subclasses": (
        Private(sa.Connection, "_begin_impl", "A unit of late checkouts isn't committed. See Connection.begin()."),
        *(Private(sa.AsyncAdaptedQueuePool, name, "FairPool fails. See QueuePool.") for name in (
            "_create_connection",
            "_dec_overflow",
            "_dialect",
            "_do_get",
            "_do_return_conn",
            "_inc_overflow",
            "_invalidate_time",
            "_invoke_creator",
            "_max_overflow",
            "_overflow",
            "_pool",
            "_pre_ping",
            "_queue_class",
            "_timeout",
        )),
    ),
    "savepoints": (
        Private(NestedTransaction, "_previous_nested", "A failure in an outer savepoint is missed."),
    ),
    "variants": (
        Private(sa.types.TypeEngine, "_variant_mapping", "The variants are those of flama's databases."),
    ),
}  # fmt: skip
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


# Connections and their errors. What is read often is read by plain functions: operator.attrgetter() takes as long, and
# operator.methodcaller() four times as long.


def proxy(connection: t.Any) -> t.Any:
    """Return the pool's proxy for a connection's DBAPI connection; None when it isn't checked out."""
    if HAS["checkouts"]:
        return connection._dbapi_connection
    return None if connection.closed or connection.invalidated else connection.connection


def quiet_proxy(connection: t.Any) -> t.Any:
    """Return the proxy of a connection without listeners, log, options and inactive transactions; None if in doubt.

    Documented readers take 4 % more instructions of a read by its key.
    """
    if not HAS["states"]:
        return None
    if connection._echo or connection._has_events or connection.engine._has_events:
        return None
    transaction, nested = connection._transaction, connection._nested_transaction
    if (transaction is not None and not transaction.is_active) or (nested is not None and not nested.is_active):
        return None
    return None if connection._execution_options else connection._dbapi_connection


def move_proxy(source: t.Any, target: t.Any) -> None:
    """Move a checkout to another connection, which has none; only with the names of ``checkouts``."""
    target._dbapi_connection, source._dbapi_connection = source._dbapi_connection, None


def detach_proxy(connection: t.Any) -> None:
    """Make a connection have no checkout and no transaction; only with the names of ``checkouts``."""
    if (begun := connection._transaction) is not None:
        begun.is_active, connection._transaction = False, None  # there is nothing to undo
    connection._dbapi_connection = None


def record(proxy: t.Any) -> t.Any:
    """Return the pool's record of a proxy; None when there is none, or it isn't known."""
    return proxy._connection_record if HAS["checkouts"] else None


def checkout(connection: t.Any) -> tuple[t.Any, t.Any]:
    """Return a connection's proxy and its record, if they are known."""
    if not HAS["checkouts"]:
        return None, None
    proxy = connection._dbapi_connection
    return proxy, proxy._connection_record


def end_proxy(proxy: t.Any) -> None:
    """Detach a proxy from its record, as SQLAlchemy does; only with the names of ``checkouts``."""
    proxy._finalizer.detach()
    proxy._connection_record.fairy_ref = None
    proxy.dbapi_connection = proxy._connection_record = None


class PooledConnection(sa.Connection):
    """A connection that joins its engine's listeners when ``dispatch`` is first read.

    SQLAlchemy's own joins them on creation. That takes longer than the rest of the constructor, and 7 % of a unit that
    reads one record by asyncpg.
    """

    def __init__(self, engine: sa.Engine, proxy: t.Any) -> None:
        super().__init__(engine, proxy, _has_events=False)

    @functools.cached_property
    def dispatch(self) -> t.Any:  # type: ignore[override]
        """The listeners of this connection and of its engine."""
        listened: t.Any = sa.Connection.dispatch
        return listened._for_instance(self)._join(self.engine.dispatch)


pooled_connection: t.Final[collections.abc.Callable[[sa.Engine, t.Any], sa.Connection]] = (
    PooledConnection if HAS["dispatch"] else sa.Connection
)
"""Return a connection for a pool's proxy."""


def is_invalidated(record: t.Any) -> bool:
    """Return whether the connection of a pool's record must be replaced."""
    return bool(record._is_hard_or_soft_invalidated() if HAS["invalidation"] else record.dbapi_connection is None)


def is_watched(connection: t.Any) -> bool:
    """Return whether a connection may have listeners, or a log."""
    if not HAS["events"]:
        return True
    watched: bool = connection._echo or connection._has_events or connection.engine._has_events
    return watched


def has_events(target: t.Any) -> bool:
    """Return whether an engine or a dialect may have listeners."""
    return not HAS["events"] or bool(target._has_events)


def raise_error(connection: t.Any, error: BaseException, adapter: t.Any, run: tuple[t.Any, ...]) -> t.NoReturn:
    """Raise a driver's error as SQLAlchemy does for a statement, its arguments and its context.

    It calls the listeners, and invalidates a connection that is lost. The adapter is None when the driver wasn't
    reached.
    """
    statement, arguments, context = run
    try:  # SQLAlchemy inspects the exception that is being handled
        _raise_adapted(error, adapter)
    except BaseException as raised:  # noqa: BLE001
        connection._handle_dbapi_exception(raised, statement, arguments, None, context)
    raise error


def _raise_adapted(error: BaseException, adapter: t.Any) -> None:
    try:
        raise error
    except Exception as raised:
        if adapter is None:
            raise
        adapter._handle_exception(raised)


def autocommits(connection: t.Any) -> bool:
    """Return whether each statement of a connection is a transaction by itself, even when the connection is lost."""
    if HAS["isolation"]:
        return bool(connection._is_autocommit_isolation())
    held = proxy(connection)
    return held is not None and bool(connection.dialect.detect_autocommit_setting(held.dbapi_connection))


def execution_context(connection: sa.Connection) -> t.Any:
    """Return an execution context of a connection, without a statement."""
    kind: t.Any = connection.dialect.execution_ctx_cls
    context = kind.__new__(kind)
    context.root_connection, context._dbapi_connection = connection, proxy(connection)
    context.dialect, context.execution_options = connection.dialect, connection.get_execution_options()
    return context


def outer_savepoint(savepoint: t.Any) -> t.Any:
    """Return the savepoint in which a savepoint was begun; None if there is none, or it isn't known."""
    return savepoint._previous_nested if HAS["savepoints"] else None


def driver_cursor(result: t.Any) -> t.Any:
    """Return the driver's cursor of a streamed result; None if it isn't known."""
    return getattr(result._real_result.cursor, "_cursor", None) if HAS["cursors"] else None


# Definitions and statements.


def constraints(table: sa.Table) -> list[sa.Constraint]:
    """Return a table's constraints, in the order of their creation."""
    found: t.Any = table
    return list(found._sorted_constraints if HAS["constraints"] else table.constraints)


@functools.cache
def _dialects() -> list[sa.Dialect]:
    modules: t.Any = (mysql, postgresql, sqlite)
    return [module.dialect() for module in modules]


def variants(type: _Type) -> list[_Type]:
    """Return the types that take a type's place in some of the databases, and those that take theirs."""
    if not HAS["variants"]:
        return [type.dialect_impl(dialect) for dialect in _dialects()]
    found: list[_Type] = []
    for each in type._variant_mapping.values():
        found += [each, *variants(each)]
    return found


def has_lock(statement: t.Any) -> bool:
    """Return whether a SELECT locks what it reads, or may do so."""
    return not HAS["locks"] or statement._for_update_arg is not None


def without_lock(statement: t.Any) -> t.Any:
    """Return a SELECT without its lock; unchanged where that can't be removed."""
    if not HAS["locks"]:
        return statement
    unlocked = statement.where()  # a copy
    unlocked._for_update_arg = None
    return unlocked


# The adapter of asyncpg: only with the names of ``asyncpg``.


def adapter_transaction(adapter: t.Any) -> t.Any:
    """Return asyncpg's transaction that an adapter has begun, or None."""
    return adapter._transaction


def schema_changed(dialect: t.Any) -> float:
    """Return when the types of a database were last seen to have changed."""
    changed: float = dialect._invalidate_schema_cache_asof
    return changed


def is_current(prepared: float, adapter: t.Any, dialect: t.Any) -> bool:
    """Return whether a statement prepared at this time is still as the database's types are."""
    return bool(prepared > dialect._invalidate_schema_cache_asof <= adapter._invalidate_schema_cache_asof)


def prepared_cache(adapter: t.Any) -> t.Any:
    """Return the cache of an adapter's prepared statements, or None."""
    return adapter._prepared_statement_cache


def set_adapter_transaction(adapter: t.Any, transaction: t.Any) -> None:
    """Make this the transaction that an adapter has begun."""
    adapter._transaction = transaction


def set_execute_mutex(adapter: t.Any, mutex: t.Any) -> None:
    """Replace the mutex of an adapter's statements."""
    adapter._execute_mutex = mutex


async def start_transaction(adapter: t.Any) -> None:
    """Begin an adapter's transaction."""
    await adapter._start_transaction()


async def prepare(adapter: t.Any, sql: str, changed: float) -> tuple[t.Any, t.Any]:
    """Return the prepared statement of a text, and its columns."""
    statement, columns = await adapter._prepare(sql, changed)
    return statement, columns


def forget_schema(dialect: t.Any) -> None:
    """Make all connections of asyncpg prepare their statements again."""
    if HAS["asyncpg"]:
        dialect._invalidate_schema_cache()
