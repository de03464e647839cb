"""Repositories of records in SQL databases, over SQLAlchemy."""

import builtins
import collections.abc
import copy
import functools
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions, policies
from flama.ddd.repositories._deferred import KeysetColumns, RecordIterator
from flama.ddd.repositories._table import TableRepository
from flama.ddd.repositories._typed import Record, row_adapter
from flama.ddd.repositories.base import BaseRepository, Data
from flama.ddd.repositories.sqlalchemy import _bounded_writes, _explain, _references, _select_options, _upsert
from flama.ddd.repositories.sqlalchemy._manager import SQLAlchemyTableManager, StreamedRecords
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.query import Select
from flama.sqlalchemy import drivers
from flama.sqlalchemy._dialects import use_portable
from flama.sqlalchemy.sql import _select, statements
from flama.sqlalchemy.sql._table_info import json_columns, policy_columns

__all__ = ["SQLAlchemyRepository", "SQLAlchemyTableManager", "SQLAlchemyTableRepository"]

_Record: t.TypeAlias = dict[str, t.Any]
_Rows: t.TypeAlias = collections.abc.Sequence[Data]
_Write: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[list[_Record]]]


class SQLAlchemyRepository(BaseRepository):
    """A repository that works on a connection, through ``self._connection``.

    It never commits. Two repositories on one connection are equal if one's class is the other's or a subclass of it.
    """

    _backend = SQLAlchemyWorker

    def __init__(self, connection: AsyncConnection, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        use_portable(connection)
        self._connection = connection

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)) and not isinstance(self, type(other)):
            return NotImplemented
        return isinstance(other, SQLAlchemyRepository) and self._connection is other._connection

    def __hash__(self) -> int:
        return hash(self._connection)


