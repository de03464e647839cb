"""What is common to all drivers that are spoken to without SQLAlchemy in between."""

import abc
import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine.base import RootTransaction
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util.concurrency import greenlet_spawn

from flama.sqlalchemy import failures
from flama.sqlalchemy._connection import PLAIN
from flama.sqlalchemy.shapes import Arguments, Record, Shape, Shapes

__all__ = ["Cursor", "Driver", "begin_quietly"]

_NO_SAVEPOINT: t.Final = "3B001"
_Values: t.TypeAlias = collections.abc.Sequence[t.Any]


class Cursor(abc.ABC):
    """What a statement finds, some at a time, as a cursor in the database gives it."""

    @abc.abstractmethod
    async def fetch(self, number: int) -> list[Record]:
        """Give so many of the next records; fewer when there are no more."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Close the cursor."""

    def give_up(self) -> None:  # noqa: B027 - a choice
        """Forget the cursor, which is lost with its connection."""


class Driver(abc.ABC):
    """A driver's connection, on which shapes are run within the transaction that SQLAlchemy has begun or begins.

    What goes wrong is SQLAlchemy's business as ever: its error is raised, its listeners are told, and a connection
    that is lost, or whose statement was cancelled, is given up.
    """

    guards: bool = True
    """Whether a statement can be run guarded now; it needs no ``atomic()`` then."""
    guards_reads: bool = False
    """Whether the simplest of reads are run guarded too, as the server may refuse a value of theirs."""

    def __init__(self, adapter: t.Any, shapes: Shapes) -> None:
        self.shapes = shapes
        self.adapter = adapter  # SQLAlchemy's, whose state is kept true
        self._connection = adapter._connection

    async def execute(
        self, connection: AsyncConnection, shape: Shape, values: _Values, *, counts: bool, guarded: bool = False
    ) -> t.Any:
        """Run a statement and give the records that it returns, or, when it ``counts``, how many it changed.

        When one that is ``guarded`` fails, its transaction is as usable as before.
        """
        sync: t.Any = connection.sync_connection
        try:
            arguments = shape.arguments(values, sync)
        except BaseException as error:
            await self._refuse(connection, shape, error)
            raise
        if sync._transaction is None and not _begun(sync):
            await greenlet_spawn(sync._autobegin)
        try:
            return await self._run(shape, arguments, guarded, counts)
        except BaseException as error:
            await self._fail(connection, shape, arguments, error)
            raise

    async def records_of_many(
        self, connection: AsyncConnection, shape: Shape, rows: collections.abc.Iterable[_Values]
    ) -> list[Record]:
        """Run a statement once for each row of values, and give the records that they return, in order."""
        arguments = await self._arguments(connection, shape, rows)
        try:
            return await self._records_of_many(shape, arguments)
        except BaseException as error:
            await self._fail(connection, shape, arguments, error)
            raise

    async def cursor(self, connection: AsyncConnection, shape: Shape, values: _Values) -> Cursor:
        """Give a cursor for a statement, which runs when it first fetches."""
        arguments = await self._arguments(connection, shape, (values,))
        return _Watched(self, connection, shape, arguments[0])

    @property
    def idle(self) -> bool:
        """Whether it is known that the connection can be given back without waiting for the database."""
        return False

    async def ended(self, connection: AsyncConnection, *, rollback: bool) -> bool:
        """End the database's transaction; tell whether that was done, so that SQLAlchemy has but to note it."""
        return False

    def begin_commit(self, limit: float) -> collections.abc.Awaitable[None] | None:
        """Send COMMIT, and return what waits ``limit`` seconds for the answer; None when there is no such way.

        Who waits may be cancelled, or told of an error: then :meth:`ended` tells how it ends.
        """
        return None

    async def begin_with(self, connection: AsyncConnection, commands: tuple[str, ...]) -> bool:
        """Take commands along with the BEGIN that is to come; tell whether this can be done."""
        return await self.run(connection, commands)

    async def run(self, connection: AsyncConnection, commands: tuple[str, ...]) -> bool:
        """Run commands that give nothing, and begin nothing for them; tell whether this can be done."""
        return False

    def read_alone(self, connection: AsyncConnection) -> None:  # noqa: B027 - a choice
        """Let a transaction that only reads, and is to come, be none, where that shows the same and saves time."""

    def only_read(self) -> bool:
        """Let the transactions to come be such that only read; tell whether this can be done."""
        return False

    def forget(self) -> None:  # noqa: B027 - a choice
        """Forget what was said of the transaction that was to come."""

    def savepoint_ahead(self) -> bool:
        """Begin a savepoint with the next statement; tell whether this can be done."""
        return False

    def release_ahead(self) -> bool:
        """End such a savepoint, and keep what was done since; tell whether this can be done."""
        return False

    async def savepoint(self, connection: AsyncConnection) -> bool:
        """Begin a savepoint, of which SQLAlchemy doesn't know; tell whether this can be done."""
        sync: t.Any = connection.sync_connection
        if sync._transaction is None and not _begun(sync):
            await greenlet_spawn(sync._autobegin)
        await self._told(connection, "SAVEPOINT flama")  # of those that are called alike, the innermost is meant
        return True

    async def release(self, connection: AsyncConnection) -> None:
        """End the savepoint, and keep what was done since."""
        await self._told(connection, "RELEASE SAVEPOINT flama")

    async def undo(self, connection: AsyncConnection) -> bool:
        """End the savepoint, and undo what was done since; tell whether it had begun."""
        if begun := await self._undone(connection, "ROLLBACK TO SAVEPOINT flama"):
            await self._told(connection, "RELEASE SAVEPOINT flama")
        return begun

    @property
    @abc.abstractmethod
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""

    @property
    def is_at_its_beginning(self) -> bool:
        """Whether all that is to be done in the transaction is undone, and nothing else, by rolling back the whole."""
        return not self.in_transaction

    @abc.abstractmethod
    def _run(self, shape: Shape, arguments: t.Any, guarded: bool, counts: bool) -> collections.abc.Awaitable[t.Any]:
        """Run a statement, and give the records that it returns, or count those that it changed."""

    @abc.abstractmethod
    async def _records_of_many(self, shape: Shape, rows: list[t.Any]) -> list[Record]: ...

    @abc.abstractmethod
    async def _cursor(self, shape: Shape, arguments: t.Any, number: int) -> tuple[Cursor, list[Record]]: ...

    @abc.abstractmethod
    async def _tell(self, command: str) -> None: ...

    async def _told(self, connection: AsyncConnection, command: str) -> None:
        try:
            await self._tell(command)
        except BaseException as error:
            await self._broke(connection, command, error)
            raise

    async def _broke(self, connection: AsyncConnection, command: str, error: BaseException) -> None:
        sync: t.Any = connection.sync_connection
        await greenlet_spawn(_fail, sync, error, _Run(command, (), self.adapter))

    async def _undone(self, connection: AsyncConnection, command: str) -> bool:
        try:
            await self._told(connection, command)
        except exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _NO_SAVEPOINT:  # the transaction had failed before
                return False
            raise
        return True

    async def _arguments(
        self, connection: AsyncConnection, shape: Shape, rows: collections.abc.Iterable[_Values]
    ) -> list[Arguments]:
        sync: t.Any = connection.sync_connection
        try:
            arguments = [shape.arguments(values, sync) for values in rows]
        except BaseException as error:
            await self._refuse(connection, shape, error)
            raise
        if sync._transaction is None and not _begun(sync):
            await greenlet_spawn(sync._autobegin)
        return arguments

    async def _refuse(self, connection: AsyncConnection, shape: Shape, error: BaseException) -> None:
        await greenlet_spawn(_fail, t.cast("sa.Connection", connection.sync_connection), error, _Run(shape.sql))

    async def _fail(self, connection: AsyncConnection, shape: Shape, arguments: t.Any, error: BaseException) -> None:
        sync: t.Any = connection.sync_connection
        try:
            await greenlet_spawn(_fail, sync, error, _Run(shape.sql, arguments, self.adapter, shape.context(sync)))
        finally:
            if self._spoils_nothing(error):
                failures.mend(sync)

    def _spoils_nothing(self, error: BaseException) -> bool:
        """Tell whether a failure leaves no transaction spoiled: there is none, or what failed was undone."""
        return True


