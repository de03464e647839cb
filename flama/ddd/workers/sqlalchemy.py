"""Units of work on a SQL database."""

import collections.abc
import contextlib
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from flama import exceptions
from flama.ddd.workers.base import BaseWorker, Transaction
from flama.sqlalchemy import drivers, failures
from flama.sqlalchemy.errors import translated
from flama.sqlalchemy.module import SQLAlchemyModule

__all__ = ["SQLAlchemyWorker"]


class SQLAlchemyWorker(BaseWorker):
    """A unit of work in one transaction of the application's :class:`~flama.sqlalchemy.SQLAlchemyModule`.

    Its repositories share the transaction's connection. Entered again within the unit, it begins a savepoint.

    :raises UnavailableError: no connection is to be had, or the transaction can't be ended.
    :raises IntegrityError: a constraint that is checked at the end refuses what the unit wrote.
    :raises ConflictError: the database rolled the unit back for the sake of another; it should be tried again.
    :raises SQLAlchemyError: a statement of the unit's own failed, was not rolled back, and spoiled all of it.
    """

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
        return t.cast(_Transaction, unit.transactions[-1]).begun

    @contextlib.asynccontextmanager
    async def session(self) -> collections.abc.AsyncIterator[AsyncConnection]:
        """Give what checks a connection out, and gives it back."""
        module = self._module
        with translated(None):
            connection = await module.open_connection()
        try:
            yield connection
        finally:
            await module.close_connection(connection)

    async def begin_transaction(self, session: AsyncConnection, *, nested: bool) -> Transaction:
        """Begin the unit's transaction, or a savepoint in it."""
        with translated(None):
            if nested:
                await drivers.make_way(session)
            begun = await (session.begin_nested() if nested else self._module.begin_transaction(session))
        return _Transaction(self._module, begun, self._tables())

    @property
    def _module(self) -> SQLAlchemyModule:
        return t.cast(SQLAlchemyModule, self.app.sqlalchemy)

    @classmethod
    def _tables(cls) -> tuple[sa.Table, ...]:
        tables = (getattr(repository, "_table", None) for repository in cls._resolved().values())
        return tuple(table for table in tables if table is not None)


class _Transaction:
    def __init__(self, module: SQLAlchemyModule, begun: AsyncTransaction, tables: tuple[sa.Table, ...]) -> None:
        self.begun = begun
        self._module = module
        self._tables = tables

    async def commit(self) -> None:
        if not self.begun.is_active:
            detail = "it was rolled back before its end, and nothing of it is stored"
            raise exceptions.ConflictError(resource="unit of work", detail=detail, retryable=True)
        if failures.failed(self.begun.connection):
            await self.rollback()
            raise exceptions.SQLAlchemyError("A statement of the unit failed: PostgreSQL stores nothing of it")
        with translated(None, *self._tables, write=True):
            try:
                await self._end(rollback=False)
            except BaseException:
                await self.begun.rollback()  # SQLAlchemy doesn't by itself when COMMIT fails
                raise

    async def rollback(self) -> None:
        with translated(None):
            try:
                await self._end(rollback=True)
            except exc.DBAPIError as error:
                if not error.connection_invalidated:  # a connection that is lost has rolled back by that
                    raise

    async def _end(self, *, rollback: bool) -> None:
        if self.begun.nested:
            if rollback and not self.begun.connection.in_nested_transaction():
                return  # it ended with the whole transaction
            await drivers.make_way(self.begun.connection)
            await (self.begun.rollback() if rollback else self.begun.commit())
            return
        await drivers.close_streams(self.begun.connection)
        if self.begun.is_active:
            await self._module.end_transaction(self.begun, rollback=rollback)
        else:
            await self.begun.connection.rollback()