class SQLAlchemyTableRepository(SQLAlchemyRepository, TableRepository[Record]):
    """The records of one table, which a subclass sets as ``_table``.

    *Clauses* are conditions, made with ``F``, or SQLAlchemy expressions on the table's columns. *Filters* are column
    names and the values they must equal, compared by the database; ``None`` matches null. All of them must hold;
    without any, every record matches. Records, data, filters and conditions are keyed by ``Column.key``. SQLAlchemy's
    own orders (``table.c.name.collate("…")``) are used unchanged.

    Records are dictionaries, or instances of the type in brackets: ``SQLAlchemyTableRepository[User]``. Its fields must
    be columns of the table. ``fields``, columns or their keys, limits a read to these columns and returns dictionaries.
    ``lock`` locks the records that are read until the unit of work ends. SQLite has no row locks, so it locks the
    database.

    ``_version`` is the key of a column with each record's version number, which starts at 1 and is incremented by every
    change. A write whose data or filters contain a version is applied to that version only.

    ``_created_at`` and ``_updated_at`` are keys of columns with the times of creation and of the last change. Times are
    in UTC, with a time zone if the column stores one. A new record may set either itself. An update can't: its values
    for these two columns are ignored.

    ``_deleted_at`` is the key of a column that is null until the record is deleted. A deletion then doesn't remove the
    record: it sets the time and counts as a change. Other methods no longer find the record, but constraints still see
    it. Data can't set the time. Neither restriction applies to :meth:`with_deleted`.

    :raises IntegrityError: a constraint rejects a write; nothing of it is stored, and the unit of work stays usable.
    :raises UnknownColumnError: data, a filter, an order or a clause refers to a column that the table doesn't have.
    :raises InvalidDataError: a value is invalid for its column.
    :raises PermissionDeniedError: a record would be outside the repository's scope, or its data would mark it as
        deleted.
    :raises ConflictError: another unit of work interferes; this one should be retried.
    :raises InvalidResponseError: a stored record isn't valid for the record type.
    :raises UnavailableError: the database doesn't respond.
    :raises SessionClosedError: the unit of work has ended.
    """

    _table: t.ClassVar[sa.Table]

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(getattr(cls, "_table", None), sa.Table):
            cls._class_config()  # errors in the declarations are raised now

    def __init__(self, connection: AsyncConnection, *args: t.Any, **kwargs: t.Any) -> None:
        self._table_manager = SQLAlchemyTableManager(self._table, connection)  # first: raises without a table
        super().__init__(connection, *args, **kwargs)
        self._resource_name = self._table.name
        self._row_adapter, self._policies = self._class_config()

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        if same is NotImplemented or not same:
            return same
        return (
            isinstance(other, SQLAlchemyTableRepository)
            and self._table is other._table
            and self._policies.conditions == other._policies.conditions
        )

    def __hash__(self) -> int:
        return hash((self._connection, self._table))

    async def explain(self, verb: _explain.Verb, /, *args: t.Any, **options: t.Any) -> _explain.Explanation:
        """Return the SQL that the method ``verb`` would run with these arguments, and the database's plan.

        The statement is not run. Where a database needs several statements, the main one is returned. Python-side
        defaults are shown as None: they are generated when a record is stored.

        :raises InvalidDataError: there is no such method.
        """
        explained = copy.copy(self)
        explained._parents = {}  # nothing is read, so no parent record would be found
        with self._table_manager.translating_read_errors:
            return await _explain.explain(
                self._connection, self._table, verb, lambda: getattr(explained, verb)(*args, **options)
            )

    @classmethod
    def _class_config(cls) -> tuple[t.Any, policies.Policies]:
        return _class_config(cls._table, cls._record, cls._declaration())

    def _values(self, data: t.Any, *, changes: bool = False) -> Data:
        return statements.values(self._table, data if self._row_adapter is None else self._data(data, changes=changes))

    async def _find(self, select: Select) -> builtins.list[_Record]:
        table, manager, matching = self._table, self._table_manager, self._policies.conditions + select.clauses

        def make() -> statements.Statement:
            return statements.select(table, matching, select.filters, limit=2)

        if select.fields is not None or select.lock is not None:
            return await self._run(make(), select)
        signature = statements.signature("few", table, {}, matching, select.filters)
        with manager.translating_read_errors:
            return await drivers.execute_one(manager.connection, drivers.ROWS, make, signature)

    async def _fetch(self, select: Select) -> builtins.list[_Record]:
        return await self._run(self._page(select), select)

    def _iterate(self, select: Select) -> RecordIterator[t.Any]:
        read = self._read if select.fields is None else _identity

        def statement() -> statements.Statement:
            return _select_options.with_options(self._page(select), self._table, select)

        return StreamedRecords(self._table_manager, select, statement, read, self._pageable)

    async def _count(self, select: Select) -> int:
        conditions = self._policies.conditions + select.clauses
        (found,) = await self._table_manager.read(_select.count(self._table, conditions, select.filters))
        return int(found["count"])

    async def _exists(self, select: Select) -> bool:
        conditions = self._policies.conditions + select.clauses
        return bool(await self._table_manager.read(_select.exists(self._table, conditions, select.filters)))

    async def _insert(self, rows: _Rows) -> builtins.list[_Record]:
        with self._table_manager.translating_write_errors:
            if self._policies.scope is None and not self._parents:
                stored = await drivers.insert(self._connection, self._table, rows)
            else:
                stored = await self._with_references(rows, lambda: self._insert_in_scope(rows))
        drivers.check_stored(self._table, stored, rows)
        return stored

    async def _update(self, select: Select, changes: Data, max_affected: int | None) -> builtins.list[_Record]:
        with self._table_manager.translating_write_errors:
            found = await self._update_in_scope(select, changes, max_affected)
            if not found and await self._is_passed_over(select):
                found = await self._update_in_scope(select, changes, max_affected)
                if not found:
                    raise drivers.trigger_error(self._table, "changed")
        return found

    async def _upsert(self, rows: _Rows, on: t.Any, set: t.Any) -> builtins.list[_Record]:
        def write() -> collections.abc.Awaitable[builtins.list[_Record]]:
            return _upsert.upsert(self._connection, self._table, rows, on=on, set=set, policies=self._policies)

        with self._table_manager.translating_write_errors:
            return await self._with_references(rows, write)

    async def _get_or_create(self, row: Data, on: t.Any) -> tuple[_Record, bool]:
        created = False

        async def write() -> builtins.list[_Record]:
            nonlocal created
            found, created = await _upsert.get_or_create(
                self._connection, self._table, row, on=on, policies=self._policies
            )
            return [found]

        with self._table_manager.translating_write_errors:
            (record,) = await self._with_references([row], write)
        return record, created

    async def _delete(self, select: Select, max_affected: int | None) -> int:
        with self._table_manager.translating_write_errors:
            return await self._delete_matching(select, max_affected)

    async def _delete_one(self, select: Select) -> bool:
        with self._table_manager.translating_write_errors:
            if await self._delete_at_most_one(select):
                return True
            if await self._is_passed_over(select):
                if await self._delete_at_most_one(select):
                    return True
                raise drivers.trigger_error(self._table, "deleted")
            # a soft deletion found no match: records that match now were stored since
            if not self._policies.deletes_softly and await self._matches_several(select):
                raise self._error(exceptions.MultipleRecordsError, select)
        return False

    def _keyset_columns(self, select: Select) -> KeysetColumns | None:
        return _select.keyset_columns(self._table, select.order_by, select.order_direction)

    def _identity(self, select: Select) -> t.Any:
        return statements.identity(self._table, select.clauses, select.filters)

    def _page(self, select: Select) -> statements.Statement:
        # no database locks the records of a union
        dialect = self._connection.dialect.name if select.lock is None else None
        return _select.select_page(self._table, self._policies.conditions + select.clauses, select, dialect=dialect)

    async def _run(self, statement: statements.Statement, select: Select) -> builtins.list[_Record]:
        manager = self._table_manager
        if select.lock is not None:
            await manager.acquire_lock(select.lock)
        return await manager.read(_select_options.with_options(statement, self._table, select))

    def _insert_in_scope(self, rows: _Rows) -> collections.abc.Awaitable[builtins.list[_Record]]:
        return self._check_scope(None, lambda: drivers.insert(self._connection, self._table, rows))

    def _update_in_scope(
        self, select: Select, changes: Data, max_affected: int | None
    ) -> collections.abc.Awaitable[builtins.list[_Record]]:
        """Change the records that match and check that they stay in the scope."""
        if self._policies.scope is None and not self._parents:
            return self._update_matching(select, changes, max_affected)

        def write() -> collections.abc.Awaitable[builtins.list[_Record]]:
            return self._check_scope(changes, lambda: self._update_matching(select, changes, max_affected))

        return self._with_references([changes], write)

    async def _check_scope(self, changes: Data | None, write: _Write) -> builtins.list[_Record]:
        """Write records and check, where what they are as stored isn't known before, that they are in the scope."""
        if not self._policies.needs_check(changes):
            return await write()
        async with drivers.atomic(self._connection, several=True):
            written = await write()
            self._policies.check(written)
        return written

    async def _with_references(self, rows: _Rows, write: _Write) -> builtins.list[_Record]:
        """Write rows or changes whose parent records must be in the scopes of their tables."""
        if not self._parents:
            return await write()
        check = functools.partial(
            _references.check, self._connection, self._table, parents=self._parents, bound=self._policies.bound
        )
        opened = await check(rows=rows)
        if not opened:
            return await write()
        try:
            async with drivers.atomic(self._connection, several=True):
                with self._table_manager.translating_write_errors:
                    written = await write()
                await check(rows=written, stored=opened)
        except exceptions.IntegrityError as error:
            if error.kind != "foreign_key":
                raise
            # the same message, whether the record is missing or out of scope
            raise exceptions.IntegrityError(resource=self._table.name, kind="foreign_key") from error
        return written

    async def _is_passed_over(self, select: Select) -> bool:
        """Return whether the record that a write missed exists: stored concurrently, or skipped by a trigger."""
        if not statements.is_by_primary_key(self._table, select.filters):
            return False
        return await drivers.may_pass_over(self._connection, self._table) and await self._exists(select)

    def _update_matching(
        self, select: Select, changes: Data, max_affected: int | None
    ) -> collections.abc.Awaitable[builtins.list[_Record]]:
        table, connection, version = self._table, self._connection, self._policies.version
        clauses = self._policies.conditions + select.clauses
        if max_affected is None and version is None:
            return drivers.update(connection, table, changes, clauses, select.filters)
        return _bounded_writes.update(
            connection, table, changes, clauses, select.filters, at_most=max_affected, version=version
        )

    async def _delete_matching(self, select: Select, max_affected: int | None) -> int:
        table, connection, marks = self._table, self._connection, self._policies.on_delete()
        clauses = self._policies.conditions + select.clauses
        if max_affected is None and marks is None:
            return await drivers.delete(connection, table, clauses, select.filters)
        return await _bounded_writes.delete(
            connection,
            table,
            clauses,
            select.filters,
            at_most=max_affected,
            marks=marks,
            version=self._policies.version,
        )

    def _delete_at_most_one(self, select: Select) -> collections.abc.Awaitable[int]:
        if self._policies.deletes_softly:
            return self._delete_matching(select, 1)
        clauses = self._policies.conditions + select.clauses
        return drivers.delete_one(self._connection, self._table, clauses, select.filters)

    def _matches_several(self, select: Select) -> collections.abc.Awaitable[bool]:
        clauses = self._policies.conditions + select.clauses
        return drivers.matches_several(self._connection, self._table, clauses, select.filters)


@functools.lru_cache(1000)
def _class_config(table: sa.Table, record: t.Any, names: policies.Declaration) -> tuple[t.Any, policies.Policies]:
    """Return the row adapter of the record type, and the policies of a repository."""
    adapter, columns = row_adapter(record, json_columns(table)), policy_columns(table)
    columns.check_declared(record, adapter.fields if adapter else ())
    return adapter, policies.declare(columns, names)


def _identity(records: builtins.list[_Record]) -> builtins.list[_Record]:
    return records