class _Watched(Cursor):
    # Opened by its first fetch, so that a short result costs no more round trips than it must.

    def __init__(self, driver: Driver, connection: AsyncConnection, shape: Shape, arguments: t.Any) -> None:
        self._driver = driver
        self._connection = connection
        self._shape = shape
        self._arguments = arguments
        self._cursor: Cursor | None = None

    async def fetch(self, number: int) -> list[Record]:
        try:
            if self._cursor is not None:
                return await self._cursor.fetch(number)
            self._cursor, records = await self._driver._cursor(self._shape, self._arguments, number)
        except BaseException as error:
            await self._driver._fail(self._connection, self._shape, self._arguments, error)
            raise
        return records

    async def close(self) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is None:
            return
        try:
            await cursor.close()
        except BaseException as error:
            await self._driver._fail(self._connection, self._shape, self._arguments, error)
            raise

    def give_up(self) -> None:
        if self._cursor is not None:
            self._cursor.give_up()


class _Run(t.NamedTuple):
    sql: str
    arguments: t.Any = None
    adapter: t.Any = None  # None when the driver was not reached
    context: t.Any = None


def begin_quietly(connection: sa.Connection) -> RootTransaction:
    """Do all that beginning comes to where nobody listens and the dialect has nothing to do."""
    transaction = RootTransaction.__new__(RootTransaction)
    transaction.connection, transaction.is_active = connection, True
    connection._transaction = transaction
    return transaction


def _begun(connection: sa.Connection) -> bool:
    heard = connection._has_events or connection.engine._has_events
    if heard and connection.dispatch.begin:  # who listens may want to run something
        return False
    if type(connection) in PLAIN:
        begin_quietly(connection)  # no dialect here has anything to do: the driver begins with the statement
    else:
        connection._autobegin()
    return True


def _fail(connection: sa.Connection, error: BaseException, run: _Run) -> None:
    # SQLAlchemy looks at the exception that is being handled
    try:
        _raise_as_adapter(error, run.adapter)
    except BaseException as raised:  # noqa: BLE001
        connection._handle_dbapi_exception(raised, run.sql, run.arguments, None, run.context)


def _raise_as_adapter(error: BaseException, adapter: t.Any) -> None:
    try:
        raise error
    except Exception as raised:
        if adapter is None:
            raise
        adapter._handle_exception(raised)
