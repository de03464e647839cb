"""Repositories of records in memory."""

import builtins
import collections.abc
import copy
import functools
import importlib
import types
import typing as t

from flama import exceptions, query
from flama.ddd.repositories._deferred import DeferredQuery, Options, Places
from flama.ddd.repositories._typed import Record, TypedRepository, row_adapter
from flama.ddd.repositories.base import BaseRepository
from flama.ddd.workers.memory import MemoryWorker
from flama.memory import Column, Session, Table, Unique
from flama.memory._conditions import identity, matching
from flama.memory._dml import check_parents, check_scoped_parents, completed, delete, insert, touched, update
from flama.memory._policies import Rules
from flama.memory._result import Records
from flama.memory._select import natural, page, places
from flama.memory._table_data import Placed
from flama.memory._upserts import got_or_created, upserted
from flama.memory.schema import Row, any_key, anything

__all__ = ["MemoryRepository"]

_Record: t.TypeAlias = dict[str, t.Any]
_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Clauses: t.TypeAlias = tuple[t.Any, ...]
_Columns: t.TypeAlias = t.Any  # a column of the table, also SQLAlchemy's, its key, or several
_Parents: t.TypeAlias = collections.abc.Mapping[str, tuple[query.Condition, ...]]
_Lock: t.TypeAlias = t.Literal[
    "update", "share", "update nowait", "share nowait", "update skip locked", "share skip locked"
]  # fmt: skip
_LOCKS: t.Final[tuple[str, ...]] = t.get_args(_Lock)
_OrderBy: t.TypeAlias = str | query.Field | query.Order | collections.abc.Sequence[t.Any] | None


