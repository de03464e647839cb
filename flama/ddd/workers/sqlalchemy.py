"""Units of work on a SQL database."""

import collections.abc
import contextlib
import dataclasses
import typing as t

import sqlalchemy as sa
import typing_extensions as te
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from flama import _request_context, exceptions, types
from flama._shielding import finished
from flama._timeouts import limited
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._unit_of_work import Transaction
from flama.ddd.workers.base import BaseWorker
from flama.ddd.workers.database import Database
from flama.ddd.workers.remote import Remote
from flama.sqlalchemy import drivers
from flama.sqlalchemy._transaction_options import Isolation, TransactionOptions
from flama.sqlalchemy.drivers import _aborted
from flama.sqlalchemy.errors import translate_errors
from flama.sqlalchemy.module import ConnectionManager, SQLAlchemyModule
from flama.sqlalchemy.replicas import LogPosition

__all__ = ["Options", "SQLAlchemyWorker"]

_T = t.TypeVar("_T")

_translated: t.Final = translate_errors(None)
_COMMIT_LIMIT: t.Final = 60.0  # seconds: a database that doesn't respond can't block a unit
_ROLLBACK_LIMIT: t.Final = 5.0


class Options(t.TypedDict, total=False):
    """The settings of a unit."""

    isolation: Isolation | None
    read_only: bool
    statement_timeout: float | None


class SQLAlchemyWorker(BaseWorker):
    """A unit of work in one transaction of the application's :class:`~flama.sqlalchemy.SQLAlchemyModule`.

    Its repositories share the transaction's connection. Entered again within the unit, it begins a savepoint.

    ``module`` is the name of the application's module, ``isolation`` the level of the transaction. With ``read_only``,
    the database refuses writes. A statement may take ``statement_timeout`` seconds (PostgreSQL, MariaDB), the block
    ``timeout`` seconds.

    :raises UnavailableError: no connection is available, or the transaction can't be ended within a minute; it is
        ``maybe_applied`` when COMMIT may have arrived.
    :raises IntegrityError: a constraint that is checked at the end refuses what the unit wrote.
    :raises ConflictError: the database rolled the unit back in favour of another; it should be retried.
    :raises SQLAlchemyError: a statement of the unit's own failed, was not rolled back, and aborted the transaction.
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
        self._settings = TransactionOptions(isolation, read_only, statement_timeout)
        self._uses_default_options = self._settings == TransactionOptions()
        self._after: LogPosition | None = None  # the position that its reading units have to see
        self._module_of_app: list[tuple[t.Any, SQLAlchemyModule]] = []  # with its application; shared with copies
        self._lazy_checkout = False  # whether its connection is checked out when it is first used

    @classmethod
    def for_repositories(
        cls, repositories: dict[str, type[AbstractRepository]], app: types.App | None, place: Remote | Database | None
    ) -> t.Self:
        """Return a worker for another worker's repositories, which opens its session at their first use.

        It is a transaction of the database that they are in.
        """
        worker = super().for_repositories(repositories, app, place)
        worker._lazy_checkout = True
        if isinstance(place, Database):
            worker._module_name = place.name
        return worker

    def options(
        self, *, timeout: float | None = None, after: LogPosition | str | None = None, **settings: te.Unpack[Options]
    ) -> t.Self:
        """Return a copy of this worker with other settings, and no unit begun.

        ``async with worker.options(read_only=True) as reading`` is a unit of its own. It sees what is written up to the
        position that it comes ``after``, which may be a position's string.

        :raises InvalidDataError: the string is no position's.
        """
        worker = self._copy()
        if after is not None:
            worker._after = _position(after)
        worker._timeout = self._timeout if timeout is None else timeout
        worker._settings = dataclasses.replace(self._settings, **settings)
        worker._uses_default_options = worker._settings == TransactionOptions()
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

    async def position(self) -> LogPosition | None:
        """Return the position after which all that this request has written, or waited for, is visible.

        Its string may be sent to a client, and passed to ``options(after=…)`` in the client's next request. None when
        there is nothing to wait for, as where the database has no replicas.

        :raises SQLAlchemyError: the unit has not ended, so that the position isn't known yet.
        """
        if self._unit() is not None:
            raise exceptions.SQLAlchemyError("The position to come after is known when the unit has ended")
        replicas = self._module.replicas
        return None if replicas is None else await replicas.position()

    def stream_slot(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Return one of the connections that streams may have at a time."""
        return self._module.stream_slots.slot()

    def session(self) -> "_Session":
        """Return the context manager that checks a connection out, and in again."""
        return _Session(self)

    async def begin_transaction(self, session: AsyncConnection, *, nested: bool) -> Transaction:
        if self._lazy_checkout and not nested and isinstance(session.sync_connection, drivers.LazyConnection):
            session.sync_connection.first = None
            return _LazyTransaction(self, session)
        manager = self._module.manager
        try:
            if nested:
                await drivers.prepare_for_statement(session)
            begun = await (session.begin_nested() if nested else manager.begin(session))
            if not (nested or self._uses_default_options or manager.is_nested(session)):
                await self._settings.begin(session)
        except BaseException:
            with _translated:
                raise
        return _Transaction(self, manager, begun)

    def begin_end(
        self, session: AsyncConnection, transaction: Transaction | None, *, commit: bool
    ) -> bool | collections.abc.Awaitable[bool]:
        """End a unit that has sent the database nothing; else send COMMIT, and return the awaitable of its response."""
        if not isinstance(transaction, _Transaction) or not (
            self._uses_default_options or self._settings.reset_nowait(session)
        ):
            return False
        commit = (
            commit
            and self._uses_default_options
            and self._module.replicas is None
            and not drivers.has_more_to_end(session)
        )
        return transaction.manager.begin_end(transaction.begun, commit=commit)

    async def commit_and_close(self, session: AsyncConnection, transaction: Transaction | None) -> bool:
        return (
            self._uses_default_options
            and isinstance(transaction, _Transaction)
            and await transaction.commit_and_close()
        )

    @property
    def _writes(self) -> bool:
        return not self._settings.read_only

    @property
    def _module(self) -> SQLAlchemyModule:
        found = self._module_of_app
        if not found or found[0][0] is not self._app:
            found[:] = [(self._app, getattr(self.app, self._module_name))]
        return found[0][1]

    async def _apply_options(self, module: SQLAlchemyModule, connection: AsyncConnection) -> None:
        try:
            await self._settings.open(connection)
        except BaseException as error:
            await finished(module.manager.close(connection), error)
            raise

    async def _close(self, connection: AsyncConnection) -> None:
        try:
            if not (self._uses_default_options or self._module.manager.is_nested(connection)):
                with _translated:
                    await self._settings.close(connection)
        finally:
            await self._module.manager.close(connection)

    async def _check_out(self, module: SQLAlchemyModule) -> AsyncConnection:
        if module.replicas is not None:
            _request_context.known()  # the task that ends the unit may be another, and has to share the context
        if self._lazy_checkout:
            return await module.connection_manager.open_late()
        # a replica can't take part in serializable isolation
        if module.replicas is None or not self._settings.read_only or self._settings.isolation == "SERIALIZABLE":
            return await module.connection_manager.open()
        return await module.replicas.reader(self._after)

    def _classes(self) -> collections.abc.Iterable[type[AbstractRepository]]:
        return self.repositories.values()

    def _tables(self) -> tuple[sa.Table, ...]:
        tables = (getattr(repository, "_table", None) for repository in self._classes())
        return tuple(table for table in tables if table is not None)


