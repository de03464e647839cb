"""Repositories of what SQL databases keep, over SQLAlchemy."""

import builtins
import collections.abc
import functools
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.ddd.repositories.base import BaseRepository
from flama.ddd.repositories.typed import Record, TypedRepository, records
from flama.sqlalchemy import drivers, guarded, pages, readings, statements, upserts
from flama.sqlalchemy.columns import Columns, json_columns
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
    """One table on one connection: statements go in, records and data errors come out."""

    def __init__(self, table: sa.Table, connection: AsyncConnection) -> None:
        self.table = table
        self.connection = connection

    @property
    def resource(self) -> str:
        """The table's name, which errors tell."""
        return self.table.name

    async def read(self, statement: statements.Statement) -> list[_Record]:
        """Give the records that a statement finds."""
        with self.translated():
            return await drivers.records(self.connection, statement)

    async def hold(self, lock: readings.Lock) -> None:
        """Do what has to be done before records can be read and held."""
        with self.translated(write=True):
            await readings.hold(self.connection, self.table, lock)

    def translated(self, *, write: bool = False) -> translated:
        """Give what turns a driver's error into a data error about this table."""
        return translated(self.table.name, self.table, write=write)


class SQLAlchemyTableRepository(SQLAlchemyRepository, TypedRepository[Record]):
    """The records of one table, which a subclass sets as ``_table``.

    What the methods below call clauses are conditions, made by ``F``, or SQLAlchemy expressions on the table's columns;
    filters are columns by name and what each must equal, as the database sees it, ``None`` for null. All of them must
    hold; with none, every record matches. Records, data, filters and conditions are keyed by ``Column.key``.

    Records are dictionaries, or of the type that is named in brackets, ``SQLAlchemyTableRepository[User]``, the fields
    of which are columns of the table. With ``fields``, columns or their keys, those alone are read, as dictionaries.
    With ``lock``, what is read is held until the unit ends; SQLite, which has no such locks, holds the database.

    With ``_version``, the key of a column, each record has its number, which begins with 1 and counts up with every
    change; where the data or filters of a write tell which one is meant, it is done to that one alone.

    :raises IntegrityError: a constraint refuses a write; nothing of it is stored, and the unit goes on.
    :raises UnknownColumnError: data, a filter, an order or a clause is about a column that the table doesn't have.
    :raises InvalidDataError: a value can't be one of its column's.
    :raises ConflictError: another unit is in the way, and this one should be tried again.
    :raises InvalidResponseError: what the database holds isn't a record of the type.
    :raises UnavailableError: the database doesn't answer.
    :raises SessionClosedError: the unit has ended.
    """

    _table: t.ClassVar[sa.Table]
    _version: t.ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(getattr(cls, "_table", None), sa.Table):
            _records_of(cls._table, cls._record, cls._version)  # what is wrong with them is told now

    def __init__(self, connection: AsyncConnection, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(connection, *args, **kwargs)
        self._table_manager = SQLAlchemyTableManager(self._table, connection)
        self._resource_name = self._table.name
        self._records = _records_of(self._table, self._record, self._version)

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        return same if same is NotImplemented else same and self._table is getattr(other, "_table", None)

    def __hash__(self) -> int:
        return hash((self._connection, self._table))

    async def create(self, *data: Record | _Data) -> builtins.list[Record]:
        """Store records, all of them or none, and give them as stored, in order.

        Each may have other columns than the next; a column that is absent has its default, one that is None is null.
        None as a primary key means that there is none yet. ``{}`` is a record of defaults.
        """
        rows = [self._row(record) for record in data]
        if not rows:
            return []
        with self._table_manager.translated(write=True):
            return self._read(await drivers.inserted(self._connection, self._table, rows))

    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: None = None, lock: readings.Lock | None = None, **filters: t.Any
    ) -> Record: ...
    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: Columns, lock: readings.Lock | None = None, **filters: t.Any
    ) -> _Record: ...
    async def retrieve(
        self,
        *clauses: t.Any,
        fields: Columns | None = None,
        lock: readings.Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record:
        """Give the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does.
        """
        record: Record | _Record | None = await self._only(clauses, filters, fields, lock)
        if record is None:
            raise self._error(exceptions.NotFoundError, clauses, filters)
        return record

    @t.overload
    async def get(
        self, *clauses: t.Any, fields: None = None, lock: readings.Lock | None = None, **filters: t.Any
    ) -> Record | None: ...
    @t.overload
    async def get(
        self, *clauses: t.Any, fields: Columns, lock: readings.Lock | None = None, **filters: t.Any
    ) -> _Record | None: ...
    async def get(
        self,
        *clauses: t.Any,
        fields: Columns | None = None,
        lock: readings.Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record | None:
        """Give the one record that matches; None when none does.

        :raises MultipleRecordsError: more than one does.
        """
        record: Record | _Record | None = await self._only(clauses, filters, fields, lock)
        return record

    async def update(
        self, data: Record | _Data, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any
    ) -> builtins.list[Record]:
        """Change the records that match, and give them as they then are; none when none matches.

        Without any data they are given as they are. Of a pydantic model, the fields that were set are the data.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is changed.
        :raises ConflictError: the one record that is asked for by its key is of another version.
        """
        changes = self._row(data, changes=True)
        if self._version is not None:
            changes, filters = _compared(self._table, self._version, changes, filters)
        if not changes:
            return self._read(await self._table_manager.read(statements.select(self._table, clauses, filters)))
        with self._table_manager.translated(write=True):
            found = await self._updated(changes, clauses, filters, max_affected)
        if not found and self._version is not None:
            await self._refuse_stale(clauses, filters)
        return self._read(found)

    async def upsert(
        self, *data: Record | _Data, on: Columns | None = None, set: Columns | None = None
    ) -> builtins.list[Record]:
        """Store records or, of those that are there, change what is there, all or none; give them as stored, in order.

        A record is there when one is alike in ``on``, columns or their keys: by default the primary key; where a
        record has none of that yet, it is new. ``set`` are the columns that change in it, by default all that the
        record here has, except the key. Which version it is of is not asked.

        :raises InvalidDataError: two records are alike, or one lacks what tells which is meant.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        rows = [self._row(record) for record in data]
        if not rows:
            return []
        with self._table_manager.translated(write=True):
            stored = await upserts.upserted(self._connection, self._table, rows, on=on, set=set, version=self._version)
        return self._read(stored)

    async def get_or_create(self, data: Record | _Data, *, on: Columns | None = None) -> tuple[Record, bool]:
        """Give the record that is alike in ``on``, and False; or store this one, and give it as stored, and True.

        Of units that do so at the same time, one stores it, and the others are given what it stored.

        :raises InvalidDataError: the data lack what tells which record is meant.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        row = self._row(data)
        with self._table_manager.translated(write=True):
            found, created = await upserts.got_or_created(self._connection, self._table, row, on=on)
        (record,) = self._read([found])
        return record, created

    async def delete(self, *clauses: t.Any, **filters: t.Any) -> None:
        """Delete the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does; nothing is deleted.
        :raises ConflictError: the one record that is asked for by its key is of another version.
        """
        with self._table_manager.translated(write=True):
            match await drivers.delete_one(self._connection, self._table, clauses, filters):
                case 0:
                    if self._version is not None:
                        await self._refuse_stale(clauses, filters)
                    raise self._error(exceptions.NotFoundError, clauses, filters)
                case 2:
                    raise self._error(exceptions.MultipleRecordsError, clauses, filters)

    @t.overload
    def list(
        self,
        *clauses: t.Any,
        order_by: pages.OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: None = None,
        lock: readings.Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[Record]: ...
    @t.overload
    def list(
        self,
        *clauses: t.Any,
        order_by: pages.OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: Columns,
        lock: readings.Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[_Record]: ...
    def list(
        self,
        *clauses: t.Any,
        order_by: pages.OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: Columns | None = None,
        lock: readings.Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[t.Any]:
        """Iterate over the records that match, reading them from the database while it goes on.

        The order is by a column, by name or itself, or by several: ``"age"``, ``"-age"``, ``("age", "desc")``,
        ``F.age.desc(nulls="first")``, or a sequence of these; nulls come last unless said, ``order_direction`` is that
        of names without one, and ties are broken by the primary key, which is also the order of a slice that has no
        other. ``after`` and ``before`` are records, present or not: what comes next to them in the order is where the
        slice begins, or, with ``before`` alone, ends. SQLAlchemy's own orders (``table.c.name.collate("…")``) stay as
        they are.

        Nothing is run before the first is asked for. Leaving the loop early frees the cursor.
        """

        def page() -> statements.Statement:
            found = pages.page(
                self._table,
                clauses,
                filters,
                order_by=order_by,
                order_direction=order_direction,
                limit=limit,
                offset=offset,
                after=after,
                before=before,
            )
            return self._refined(found, fields, lock)

        return _Records(self._table_manager, page, self._read if fields is None else _as_they_are, lock)

    @t.overload
    async def first(
        self,
        *clauses: t.Any,
        order_by: pages.OrderBy = None,
        order_direction: str = "asc",
        fields: None = None,
        lock: readings.Lock | None = None,
        **filters: t.Any,
    ) -> Record | None: ...
    @t.overload
    async def first(
        self,
        *clauses: t.Any,
        order_by: pages.OrderBy = None,
        order_direction: str = "asc",
        fields: Columns,
        lock: readings.Lock | None = None,
        **filters: t.Any,
    ) -> _Record | None: ...
    async def first(
        self,
        *clauses: t.Any,
        order_by: pages.OrderBy = None,
        order_direction: str = "asc",
        fields: Columns | None = None,
        lock: readings.Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record | None:
        """Give the first record that matches, in an order as :meth:`list` takes it, by default the primary key's."""
        page = pages.page(self._table, clauses, filters, order_by=order_by, order_direction=order_direction, limit=1)
        return next(iter(await self._found(page, fields, lock)), None)

    async def count(self, *clauses: t.Any, **filters: t.Any) -> int:
        """Give how many records match."""
        (found,) = await self._table_manager.read(pages.count(self._table, clauses, filters))
        return int(found["count"])

    async def exists(self, *clauses: t.Any, **filters: t.Any) -> bool:
        """Tell whether any record matches."""
        return bool(await self._table_manager.read(pages.exists(self._table, clauses, filters)))

    async def drop(self, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any) -> int:
        """Delete the records that match, and give how many they were.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is deleted.
        """
        table, connection = self._table, self._connection
        with self._table_manager.translated(write=True):
            if max_affected is None:
                return await drivers.dropped(connection, statements.delete(table, clauses, filters))
            return await guarded.dropped(connection, table, clauses, filters, at_most=max_affected)

    def _row(self, record: t.Any, *, changes: bool = False) -> _Data:
        row = statements.values(self._table, self._data(record, changes=changes))
        if self._version is None or changes or row.get(self._version) is not None:
            return row
        return _numbered(self._table.columns[self._version], row)

    async def _only(
        self, clauses: t.Any, filters: dict[str, t.Any], fields: Columns | None, lock: readings.Lock | None
    ) -> t.Any:
        match await self._found(statements.select(self._table, clauses, filters, limit=2), fields, lock):
            case [record]:
                return record
            case []:
                return None
            case _:
                raise self._error(exceptions.MultipleRecordsError, clauses, filters)

    async def _found(
        self, statement: statements.Statement, fields: Columns | None, lock: readings.Lock | None
    ) -> builtins.list[t.Any]:
        if lock is not None:
            await self._table_manager.hold(lock)
        found = await self._table_manager.read(self._refined(statement, fields, lock))
        return self._read(found) if fields is None else found

    def _refined(
        self, statement: statements.Statement, fields: Columns | None, lock: readings.Lock | None
    ) -> statements.Statement:
        if fields is not None:
            statement = readings.only(statement, self._table, fields)
        return statement if lock is None else readings.locked(statement, lock)

    async def _updated(
        self, changes: _Data, clauses: t.Any, filters: dict[str, t.Any], at_most: int | None
    ) -> builtins.list[_Record]:
        table, connection, version = self._table, self._connection, self._version
        if at_most is None and version is None:
            return await drivers.updated(connection, table, changes, clauses, filters)
        return await guarded.updated(connection, table, changes, clauses, filters, at_most=at_most, version=version)

    async def _refuse_stale(self, clauses: t.Any, filters: dict[str, t.Any]) -> None:
        key = {name: value for name, value in filters.items() if name != self._version}
        id = statements.identity(self._table, clauses, key)
        if id is not None and len(key) < len(filters) and await self.exists(**key):
            detail = f"it isn't of version {filters[str(self._version)]} any more"
            raise exceptions.ConflictError(resource=self._table.name, id=id, detail=detail)

    def _error(
        self, error: type[exceptions.ResourceException], clauses: statements.Clauses, filters: statements.Filters
    ) -> exceptions.ResourceException:
        return error(resource=self._table.name, id=statements.identity(self._table, clauses, filters))


class _Records(collections.abc.AsyncIterator[Record]):
    def __init__(
        self,
        manager: SQLAlchemyTableManager,
        statement: collections.abc.Callable[[], statements.Statement],
        read: collections.abc.Callable[[list[_Record]], list[Record]],
        lock: readings.Lock | None,
    ) -> None:
        self._manager = manager
        self._stream = drivers.Stream(manager.connection, statement)
        self._read = read
        self._lock: readings.Lock | None = lock
        self._batch: collections.abc.Iterator[Record] = iter(())

    async def __anext__(self) -> Record:
        if self._stream.closed:
            raise exceptions.SessionClosedError(f"The unit of work of '{self._manager.resource}' has ended")
        for record in self._batch:
            return record
        if self._lock is not None:
            await self._manager.hold(self._lock)
            self._lock = None
        with self._manager.translated():
            batch = await self._stream.batch()
        self._batch = iter(self._read(batch))
        for record in self._batch:
            return record
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._batch = iter(())
        await self._stream.aclose()


def _as_they_are(records: list[_Record]) -> list[_Record]:
    return records


@functools.lru_cache(1000)
def _records_of(table: sa.Table, record: t.Any, version: str | None) -> t.Any:
    made = records(record, json_columns(table))
    for what, names in ((record, made.fields if made else ()), ("_version", () if version is None else (version,))):
        if unknown := [name for name in names if name not in table.columns]:
            has = ", ".join(table.columns.keys())
            raise exceptions.ApplicationError(f"{what!r} names {unknown}: table '{table.name}' has {has}")
    return made


def _numbered(column: sa.Column[t.Any], row: _Data) -> _Data:
    return row if column.default is not None or column.server_default is not None else {**row, column.key: 1}


def _compared(
    table: sa.Table, version: str, changes: _Data, filters: dict[str, t.Any]
) -> tuple[_Data, dict[str, t.Any]]:
    # the version in the data is the one that they were read with, not one to be set
    if version not in changes:
        return changes, filters
    others = {name: value for name, value in changes.items() if name != version}
    if (meant := changes[version]) is None:
        return others, filters
    if filters.get(version, meant) != meant:
        detail = f"the data are of {version} {meant}, the filter is of {filters[version]}"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)
    return others, {**filters, version: meant}
