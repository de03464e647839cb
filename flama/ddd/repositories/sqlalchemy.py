"""Repositories of what SQL databases keep, over SQLAlchemy."""

import builtins
import collections.abc
import copy
import functools
import types
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions, query
from flama.ddd.repositories.base import BaseRepository
from flama.ddd.repositories.reading import TableReader
from flama.ddd.repositories.tables import SQLAlchemyTableManager
from flama.ddd.repositories.typed import Record, records
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import drivers, explanations, guarded, references, scopes, stamps, statements, upserts, versions
from flama.sqlalchemy._dialects import use_portable
from flama.sqlalchemy.columns import Columns, json_columns

__all__ = ["SQLAlchemyRepository", "SQLAlchemyTableManager", "SQLAlchemyTableRepository"]

_Record: t.TypeAlias = dict[str, t.Any]
_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]


class SQLAlchemyRepository(BaseRepository):
    """A repository that works on a connection, through ``self._connection``.

    It never commits. Two repositories of one class family on one connection are equal.
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


class SQLAlchemyTableRepository(SQLAlchemyRepository, TableReader[Record]):
    """The records of one table, which a subclass sets as ``_table``.

    What the methods below call clauses are conditions, made by ``F``, or SQLAlchemy expressions on the table's columns;
    filters are columns by name and what each must equal, as the database sees it, ``None`` for null. All of them must
    hold; with none, every record matches. Records, data, filters and conditions are keyed by ``Column.key``.

    Records are dictionaries, or of the type that is named in brackets, ``SQLAlchemyTableRepository[User]``, the fields
    of which are columns of the table. With ``fields``, columns or their keys, those alone are read, as dictionaries.
    With ``lock``, what is read is held until the unit ends; SQLite, which has no such locks, holds the database.

    With ``_version``, the key of a column, each record has its number, which begins with 1 and counts up with every
    change; where the data or filters of a write tell which one is meant, it is done to that one alone.

    With ``_created_at`` and ``_updated_at``, keys of columns, a record tells when it was created and when it was last
    changed, in UTC, with its time zone where the column keeps one. A new record may have its own moments, in place of
    one or both; a change never does: what its data say of these two columns is passed over.

    With ``_deleted_at``, the key of a column that is null until then, a deletion keeps the record, sets the moment,
    and counts as a change. To all other methods the record isn't there any more, but constraints still see it; and no
    data set the moment. Of :meth:`with_deleted` neither is true.

    :raises IntegrityError: a constraint refuses a write; nothing of it is stored, and the unit goes on.
    :raises UnknownColumnError: data, a filter, an order or a clause is about a column that the table doesn't have.
    :raises InvalidDataError: a value can't be one of its column's.
    :raises PermissionDeniedError: a record would be outside of the repository's scope, or deleted by its data.
    :raises ConflictError: another unit is in the way, and this one should be tried again.
    :raises InvalidResponseError: what the database holds isn't a record of the type.
    :raises UnavailableError: the database doesn't answer.
    :raises SessionClosedError: the unit has ended.
    """

    _table: t.ClassVar[sa.Table]
    _version: t.ClassVar[str | None] = None
    _created_at: t.ClassVar[str | None] = None
    _updated_at: t.ClassVar[str | None] = None
    _deleted_at: t.ClassVar[str | None] = None
    _keeps_deleted: bool = False
    _scope: scopes.Scope | None = None
    _rules: tuple[stamps.Stamps | scopes.Scope, ...] = ()
    _parents: references.Parents = types.MappingProxyType({})  # what records may refer to, where that is bounded

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(getattr(cls, "_table", None), sa.Table):
            cls._declared()  # what is wrong with them is told now

    def __init__(self, connection: AsyncConnection, *args: t.Any, **kwargs: t.Any) -> None:
        self._table_manager = SQLAlchemyTableManager(self._table, connection)  # without a table, nothing is done
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
        """Give this repository for those records alone on which the conditions, made by ``F``, hold.

        To all its methods the others aren't there, but constraints still see them. What the conditions say by equality,
        a new record has without being told; what would store a record outside, or take one out, is refused. Another
        scope, or anything that a method takes, can only narrow it.

        :raises UnknownColumnError: a condition is about a column that the table doesn't have.
        :raises InvalidDataError: one is an expression of SQLAlchemy's, which says nothing of a record to be stored.
        """
        return self._like(scopes.scope(self._table, (*self._bounds, *conditions)))

    def with_deleted(self) -> t.Self:
        """Give this repository as if it had no ``_deleted_at``: deleted records are there, and a deletion is for good.

        :raises ApplicationError: it has none.
        """
        if self._deleted_at is None:
            raise exceptions.ApplicationError(f"{type(self).__name__} has no _deleted_at: what is deleted is gone")
        # what hides the deleted ones comes first
        whole = self._like(scopes.scope(self._table, self._bounds[1:] if self._keeps_deleted else self._bounds))
        whole._keeps_deleted = False
        return whole

    async def explain(self, verb: explanations.Verb, /, *args: t.Any, **options: t.Any) -> explanations.Explanation:
        """Give the SQL that the method of this name would run for these arguments, and the database's plan for it.

        Nothing of it is run. Where a database needs several statements, it is the one that does what the method is for.
        Values that Python would give as defaults are None: they are drawn when a record is stored.

        :raises InvalidDataError: there is no such method.
        """
        explained = copy.copy(self)
        explained._parents = {}  # nothing is read, so nothing would be found that could be referred to
        with self._table_manager.reading:
            return await explanations.explained(
                self._connection, self._table, verb, lambda: getattr(explained, verb)(*args, **options)
            )

    async def create(self, *data: Record | _Data) -> builtins.list[Record]:
        """Store records, all of them or none, and give them as stored, in order.

        Each may have other columns than the next; a column that is absent has its default, one that is None is null.
        None as a primary key means that there is none yet. ``{}`` is a record of defaults.
        """
        rows = self._rows(data)
        if not rows:
            return []
        with self._table_manager.writing:
            if self._scope is None and not self._parents:
                stored = await drivers.inserted(self._connection, self._table, rows)
            else:
                stored = await self._referring(rows, lambda: self._inserted_inside(rows))
        drivers.check_stored(self._table, stored, rows)
        return self._read(stored)

    async def update(
        self, data: Record | _Data, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any
    ) -> builtins.list[Record]:
        """Change the records that match, and give them as they then are; none when none matches.

        Without any data they are given as they are. Of a pydantic model, the fields that were set are the data.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is changed.
        :raises ConflictError: the one record that is asked for by its key is of another version.
        """
        changes, filters = self._changes(data, filters)
        matching = self._bounds + clauses
        if not changes:
            return self._read(await self._table_manager.read(statements.select(self._table, matching, filters)))
        with self._table_manager.writing:
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
        """Store records or, of those that are there, change what is there, all or none; give them as stored, in order.

        A record is there when one is alike in ``on``, columns or their keys: by default the primary key; where a
        record has none of that yet, it is new. ``set`` are the columns that change in it, by default all that the
        record here has, except the key. Which version it is of is not asked.

        :raises IntegrityError: a constraint refuses a record; or the one that is alike is deleted, or out of scope.
        :raises InvalidDataError: two records are alike, or one lacks what tells which is meant.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        rows = self._rows(data)
        if not rows:
            return []
        rules = upserts.Rules(self._version, self._stamps, self._scope)
        with self._table_manager.writing:
            stored = await self._referring(
                rows, lambda: upserts.upserted(self._connection, self._table, rows, on=on, set=set, rules=rules)
            )
        return self._read(stored)

    async def get_or_create(self, data: Record | _Data, *, on: Columns | None = None) -> tuple[Record, bool]:
        """Give the record that is alike in ``on``, and False; or store this one, and give it as stored, and True.

        Of units that do so at the same time, one stores it, and the others are given what it stored.

        :raises IntegrityError: a constraint refuses the record; or the one that is alike is deleted, or out of scope.
        :raises InvalidDataError: the data lack what tells which record is meant.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        (row,) = self._rows([data])
        created = False

        async def write() -> builtins.list[_Record]:
            nonlocal created
            found, created = await upserts.got_or_created(self._connection, self._table, row, on=on, scope=self._scope)
            return [found]

        with self._table_manager.writing:
            written = await self._referring([row], write)
        (record,) = self._read(written)
        return record, created

    async def delete(self, *clauses: t.Any, **filters: t.Any) -> None:
        """Delete the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does; nothing is deleted.
        :raises ConflictError: the one record that is asked for by its key is of another version.
        """
        with self._table_manager.writing:
            if await self._deleted(clauses, filters):
                return
            if await self._is_passed_over(clauses, filters):
                if await self._deleted(clauses, filters):
                    return
                raise drivers.trigger_error(self._table, "deleted")
            raise await self._undeletable(clauses, filters)

    async def drop(self, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any) -> int:
        """Delete the records that match, and give how many they were.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is deleted.
        """
        with self._table_manager.writing:
            return await self._dropped(self._bounds + clauses, filters, max_affected)

    @classmethod
    def _declared(cls) -> "_Declared":
        return _declared(cls._table, cls._record, cls._version, (cls._created_at, cls._updated_at, cls._deleted_at))

    def _like(self, scope: scopes.Scope | None) -> t.Self:
        other = copy.copy(self)
        other._set_scope(scope)
        return other

    def _set_scope(self, scope: scopes.Scope | None) -> None:
        self._scope = scope
        self._bounds = () if scope is None else scope.conditions
        self._rules = tuple([rule for rule in (self._stamps, scope) if rule is not None])

    def _rows(self, data: collections.abc.Iterable[t.Any]) -> builtins.list[_Data]:
        table = self._table
        rows = [statements.values(table, record if self._records is None else self._data(record)) for record in data]
        if self._version is not None:
            rows = [versions.numbered(self._table.columns[self._version], row) for row in rows]
        if self._stamps is not None:
            rows = self._stamps.new(rows)
        return rows if self._scope is None else [self._scope.new(row) for row in rows]

    def _changes(self, data: t.Any, filters: dict[str, t.Any]) -> tuple[_Data, dict[str, t.Any]]:
        changes = statements.values(self._table, data if self._records is None else self._data(data, changes=True))
        if self._version is not None:
            changes, filters = versions.compared(self._table.columns[self._version], changes, filters)
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
        """Write rows, or changes, which have to refer to records in the scopes of their tables."""
        if not self._parents:
            return await write()
        bound: _Data = {} if self._scope is None else self._scope.bound
        check = functools.partial(references.check, self._connection, self._table, parents=self._parents, bound=bound)
        opened = await check(rows=rows)
        if not opened:
            return await write()
        try:
            async with drivers.atomic(self._connection, several=True):
                with self._table_manager.writing:
                    written = await write()
                await check(rows=written, stored=opened)
        except exceptions.IntegrityError as error:
            if error.kind != "foreign_key":
                raise
            # in the same words, be the record not there or out of scope
            raise exceptions.IntegrityError(resource=self._table.name, kind="foreign_key") from error
        return written

    async def _is_passed_over(self, clauses: t.Any, filters: dict[str, t.Any]) -> bool:
        """Whether the record that a write has not found is there: stored meanwhile, or taken away by a trigger."""
        if not statements.tells_one(self._table, filters):
            return False
        return await drivers.may_pass_over(self._connection, self._table) and await self.exists(*clauses, **filters)

    def _updated_inside(
        self, changes: _Data, clauses: t.Any, filters: dict[str, t.Any], at_most: int | None
    ) -> collections.abc.Awaitable[builtins.list[_Record]]:
        """Change the records that match, which have to stay in the scope."""
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
        return guarded.updated(connection, table, changes, clauses, filters, at_most=at_most, version=version)

    def _deleted(self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any]) -> collections.abc.Awaitable[int]:
        if self._keeps_deleted:
            return self._dropped(self._bounds + clauses, filters, 1)
        return drivers.delete_one(self._connection, self._table, self._bounds + clauses, filters)

    async def _undeletable(self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any]) -> exceptions.ResourceException:
        # one that came in between was not there to be deleted
        if not self._keeps_deleted and await drivers.are_many(
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
        return await guarded.dropped(connection, table, clauses, filters, at_most=at_most, marks=marks, version=version)

    async def _refuse_stale(self, clauses: t.Any, filters: dict[str, t.Any]) -> None:
        key = {name: value for name, value in filters.items() if name != self._version}
        id = statements.identity(self._table, clauses, key)
        if id is not None and len(key) < len(filters) and await self.exists(**key):
            detail = f"it isn't of version {filters[str(self._version)]} any more"
            raise exceptions.ConflictError(resource=self._table.name, id=id, detail=detail)


class _Declared(t.NamedTuple):
    records: t.Any
    stamps: stamps.Stamps | None
    scope: scopes.Scope | None


@functools.lru_cache(1000)
def _declared(
    table: sa.Table, record: t.Any, version: str | None, moments: tuple[str | None, str | None, str | None]
) -> _Declared:
    made = records(record, json_columns(table))
    _check_names(table, record, made.fields if made else ())
    for what, name in zip(("_version", "_created_at", "_updated_at", "_deleted_at"), (version, *moments), strict=True):
        _check_names(table, what, () if name is None else (name,))
    stamped = stamps.Stamps(table, *moments)
    stamped.check()
    visible = () if stamped.deleted is None else (query.F[stamped.deleted].isnull(),)
    return _Declared(made, stamped if any(moments) else None, scopes.scope(table, visible))


def _check_names(table: sa.Table, what: t.Any, names: collections.abc.Iterable[str]) -> None:
    if unknown := [name for name in names if name not in table.columns]:
        has = ", ".join(table.columns.keys())
        raise exceptions.ApplicationError(f"{what!r} names {unknown}: table '{table.name}' has {has}")
