"""Repositories of what SQL databases keep, over SQLAlchemy."""

import builtins
import collections.abc
import contextlib
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.ddd.repositories.base import BaseRepository
from flama.sqlalchemy import drivers, statements
from flama.sqlalchemy.errors import translated

__all__ = ["SQLAlchemyRepository", "SQLAlchemyTableManager", "SQLAlchemyTableRepository"]

_Record: t.TypeAlias = dict[str, t.Any]
_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]


class SQLAlchemyRepository(BaseRepository):
    """A repository that works on a connection, through ``self._connection``.

    It never commits. Two repositories of one class family on one connection are equal.
    """

    def __init__(self, connection: AsyncConnection, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection = connection

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)) and not isinstance(self, type(other)):
            return NotImplemented
        return isinstance(other, SQLAlchemyRepository) and self._connection is other._connection

    def __hash__(self) -> int:
        return hash(self._connection)


class SQLAlchemyTableManager:
    """One table on one connection: what SQLAlchemy has for it goes in, records and data errors come out.

    A refused write undoes itself wholly, and leaves the transaction usable.
    """

    def __init__(self, table: sa.Table, connection: AsyncConnection) -> None:
        self.table = table
        self.connection = connection
        self._keys = statements.record_keys(table)

    @property
    def resource(self) -> str:
        """The table's name, which errors tell."""
        return self.table.name

    async def read(self, statement: sa.Executable) -> list[_Record]:
        """Give the records that a statement on the table's columns finds."""
        with self.translated():
            return self.records(await drivers.fetched(self.connection, statement))

    @contextlib.asynccontextmanager
    async def writing(self, *, several: bool = False) -> collections.abc.AsyncIterator[None]:
        """Undo what the block writes when it fails; ``several`` says that it takes more than one statement."""
        with self.translated(write=True):
            async with drivers.atomic(self.connection, several=several):
                yield

    def translated(self, *, write: bool = False) -> translated:
        """Give what turns a driver's error into a data error about this table."""
        return translated(self.table.name, self.table, write=write)

    def records(self, rows: collections.abc.Iterable[sa.Row[t.Any]]) -> list[_Record]:
        """Give rows as records, keyed as data and filters are."""
        keys = self._keys
        return [dict(zip(keys, row, strict=True)) for row in rows]


class SQLAlchemyTableRepository(SQLAlchemyRepository):
    """The records of one table, which a subclass sets as ``_table``.

    What the methods below call clauses are SQLAlchemy expressions on the table's columns; filters are columns by name
    and what each must equal, ``None`` for null. All of them must hold; with none, every record matches. Records, data
    and filters are keyed by ``Column.key``.

    :raises IntegrityError: a constraint refuses a write; nothing of it is stored, and the unit goes on.
    :raises UnknownColumnError: data, a filter, an order or a clause is about a column that the table doesn't have.
    :raises InvalidDataError: a value can't be one of its column's.
    :raises ConflictError: another unit is in the way, and this one should be tried again.
    :raises UnavailableError: the database doesn't answer.
    :raises SessionClosedError: the unit has ended.
    """

    _table: t.ClassVar[sa.Table]

    def __init__(self, connection: AsyncConnection, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(connection, *args, **kwargs)
        self._table_manager = SQLAlchemyTableManager(self._table, connection)

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        return same if same is NotImplemented else same and self._table is getattr(other, "_table", None)

    def __hash__(self) -> int:
        return hash((self._connection, self._table))

    async def create(self, *data: _Data) -> builtins.list[_Record]:
        """Store records, all of them or none, and give them as stored, in order.

        Each may have other columns than the next; a column that is absent has its default, one that is None is null.
        None as a primary key means that there is none yet. ``{}`` is a record of defaults.
        """
        rows = [statements.values(self._table, record) for record in data]
        if not rows:
            return []
        async with self._table_manager.writing(several=len(rows) > 1):
            return self._table_manager.records(await drivers.inserted(self._connection, self._table, rows))

    async def retrieve(self, *clauses: t.Any, **filters: t.Any) -> _Record:
        """Give the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does.
        """
        match await self._table_manager.read(statements.select(self._table, clauses, filters, limit=2)):
            case [record]:
                return record
            case []:
                raise exceptions.NotFoundError(resource=self._table.name)
            case _:
                raise exceptions.MultipleRecordsError(resource=self._table.name)

    async def update(self, data: _Data, *clauses: t.Any, **filters: t.Any) -> builtins.list[_Record]:
        """Change the records that match, and give them as they then are; none when none matches.

        Without any data they are given as they are.
        """
        changes = statements.values(self._table, data)
        if not changes:
            return await self._table_manager.read(statements.select(self._table, clauses, filters))
        matching = statements.matching(self._table, clauses, filters)
        async with self._table_manager.writing():
            rows = await drivers.updated(self._connection, self._table, changes, matching)
            return self._table_manager.records(rows)

    async def delete(self, *clauses: t.Any, **filters: t.Any) -> None:
        """Delete the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does; nothing is deleted.
        """
        async with self._table_manager.writing():
            match await drivers.delete_one(self._connection, self._table, clauses, filters):
                case 0:
                    raise exceptions.NotFoundError(resource=self._table.name)
                case 2:
                    raise exceptions.MultipleRecordsError(resource=self._table.name)

    def list(
        self,
        *clauses: t.Any,
        order_by: str | None = None,
        order_direction: str = "asc",
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[_Record]:
        """Iterate over the records that match, reading them from the database while it goes on.

        Nothing is run before the first is asked for. Leaving the loop early frees the cursor.
        """
        return _Records(
            self._table_manager,
            lambda: statements.select(
                self._table, clauses, filters, order_by=order_by, order_direction=order_direction
            ),
        )

    async def drop(self, *clauses: t.Any, **filters: t.Any) -> int:
        """Delete the records that match, and give how many they were."""
        statement = statements.delete(self._table, clauses, filters)
        async with self._table_manager.writing():
            return await drivers.affected(self._connection, statement)


class _Records(collections.abc.AsyncIterator[_Record]):
    def __init__(self, manager: SQLAlchemyTableManager, statement: collections.abc.Callable[[], sa.Executable]) -> None:
        self._manager = manager
        self._stream = drivers.Stream(manager.connection, statement)
        self._batch: collections.abc.Iterator[_Record] = iter(())

    async def __anext__(self) -> _Record:
        if self._stream.closed:
            raise exceptions.SessionClosedError(f"The unit of work of '{self._manager.resource}' has ended")
        for record in self._batch:
            return record
        with self._manager.translated():
            self._batch = iter(self._manager.records(await self._stream.batch()))
        for record in self._batch:
            return record
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._batch = iter(())
        await self._stream.aclose()
