"""Transactions that the database has given up, be the error that said so let pass.

PostgreSQL rolls back what it is told to commit then. MySQL and MariaDB have rolled back already, and the next statement
begins another transaction, of which nothing tells that it lacks what was done before.
"""

import typing as t

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flama.sqlalchemy._stale import is_stale

__all__ = ["FAILED", "failed", "is_lost", "loses", "mend", "prepare_anew", "watch"]

# what MySQL and MariaDB answer by rolling back the whole transaction
_TRANSACTION_LOST: t.Final = frozenset((1020, 1213))

FAILED: t.Final = "flama_failed"
"""The attribute of SQLAlchemy's connection that holds the innermost transaction in which a statement last failed.

That is one which SQLAlchemy knows, or a savepoint of those.
"""


def watch(engine: AsyncEngine) -> None:
    """Notice, from now on, which of the engine's transactions had a statement that failed."""
    # nothing else is listened for: to know when a transaction ends would have every statement looked at
    lasting = engine.dialect.name == "postgresql"
    event.listen(engine.sync_engine, "handle_error", _fail if lasting else _lose)


def failed(connection: AsyncConnection) -> bool:
    """Tell whether a statement failed since the connection last rolled back, be it to a savepoint."""
    sync = connection.sync_connection
    failed: sa.engine.Transaction | None = getattr(sync, FAILED, None)
    return sync is not None and failed is not None and failed in _open(sync)


def is_lost(connection: AsyncConnection) -> bool:
    """Tell whether the database has rolled back the transaction that the connection takes to be open."""
    return failed(connection) and connection.dialect.name != "postgresql"


def loses(error: BaseException | None) -> bool:
    """Tell whether a driver's error says that the whole transaction was rolled back."""
    return error is not None and bool(error.args) and error.args[0] in _TRANSACTION_LOST


def mend(connection: sa.Connection) -> None:
    """Forget a failure that was rolled back."""
    vars(connection).pop(FAILED, None)


def _open(connection: sa.Connection) -> list[sa.engine.Transaction]:
    """The transaction that is open and its savepoints, the innermost first."""
    found: list[sa.engine.Transaction] = []
    savepoint: t.Any = connection.get_nested_transaction()
    while savepoint is not None:
        found.append(savepoint)
        savepoint = savepoint._previous_nested
    whole = connection.get_transaction()
    return found if whole is None else [*found, whole]


def _fail(context: sa.ExceptionContext) -> None:
    connection, driver = context.connection, context.original_exception
    prepare_anew(context.dialect, driver)
    if connection is None or not _is_answer(driver):
        return
    # a savepoint that can't be released can't be rolled back to either: SQLAlchemy takes it for ended
    ended = (context.statement or "").startswith("RELEASE SAVEPOINT sa_")
    for transaction in _open(connection)[ended : ended + 1]:
        vars(connection)[FAILED] = transaction


def _is_answer(error: BaseException) -> bool:
    """Return whether it was the server that refused, rather than the driver, of whose errors the server never hears."""
    if not getattr(error, "sqlstate", None):
        return False
    # asyncpg refuses values by the server's codes, but of those errors alone the server has told the severity
    return getattr(error.__cause__, "severity", "") is not None


def prepare_anew(dialect: t.Any, error: BaseException) -> None:
    """Have SQLAlchemy prepare all statements anew if the error is that one is stale."""
    # psycopg does by itself when the transaction is rolled back
    if dialect.driver == "asyncpg" and (is_stale(error) or is_stale(error.__cause__)):
        dialect._invalidate_schema_cache()


def _lose(context: sa.ExceptionContext) -> None:
    connection = context.connection
    if connection is not None and loses(context.original_exception) and (whole := connection.get_transaction()):
        vars(connection)[FAILED] = whole
