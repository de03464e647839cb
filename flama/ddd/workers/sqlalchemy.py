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
from flama._shielding import shield
from flama._timeouts import timeout
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._backend import Backend, CallContext, Part, Session
from flama.ddd.workers._bindings import Binding, Database
from flama.ddd.workers.base import BaseWorker
from flama.sqlalchemy import drivers
from flama.sqlalchemy._transaction_options import Isolation, TransactionOptions
from flama.sqlalchemy.drivers import _aborted
from flama.sqlalchemy.errors import translate_errors
from flama.sqlalchemy.module import SQLAlchemyModule
from flama.sqlalchemy.replicas import LogPosition

__all__ = ["Options", "SQLAlchemyWorker"]

_NO_OPTIONS: t.Final = TransactionOptions()
_translated: t.Final = translate_errors(None)
_RESPONSE_LIMIT: t.Final = 1.0  # seconds: later responses to COMMIT are awaited in another task
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

    is_shared = True

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
        self._database = _SQLBackend(module, self._classes, TransactionOptions(isolation, read_only, statement_timeout))

    @classmethod
    def backend_for(
        cls, repositories: dict[str, type[AbstractRepository]], binding: Binding | None, app: types.App | None
    ) -> Backend:
        """Return the backend of another worker's repositories, which checks its connection out at their first use."""
        module = binding.name if isinstance(binding, Database) else "sqlalchemy"
        return _SQLBackend(module, repositories.values, is_lazy=True)

    def options(
        self, *, timeout: float | None = None, after: LogPosition | str | None = None, **settings: te.Unpack[Options]
    ) -> t.Self:
        """Return a copy of this worker with other settings, and no unit begun.

        ``async with worker.options(read_only=True) as reading`` is a unit of its own. It sees what is written up to the
        position that it comes ``after``, which may be a position's string.

        :raises InvalidDataError: the string is no position's.
        """
        worker = self._copy()
        worker._timeout = self._timeout if timeout is None else timeout
        worker._database = dataclasses.replace(
            self._database,
            options=dataclasses.replace(self._database.options, **settings),
            after=self._database.after if after is None else _position(after),
        )
        return worker

    @property
    def connection(self) -> AsyncConnection:
        """The unit's connection."""
        unit = self._unit()
        if unit is None:
            raise AttributeError("Connection not initialized")
        return t.cast(AsyncConnection, unit.handle)

    @property
    def transaction(self) -> AsyncTransaction:
        """The unit's transaction, or the innermost savepoint."""
        unit = self._unit()
        if unit is None:
            raise AttributeError("Transaction not started")
        return t.cast(AsyncTransaction, unit.transaction)

    async def position(self) -> LogPosition | None:
        """Return the position after which all that this request has written, or waited for, is visible.

        Its string may be sent to a client, and passed to ``options(after=…)`` in the client's next request. None when
        there is nothing to wait for, as where the database has no replicas.

        :raises SQLAlchemyError: the unit has not ended, so that the position isn't known yet.
        """
        if self._unit() is not None:
            raise exceptions.SQLAlchemyError("The position to come after is known when the unit has ended")
        replicas = self._database.module(self.app).replicas
        return None if replicas is None else await replicas.position()

    def parts(self) -> collections.abc.Sequence[Part]:
        return ((self._database, self.repositories, self.make_repository),)

    def _classes(self) -> collections.abc.Iterable[type[AbstractRepository]]:
        return self.repositories.values()


def _position(after: LogPosition | str) -> LogPosition:
    try:
        return LogPosition.parse(after) if isinstance(after, str) else after
    except ValueError as error:
        raise exceptions.InvalidDataError(resource="position", detail=str(error)) from error


@dataclasses.dataclass(eq=False)
class _SQLBackend(Backend):
    """A database of an application's module, on whose connections it opens sessions."""

    precedence = 1
    stream_mode = "batches"

    name: str  # of the module
    classes: collections.abc.Callable[[], collections.abc.Iterable[type[AbstractRepository]]]  # of the repositories
    options: TransactionOptions = _NO_OPTIONS
    after: LogPosition | None = None  # the position that reading sessions have to see
    is_lazy: bool = False  # whether a connection is checked out when it is first used
    last: list[tuple[t.Any, SQLAlchemyModule]] = dataclasses.field(default_factory=list)  # an application, its module

    def __post_init__(self) -> None:
        self.has_options = self.options != _NO_OPTIONS

    def module(self, app: types.App | None) -> SQLAlchemyModule:
        """Return the application's module.

        :raises ApplicationError: the worker has no application yet.
        """
        if not self.last or self.last[0][0] is not app:
            if app is None:
                raise exceptions.ApplicationError("Worker not initialized")
            self.last[:] = [(app, getattr(app, self.name))]
        return self.last[0][1]

    def tables(self) -> list[sa.Table]:
        """Return the tables of the repositories, whose constraints may be checked at the end."""
        tables = (getattr(repository, "_table", None) for repository in self.classes())
        return [table for table in tables if table is not None]

    def stream_slot(self, app: types.App | None) -> contextlib.AbstractAsyncContextManager[None]:
        """Return one of the connections that streams may have at a time."""
        return self.module(app).stream_slots.slot()

    async def open(self, app: types.App | None, calls: CallContext) -> Session:
        try:
            module = self.module(app)
            connection = await self._check_out(module)
            # within a transaction that is already open, it is too late for a unit's settings
            if self.has_options and not module.manager.is_nested(connection):
                try:
                    await self.options.open(connection)
                except BaseException as error:
                    await shield(module.manager.close(connection), error)
                    raise
        except BaseException:
            with _translated:
                raise
        return _SQLSession(self, module, connection)

    def _check_out(self, module: SQLAlchemyModule) -> collections.abc.Coroutine[t.Any, t.Any, AsyncConnection]:
        manager, options = module.connection_manager, self.options
        if module.replicas is not None:
            _request_context.get_state()  # the task that ends the unit may be another, and has to share the context
        if self.is_lazy:
            return manager.open_lazily()
        # a replica can't take part in serializable isolation
        if module.replicas is None or not options.read_only or options.isolation == "SERIALIZABLE":
            return manager.open()
        return module.replicas.open_for_request(self.after)


