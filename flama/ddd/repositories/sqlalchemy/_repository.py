"""Repositories of records in SQL databases, over SQLAlchemy."""

import builtins
import collections.abc
import copy
import functools
import types
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions, query
from flama.ddd.repositories._typed import Record, row_adapter
from flama.ddd.repositories.base import BaseRepository
from flama.ddd.repositories.sqlalchemy import _bounded_writes, _explain, _references, _upsert
from flama.ddd.repositories.sqlalchemy._manager import SQLAlchemyTableManager
from flama.ddd.repositories.sqlalchemy._reads import ReadMixin
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import drivers, scopes, stamps, versions
from flama.sqlalchemy._dialects import use_portable
from flama.sqlalchemy.sql import statements
from flama.sqlalchemy.sql._table_info import Columns, json_columns

__all__ = ["SQLAlchemyRepository", "SQLAlchemyTableManager", "SQLAlchemyTableRepository"]

_Record: t.TypeAlias = dict[str, t.Any]
_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]


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


class SQLAlchemyTableRepository(SQLAlchemyRepository, ReadMixin[Record]):
    """The records of one table, which a subclass sets as ``_table``.

    *Clauses* are conditions, made with ``F``, or SQLAlchemy expressions on the table's columns. *Filters* are column
    names and the values they must equal, compared by the database; ``None`` matches null. All of them must hold;
    without any, every record matches. Records, data, filters and conditions are keyed by ``Column.key``.

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
    _version: t.ClassVar[str | None] = None
    _created_at: t.ClassVar[str | None] = None
    _updated_at: t.ClassVar[str | None] = None
    _deleted_at: t.ClassVar[str | None] = None
    _keeps_deleted: bool = False
    _scope: scopes.Scope | None = None
    _rules: tuple[stamps.Timestamps | scopes.Scope, ...] = ()
    _parents: _references.Parents = types.MappingProxyType({})  # the conditions on parent records, by table

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(getattr(cls, "_table", None), sa.Table):
            cls._declared()  # errors in the declarations are raised now

    def __init__(self, connection: AsyncConnection, *args: t.Any, **kwargs: t.Any) -> None:
        self._table_manager = SQLAlchemyTableManager(self._table, connection)  # first: raises without a table
        super().__init__(connection, *args, **kwargs)
        self._resource_name = self._table.name
        self._records, self._stamps, scope = self._declared()
        if self._stamps is not None:
            self._keeps_deleted = scope is not None
            self._set_scope(scope)

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        if same is NotImplemented or not same:
            return same
        return self._table is getattr(other, "_table", None) and self._bounds == getattr(other, "_bounds", None)

    def __hash__(self) -> int:
        return hash((self._connection, self._table))

    def scoped(self, *conditions: query.Condition) -> t.Self:
        """Return this repository, restricted to the records that meet the conditions, made with ``F``.

        No method finds other records, but constraints still see them. A new record takes the values that conditions
        require by equality. A write that would store a record outside the scope, or move one out of it, is refused.
        Further scopes and the arguments of methods can only narrow the scope.

        :raises UnknownColumnError: a condition refers to a column that the table doesn't have.
        :raises InvalidDataError: a condition is a SQLAlchemy expression, which can't be checked on a record to be
            stored.
        """
        return self._like(scopes.scope(self._table, (*self._bounds, *conditions)))

    def with_deleted(self) -> t.Self:
        """Return this repository without ``_deleted_at``: it finds deleted records, and deletion is permanent.

        :raises ApplicationError: the repository has no ``_deleted_at``.
        """
        if self._deleted_at is None:
            raise exceptions.ApplicationError(f"{type(self).__name__} has no _deleted_at: what is deleted is gone")
        # the condition that hides deleted records comes first
        whole = self._like(scopes.scope(self._table, self._bounds[1:] if self._keeps_deleted else self._bounds))
        whole._keeps_deleted = False
        return whole

    async def explain(self, verb: _explain.Verb, /, *args: t.Any, **options: t.Any) -> _explain.Explanation:
        """Return the SQL that the method ``verb`` would run with these arguments, and the database's plan.

        The statement is not run. Where a database needs several statements, the main one is returned. Python-side
        defaults are shown as None: they are generated when a record is stored.

        :raises InvalidDataError: there is no such method.
        """
        explained = copy.copy(self)
        explained._parents = {}  # nothing is read, so no parent record would be found
        with self._table_manager.reading:
            return await _explain.explained(
                self._connection, self._table, verb, lambda: getattr(explained, verb)(*args, **options)
            )

    async def create(self, *data: Record | _Data) -> builtins.list[Record]:
        """Insert records, all or none, and return them as stored, in order.

        Records may have different columns. An absent column has its default; a column with None is null. None as a
        primary key means that it is not assigned yet. ``{}`` is a record of defaults.
        """
        rows = self._rows_to_insert(data)
        if not rows:
            return []
        with self._table_manager.translating_write_errors:
            if self._scope is None and not self._parents:
                stored = await drivers.inserted(self._connection, self._table, rows)
            else:
                stored = await self._referring(rows, lambda: self._inserted_inside(rows))
        drivers.check_stored(self._table, stored, rows)
        return self._read(stored)

    async def update(
        self, data: Record | _Data, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any
    ) -> builtins.list[Record]:
        """Change the records that match and return them as changed; an empty list if none matches.

        Without data, they are returned unchanged. Of a pydantic model, only the fields that were set are the data.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is changed.
        :raises ConflictError: the one record selected by its key has another version.
        """
        changes, filters = self._changes(data, filters)
        matching = self._bounds + clauses
        if not changes:
            return self._read(await self._table_manager.read(statements.select(self._table, matching, filters)))
        with self._table_manager.translating_write_errors:
            found = await self._updated_inside(changes, matching, filters, max_affected)
            if not found and await self._is_passed_over(clauses, filters):
                found = await self._updated_inside(changes, matching, filters, max_affected)
                if not found:
                    raise drivers.trigger_error(self._table, "changed")
        if not found and self._version is not None:
            await self._refuse_stale(clauses, filters)
        return self._read(found)

    async def upsert(
        self, *data: Record | _Data, on: Columns | None = None, set: Columns | None = None
    ) -> builtins.list[Record]:
        """Insert records or update the existing ones, all or none; return them as stored, in order.

        A record exists if a stored one has equal values in ``on``, columns or their keys, by default the primary key. A
        record without a primary key is new. ``set`` names the columns to change in an existing record, by default all
        columns of the new data except the key. Versions are not compared.

        :raises IntegrityError: a constraint rejects a record; or the existing match is deleted, or out of scope.
        :raises InvalidDataError: two records have equal values in ``on``, or one lacks a column of it.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        rows = self._rows_to_insert(data)
        if not rows:
            return []
        rules = _upsert.WritePolicies(self._version, self._stamps, self._scope)
        with self._table_manager.translating_write_errors:
            stored = await self._referring(
                rows, lambda: _upsert.upserted(self._connection, self._table, rows, on=on, set=set, rules=rules)
            )
        return self._read(stored)

    async def get_or_create(self, data: Record | _Data, *, on: Columns | None = None) -> tuple[Record, bool]:
        """Return ``(record, created)``: the existing match and False, or the newly stored record and True.

        A match has equal values in ``on``, columns or their keys, by default the primary key. Of concurrent units of
        work, one stores the record; the others return what it stored.

        :raises IntegrityError: a constraint rejects the record; or the existing match is deleted, or out of scope.
        :raises InvalidDataError: the data lack a column of ``on``, or have null for it.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        (row,) = self._rows_to_insert([data])
        created = False

        async def write() -> builtins.list[_Record]:
            nonlocal created
            found, created = await _upsert.get_or_create(self._connection, self._table, row, on=on, scope=self._scope)
            return [found]

        with self._table_manager.translating_write_errors:
            written = await self._referring([row], write)
        (record,) = self._read(written)
        return record, created

    async def delete(self, *clauses: t.Any, **filters: t.Any) -> None:
        """Delete the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does; nothing is deleted.
        :raises ConflictError: the one record selected by its key has another version.
        """
        with self._table_manager.translating_write_errors:
            if await self._deleted(clauses, filters):
                return
            if await self._is_passed_over(clauses, filters):
                if await self._deleted(clauses, filters):
                    return
                raise drivers.trigger_error(self._table, "deleted")
            raise await self._delete_error(clauses, filters)

    async def drop(self, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any) -> int:
        """Delete the records that match and return their number.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is deleted.
        """
        with self._table_manager.translating_write_errors:
            return await self._dropped(self._bounds + clauses, filters, max_affected)

    @classmethod
    def _declared(cls) -> "_ClassConfig":
        return _class_config(cls._table, cls._record, cls._version, (cls._created_at, cls._updated_at, cls._deleted_at))

    def _like(self, scope: scopes.Scope | None) -> t.Self:
        other = copy.copy(self)
        other._set_scope(scope)
        return other

    def _set_scope(self, scope: scopes.Scope | None) -> None:
        self._scope = scope
        self._bounds = () if scope is None else scope.conditions
        self._rules = tuple([rule for rule in (self._stamps, scope) if rule is not None])

    def _rows_to_insert(self, data: collections.abc.Iterable[t.Any]) -> builtins.list[_Data]:
        table = self._table
        rows = [statements.values(table, record if self._records is None else self._data(record)) for record in data]
        if self._version is not None:
            rows = [versions.with_initial_version(self._table.columns[self._version], row) for row in rows]
        if self._stamps is not None:
            rows = self._stamps.new(rows)
        return rows if self._scope is None else [self._scope.new(row) for row in rows]

    def _changes(self, data: t.Any, filters: dict[str, t.Any]) -> tuple[_Data, dict[str, t.Any]]:
        changes = statements.values(self._table, data if self._records is None else self._data(data, changes=True))
        if self._version is not None:
            changes, filters = versions.move_version_to_filters(self._table.columns[self._version], changes, filters)
        for rule in self._rules:
            changes = rule.changes(changes)
        for rule in self._rules if changes else ():
            changes = {**changes, **rule.change()}
        return changes, filters

    async def _inside(
        self,
        changes: _Data | None,
        write: collections.abc.Callable[[], collections.abc.Awaitable[builtins.list[_Record]]],
    ) -> builtins.list[_Record]:
        if self._scope is None or not self._scope.is_open(changes):
            return await write()
        async with drivers.atomic(self._connection, several=True):
            written = await write()
            self._scope.check(written)
        return written

    def _inserted_inside(
        self, rows: builtins.list[_Data]
    ) -> collections.abc.Coroutine[t.Any, t.Any, builtins.list[_Record]]:
        return self._inside(None, lambda: drivers.inserted(self._connection, self._table, rows))

    async def _referring(
        self,
        rows: collections.abc.Sequence[_Data],
        write: collections.abc.Callable[[], collections.abc.Awaitable[builtins.list[_Record]]],
    ) -> builtins.list[_Record]:
        """Write rows or changes whose parent records must be in the scopes of their tables."""
        if not self._parents:
            return await write()
        bound: _Data = {} if self._scope is None else self._scope.bound
        check = functools.partial(_references.check, self._connection, self._table, parents=self._parents, bound=bound)
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

    async def _is_passed_over(self, clauses: t.Any, filters: dict[str, t.Any]) -> bool:
        """Return whether the record that a write missed exists: stored concurrently, or skipped by a trigger."""
        if not statements.is_by_primary_key(self._table, filters):
            return False
        return await drivers.may_pass_over(self._connection, self._table) and await self.exists(*clauses, **filters)

    def _updated_inside(
        self, changes: _Data, clauses: t.Any, filters: dict[str, t.Any], at_most: int | None
    ) -> collections.abc.Awaitable[builtins.list[_Record]]:
        """Change the records that match and check that they stay in the scope."""
        if self._scope is None and not self._parents:
            return self._updated(changes, clauses, filters, at_most)

        def inside() -> collections.abc.Awaitable[builtins.list[_Record]]:
            return self._inside(changes, lambda: self._updated(changes, clauses, filters, at_most))

        return self._referring([changes], inside)

    def _updated(
        self, changes: _Data, clauses: t.Any, filters: dict[str, t.Any], at_most: int | None
    ) -> collections.abc.Awaitable[builtins.list[_Record]]:
        table, connection, version = self._table, self._connection, self._version
        if at_most is None and version is None:
            return drivers.updated(connection, table, changes, clauses, filters)
        return _bounded_writes.update(connection, table, changes, clauses, filters, at_most=at_most, version=version)

    def _deleted(self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any]) -> collections.abc.Awaitable[int]:
        if self._keeps_deleted:
            return self._dropped(self._bounds + clauses, filters, 1)
        return drivers.delete_one(self._connection, self._table, self._bounds + clauses, filters)

    async def _delete_error(
        self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any]
    ) -> exceptions.ResourceException:
        # a soft deletion found no match: records that match now were stored since
        if not self._keeps_deleted and await drivers.matches_several(
            self._connection, self._table, self._bounds + clauses, filters
        ):
            return self._error(exceptions.MultipleRecordsError, clauses, filters)
        if self._version is not None:
            await self._refuse_stale(clauses, filters)
        return self._error(exceptions.NotFoundError, clauses, filters)

    async def _dropped(self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any], at_most: int | None) -> int:
        table, connection, version = self._table, self._connection, self._version
        if at_most is None and not self._keeps_deleted:
            return await drivers.dropped(connection, table, clauses, filters)
        marks = self._stamps.deletion() if self._stamps is not None and self._keeps_deleted else None
        return await _bounded_writes.delete(
            connection, table, clauses, filters, at_most=at_most, marks=marks, version=version
        )

    async def _refuse_stale(self, clauses: t.Any, filters: dict[str, t.Any]) -> None:
        key = {name: value for name, value in filters.items() if name != self._version}
        id = statements.identity(self._table, clauses, key)
        if id is not None and len(key) < len(filters) and await self.exists(**key):
            detail = f"it isn't of version {filters[str(self._version)]} any more"
            raise exceptions.ConflictError(resource=self._table.name, id=id, detail=detail)


class _ClassConfig(t.NamedTuple):
    records: t.Any
    stamps: stamps.Timestamps | None
    scope: scopes.Scope | None


@functools.lru_cache(1000)
def _class_config(
    table: sa.Table, record: t.Any, version: str | None, moments: tuple[str | None, str | None, str | None]
) -> _ClassConfig:
    made = row_adapter(record, json_columns(table))
    _check_names(table, record, made.fields if made else ())
    for what, name in zip(("_version", "_created_at", "_updated_at", "_deleted_at"), (version, *moments), strict=True):
        _check_names(table, what, () if name is None else (name,))
    stamped = stamps.Timestamps(table, *moments)
    stamped.check()
    visible = () if stamped.deleted is None else (query.F[stamped.deleted].isnull(),)
    return _ClassConfig(made, stamped if any(moments) else None, scopes.scope(table, visible))


def _check_names(table: sa.Table, what: t.Any, names: collections.abc.Iterable[str]) -> None:
    if unknown := [name for name in names if name not in table.columns]:
        has = ", ".join(table.columns.keys())
        raise exceptions.ApplicationError(f"{what!r} names {unknown}: table '{table.name}' has {has}")
