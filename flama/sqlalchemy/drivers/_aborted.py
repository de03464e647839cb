"""Detection of transactions that the database has aborted, even when the caller ignored the error.

PostgreSQL then rolls back on COMMIT. MySQL and MariaDB have rolled back already: the next statement begins another
transaction, without any sign that the earlier changes are lost.
"""

import typing as t

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flama._private import sqlalchemy as private
from flama.sqlalchemy._stale import is_stale

__all__ = ["FAILED", "clear_aborted", "is_aborted", "is_lost", "prepare_anew", "rolls_back_transaction", "watch"]

# the errors on which MySQL and MariaDB roll back the whole transaction
_TRANSACTION_LOST: t.Final = frozenset((1020, 1213))

FAILED: t.Final = "flama_failed"
"""The attribute of SQLAlchemy's connection for the innermost transaction in which a statement last failed.

It is a transaction or a savepoint that SQLAlchemy has begun.
"""


def watch(engine: AsyncEngine) -> None:
    """Record, from now on, the statements that fail in the engine's transactions."""
    # no other listener: one for the end of transactions would slow down every statement
    lasting = engine.dialect.name == "postgresql"
    event.listen(engine.sync_engine, "handle_error", _on_error if lasting else _on_transaction_lost)


def is_aborted(connection: AsyncConnection) -> bool:
    """Return whether a statement failed since the connection last rolled back, including to a savepoint."""
    sync = connection.sync_connection
    failed: sa.engine.Transaction | None = getattr(sync, FAILED, None)
    return sync is not None and failed is not None and failed in _open(sync)


def is_lost(connection: AsyncConnection) -> bool:
    """Return whether the database has rolled back the transaction that the connection considers open."""
    return is_aborted(connection) and connection.dialect.name != "postgresql"


def rolls_back_transaction(error: BaseException | None) -> bool:
    """Return whether a driver's error means that the whole transaction was rolled back."""
    return error is not None and bool(error.args) and error.args[0] in _TRANSACTION_LOST


def clear_aborted(connection: sa.Connection) -> None:
    """Clear the record of a failure that was rolled back."""
    vars(connection).pop(FAILED, None)


def _open(connection: sa.Connection) -> list[sa.engine.Transaction]:
    """Return the open transaction and its savepoints, innermost first."""
    found: list[sa.engine.Transaction] = []
    savepoint: sa.engine.Transaction | None = connection.get_nested_transaction()
    while savepoint is not None:
        found.append(savepoint)
        savepoint = private.outer_savepoint(savepoint)
    whole = connection.get_transaction()
    return found if whole is None else [*found, whole]


def _on_error(context: sa.ExceptionContext) -> None:
    connection, driver = context.connection, context.original_exception
    prepare_anew(context.dialect, driver)
    if connection is None or not _is_server_error(driver):
        return
    transactions = _open(connection)
    if (context.statement or "").startswith("RELEASE SAVEPOINT sa_"):
        del transactions[:1]  # what can't be released can't be rolled back to either: SQLAlchemy considers it ended
    if transactions:
        vars(connection)[FAILED] = transactions[0]


def _is_server_error(error: BaseException) -> bool:
    """Return whether the server raised the error, rather than the driver before it sent anything."""
    if not getattr(error, "sqlstate", None):
        return False
    # asyncpg rejects values with the server's codes, but only the server's own errors have a severity
    return getattr(error.__cause__, "severity", "") is not None


def prepare_anew(dialect: t.Any, error: BaseException) -> None:
    """Make SQLAlchemy prepare all statements again if the error is that one is stale."""
    # psycopg does so itself when the transaction is rolled back
    if dialect.driver == "asyncpg" and (is_stale(error) or is_stale(error.__cause__)):
        private.forget_schema(dialect)


def _on_transaction_lost(context: sa.ExceptionContext) -> None:
    connection = context.connection
    if (
        connection is not None
        and rolls_back_transaction(context.original_exception)
        and (whole := connection.get_transaction())
    ):
        vars(connection)[FAILED] = whole
