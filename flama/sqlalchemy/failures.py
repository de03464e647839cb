"""Transactions that PostgreSQL has given up: told to commit, it rolls them back."""

import typing as t
import weakref

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ["failed", "mend", "watch"]

_failed: weakref.WeakSet[sa.Connection] = weakref.WeakSet()


def watch(engine: AsyncEngine) -> None:
    """Notice, from now on, which of the engine's transactions had a statement that failed."""
    event.listen(engine.sync_engine, "handle_error", _fail)
    event.listen(engine.sync_engine, "rollback", mend)
    event.listen(engine.sync_engine, "rollback_savepoint", mend)


def failed(connection: AsyncConnection) -> bool:
    """Tell whether a statement failed since the connection last rolled back, be it to a savepoint."""
    return connection.sync_connection in _failed


def mend(connection: sa.Connection, *details: t.Any) -> None:
    """Forget a failure that was rolled back."""
    _failed.discard(connection)


def _fail(context: sa.ExceptionContext) -> None:
    # without a code, it was the driver that refused, and the server knows nothing of it
    if context.connection is not None and getattr(context.original_exception, "sqlstate", None):
        _failed.add(context.connection)