class _SQLSession(Session):
    """A connection that is checked out for a unit; its transactions are SQLAlchemy's, and None for one begun lazily."""

    __slots__ = ("_connection", "_database", "_manager", "_module")

    def __init__(self, backend: _SQLBackend, module: SQLAlchemyModule, connection: AsyncConnection) -> None:
        super().__init__(backend, connection)
        self._database = backend
        self._connection = connection
        self._module = module
        self._manager = module.manager

    async def begin(self, *, nested: bool) -> AsyncTransaction | None:
        connection, manager = self._connection, self._manager
        try:
            if nested:
                await drivers.prepare_for_statement(connection)
                return await connection.begin_nested()
            if isinstance(lazy := connection.sync_connection, drivers.LazyConnection):
                lazy.first = None
                return None
            begun = await manager.begin(connection)
            if self._database.has_options and not manager.is_nested(connection):
                await self._database.options.begin(connection)
        except BaseException:
            with _translated:
                raise
        return begun

    def finish(self, *, commit: bool) -> bool | collections.abc.Awaitable[bool]:
        """End a unit that has sent the database nothing; else send COMMIT, and return the awaitable of its response."""
        backend, connection = self._database, self._connection
        transaction = self.transactions[0] or self._begun(None)
        if transaction is None or self._manager.is_shared:
            return False
        if backend.has_options and not backend.options.reset_nowait(connection):
            return False
        if (driver := drivers.finishing_driver(transaction)) is None:
            return False
        if driver.idle:
            return drivers.checkin_nowait(connection)
        if not commit or backend.has_options or self._module.replicas or drivers.has_more_to_end(connection):
            return False
        response = driver.begin_commit(_RESPONSE_LIMIT)
        return False if response is None else self._close_after(response)

    async def commit(self, transaction: AsyncTransaction | None, *, last: bool) -> None:
        if (begun := self._begun(transaction)) is None:
            return
        connection = self._connection
        await self._roll_back_if_lost()
        if not begun.is_active:
            detail = "it was rolled back before its end, and nothing of it is stored"
            raise exceptions.ConflictError(resource="unit of work", detail=detail, retryable=True)
        if _aborted.is_aborted(connection):
            await self.rollback(begun)
            raise exceptions.SQLAlchemyError("A statement of the unit failed: PostgreSQL stores nothing of it")
        try:
            with timeout(_COMMIT_LIMIT):
                if begun.nested:
                    await drivers.prepare_for_statement(connection)
                    await begun.commit()
                else:
                    await drivers.close_streams(connection)
                    await self._manager.end(begun, closes=last and not self._database.has_options)
        except BaseException:
            with translate_errors(None, *self._database.tables(), leaves_open=lambda: True):
                with timeout(_ROLLBACK_LIMIT):
                    await begun.rollback()  # SQLAlchemy doesn't by itself when COMMIT fails
                raise
        finally:
            replicas = self._module.replicas
            if replicas is not None and not begun.nested and not self._database.options.read_only:
                replicas.mark_write()

    async def rollback(self, transaction: AsyncTransaction | None) -> None:
        if (begun := self._begun(transaction)) is None:
            return
        await self._roll_back_if_lost()
        with _translated:
            try:
                with timeout(_ROLLBACK_LIMIT):
                    await self._undo(begun)
            except (exc.DBAPIError, TimeoutError):
                if not self._connection.invalidated:  # losing the connection has rolled back
                    raise

    async def close(self, *details: t.Any) -> None:
        try:
            if self._database.has_options and not self._manager.is_nested(self._connection):
                with _translated:
                    await self._database.options.close(self._connection)
        finally:
            await self._manager.close(self._connection)

    async def _close_after(self, response: collections.abc.Awaitable[bool]) -> bool:
        try:
            is_idle = await response
        except Exception:  # noqa: BLE001 - ending the transaction raises it again
            return False
        return is_idle and drivers.checkin_nowait(self._connection)

    def _begun(self, transaction: AsyncTransaction | None) -> AsyncTransaction | None:
        """Return the transaction; instead of None the one that the first statement began, if there was one."""
        if transaction is not None:
            return transaction
        first = t.cast("drivers.LazyConnection", self._connection.sync_connection).first
        if first is None:
            return None
        begun: t.Any = AsyncTransaction(self._connection)
        begun.sync_transaction = first
        return t.cast(AsyncTransaction, begun)

    async def _roll_back_if_lost(self) -> None:
        if _aborted.is_lost(self._connection):
            with _translated:
                await self._connection.rollback()

    async def _undo(self, begun: AsyncTransaction) -> None:
        connection = self._connection
        if begun.nested:
            if connection.in_nested_transaction():  # otherwise, it ended with the whole transaction
                await drivers.prepare_for_statement(connection)
                await begun.rollback()
            return
        await drivers.close_streams(connection)
        if begun.is_active:
            # not with closes=True: what other tasks of the unit still send is undone when the connection is returned
            await self._manager.end(begun, rollback=True)
        else:
            await connection.rollback()
