"""The base of all drivers that run statements without SQLAlchemy in between."""

import abc
import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util.concurrency import greenlet_spawn

from flama._private import sqlalchemy as private
from flama.sqlalchemy.drivers import _aborted
from flama.sqlalchemy.drivers._compiled_cache import Arguments, CompiledCache, CompiledStatement, Record

__all__ = ["Cursor", "Driver", "is_heard_to_begin"]

_NO_SAVEPOINT: t.Final = "3B001"
_Values: t.TypeAlias = collections.abc.Sequence[t.Any]


class Cursor(abc.ABC):
    """A statement's records, fetched in batches through a cursor in the database."""

    @abc.abstractmethod
    async def fetch(self, number: int) -> list[Record]:
        """Return the next ``number`` records; fewer when there are no more."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Close the cursor."""

    def give_up(self) -> None:  # noqa: B027 - a choice
        """Discard the cursor, which is lost with its connection."""


class Driver(abc.ABC):
    """A driver's connection, which runs compiled statements in the transaction that SQLAlchemy has begun or begins.

    Errors are handled by SQLAlchemy as usual: it raises its own error and calls its listeners. It invalidates a
    connection that is lost, or whose statement was cancelled.
    """

    guards: bool = True
    """Whether statements can currently run guarded, which makes ``atomic()`` unnecessary."""
    guards_reads: bool = False
    """Whether even the simplest reads run guarded, as the server may reject a value."""

    def __init__(self, adapter: t.Any, shapes: CompiledCache) -> None:
        self.shapes = shapes
        self.adapter = adapter  # SQLAlchemy's, with its state updated here
        self._connection = adapter.driver_connection

    @classmethod
    def is_supported(cls) -> bool:
        """Return whether the installed libraries have all that the driver needs of them."""
        return private.HAS["errors"]

    async def execute(
        self,
        connection: AsyncConnection,
        shape: CompiledStatement,
        values: _Values,
        *,
        counts: bool,
        guarded: bool = False,
    ) -> t.Any:
        """Run a statement, and return its records or, if ``counts``, the number of records changed.

        When a ``guarded`` statement fails, its transaction remains as usable as before.
        """
        sync: t.Any = connection.sync_connection
        try:
            arguments = shape.arguments(values, sync)
        except BaseException as error:
            await self._refuse(connection, shape, error)
            raise
        if sync.get_transaction() is None:
            await _begin(sync)
        try:
            return await self._run(shape, arguments, guarded, counts)
        except BaseException as error:
            await self.handle_error(connection, shape, arguments, error)
            raise

    async def execute_many(
        self, connection: AsyncConnection, shape: CompiledStatement, rows: collections.abc.Iterable[_Values]
    ) -> list[Record]:
        """Run a statement once for each row of values, and return the resulting records, in order."""
        arguments = await self._arguments(connection, shape, rows)
        try:
            return await self._execute_many(shape, arguments)
        except BaseException as error:
            await self.handle_error(connection, shape, arguments, error)
            raise

    async def cursor(self, connection: AsyncConnection, shape: CompiledStatement, values: _Values) -> Cursor:
        """Return a cursor for a statement, which runs on the first fetch."""
        arguments = await self._arguments(connection, shape, (values,))
        return _ErrorHandlingCursor(self, connection, shape, arguments[0])

    @property
    def idle(self) -> bool:
        """Whether the connection is known to be returnable without waiting for the database."""
        return False

    async def end(self, connection: AsyncConnection, *, rollback: bool) -> bool:
        """End the database's transaction; return whether this was done: SQLAlchemy then only has to record it."""
        return False

    def begin_commit(self, limit: float) -> collections.abc.Awaitable[bool] | None:
        """Send COMMIT, and return an awaitable of its response within ``limit`` seconds; None if unsupported.

        It returns whether the connection can then be returned without waiting. If the wait is cancelled or raises,
        :meth:`end` reports how the transaction ends.
        """
        return None

    async def begin_with(self, connection: AsyncConnection, commands: tuple[str, ...]) -> bool:
        """Send commands with the next BEGIN; return whether this is supported."""
        return await self.run(connection, commands)

    async def run(self, connection: AsyncConnection, commands: tuple[str, ...]) -> bool:
        """Run commands that return nothing, without beginning a transaction; return whether this is supported."""
        return False

    def allow_autocommit_reads(self, connection: AsyncConnection) -> None:  # noqa: B027 - a choice
        """Skip the next transaction, which only reads, where results are the same and it saves time."""

    def set_read_only(self) -> bool:
        """Make the following transactions read-only; return whether this is supported."""
        return False

    def forget(self) -> None:  # noqa: B027 - a choice
        """Discard the options of the next transaction."""

    def queue_savepoint(self) -> bool:
        """Begin a savepoint with the next statement; return whether this is possible."""
        return False

    def queue_release(self) -> bool:
        """End such a savepoint, and keep the changes made since; return whether this is possible."""
        return False

    async def savepoint(self, connection: AsyncConnection) -> bool:
        """Begin a savepoint unknown to SQLAlchemy; return whether this is possible."""
        sync: t.Any = connection.sync_connection
        if sync.get_transaction() is None:
            await _begin(sync)
        await self._run_command(connection, "SAVEPOINT flama")  # the name refers to the innermost of that name
        return True

    async def release(self, connection: AsyncConnection) -> None:
        """End the savepoint, and keep the changes made since."""
        await self._run_command(connection, "RELEASE SAVEPOINT flama")

    async def undo(self, connection: AsyncConnection) -> bool:
        """End the savepoint, and undo the changes made since; return whether it had begun."""
        if begun := await self._try_undo(connection, "ROLLBACK TO SAVEPOINT flama"):
            await self._run_command(connection, "RELEASE SAVEPOINT flama")
        return begun

    @property
    @abc.abstractmethod
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""

    @property
    def is_at_its_beginning(self) -> bool:
        """Whether rolling back the whole transaction would undo only what is still to be run in it."""
        return not self.in_transaction

    @abc.abstractmethod
    def _run(
        self, shape: CompiledStatement, arguments: t.Any, guarded: bool, counts: bool
    ) -> collections.abc.Awaitable[t.Any]:
        """Run a statement, and return its records, or the number of records changed."""

    @abc.abstractmethod
    async def _execute_many(self, shape: CompiledStatement, rows: list[t.Any]) -> list[Record]: ...

    @abc.abstractmethod
    async def open_cursor(self, shape: CompiledStatement, arguments: t.Any, number: int) -> tuple[Cursor, list[Record]]:
        """Run a statement, and return a cursor for its records, and the first ``number`` of them."""

    @abc.abstractmethod
    async def _execute_command(self, command: str) -> None: ...

    async def _run_command(self, connection: AsyncConnection, command: str) -> None:
        try:
            await self._execute_command(command)
        except BaseException as error:
            await self._handle_command_error(connection, command, error)
            raise

    async def _handle_command_error(self, connection: AsyncConnection, command: str, error: BaseException) -> None:
        sync: t.Any = connection.sync_connection
        await greenlet_spawn(private.raise_error, sync, error, self.adapter, (command, (), None))

    async def _try_undo(self, connection: AsyncConnection, command: str) -> bool:
        try:
            await self._run_command(connection, command)
        except exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _NO_SAVEPOINT:  # the transaction had already failed
                return False
            raise
        return True

    async def _arguments(
        self, connection: AsyncConnection, shape: CompiledStatement, rows: collections.abc.Iterable[_Values]
    ) -> list[Arguments]:
        sync: t.Any = connection.sync_connection
        try:
            arguments = [shape.arguments(values, sync) for values in rows]
        except BaseException as error:
            await self._refuse(connection, shape, error)
            raise
        if sync.get_transaction() is None:
            await _begin(sync)
        return arguments

    async def _refuse(self, connection: AsyncConnection, shape: CompiledStatement, error: BaseException) -> None:
        await greenlet_spawn(private.raise_error, connection.sync_connection, error, None, (shape.sql, None, None))

    async def handle_error(
        self, connection: AsyncConnection, shape: CompiledStatement, arguments: t.Any, error: BaseException
    ) -> None:
        """Handle the error of a statement as SQLAlchemy does."""
        sync: t.Any = connection.sync_connection
        try:
            run = shape.sql, arguments, shape.context(sync)
            await greenlet_spawn(private.raise_error, sync, error, self.adapter, run)
        finally:
            if self._leaves_transaction_usable(error):
                _aborted.clear_aborted(sync)

    def _leaves_transaction_usable(self, error: BaseException) -> bool:
        """Return whether a failure leaves no aborted transaction: there is none, or the statement was undone."""
        return True


