"""Checkout, transactions, return of connections, without a greenlet where nothing waits.

SQLAlchemy runs each of these in a greenlet of its own, in case it waits for the database. Where it is known beforehand
not to wait, it is called directly: checkouts by SQLAlchemy take 38 % more instructions of a unit that reads one record.
"""

import collections.abc
import contextlib
import typing as t

import sqlalchemy as sa
from sqlalchemy.engine import default
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from flama import exceptions
from flama._private import sqlalchemy as private
from flama._timeouts import limited
from flama.sqlalchemy._events import is_logged
from flama.sqlalchemy.drivers._driver import Driver, is_heard_to_begin
from flama.sqlalchemy.drivers._resolve import cached_driver
from flama.sqlalchemy.pool._fair_pool import FairPool

__all__ = [
    "LazyConnection",
    "begin",
    "begin_end",
    "checkin",
    "checkout",
    "commit_before_close",
    "end",
    "ensure_checked_out",
    "lazy_connection",
]

_NOTHING: t.Final = default.DefaultDialect.do_begin  # the base do_begin(), unless a dialect overrides it
_LIMIT: t.Final = 5.0  # seconds for the database to finish with a returned connection
_ANSWER_LIMIT: t.Final = 1.0  # seconds: later responses to COMMIT are awaited in another task


class _Lost:
    # in place of the pool's proxy, to be invalidated

    is_valid = False


class LazyConnection(sa.Connection):
    """A connection that is checked out, and whose transaction begins, on first use.

    It resembles a connection lost between two transactions: SQLAlchemy gets another when it needs one.
    """

    first: sa.engine.RootTransaction | None = None  # its first transaction, even after it has ended

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine, t.cast("t.Any", _Lost()))
        self.invalidate()

    def _begin_impl(self, transaction: sa.engine.RootTransaction) -> None:
        super()._begin_impl(transaction)
        self.first = self.first or transaction


def lazy_connection(engine: AsyncEngine) -> AsyncConnection | None:
    """Return a connection that is checked out on first use; None if the engine has connect listeners."""
    sync = engine.sync_engine
    return None if sync.dispatch.engine_connect else AsyncConnection(engine, LazyConnection(sync))


async def ensure_checked_out(connection: AsyncConnection) -> None:
    """Check out a lazy connection now, rather than on its next use."""
    sync = connection.sync_connection
    if sync is None or private.proxy(sync) is not None or sync.get_transaction() or sync.closed:
        return
    if private.HAS["checkouts"]:
        private.move_proxy((await checkout(connection.engine)).sync_connection, sync)
    else:
        await connection.get_raw_connection()


async def checkout(engine: AsyncEngine) -> AsyncConnection:
    """Check out a connection, waiting for one if all are in use."""
    sync: t.Any = engine.sync_engine
    pool = sync.pool
    if not isinstance(pool, FairPool) or (private.has_events(sync) and sync.dispatch.engine_connect):
        return await engine.connect()
    if not pool.acquire_slot_nowait():
        await pool.acquire_slot()
    try:
        taken = pool.checkout_nowait(sync)
        return AsyncConnection(engine, taken) if taken is not None else await engine.connect()
    finally:
        pool.release_slot()


async def begin(connection: AsyncConnection) -> AsyncTransaction:
    """Begin the connection's transaction; its driver does so with the first statement.

    :raises SQLAlchemyError: the connection is in one already.
    """
    sync = connection.sync_connection
    if sync is not None and sync.in_transaction():
        raise exceptions.SQLAlchemyError("Transaction already started in this connection")
    if (
        sync is None
        or private.proxy(sync) is None
        or type(sync.dialect).do_begin is not _NOTHING
        or is_heard_to_begin(sync)
    ):
        return await connection.begin()
    transaction = AsyncTransaction(connection)
    transaction.sync_transaction = sync.begin()
    return transaction


async def end(transaction: AsyncTransaction, *, rollback: bool) -> None:
    """Commit the transaction, or roll it back."""
    driver = _driver_of(transaction)
    if driver is not None and await driver.ended(transaction.connection, rollback=rollback):
        begun: t.Any = transaction.sync_transaction
        begun.is_active = False  # so that SQLAlchemy only records the end
        begun.close()
    elif rollback:
        await transaction.rollback()
    else:
        await transaction.commit()


def begin_end(transaction: AsyncTransaction, *, commit: bool) -> bool | collections.abc.Awaitable[bool]:
    """Begin to end a transaction and to close its connection, if there are no listeners for its end.

    Return True when both are done, as the database never saw the transaction. Otherwise, with ``commit``, send COMMIT
    and return an awaitable. It waits for the response, closes the connection, and returns whether it is closed. If it
    isn't, or the wait was cancelled, :func:`end` or :func:`commit_before_close` must end the transaction. Return False
    when neither is possible.
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
    except Exception:  # noqa: BLE001 - ending the transaction raises it again
        return False
    return driver.idle and _closed(connection)


async def commit_before_close(transaction: AsyncTransaction) -> bool:
    """Commit a transaction whose connection is about to be closed; return whether its driver supports this."""
    driver = _driver_of(transaction)
    if driver is None or not await driver.ended(transaction.connection, rollback=False):
        return False
    t.cast("t.Any", transaction.sync_transaction).is_active = False  # closing the connection records it
    return True


async def checkin(connection: AsyncConnection) -> None:
    """Return the connection, and roll back uncommitted changes; if the database doesn't respond, hang up."""
    sync = connection.sync_connection
    if isinstance(sync, LazyConnection) and private.proxy(sync) is None:
        sync.close()
    elif sync is None or not _closed_at_once(sync):
        with contextlib.suppress(TimeoutError), limited(_LIMIT):
            await connection.close()


def _closed_at_once(connection: sa.Connection) -> bool:
    driver = cached_driver(connection)
    if driver is None or not driver.idle or connection.get_nested_transaction() is not None:
        return False
    return not _tells_ends(connection) and _closed(connection)


def _closed(connection: sa.Connection) -> bool:
    pool = connection.engine.pool
    return isinstance(pool, FairPool) and pool.checkin_nowait(connection)


def _driver_of(transaction: AsyncTransaction) -> Driver | None:
    """Return the driver that can end a transaction; None when SQLAlchemy has to, for its listeners or log."""
    begun: t.Any = transaction.sync_transaction
    if begun is None or not begun.is_active or begun.connection.get_nested_transaction() is not None:
        return None
    return None if _tells_ends(begun.connection) else cached_driver(begun.connection)


def _tells_ends(connection: sa.Connection) -> bool:
    if not private.is_watched(connection):
        return False
    events: t.Any = connection
    return is_logged(connection) or bool(events.dispatch.commit or events.dispatch.rollback)
