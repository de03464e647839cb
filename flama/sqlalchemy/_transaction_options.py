"""Transaction settings of a unit: its isolation, whether it writes, how long a statement may take."""

import dataclasses
import functools
import typing as t

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama._private import sqlalchemy as private
from flama._timeouts import timeout
from flama.sqlalchemy import drivers

__all__ = ["Isolation", "TransactionOptions"]

_LIMIT: t.Final = 5.0  # seconds to reset a connection

# as SET LOCAL, which warns where there is no BEGIN
_TIMEOUT: t.Final = "SELECT WHERE set_config('statement_timeout', '{}', true) IS NULL"

Isolation: t.TypeAlias = t.Literal["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
"""SQL's isolation levels; each database supports some of them."""


@dataclasses.dataclass(frozen=True)
class TransactionOptions:
    """The settings of a unit; the defaults are the database's."""

    isolation: Isolation | None = None
    read_only: bool = False
    statement_timeout: float | None = None  # seconds

    async def open(self, connection: AsyncConnection) -> None:
        """Apply the settings that hold for a connection until it is returned to the pool.

        :raises ApplicationError: the database has no such level.
        """
        options: dict[str, t.Any] = {}
        if self.isolation is not None:
            options["isolation_level"] = self.isolation
        reads = self.read_only and connection.dialect.name == "postgresql"
        if reads and not (self.isolation is None and drivers.set_read_only(connection)):
            options["postgresql_readonly"] = True
            _reset_readonly_on_checkin(connection)
        if options:
            try:
                await connection.execution_options(**options)
            except exc.ArgumentError as error:
                raise exceptions.ApplicationError(str(error)) from error
            except BaseException:
                await connection.invalidate()  # its state is unknown
                raise

    async def begin(self, connection: AsyncConnection) -> None:
        """Apply the settings that hold for a transaction that was begun.

        :raises ApplicationError: SQLite has no timeout for a statement.
        """
        if commands := self._commands(connection.dialect.name):
            await drivers.begin_with(connection, commands)
        if self.read_only:
            drivers.allow_autocommit_reads(connection)

    def reset_nowait(self, connection: AsyncConnection) -> bool:
        """Reset what outlasts the transaction, unless that takes a statement; return whether all of it is reset."""
        drivers.reset_transaction_options(connection)
        return not self._reset_commands(connection.dialect.name)

    async def close(self, connection: AsyncConnection) -> None:
        """Reset the settings that would outlast the transaction; a connection where that fails is invalidated."""
        drivers.reset_transaction_options(connection)
        if (
            connection.closed
            or connection.invalidated
            or not (commands := self._reset_commands(connection.dialect.name))
        ):
            return
        try:
            with timeout(_LIMIT):
                await drivers.run(connection, commands)
        except (exc.DBAPIError, TimeoutError):
            await connection.invalidate()
        except BaseException:
            await connection.invalidate()
            raise

    def _commands(self, dialect: str) -> tuple[str, ...]:
        limit = self.statement_timeout
        match dialect:
            case "postgresql" if limit is not None:
                return (_TIMEOUT.format(max(1, round(limit * 1000))),)
            case "mysql" | "mariadb":
                timed = () if limit is None else (f"SET SESSION max_statement_time = {limit:f}",)  # MariaDB's
                return (*timed, *(("SET TRANSACTION READ ONLY",) if self.read_only else ()))
            case "sqlite" if limit is not None:
                raise exceptions.ApplicationError("SQLite has no limit for how long a statement may take")
            case "sqlite" if self.read_only:
                return ("PRAGMA query_only = ON",)
            case "sqlite" if self.isolation == "SERIALIZABLE":
                return ("BEGIN IMMEDIATE",)  # otherwise its transactions begin with the first write
        return ()

    def _reset_commands(self, dialect: str) -> tuple[str, ...]:
        if dialect in ("mysql", "mariadb") and self.statement_timeout is not None:
            return ("SET SESSION max_statement_time = DEFAULT",)
        return ("PRAGMA query_only = OFF",) if dialect == "sqlite" and self.read_only else ()


def _reset_readonly_on_checkin(connection: AsyncConnection) -> None:
    """Make a read-only connection begin with the database's default when it is returned to the pool.

    With psycopg, SQLAlchemy would set READ WRITE, which a replica refuses.
    """
    if connection.dialect.driver == "psycopg":
        record = private.record(t.cast("t.Any", connection.sync_connection).connection)
        if record is not None:  # the last one added is called first, and SQLAlchemy adds its own after this one
            record.finalize_callback.append(functools.partial(_reset_readonly, connection.dialect))


def _reset_readonly(dialect: t.Any, adapter: t.Any) -> None:
    dialect.set_readonly(adapter, None)
