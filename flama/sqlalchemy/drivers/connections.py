"""How connections are taken, used, returned without a greenlet where nothing is waited for.

SQLAlchemy has each of these run in a greenlet of its own, in case that it waits for the database, at a tenth of what a
short unit costs. Whether it will can often be told beforehand; then it is called as it is.
"""

import collections.abc
import contextlib
import typing as t

import sqlalchemy as sa
from sqlalchemy.engine import default
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from flama import exceptions
from flama.limits import limited
from flama.sqlalchemy._connection import PLAIN
from flama.sqlalchemy.drivers.choice import last_driver_of
from flama.sqlalchemy.drivers.driver import Driver, begin_quietly
from flama.sqlalchemy.pool import FairPool

__all__ = [
    "Late",
    "begin_end",
    "begun",
    "checked_in",
    "checked_out",
    "committed_last",
    "ended",
    "late",
    "opened",
]

_NOTHING: t.Final = default.DefaultDialect.do_begin  # is what a dialect does to begin, unless it has one of its own
_NONE: t.Final = object()  # in the place of a connection that there is not
_LIMIT: t.Final = 5.0  # seconds for the database to be done with a connection that is given back
_ANSWER_LIMIT: t.Final = 1.0  # seconds in which most answers to COMMIT come: others are waited for in another task


class Late(sa.Connection):
    """A connection that is checked out, and whose transaction begins, when it is first used.

    It is as one that was lost between two transactions: SQLAlchemy gets another when it needs one.
    """

    first: sa.engine.RootTransaction | None = None  # its transaction, be it ended, and another begun since

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine, t.cast("t.Any", _NONE))
        self._dbapi_connection = None

    def _begin_impl(self, transaction: sa.engine.RootTransaction) -> None:
        super()._begin_impl(transaction)
        self.first = self.first or transaction


def late(engine: AsyncEngine) -> AsyncConnection | None:
    """Give a connection that is checked out when it is first used; None where somebody looks at those that are made."""
    sync = engine.sync_engine
    return None if sync.dispatch.engine_connect else AsyncConnection(engine, Late(sync))


async def opened(connection: AsyncConnection) -> None:
    """Check out now what would be checked out with the next use."""
    sync: t.Any = connection.sync_connection
    if sync is None or sync._dbapi_connection is not None or sync._transaction is not None or sync.closed:
        return
    made: t.Any = (await checked_out(connection.engine)).sync_connection
    sync._dbapi_connection, made._dbapi_connection = made._dbapi_connection, None


async def checked_out(engine: AsyncEngine) -> AsyncConnection:
    """Check a connection out, waiting for one if all are in use."""
    sync: t.Any = engine.sync_engine
    pool = sync.pool
    if not isinstance(pool, FairPool) or (sync._has_events and sync.dispatch.engine_connect):
        return await engine.connect()
    if not pool.acquire_slot_nowait():
        await pool.acquire_slot()
    try:
        taken = pool.taken(sync)
        return AsyncConnection(engine, taken) if taken is not None else await engine.connect()
    finally:
        pool.release_slot()


async def begun(connection: AsyncConnection) -> AsyncTransaction:
    """Begin the connection's transaction: its driver does so with the first statement.

    :raises SQLAlchemyError: the connection is in one already.
    """
    sync: t.Any = connection.sync_connection
    if sync is not None and sync._transaction is not None and sync._transaction.is_active:
        raise exceptions.SQLAlchemyError("Transaction already started in this connection")
    if sync is None or sync._dbapi_connection is None or _waits_to_begin(sync):
        return await connection.begin()
    transaction = AsyncTransaction(connection)
    quiet = type(sync) in PLAIN and not (sync._echo or sync._transaction or sync._trans_context_manager)
    transaction.sync_transaction = begin_quietly(sync) if quiet else sync.begin()
    return transaction


async def ended(transaction: AsyncTransaction, *, rollback: bool) -> None:
    """Commit the transaction, or roll it back."""
    driver = _driver_of(transaction)
    if driver is not None and await driver.ended(transaction.connection, rollback=rollback):
        begun: t.Any = transaction.sync_transaction
        begun.is_active = False  # so that SQLAlchemy has but to note it
        begun.close()
    else:
        await (transaction.rollback() if rollback else transaction.commit())


def begin_end(transaction: AsyncTransaction, *, commit: bool) -> bool | collections.abc.Awaitable[bool]:
    """Begin to end a transaction and to close its connection, if nobody listens to the end of transactions.

    Return True when both are done, as the database was not told of the transaction. Otherwise, with ``commit``, send
    COMMIT, and return what waits for the answer, closes the connection and returns whether it is closed; when it isn't,
    or the wait was cancelled, :func:`committed_last` ends the transaction. False when neither is possible.
    """
    driver = _driver_of(transaction)
    if driver is None:
        return False
    begun: t.Any = transaction.sync_transaction
    if driver.idle:
        return _closed(begun.connection)
    answer = driver.begin_commit(_ANSWER_LIMIT) if commit else None
    return False if answer is None else _answered(answer, driver, begun.connection)


async def _answered(answer: collections.abc.Awaitable[None], driver: Driver, connection: sa.Connection) -> bool:
    try:
        await answer
    except Exception:  # noqa: BLE001 - who ends the transaction is told again
        return False
    return driver.idle and _closed(connection)


async def committed_last(transaction: AsyncTransaction) -> bool:
    """Commit a transaction with which its connection is closed, if its driver can be told to; tell whether it was."""
    driver = _driver_of(transaction)
    if driver is None or not await driver.ended(transaction.connection, rollback=False):
        return False
    t.cast("t.Any", transaction.sync_transaction).is_active = False  # which to close the connection will note
    return True


async def checked_in(connection: AsyncConnection) -> None:
    """Give the connection back; what isn't committed is rolled back. A database that doesn't answer is hung up on."""
    sync = connection.sync_connection
    if isinstance(sync, Late) and sync._dbapi_connection is None:
        sync.close()
    elif sync is None or not _closed_at_once(sync):
        with contextlib.suppress(TimeoutError), limited(_LIMIT):
            await connection.close()


def _closed_at_once(connection: sa.Connection) -> bool:
    driver = last_driver_of(connection)
    if driver is None or not driver.idle or connection._nested_transaction is not None:
        return False
    return not _tells_ends(connection) and _closed(connection)


def _closed(connection: sa.Connection) -> bool:
    pool = connection.engine.pool
    return isinstance(pool, FairPool) and pool.close_at_once(connection)


def _driver_of(transaction: AsyncTransaction) -> Driver | None:
    """Give the driver that a transaction can be ended by; None when somebody wants to know of it from SQLAlchemy."""
    begun: t.Any = transaction.sync_transaction
    if begun is None or not begun.is_active or begun.connection._nested_transaction is not None:
        return None
    return None if _tells_ends(begun.connection) else last_driver_of(begun.connection)


def _tells_ends(connection: sa.Connection) -> bool:
    heard = connection._has_events or connection.engine._has_events
    return connection._echo or (heard and bool(connection.dispatch.commit or connection.dispatch.rollback))


def _waits_to_begin(connection: t.Any) -> bool:
    if (connection._has_events or connection.engine._has_events) and connection.dispatch.begin:
        return True
    return type(connection.dialect).do_begin is not _NOTHING
