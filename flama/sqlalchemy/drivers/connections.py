"""How connections are taken, used, returned without a greenlet where nothing is waited for.

SQLAlchemy has each of these run in a greenlet of its own, in case that it waits for the database, at a tenth of what a
short unit costs. Whether it will can often be told beforehand; then it is called as it is.
"""

import contextlib
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import default
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from flama.limits import limited
from flama.sqlalchemy.drivers.choice import driver_of
from flama.sqlalchemy.pool import FairPool

__all__ = ["Late", "begun", "checked_in", "checked_out", "ended", "late", "opened"]

_NOTHING: t.Final = default.DefaultDialect.do_begin  # is what a dialect does to begin, unless it has one of its own
_NONE: t.Final = object()  # in the place of a connection that there is not
_LIMIT: t.Final = 5.0  # seconds for the database to be done with a connection that is given back


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
    if isinstance(sync.pool, FairPool) and sync.pool.has_idle and not sync.dispatch.engine_connect:
        try:
            return AsyncConnection(engine, sync.connect())
        except exc.MissingGreenlet:
            pass  # it has to be made anew
    return await engine.connect()


async def begun(connection: AsyncConnection) -> AsyncTransaction:
    """Begin the connection's transaction: its driver does so with the first statement."""
    sync: t.Any = connection.sync_connection
    if sync is None or sync._dbapi_connection is None or _waits_to_begin(sync):
        return await connection.begin()
    transaction: t.Any = AsyncTransaction(connection)
    transaction.sync_transaction = transaction._assign_proxied(sync.begin())
    return t.cast(AsyncTransaction, transaction)


async def ended(transaction: AsyncTransaction, *, rollback: bool) -> None:
    """Commit the transaction, or roll it back."""
    connection, sync = transaction.connection, transaction.sync_transaction
    driver = None if _tells_ends(sync) else driver_of(connection)
    if driver is not None and await driver.ended(connection, rollback=rollback):
        t.cast("t.Any", sync).is_active = False  # so that SQLAlchemy has but to note it
        t.cast("t.Any", sync).close()
    else:
        await (transaction.rollback() if rollback else transaction.commit())


async def checked_in(connection: AsyncConnection) -> None:
    """Give the connection back; what isn't committed is rolled back. A database that doesn't answer is hung up on."""
    sync, driver = connection.sync_connection, driver_of(connection)
    idle = driver.idle if driver is not None else isinstance(sync, Late) and sync._dbapi_connection is None
    if sync is not None and idle and _keeps(sync.engine.pool):
        sync.close()
    else:
        with contextlib.suppress(TimeoutError), limited(_LIMIT):
            await connection.close()


def _waits_to_begin(connection: t.Any) -> bool:
    if (connection._has_events or connection.engine._has_events) and connection.dispatch.begin:
        return True
    return type(connection.dialect).do_begin is not _NOTHING


def _keeps(pool: sa.Pool) -> bool:
    return isinstance(pool, FairPool) and pool.has_room


def _tells_ends(transaction: t.Any) -> bool:
    connection = transaction.connection
    heard = connection._has_events or connection.engine._has_events
    return heard and bool(connection.dispatch.commit or connection.dispatch.rollback)