def _position(after: LogPosition | str) -> LogPosition:
    try:
        return LogPosition.parse(after) if isinstance(after, str) else after
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
            is_special = worker._lazy_checkout or module.replicas is not None
            connection = await (worker._check_out(module) if is_special else module.connection_manager.open())
            # within a transaction that is already open, it is too late for a unit's settings
            if not (worker._uses_default_options or module.manager.is_nested(connection)):
                await worker._apply_options(module, connection)
        except BaseException:
            with _translated:
                raise
        self._connection = connection
        return connection

    async def __aexit__(self, *_: object) -> None:
        await self._worker._close(self._connection)


class _LazyTransaction:
    # begun by the first statement, if there is one

    def __init__(self, worker: SQLAlchemyWorker, connection: AsyncConnection) -> None:
        self._worker = worker
        self._connection = connection

    async def commit(self) -> None:
        if begun := self._first_transaction():
            await begun.commit()

    async def rollback(self) -> None:
        if begun := self._first_transaction():
            await begun.rollback()

    def _first_transaction(self) -> "_Transaction | None":
        first = t.cast("drivers.LazyConnection", self._connection.sync_connection).first
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

    async def commit_and_close(self) -> bool:
        if drivers.has_more_to_end(self.begun.connection):
            return False
        if not await self._commit_within_limit(self.manager.commit_last(self.begun)):
            return False
        await self.manager.close(self.begun.connection)
        return True

    async def commit(self) -> None:
        await self._roll_back_if_lost()
        if not self.begun.is_active:
            detail = "it was rolled back before its end, and nothing of it is stored"
            raise exceptions.ConflictError(resource="unit of work", detail=detail, retryable=True)
        if _aborted.is_aborted(self.begun.connection):
            await self.rollback()
            raise exceptions.SQLAlchemyError("A statement of the unit failed: PostgreSQL stores nothing of it")
        await self._commit_within_limit(self._end(rollback=False))

    async def rollback(self) -> None:
        await self._roll_back_if_lost()
        with _translated:
            try:
                with limited(_ROLLBACK_LIMIT):
                    await self._end(rollback=True)
            except (exc.DBAPIError, TimeoutError):
                if not self.begun.connection.invalidated:  # losing the connection has rolled back
                    raise

    async def _roll_back_if_lost(self) -> None:
        if _aborted.is_lost(self.begun.connection):
            with _translated:
                await self.begun.connection.rollback()

    async def _commit_within_limit(self, ending: collections.abc.Awaitable[_T]) -> _T:
        try:
            with limited(_COMMIT_LIMIT):
                return await ending
        except BaseException:
            with translate_errors(None, *self._worker._tables(), leaves_open=lambda: True):
                with limited(_ROLLBACK_LIMIT):
                    await self.begun.rollback()  # SQLAlchemy doesn't by itself when COMMIT fails
                raise
        finally:
            replicas = self._worker._module.replicas
            if replicas is not None and not self.begun.nested and self._worker._writes:
                replicas.mark_write()

    async def _end(self, *, rollback: bool) -> None:
        if self.begun.nested:
            if rollback and not self.begun.connection.in_nested_transaction():
                return  # it ended with the whole transaction
            await drivers.prepare_for_statement(self.begun.connection)
            await (self.begun.rollback() if rollback else self.begun.commit())
            return
        await drivers.close_streams(self.begun.connection)
        if self.begun.is_active:
            await self.manager.end(self.begun, rollback=rollback)
        else:
            await self.begun.connection.rollback()
