"""Repositories of records in memory."""

import builtins
import collections.abc
import functools
import importlib
import typing as t

from flama import exceptions
from flama.ddd.repositories._deferred import KeysetColumns
from flama.ddd.repositories._table import TableRepository
from flama.ddd.repositories._typed import Record, row_adapter
from flama.ddd.repositories.base import Data
from flama.ddd.workers.memory import MemoryWorker
from flama.memory import Column, Session, Table, Unique
from flama.memory._conditions import identity, matching
from flama.memory._dml import (
    apply_defaults,
    check_scoped_parents,
    check_self_references,
    delete,
    insert,
    on_update_values,
    update,
)
from flama.memory._select import keyset_columns, select_page
from flama.memory._table_data import RowWithId
from flama.memory._upserts import get_or_create, upsert
from flama.memory.schema import ANY, ANY_KEY, Row
from flama.policies import Columns, Policies
from flama.query import Condition, Lock, Select
from flama.query.select import check_non_negative_int

__all__ = ["ClassConfig", "MemoryRepository"]

_Record: t.TypeAlias = dict[str, t.Any]
_Rows: t.TypeAlias = collections.abc.Sequence[Data]
_LOCKS: t.Final[tuple[str, ...]] = t.get_args(Lock)


class MemoryRepository(TableRepository[Record]):
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
    key is a single field, a missing value is generated, counting from 1. There are no scopes.

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

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls._table is not None or cls._key is not None:
            cls._resource_name = cls._class_config().schema.name  # errors in the declarations are raised now

    def __init__(self, session: Session, *args: t.Any, **kwargs: t.Any) -> None:
        self._session = session
        self._row_adapter, self._schema, self._types, self._policies = self._class_config()
        self._resource_name = self._schema.name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryRepository):
            return NotImplemented
        same = self._session is other._session and self._schema.source is other._schema.source
        return same and self._policies.conditions == other._policies.conditions

    def __hash__(self) -> int:
        return hash((id(self._session), self._schema.qualified_name))

    def scoped(self, *conditions: Condition) -> t.Self:
        self._check_has_table()
        return super().scoped(*conditions)

    def with_deleted(self) -> t.Self:
        self._check_has_table()
        return super().with_deleted()

    @classmethod
    def _class_config(cls) -> "ClassConfig":
        if cls._table is not None:
            tables = importlib.import_module("flama.ddd.repositories.memory._tables")
            return t.cast("ClassConfig", tables.class_config(cls._table, cls._record, cls._declaration()))
        if cls._key is None:
            raise AttributeError(f"{cls.__name__} has neither a _table nor a _key")
        key = (cls._key,) if isinstance(cls._key, str) else tuple(cls._key)
        return _schemaless(cls._name or cls.__name__, key, cls._record)

    def _values(self, data: t.Any, *, changes: bool = False) -> Row:
        table, values = self._schema, self._data(data, changes=changes)
        if not isinstance(values, collections.abc.Mapping):
            raise exceptions.InvalidDataError(resource=table.name, detail=f"a record is a mapping, not {values!r}")
        table.check_names(values)
        return {name: value for name, value in values.items() if value is not None or name not in table.never_null}

    async def _find(self, select: Select) -> builtins.list[_Record]:
        await self._begin(select)
        return self._select_fields([row for _, row in self._matching(select)[:2]], select)

    async def _fetch(self, select: Select) -> builtins.list[_Record]:
        await self._begin(select)
        rows = select_page(self._session.rows(self._schema), self._policies.conditions, select)
        return self._select_fields(rows, select)

    async def _count(self, select: Select) -> int:
        await self._begin(select)
        return len(self._matching(select))

    async def _exists(self, select: Select) -> bool:
        await self._begin(select)
        return bool(self._matching(select))

    async def _insert(self, rows: _Rows) -> builtins.list[_Record]:
        table = self._schema
        await self._session.begin_operation("create", table)
        with self._session.atomic():
            count = self._session.rows(table)
            stored = [insert(self._session, table, apply_defaults(table, row, count.count))[1] for row in rows]
            check_self_references(self._session, table, stored)
            return self._check_written(stored, rows)

    async def _update(self, select: Select, changes: Data, max_affected: int | None) -> builtins.list[_Record]:
        table, version = self._schema, self._policies.version
        await self._begin(select)
        stored = table.encode({**on_update_values(table, changes), **changes})
        found = self._matching_at_most(select, max_affected)
        with self._session.atomic():
            return self._check_written(update(self._session, table, found, stored, version=version), [changes])

    async def _upsert(self, rows: _Rows, on: t.Any, set: t.Any) -> builtins.list[_Record]:
        await self._session.begin_operation("upsert", self._schema)
        with self._session.atomic():
            written = upsert(self._session, self._schema, self._policies, rows, on=on, set=set)
            return self._check_written(written, rows)

    async def _get_or_create(self, row: Data, on: t.Any) -> tuple[_Record, bool]:
        await self._session.begin_operation("get_or_create", self._schema)
        with self._session.atomic():
            found, created = get_or_create(self._session, self._schema, self._policies, row, on=on)
            record = self._check_written([found], [row])[0] if created else self._schema.decode(found)
        return record, created

    async def _delete(self, select: Select, max_affected: int | None) -> int:
        await self._begin(select)
        table, marks, found = self._schema, self._policies.on_delete(), self._matching_at_most(select, max_affected)
        with self._session.atomic():
            if marks is None:
                delete(self._session, table, found)
            else:
                update(self._session, table, found, table.encode(marks), version=self._policies.version)
        return len(found)

    def _keyset_columns(self, select: Select) -> KeysetColumns | None:
        return keyset_columns(self._schema, self._types, select)

    def _check_open(self) -> None:
        self._session.check_open(self._schema)

    def _identity(self, select: Select) -> t.Any:
        return identity(self._schema, select.clauses, select.filters)

    async def _begin(self, select: Select) -> None:
        if select.verb is not None:  # else it is part of another verb
            await self._session.begin_operation(select.verb, self._schema)

    def _matching(self, select: Select) -> builtins.list[RowWithId]:
        rows = self._session.rows(self._schema)
        return matching(rows, self._policies.conditions + select.clauses, select.filters)

    def _matching_at_most(self, select: Select, most: int | None) -> builtins.list[RowWithId]:
        most, found = check_non_negative_int(self._resource_name, "max_affected", most), self._matching(select)
        if most is not None and len(found) > most:
            detail = f"more than {most} match: none is changed"
            raise exceptions.MultipleRecordsError(resource=self._schema.name, detail=detail)
        return found

    def _select_fields(self, rows: builtins.list[Row], select: Select) -> builtins.list[_Record]:
        table = self._schema
        if select.lock is not None and select.lock not in _LOCKS:
            detail = f"there is no lock {select.lock!r}: it is one of {', '.join(map(repr, _LOCKS))}"
            raise exceptions.InvalidDataError(resource=table.name, detail=detail)
        if select.fields is None:
            return [table.decode(row) for row in rows]
        keys = table.keys_of(select.fields)
        if not keys:
            raise exceptions.InvalidDataError(resource=table.name, detail="fields are one at least")
        return [{key: record.get(key) for key in keys} for record in map(table.decode, rows)]

    def _check_written(self, rows: builtins.list[Row], data: _Rows) -> builtins.list[_Record]:
        """Return stored rows as records, and check that they are in the scope, and their parents in theirs."""
        records = [self._schema.decode(row) for row in rows]
        self._policies.check(records)
        if self._parents:
            written = frozenset(name for each in data for name in each)
            check_scoped_parents(self._session, self._schema, rows, written, self._parents)
        return records

    def _check_has_table(self) -> None:
        if self._table is None:
            raise exceptions.ApplicationError(f"'{self._resource_name}' has no table, and so no scopes")


class ClassConfig(t.NamedTuple):
    """The declarations of a repository class: row adapter, table, known types of its columns, and policies."""

    adapter: t.Any
    schema: Table
    types: collections.abc.Mapping[str, t.Any]
    policies: Policies


@functools.lru_cache(1000)
def _schemaless(name: str, key: tuple[str, ...], record: t.Any) -> ClassConfig:
    adapter = row_adapter(record, frozenset())
    fields = dict.fromkeys([*key, *(adapter.fields if adapter else ())])
    columns = {field: Column(field, ANY) for field in fields}
    for field in key:
        columns[field] = Column(field, ANY_KEY, nullable=False, autoincrement=len(key) == 1)
    table = Table(name, name, columns, key, (Unique(key),), source=(name, key, record), is_schemaless=adapter is None)
    return ClassConfig(adapter, table, {}, Policies(Columns(name, {})))
