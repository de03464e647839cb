"""Units of work on a SQL database."""

import collections.abc
import contextlib
import dataclasses
import typing as t

import sqlalchemy as sa
import typing_extensions as te
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from flama import contexts, exceptions, types
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers.base import BaseWorker
from flama.ddd.workers.database import Database
from flama.ddd.workers.remote import Remote
from flama.ddd.workers.units import Transaction
from flama.limits import limited
from flama.sqlalchemy import drivers, failures
from flama.sqlalchemy.errors import translated
from flama.sqlalchemy.module import ConnectionManager, SQLAlchemyModule
from flama.sqlalchemy.replicas import Position
from flama.sqlalchemy.settings import Isolation, Settings
from flama.tasks import finished

__all__ = ["Options", "SQLAlchemyWorker"]

_T = t.TypeVar("_T")

_translated: t.Final = translated(None)
_COMMIT_LIMIT: t.Final = 60.0  # seconds for an answer: a database that gives none can't hold a unit
_ROLLBACK_LIMIT: t.Final = 5.0


class Options(t.TypedDict, total=False):
    """The settings of a unit."""

    isolation: Isolation | None
    read_only: bool
    statement_timeout: float | None


class SQLAlchemyWorker(BaseWorker):
    """A unit of work in one transaction of the application's :class:`~flama.sqlalchemy.SQLAlchemyModule`.

    Its repositories share the transaction's connection. Entered again within the unit, it begins a savepoint.

    ``module`` is the name of the application's module, ``isolation`` the level of the transaction; ``read_only`` has
    the database refuse to write; a statement may take ``statement_timeout`` seconds (PostgreSQL, MariaDB), the block
    ``timeout``.

    :raises UnavailableError: no connection is to be had, or the transaction can't be ended, for which the database has
        a minute; it is ``maybe_applied`` when COMMIT may have arrived.
    :raises IntegrityError: a constraint that is checked at the end refuses what the unit wrote.
    :raises ConflictError: the database rolled the unit back for the sake of another; it should be tried again.
    :raises SQLAlchemyError: a statement of the unit's own failed, was not rolled back, and spoiled all of it.
    """

    precedence = 1
    stream_mode = "batches"

    def __init__(
        self,
        app: types.App | None = None,
        *,
        module: str = "sqlalchemy",
        isolation: Isolation | None = None,
        read_only: bool = False,
        statement_timeout: float | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(app, timeout=timeout)
        self._module_name = module
        self._settings = Settings(isolation, read_only, statement_timeout)
        self._plain = self._settings == Settings()
        self._after: Position | None = None  # what its reading units have to see
        self._found: list[tuple[t.Any, SQLAlchemyModule]] = []  # with the application whose it is; shared with copies
        self._late = False  # whether its connection is checked out when it is first used

    @classmethod
    def serving(
        cls, repositories: dict[str, type[AbstractRepository]], app: types.App | None, place: Remote | Database | None
    ) -> t.Self:
        """Give what opens the session of another worker's repositories, with the first use of one of them.

        It is a transaction of the database that they are in.
        """
        worker = super().serving(repositories, app, place)
        worker._late = True
        if isinstance(place, Database):
            worker._module_name = place.name
        return worker

    def options(
        self, *, timeout: float | None = None, after: Position | str | None = None, **settings: te.Unpack[Options]
    ) -> t.Self:
        """Give a worker like this one with other settings, and no unit begun.

        ``async with worker.options(read_only=True) as reading`` is a unit of its own. It sees what is written up to
        the position that it comes ``after``, be that a position's string.

        :raises InvalidDataError: the string is no position's.
        """
        worker = self._copy()
        if after is not None:
            worker._after = _position(after)
        worker._timeout = self._timeout if timeout is None else timeout
        worker._settings = dataclasses.replace(self._settings, **settings)
        worker._plain = worker._settings == Settings()
        return worker

    @property
    def connection(self) -> AsyncConnection:
        """The unit's connection."""
        unit = self._unit()
        if unit is None:
            raise AttributeError("Connection not initialized")
        return t.cast(AsyncConnection, unit.session)

    @property
    def transaction(self) -> AsyncTransaction:
        """The unit's transaction, or the innermost savepoint."""
        unit = self._unit()
        if unit is None:
            raise AttributeError("Transaction not started")
        return t.cast(_Transaction, unit.transaction).begun

    async def position(self) -> Position | None:
        """Give the position to come after for who wants to see what this request has written, or waited for.

        Its string may be handed to a client, and given to ``options(after=…)`` when that comes again. None when there
        is nothing to wait for, as where the database has no replicas.

        :raises SQLAlchemyError: the unit has not ended, and nobody knows yet.
        """
        if self._unit() is not None:
            raise exceptions.SQLAlchemyError("The position to come after is known when the unit has ended")
        replicas = self._module.replicas
        return None if replicas is None else await replicas.position()

    def stream_slot(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Return one of the connections that streams may have at a time."""
        return self._module.stream_slots.slot()

    def session(self) -> "_Session":
        """Give what checks a connection out, and gives it back."""
        return _Session(self)

    async def begin_transaction(self, session: AsyncConnection, *, nested: bool) -> Transaction:
        """Begin the unit's transaction, or a savepoint in it."""
        if self._late and not nested and isinstance(session.sync_connection, drivers.Late):
            session.sync_connection.first = None
            return _LateTransaction(self, session)
        manager = self._module.manager
        try:
            if nested:
                await drivers.make_way(session)
            begun = await (session.begin_nested() if nested else manager.begin(session))
            if not (nested or self._plain or manager.is_nested(session)):
                await self._settings.begin(session)
        except BaseException:
            with _translated:
                raise
        return _Transaction(self, manager, begun)

    def begin_end(
        self, session: AsyncConnection, transaction: Transaction | None, *, commit: bool
    ) -> bool | collections.abc.Awaitable[bool]:
        """End a unit of which the database was not told; else send COMMIT, and return what waits for the answer."""
        if not isinstance(transaction, _Transaction) or not (self._plain or self._settings.end_with(session)):
            return False
        commit = commit and self._plain and self._module.replicas is None and not drivers.has_more_to_end(session)
        return transaction.manager.begin_end(transaction.begun, commit=commit)

    async def end_well(self, session: AsyncConnection, transaction: Transaction | None) -> bool:
        """Commit the unit's transaction, and close its connection, if that is done in one; tell whether it was."""
        return self._plain and isinstance(transaction, _Transaction) and await transaction.leave()

    @property
    def _writes(self) -> bool:
        return not self._settings.read_only

    @property
    def _module(self) -> SQLAlchemyModule:
        found = self._found
        if not found or found[0][0] is not self._app:
            found[:] = [(self._app, getattr(self.app, self._module_name))]
        return found[0][1]

    async def _set(self, module: SQLAlchemyModule, connection: AsyncConnection) -> None:
        try:
            await self._settings.open(connection)
        except BaseException as error:
            await finished(module.manager.close(connection), error)
            raise

    async def _closed(self, connection: AsyncConnection) -> None:
        try:
            if not (self._plain or self._module.manager.is_nested(connection)):
                with _translated:
                    await self._settings.close(connection)
        finally:
            await self._module.manager.close(connection)

    async def _checked_out(self, module: SQLAlchemyModule) -> AsyncConnection:
        if module.replicas is not None:
            contexts.known()  # another task ends the unit, and is to share it
        if self._late:
            return await module.connection_manager.open_late()
        # a replica can't take part in what makes transactions serializable
        if module.replicas is None or not self._settings.read_only or self._settings.isolation == "SERIALIZABLE":
            return await module.connection_manager.open()
        return await module.replicas.reader(self._after)

    def _classes(self) -> collections.abc.Iterable[type[AbstractRepository]]:
        return self.repositories.values()

    def _tables(self) -> tuple[sa.Table, ...]:
        tables = (getattr(repository, "_table", None) for repository in self._classes())
        return tuple(table for table in tables if table is not None)


def _position(after: Position | str) -> Position:
    try:
        return Position.parse(after) if isinstance(after, str) else after
    except ValueError as error:
        raise exceptions.InvalidDataError(resource="position", detail=str(error)) from error


class _Session:
    """A connection of the worker's module, checked out for a unit."""

    __slots__ = ("_connection", "_worker")

    _connection: AsyncConnection

    def __init__(self, worker: SQLAlchemyWorker) -> None:
        self._worker = worker

    async def __aenter__(self) -> AsyncConnection:
        worker = self._worker
        try:
            module = worker._module
            special = worker._late or module.replicas is not None
            connection = await (worker._checked_out(module) if special else module.connection_manager.open())
            # within a transaction of somebody else's, it is too late for a unit's settings
            if not (worker._plain or module.manager.is_nested(connection)):
                await worker._set(module, connection)
        except BaseException:
            with _translated:
                raise
        self._connection = connection
        return connection

    async def __aexit__(self, *_: object) -> None:
        await self._worker._closed(self._connection)


class _LateTransaction:
    # begun by the first statement, if there is one

    def __init__(self, worker: SQLAlchemyWorker, connection: AsyncConnection) -> None:
        self._worker = worker
        self._connection = connection

    async def commit(self) -> None:
        if begun := self._begun():
            await begun.commit()

    async def rollback(self) -> None:
        if begun := self._begun():
            await begun.rollback()

    def _begun(self) -> "_Transaction | None":
        first = t.cast("drivers.Late", self._connection.sync_connection).first
        if first is None:
            return None
        begun: t.Any = AsyncTransaction(self._connection)
        begun.sync_transaction = first
        return _Transaction(self._worker, self._worker._module.manager, begun)


class _Transaction:
    def __init__(self, worker: SQLAlchemyWorker, manager: ConnectionManager, begun: AsyncTransaction) -> None:
        self.begun = begun
        self.manager = manager
        self._worker = worker

    async def leave(self) -> bool:
        if drivers.has_more_to_end(self.begun.connection):
            return False
        if not await self._kept(self.manager.commit_last(self.begun)):
            return False
        await self.manager.close(self.begun.connection)
        return True

    async def commit(self) -> None:
        await self._notice_loss()
        if not self.begun.is_active:
            detail = "it was rolled back before its end, and nothing of it is stored"
            raise exceptions.ConflictError(resource="unit of work", detail=detail, retryable=True)
        if failures.failed(self.begun.connection):
            await self.rollback()
            raise exceptions.SQLAlchemyError("A statement of the unit failed: PostgreSQL stores nothing of it")
        await self._kept(self._end(rollback=False))

    async def rollback(self) -> None:
        await self._notice_loss()
        with _translated:
            try:
                with limited(_ROLLBACK_LIMIT):
                    await self._end(rollback=True)
            except (exc.DBAPIError, TimeoutError):
                if not self.begun.connection.invalidated:  # a connection that is lost has rolled back by that
                    raise

    async def _notice_loss(self) -> None:
        if failures.is_lost(self.begun.connection):
            with _translated:
                await self.begun.connection.rollback()

    async def _kept(self, ending: collections.abc.Awaitable[_T]) -> _T:
        try:
            with limited(_COMMIT_LIMIT):
                return await ending
        except BaseException:
            with translated(None, *self._worker._tables(), leaves_open=lambda: True):
                with limited(_ROLLBACK_LIMIT):
                    await self.begun.rollback()  # SQLAlchemy doesn't by itself when COMMIT fails
                raise
        finally:
            replicas = self._worker._module.replicas
            if replicas is not None and not self.begun.nested and self._worker._writes:
                replicas.wrote()

    async def _end(self, *, rollback: bool) -> None:
        if self.begun.nested:
            if rollback and not self.begun.connection.in_nested_transaction():
                return  # it ended with the whole transaction
            await drivers.make_way(self.begun.connection)
            await (self.begun.rollback() if rollback else self.begun.commit())
            return
        await drivers.close_streams(self.begun.connection)
        if self.begun.is_active:
            await self.manager.end(self.begun, rollback=rollback)
        else:
            await self.begun.connection.rollback()