class _ErrorHandlingCursor(Cursor):
    # Opened by its first fetch, so that a short result takes the fewest round trips.

    def __init__(self, driver: Driver, connection: AsyncConnection, shape: CompiledStatement, arguments: t.Any) -> None:
        self._driver = driver
        self._connection = connection
        self._shape = shape
        self._arguments = arguments
        self._cursor: Cursor | None = None

    async def fetch(self, number: int) -> list[Record]:
        try:
            if self._cursor is not None:
                return await self._cursor.fetch(number)
            self._cursor, records = await self._driver.open_cursor(self._shape, self._arguments, number)
        except BaseException as error:
            await self._driver.handle_error(self._connection, self._shape, self._arguments, error)
            raise
        return records

    async def close(self) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is None:
            return
        try:
            await cursor.close()
        except BaseException as error:
            await self._driver.handle_error(self._connection, self._shape, self._arguments, error)
            raise

    def give_up(self) -> None:
        if self._cursor is not None:
            self._cursor.give_up()


def is_heard_to_begin(connection: sa.Connection) -> bool:
    """Return whether there are listeners for the beginning of the connection's transactions."""
    events: t.Any = connection
    return private.is_watched(connection) and bool(events.dispatch.begin)


async def _begin(connection: sa.Connection) -> None:
    if is_heard_to_begin(connection):  # a listener may run statements
        await greenlet_spawn(connection.begin)
    else:
        connection.begin()  # no dialect here has work to do: the driver begins with the statement
