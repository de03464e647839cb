"""How the transaction of a unit is set: what it sees of others, whether it writes, how long a statement may take."""

import dataclasses
import functools
import typing as t

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.limits import limited
from flama.sqlalchemy import drivers

__all__ = ["Isolation", "Settings"]

_LIMIT: t.Final = 5.0  # seconds for a connection to be as it was before

# as SET LOCAL, which warns where there is no BEGIN
_TIMEOUT: t.Final = "SELECT WHERE set_config('statement_timeout', '{}', true) IS NULL"

Isolation: t.TypeAlias = t.Literal["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
"""SQL's levels; which of them there are is the database's to say."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a unit; what isn't said is the database's own."""

    isolation: Isolation | None = None
    read_only: bool = False
    statement_timeout: float | None = None  # seconds

    async def open(self, connection: AsyncConnection) -> None:
        """Set what holds for a connection until it is given back.

        :raises ApplicationError: the database has no such level.
        """
        options: dict[str, t.Any] = {}
        if self.isolation is not None:
            options["isolation_level"] = self.isolation
        reads = self.read_only and connection.dialect.name == "postgresql"
        if reads and not (self.isolation is None and drivers.only_read(connection)):
            options["postgresql_readonly"] = True
            _say_nothing_after(connection)
        if options:
            try:
                await connection.execution_options(**options)
            except exc.ArgumentError as error:
                raise exceptions.ApplicationError(str(error)) from error
            except BaseException:
                await connection.invalidate()  # nobody knows how far it came
                raise

    async def begin(self, connection: AsyncConnection) -> None:
        """Set what holds for a transaction that was begun."""
        if commands := self._commands(connection.dialect.name):
            await drivers.begin_with(connection, commands)
        if self.read_only:
            drivers.read_alone(connection)

    def end_with(self, connection: AsyncConnection) -> bool:
        """Undo what would outlast the transaction, if that has not to be waited for; tell whether it was done."""
        drivers.forget(connection)
        return not self._undoing(connection.dialect.name)

    async def close(self, connection: AsyncConnection) -> None:
        """Undo what would outlast the transaction; a connection where that fails is given up."""
        drivers.forget(connection)
        if connection.closed or connection.invalidated or not (commands := self._undoing(connection.dialect.name)):
            return
        try:
            with limited(_LIMIT):
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
                return ("BEGIN IMMEDIATE",)  # its transactions begin with the first write else, and not before
        return ()

    def _undoing(self, dialect: str) -> tuple[str, ...]:
        if dialect in ("mysql", "mariadb") and self.statement_timeout is not None:
            return ("SET SESSION max_statement_time = DEFAULT",)
        return ("PRAGMA query_only = OFF",) if dialect == "sqlite" and self.read_only else ()


def _say_nothing_after(connection: AsyncConnection) -> None:
    """Let a connection that was read-only begin as the database does: by psycopg, SQLAlchemy would let it say so.

    That it be READ WRITE is refused by a replica.
    """
    if connection.dialect.driver == "psycopg":
        fairy: t.Any = t.cast("t.Any", connection.sync_connection).connection
        # the last to be added is the first to be called, and SQLAlchemy's is yet to come
        fairy._connection_record.finalize_callback.append(functools.partial(_say_nothing, connection.dialect))


def _say_nothing(dialect: t.Any, adapter: t.Any) -> None:
    dialect.set_readonly(adapter, None)