class MemoryRepository(BaseRepository, TypedRepository[Record]):
    """The records of one table in memory, defined by ``_table``, a SQLAlchemy table, or by ``_key`` alone.

    The methods behave as documented for repositories of SQL tables. Clauses must be conditions of ``F``; SQLAlchemy
    expressions are not supported. Values are stored as a database would return them. Records returned are copies, which
    the caller may modify. A value that any of the databases rejects is rejected, such as a text that is too long or a
    number out of range.

    With ``_table``, the table's defaults apply. Its NOT NULL, unique and foreign key constraints are enforced, and so
    are CHECK constraints written as SQLAlchemy expressions. Not enforced are CHECK constraints in SQL text, unique
    indexes on expressions, and partial unique indexes with a condition in SQL text. A default that only a database can
    compute raises ApplicationError where it is needed. ``lock`` is only validated: a unit of work has exclusive
    access to the store.

    With ``_key``, one or several fields that identify a record, records may have any fields, or those of the type in
    brackets. A field that a record lacks is null. ``_name`` is the name in errors, by default the class's name. If the
    key is a single field, a missing value is generated, counting from 1.

    :raises IntegrityError: a constraint rejects a write; nothing of it is stored, and the unit of work stays usable.
    :raises UnknownColumnError: data, a filter, an order or a clause refers to a column that the table doesn't have.
    :raises InvalidDataError: a value is invalid for its column, or a clause isn't a condition.
    :raises PermissionDeniedError: a record would be outside the repository's scope, or its data would mark it as
        deleted.
    :raises InvalidResponseError: a stored record isn't valid for the record type.
    :raises SessionClosedError: the unit of work has ended.
    """

    _backend = MemoryWorker
    _table: t.ClassVar[t.Any] = None
    _key: t.ClassVar[str | tuple[str, ...] | None] = None
    _name: t.ClassVar[str | None] = None
    _version: t.ClassVar[str | None] = None
    _created_at: t.ClassVar[str | None] = None
    _updated_at: t.ClassVar[str | None] = None
    _deleted_at: t.ClassVar[str | None] = None
    _parents: _Parents = types.MappingProxyType({})  # the conditions on parent records, by table

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls._table is not None or cls._key is not None:
            _, rules = cls._declared()  # errors in the declarations are raised now
            cls._resource_name = rules.table.name

    def __init__(self, session: Session, *args: t.Any, **kwargs: t.Any) -> None:
        self._session = session
        self._records, self._rules = self._declared()
        self._resource_name = self._rules.table.name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryRepository):
            return NotImplemented
        same = self._session is other._session and self._rules.table.source is other._rules.table.source
        return same and self._rules.bounds == other._rules.bounds

    def __hash__(self) -> int:
        return hash((id(self._session), self._rules.table.path))

    def scoped(self, *conditions: query.Condition) -> t.Self:
        """Return this repository, restricted to the records that meet the conditions, made with ``F``.

        No method finds other records, but constraints still see them. A new record takes the values that conditions
        require by equality. A write that would store a record outside the scope, or move one out of it, is refused.
        Further scopes and the arguments of methods can only narrow the scope.

        :raises UnknownColumnError: a condition refers to a column that the table doesn't have.
        :raises ApplicationError: the repository has no table.
        """
        return self._like(self._rules.scoped(*conditions))

    def with_deleted(self) -> t.Self:
        """Return this repository without ``_deleted_at``: it finds deleted records, and deletion is permanent.

        :raises ApplicationError: the repository has no ``_deleted_at``.
        """
        return self._like(self._rules.with_deleted())

    async def create(self, *data: Record | _Data) -> builtins.list[Record]:
        """Insert records, all or none, and return them as stored, in order.

        Records may have different columns. An absent column has its default; a column with None is null. None as a
        primary key means that it is not assigned yet. ``{}`` is a record of defaults.
        """
        rows, table = self._new(data), self._rules.table
        await self._session.reach("create", table)
        with self._session.atomic():
            count = self._session.rows(table)
            stored = [insert(self._session, table, completed(table, row, count.count))[1] for row in rows]
            check_parents(self._session, table, stored)
            return self._written(stored, rows)

    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: None = None, lock: _Lock | None = None, **filters: t.Any
    ) -> Record: ...
    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: _Columns, lock: _Lock | None = None, **filters: t.Any
    ) -> _Record: ...
    async def retrieve(
        self,
        *clauses: t.Any,
        fields: _Columns | None = None,
        lock: _Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record:
        """Return the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does.
        """
        record: Record | _Record | None = await self._only("retrieve", clauses, filters, fields, lock)
        if record is None:
            raise self._error(exceptions.NotFoundError, clauses, filters)
        return record

    @t.overload
    async def get(
        self, *clauses: t.Any, fields: None = None, lock: _Lock | None = None, **filters: t.Any
    ) -> Record | None: ...
    @t.overload
    async def get(
        self, *clauses: t.Any, fields: _Columns, lock: _Lock | None = None, **filters: t.Any
    ) -> _Record | None: ...
    async def get(
        self,
        *clauses: t.Any,
        fields: _Columns | None = None,
        lock: _Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record | None:
        """Return the one record that matches; None if none does.

        :raises MultipleRecordsError: more than one does.
        """
        record: Record | _Record | None = await self._only("get", clauses, filters, fields, lock)
        return record

    async def update(
        self, data: Record | _Data, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any
    ) -> builtins.list[Record]:
        """Change the records that match and return them as changed; an empty list if none matches.

        Without data, they are returned unchanged. Of a pydantic model, only the fields that were set are the data.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is changed.
        :raises ConflictError: the one record selected by its key has another version.
        """
        rules = self._rules
        changes, meant = rules.changes(self._row(data, changes=True), filters)
        await self._session.reach("update", rules.table)
        if not changes:
            return self._to_records(row for _, row in self._matching(clauses, meant))
        kept = rules.table.kept({**touched(rules.table, changes), **changes})
        found = self._few(clauses, meant, max_affected)
        if not found:
            self._refuse_stale(clauses, meant)
        with self._session.atomic():
            return self._written(update(self._session, rules.table, found, kept, counted=rules.version), [changes])

    async def upsert(
        self, *data: Record | _Data, on: _Columns | None = None, set: _Columns | None = None
    ) -> builtins.list[Record]:
        """Insert records or update the existing ones, all or none; return them as stored, in order.

        A record exists if a stored one has equal values in ``on``, columns or their keys, by default the primary key. A
        record without a primary key is new. ``set`` names the columns to change in an existing record, by default all
        columns of the new data except the key. Versions are not compared.

        :raises IntegrityError: a constraint rejects a record; or the existing match is deleted, or out of scope.
        :raises InvalidDataError: two records have equal values in ``on``, or one lacks a column of it.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        rows = self._new(data)
        await self._session.reach("upsert", self._rules.table)
        if not rows:
            return []
        with self._session.atomic():
            return self._written(upserted(self._session, self._rules, rows, on=on, set=set), rows)

    async def get_or_create(self, data: Record | _Data, *, on: _Columns | None = None) -> tuple[Record, bool]:
        """Return ``(record, created)``: the existing match and False, or the newly stored record and True.

        A match has equal values in ``on``, columns or their keys, by default the primary key.

        :raises IntegrityError: a constraint rejects the record; or the existing match is deleted, or out of scope.
        :raises InvalidDataError: the data lack a column of ``on``.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        (row,) = self._new([data])
        await self._session.reach("get_or_create", self._rules.table)
        with self._session.atomic():
            found, created = got_or_created(self._session, self._rules, row, on=on)
            (record,) = self._written([found], [row]) if created else self._to_records([found])
        return record, created

    async def delete(self, *clauses: t.Any, **filters: t.Any) -> None:
        """Delete the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does; nothing is deleted.
        :raises ConflictError: the one record selected by its key has another version.
        """
        await self._session.reach("delete", self._rules.table)
        match self._matching(clauses, filters):
            case [found]:
                self._delete([found])
            case []:
                self._refuse_stale(clauses, filters)
                raise self._error(exceptions.NotFoundError, clauses, filters)
            case _:
                raise self._error(exceptions.MultipleRecordsError, clauses, filters)

    @t.overload
    def list(
        self,
        *clauses: t.Any,
        order_by: _OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: None = None,
        lock: _Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[Record]: ...
    @t.overload
    def list(
        self,
        *clauses: t.Any,
        order_by: _OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: _Columns,
        lock: _Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[_Record]: ...
    def list(
        self,
        *clauses: t.Any,
        order_by: _OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: _Columns | None = None,
        lock: _Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[t.Any]:
        """Iterate over the records that match, as stored when the first is requested; nothing is read before.

        ``order_by`` is a column or its name, with or without a direction, or a sequence of these: ``"age"``,
        ``"-age"``, ``("age", "desc")``, ``F.age.desc(nulls="first")``. ``order_direction`` applies to names without a
        direction. Nulls come last by default. Ties are broken by the primary key, which is also the default order of a
        slice.

        ``after`` and ``before`` are records, which need not exist: only the records between them in the order are
        returned. A slice begins right after ``after`` or, with ``before`` alone, ends right before ``before``.
        """

        def found() -> builtins.list[t.Any]:
            rows = page(
                self._session.rows(self._rules.table),
                self._rules.bounds + clauses,
                filters,
                order_by=order_by,
                order_direction=order_direction,
                limit=limit,
                offset=offset,
                after=after,
                before=before,
            )
            return self._refined(rows, fields, lock)

        def listing() -> DeferredQuery:
            options = Options(
                order_by=order_by, order_direction=order_direction, limit=limit, offset=offset, fields=fields, lock=lock
            )
            return DeferredQuery(self, clauses, filters, options)

        is_whole = after is None and before is None
        return Records(self._session, self._rules.table, found, listing if is_whole else None)

    @t.overload
    async def first(
        self,
        *clauses: t.Any,
        order_by: _OrderBy = None,
        order_direction: str = "asc",
        fields: None = None,
        lock: _Lock | None = None,
        **filters: t.Any,
    ) -> Record | None: ...
    @t.overload
    async def first(
        self,
        *clauses: t.Any,
        order_by: _OrderBy = None,
        order_direction: str = "asc",
        fields: _Columns,
        lock: _Lock | None = None,
        **filters: t.Any,
    ) -> _Record | None: ...
    async def first(
        self,
        *clauses: t.Any,
        order_by: _OrderBy = None,
        order_direction: str = "asc",
        fields: _Columns | None = None,
        lock: _Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record | None:
        """Return the first record that matches, ordered as in :meth:`list`; None if none does.

        The default order is that of the primary key.
        """
        table, bounds = self._rules.table, self._rules.bounds
        await self._session.reach("first", table)
        rows = page(
            self._session.rows(table),
            bounds + clauses,
            filters,
            order_by=order_by,
            order_direction=order_direction,
            limit=1,
        )
        return next(iter(self._refined(rows, fields, lock)), None)

    async def count(self, *clauses: t.Any, **filters: t.Any) -> int:
        """Return the number of records that match."""
        await self._session.reach("count", self._rules.table)
        return len(self._matching(clauses, filters))

    async def exists(self, *clauses: t.Any, **filters: t.Any) -> bool:
        """Return whether any record matches."""
        await self._session.reach("exists", self._rules.table)
        return bool(self._matching(clauses, filters))

    async def drop(self, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any) -> int:
        """Delete the records that match and return their number.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is deleted.
        """
        await self._session.reach("drop", self._rules.table)
        found = self._few(clauses, filters, max_affected)
        self._delete(found)
        return len(found)

    @classmethod
    def _declared(cls) -> tuple[t.Any, Rules]:
        if cls._table is not None:
            rules = importlib.import_module("flama.ddd.repositories.memory._table_policies")
            moments = (cls._created_at, cls._updated_at, cls._deleted_at)
            return t.cast("tuple[t.Any, Rules]", rules.policies_for(cls._table, cls._record, cls._version, moments))
        if cls._key is None:
            raise AttributeError(f"{cls.__name__} has neither a _table nor a _key")
        key = (cls._key,) if isinstance(cls._key, str) else tuple(cls._key)
        return _schemaless(cls._name or cls.__name__, key, cls._record)

    def _like(self, rules: Rules) -> t.Self:
        other = copy.copy(self)
        other._rules = rules
        return other

    def _new(self, data: collections.abc.Iterable[t.Any]) -> builtins.list[Row]:
        return self._rules.new([self._row(record) for record in data])

    def _row(self, record: t.Any, *, changes: bool = False) -> Row:
        table, data = self._rules.table, self._data(record, changes=changes)
        if not isinstance(data, collections.abc.Mapping):
            raise exceptions.InvalidDataError(resource=table.name, detail=f"a record is a mapping, not {data!r}")
        table.check_names(data)
        return {name: value for name, value in data.items() if value is not None or name not in table.never_null}

    def _places(self, order_by: _OrderBy, order_direction: str) -> Places | None:
        return places(self._rules, order_by, order_direction)

    def _matching(self, clauses: _Clauses, filters: Row) -> builtins.list[Placed]:
        return matching(self._session.rows(self._rules.table), self._rules.bounds + clauses, filters)

    def _few(self, clauses: _Clauses, filters: Row, most: int | None) -> builtins.list[Placed]:
        most, found = natural(self._rules.table, "max_affected", most), self._matching(clauses, filters)
        if most is not None and len(found) > most:
            detail = f"more than {most} match: none is changed"
            raise exceptions.MultipleRecordsError(resource=self._rules.table.name, detail=detail)
        return found

    async def _only(self, verb: str, clauses: _Clauses, filters: Row, fields: t.Any, lock: t.Any) -> t.Any:
        await self._session.reach(verb, self._rules.table)
        match self._refined([row for _, row in self._matching(clauses, filters)[:2]], fields, lock):
            case [record]:
                return record
            case []:
                return None
            case _:
                raise self._error(exceptions.MultipleRecordsError, clauses, filters)

    def _refined(self, rows: builtins.list[Row], fields: t.Any, lock: t.Any) -> builtins.list[t.Any]:
        table = self._rules.table
        if lock is not None and lock not in _LOCKS:
            detail = f"there is no lock {lock!r}: it is one of {', '.join(map(repr, _LOCKS))}"
            raise exceptions.InvalidDataError(resource=table.name, detail=detail)
        if fields is None:
            return self._to_records(rows)
        keys = table.keys_of(fields)
        if not keys:
            raise exceptions.InvalidDataError(resource=table.name, detail="fields are one at least")
        return [{key: record.get(key) for key in keys} for record in map(table.given, rows)]

    def _to_records(self, rows: collections.abc.Iterable[Row]) -> builtins.list[Record]:
        return self._read([self._rules.table.given(row) for row in rows])

    def _written(self, rows: builtins.list[Row], given: builtins.list[Row]) -> builtins.list[Record]:
        records = [self._rules.table.given(row) for row in rows]
        self._rules.check(records)
        if self._parents:
            written = frozenset(name for each in given for name in each)
            check_scoped_parents(self._session, self._rules.table, rows, written, self._parents)
        return self._read(records)

    def _delete(self, found: builtins.list[Placed]) -> None:
        rules, marks = self._rules, self._rules.deletion()
        with self._session.atomic():
            if marks is None:
                delete(self._session, rules.table, found)
            else:
                update(self._session, rules.table, found, rules.table.kept(marks), counted=rules.version)

    def _refuse_stale(self, clauses: _Clauses, filters: Row) -> None:
        version, table = self._rules.version, self._rules.table
        if version is None or version not in filters:
            return
        key = {name: value for name, value in filters.items() if name != version}
        id = identity(table, clauses, key)
        if id is not None and self._matching((), key):
            detail = f"it isn't of version {filters[version]} any more"
            raise exceptions.ConflictError(resource=table.name, id=id, detail=detail)

    def _error(
        self, error: type[exceptions.ResourceException], clauses: _Clauses, filters: Row
    ) -> exceptions.ResourceException:
        return error(resource=self._rules.table.name, id=identity(self._rules.table, clauses, filters))


@functools.lru_cache(1000)
def _schemaless(name: str, key: tuple[str, ...], record: t.Any) -> tuple[t.Any, Rules]:
    made = row_adapter(record, frozenset())
    fields = dict.fromkeys([*key, *(made.fields if made else ())])
    columns = {field: Column(field, anything) for field in fields}
    for field in key:
        columns[field] = Column(field, any_key, nullable=False, counted=len(key) == 1)
    table = Table(name, name, columns, key, (Unique(key),), source=(name, key, record), open=made is None)
    return made, Rules(table)
