"""The interface that every repository implements, whatever its backend."""

import abc
import builtins
import collections.abc
import typing as t

from flama import exceptions
from flama.ddd.repositories._deferred import DeferredQuery, KeysetColumns, RecordIterator
from flama.ddd.repositories._typed import Record, TypedRepository
from flama.query import Field, Lock, Order, PageableQuery, Select
from flama.query.select import check_non_negative_int

__all__ = [
    "AbstractRepository",
    "BaseRepository",
    "CRUDRepository",
    "Data",
    "FetchedRecords",
    "Keyed",
    "Names",
    "OrderBy",
    "RecordIterator",
    "field_names",
]

Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]
"""A record, or a part of it, by the names of its fields."""


class Keyed(t.Protocol):
    """A column of a SQL table, or what else has a field's name as its key."""

    @property
    def key(self) -> t.Any:
        """The name of the field."""


Names: t.TypeAlias = str | Keyed | collections.abc.Iterable[str | Keyed]
"""One field, or several: names, or a SQL table's columns."""
OrderBy: t.TypeAlias = str | Field | Order | Keyed | collections.abc.Sequence[t.Any] | None
"""A field, by name (descending after a dash), as a pair with its direction, or as an order; or a sequence of them."""

_Record: t.TypeAlias = dict[str, t.Any]
_HOOKS: t.Final = {
    **dict.fromkeys(("create", "create_one", "create_many"), "_insert"),
    "update": "_update",
    "upsert": "_upsert",
    "get_or_create": "_get_or_create",
    **dict.fromkeys(("delete", "drop"), "_delete"),
    **dict.fromkeys(("retrieve", "get", "first", "list", "count", "exists"), "_fetch"),
}
_Rows: t.TypeAlias = collections.abc.Sequence[Data]


class AbstractRepository(abc.ABC):
    """A collection of one kind of record.

    A repository works on the session that is passed to it. It neither opens nor ends one: that is the worker's job.
    The methods that records are read and written with are those of :class:`CRUDRepository`.

    ``_backend`` is the worker class that opens the session; None if the repository needs none.
    """

    _backend: t.ClassVar[t.Any] = None

    @classmethod
    def worker_class(cls) -> t.Any:
        """Return the class of workers that opens the session; None if the repository needs none."""
        return cls._backend

    @abc.abstractmethod
    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Take the session to work on."""


class BaseRepository(AbstractRepository):
    """A repository that needs no session."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Accept any arguments from the worker and ignore them."""


class CRUDRepository(BaseRepository, TypedRepository[Record]):
    """The methods that create, read, update and delete records, the same for every backend.

    *Clauses* are conditions, made with ``F``, or what else the backend takes. *Filters* are names of fields and the
    values that they equal; ``None`` matches null. All of them must hold; without any, every record matches. Calls with
    keyword arguments and conditions of ``F`` mean the same for every backend.

    Records are dictionaries, or instances of the type in brackets: ``CRUDRepository[User]``. ``fields`` limits a read
    to these fields and returns dictionaries. ``lock`` locks the records that are read until the unit of work ends.

    A backend implements hooks: ``_fetch`` is enough to read, ``_insert``, ``_update`` and ``_delete`` to write. It
    overrides the others where it can do better than by these. Hooks take and return records as dictionaries, and
    :meth:`_apply` selects from records for a backend that can't do it by itself. ``_key_fields`` are
    the fields that identify a record, ``_resource_name`` is the name in errors.

    :raises IntegrityError: a constraint rejects a write; nothing of it is stored.
    :raises InvalidDataError: a value, a clause or an option is invalid for the backend.
    """

    supports_locks: t.ClassVar[bool] = False
    """Whether ``lock`` locks records until the unit of work ends."""

    _resource_name: str = "record"  # in errors
    _key_fields: t.ClassVar[tuple[str, ...]] = ("id",)  # they identify a record

    @classmethod
    def supports(cls, method: str) -> bool:
        """Return whether the backend implements a method: the method itself, or the hook that it rests on."""
        names = (method, _HOOKS.get(method, method))
        return any(getattr(cls, name) is not getattr(CRUDRepository, name, None) for name in names)

    async def create(self, *records: Record | Data) -> builtins.list[Record]:
        """Insert records, all or none, and return them as stored, in order.

        Records may have different fields. An absent field has its default; a field with None is null. None as a primary
        key means that it is not assigned yet. ``{}`` is a record of defaults.
        """
        rows = self._rows(records)
        return self._read(await self._insert(rows)) if rows else []

    async def create_one(self, record: Record | Data) -> Record:
        """Insert a record and return it as stored."""
        (stored,) = self._read(await self._insert(self._rows((record,))))
        return stored

    async def create_many(self, records: collections.abc.Iterable[Record | Data]) -> builtins.list[Record]:
        """Insert records, all or none, and return them as stored, in order."""
        rows = self._rows(records)
        return self._read(await self._insert(rows)) if rows else []

    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: None = None, lock: Lock | None = None, **filters: t.Any
    ) -> Record: ...
    @t.overload
    async def retrieve(self, *clauses: t.Any, fields: Names, lock: Lock | None = None, **filters: t.Any) -> _Record: ...
    async def retrieve(
        self, *clauses: t.Any, fields: Names | None = None, lock: Lock | None = None, **filters: t.Any
    ) -> t.Any:
        """Return the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does.
        """
        select = Select("retrieve", clauses, filters, fields=fields, lock=lock)
        found = await self._find(select)
        if len(found) != 1:
            raise self._error(exceptions.MultipleRecordsError if found else exceptions.NotFoundError, select)
        return self._read(found)[0] if fields is None else found[0]

    @t.overload
    async def get(
        self, *clauses: t.Any, fields: None = None, lock: Lock | None = None, **filters: t.Any
    ) -> Record | None: ...
    @t.overload
    async def get(
        self, *clauses: t.Any, fields: Names, lock: Lock | None = None, **filters: t.Any
    ) -> _Record | None: ...
    async def get(
        self, *clauses: t.Any, fields: Names | None = None, lock: Lock | None = None, **filters: t.Any
    ) -> t.Any:
        """Return the one record that matches; None if none does.

        :raises MultipleRecordsError: more than one does.
        """
        select = Select("get", clauses, filters, fields=fields, lock=lock)
        found = await self._find(select)
        if len(found) > 1:
            raise self._error(exceptions.MultipleRecordsError, select)
        return self._records_of(found, select)[0] if found else None

    @t.overload
    async def first(
        self,
        *clauses: t.Any,
        order_by: OrderBy = None,
        order_direction: str = "asc",
        fields: None = None,
        lock: Lock | None = None,
        **filters: t.Any,
    ) -> Record | None: ...
    @t.overload
    async def first(
        self,
        *clauses: t.Any,
        order_by: OrderBy = None,
        order_direction: str = "asc",
        fields: Names,
        lock: Lock | None = None,
        **filters: t.Any,
    ) -> _Record | None: ...
    async def first(
        self,
        *clauses: t.Any,
        order_by: OrderBy = None,
        order_direction: str = "asc",
        fields: Names | None = None,
        lock: Lock | None = None,
        **filters: t.Any,
    ) -> t.Any:
        """Return the first record that matches, ordered as in :meth:`list`; None if none does.

        The default order is that of the primary key.
        """
        select = Select("first", clauses, filters, order_by, order_direction, limit=1, fields=fields, lock=lock)
        found = await self._fetch(select)
        return self._records_of(found, select)[0] if found else None

    @t.overload
    def list(
        self,
        *clauses: t.Any,
        order_by: OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: None = None,
        lock: Lock | None = None,
        **filters: t.Any,
    ) -> RecordIterator[Record]: ...
    @t.overload
    def list(
        self,
        *clauses: t.Any,
        order_by: OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: Names,
        lock: Lock | None = None,
        **filters: t.Any,
    ) -> RecordIterator[_Record]: ...
    def list(
        self,
        *clauses: t.Any,
        order_by: OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: Names | None = None,
        lock: Lock | None = None,
        **filters: t.Any,
    ) -> RecordIterator[t.Any]:
        """Iterate over the records that match, or return all of them: ``await repository.list().all()``.

        ``order_by`` is a field or its name, with or without a direction, or a sequence of these: ``"age"``,
        ``"-age"``, ``("age", "desc")``, ``F.age.desc(nulls="first")``. ``order_direction`` applies to names without a
        direction. Nulls come last by default. Ties are broken by the primary key, which is also the default order of a
        slice.

        ``after`` and ``before`` are records, which need not exist: only the records between them in the order are
        returned. A slice begins right after ``after`` or, with ``before`` alone, ends right before ``before``.

        The query runs when the first record is requested. Leaving the loop early frees what the query holds.
        """
        return self._iterate(
            Select("list", clauses, filters, order_by, order_direction, limit, offset, after, before, fields, lock)
        )

    async def count(self, *clauses: t.Any, **filters: t.Any) -> int:
        """Return the number of records that match."""
        return await self._count(Select("count", clauses, filters))

    async def exists(self, *clauses: t.Any, **filters: t.Any) -> bool:
        """Return whether any record matches."""
        return await self._exists(Select("exists", clauses, filters))

    async def update(
        self, data: Record | Data, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any
    ) -> builtins.list[Record]:
        """Change the records that match and return them as changed; an empty list if none matches.

        Without data, they are returned unchanged. Of a pydantic model, only the fields that were set are the data.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is changed.
        :raises ConflictError: the one record selected by its key has another version.
        """
        changes, filters = self._changes(data, filters)
        select = Select("update", clauses, filters)
        found = await (self._update(select, changes, max_affected) if changes else self._fetch(select))
        if not found:
            await self._check_no_match(select)
        return self._read(found)

    async def upsert(
        self, *data: Record | Data, on: Names | None = None, set: Names | None = None
    ) -> builtins.list[Record]:
        """Insert records or update the existing ones, all or none; return them as stored, in order.

        A record exists if a stored one has equal values in ``on``, by default the primary key. A record without a
        primary key is new. ``set`` names the fields to change in an existing record, by default all fields of the new
        data except the key. Versions are not compared.

        :raises IntegrityError: a constraint rejects a record; or the existing match is deleted, or out of scope.
        :raises InvalidDataError: two records have equal values in ``on``, or one lacks a field of it.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        rows = self._rows(data)
        return self._read(await self._upsert(rows, on, set)) if rows else []

    async def get_or_create(self, data: Record | Data, *, on: Names | None = None) -> tuple[Record, bool]:
        """Return ``(record, created)``: the existing match and False, or the newly stored record and True.

        A match has equal values in ``on``, by default the primary key. Of concurrent units of work, one stores the
        record; the others return what it stored.

        :raises IntegrityError: a constraint rejects the record; or the existing match is deleted, or out of scope.
        :raises InvalidDataError: the data lack a field of ``on``, or have null for it.
        :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
        """
        (row,) = self._rows((data,))
        found, created = await self._get_or_create(row, on)
        (record,) = self._read([found])
        return record, created

    async def delete(self, *clauses: t.Any, **filters: t.Any) -> None:
        """Delete the one record that matches.

        :raises NotFoundError: none does.
        :raises MultipleRecordsError: more than one does; nothing is deleted.
        :raises ConflictError: the one record selected by its key has another version.
        """
        select = Select("delete", clauses, filters)
        if not await self._delete_one(select):
            await self._check_no_match(select)
            raise self._error(exceptions.NotFoundError, select)

    async def drop(self, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any) -> int:
        """Delete the records that match and return their number.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is deleted.
        """
        return await self._delete(Select("drop", clauses, filters), max_affected)

    def _rows(self, records: collections.abc.Iterable[t.Any]) -> _Rows:
        """Return new records as they are inserted."""
        return [self._check_mapping(self._data(record)) for record in records]

    def _changes(self, data: t.Any, filters: dict[str, t.Any]) -> tuple[Data, dict[str, t.Any]]:
        """Return changes as they are written, and the filters of the records that they are for."""
        return self._check_mapping(self._data(data, changes=True)), filters

    def _check_mapping(self, data: t.Any) -> Data:
        if isinstance(data, collections.abc.Mapping):
            return data
        raise exceptions.InvalidDataError(resource=self._resource_name, detail=f"a record is a mapping, not {data!r}")

    async def _fetch(self, select: Select) -> builtins.list[_Record]:
        """Return the records that a query selects."""
        raise self._unsupported_error("read records")

    async def _find(self, select: Select) -> builtins.list[_Record]:
        """Return at most two of the records that match, in any order."""
        return await self._fetch(select.replace(limit=2))

    def _iterate(self, select: Select) -> RecordIterator[t.Any]:
        """Return an iterator over the records that a query selects, which runs it when the first is requested."""

        async def fetch() -> builtins.list[t.Any]:
            return self._records_of(await self._fetch(select), select)

        return FetchedRecords(fetch, self._check_open, self._pageable(select))

    async def _count(self, select: Select) -> int:
        """Return the number of records that match."""
        return len(await self._fetch(select))

    async def _exists(self, select: Select) -> bool:
        """Return whether any record matches."""
        return bool(await self._fetch(select.replace(limit=1)))

    async def _insert(self, rows: _Rows) -> builtins.list[_Record]:
        """Insert records, all or none, and return them as stored, in order."""
        raise self._unsupported_error("insert records")

    async def _update(self, select: Select, changes: Data, max_affected: int | None) -> builtins.list[_Record]:
        """Change the records that match, if they are at most ``max_affected``, and return them as changed."""
        raise self._unsupported_error("update records")

    async def _upsert(self, rows: _Rows, on: Names | None, set: Names | None) -> builtins.list[_Record]:
        """Insert records or update the existing ones, all or none; return them as stored, in order."""
        raise self._unsupported_error("upsert records")

    async def _get_or_create(self, row: Data, on: Names | None) -> tuple[_Record, bool]:
        """Return ``(record, created)``: the existing match and False, or the newly stored record and True."""
        raise self._unsupported_error("get or create a record")

    async def _delete(self, select: Select, max_affected: int | None) -> int:
        """Delete the records that match, if they are at most ``max_affected``, and return their number."""
        raise self._unsupported_error("delete records")

    async def _delete_one(self, select: Select) -> bool:
        """Delete the record that matches, and return whether there is one.

        :raises MultipleRecordsError: more than one does; nothing is deleted.
        """
        try:
            return bool(await self._delete(select, 1))
        except exceptions.MultipleRecordsError as error:
            raise self._error(exceptions.MultipleRecordsError, select) from error

    async def _check_no_match(self, select: Select) -> None:
        """Raise the reason why a write matched no record, unless it is that there is none."""

    def _pageable(self, select: Select) -> PageableQuery | None:
        """Return a query to be paginated; None if it has ``after`` or ``before``."""
        if not select.is_whole:
            return None
        return DeferredQuery(select, self._iterate, self._count, self._keyset_columns)

    def _keyset_columns(self, select: Select) -> KeysetColumns | None:
        """Return the order of a query, with a key that breaks ties, and the types of its fields; None if unknown."""
        return None

    def _check_open(self) -> None:
        """Check that the unit of work has not ended.

        :raises SessionClosedError: it has.
        """

    def _identity(self, select: Select) -> t.Any:
        """Return the key by which a query selects one record, for errors; None if it is anything else."""
        return next(iter(select.filters.values())) if len(select.filters) == 1 and not select.clauses else None

    def _apply(
        self, select: Select, records: collections.abc.Iterable[_Record], max_affected: int | None = None
    ) -> builtins.list[_Record]:
        """Return those of the records that a query selects: the same objects, unless it names fields.

        :raises InvalidDataError: the query has a lock, a clause that isn't made by ``F``, or an invalid order.
        :raises MultipleRecordsError: they are more than ``max_affected``.
        """
        if select.lock is not None and not self.supports_locks:
            raise exceptions.InvalidDataError(resource=self._resource_name, detail="its records can't be locked")
        most = check_non_negative_int(self._resource_name, "max_affected", max_affected)
        try:
            found = select.apply(records, self._key_fields, resource=self._resource_name)
        except (LookupError, TypeError, ValueError) as error:
            raise exceptions.InvalidDataError(resource=self._resource_name, detail=str(error)) from error
        if most is not None and len(found) > most:
            detail = f"more than {most} match: none is changed"
            raise exceptions.MultipleRecordsError(resource=self._resource_name, detail=detail)
        if select.fields is None:
            return found
        return [{name: record.get(name) for name in field_names(select.fields)} for record in found]

    def _records_of(self, found: builtins.list[_Record], select: Select) -> builtins.list[t.Any]:
        return self._read(found) if select.fields is None else found

    def _error(self, error: type[exceptions.ResourceException], select: Select) -> exceptions.ResourceException:
        return error(resource=self._resource_name, id=self._identity(select))

    def _unsupported_error(self, what: str) -> exceptions.ApplicationError:
        return exceptions.ApplicationError(f"{type(self).__name__} can't {what}: its backend doesn't implement that")


def field_names(fields: Names) -> builtins.list[str]:
    """Return the names of one field, or of several."""
    if isinstance(fields, str) or not isinstance(fields, collections.abc.Iterable):
        fields = (fields,)
    return [each if isinstance(each, str) else str(each.key) for each in fields]


class FetchedRecords(RecordIterator[t.Any]):
    """An iterator over records that are fetched, all together, when the first one is requested."""

    def __init__(
        self,
        fetch: collections.abc.Callable[[], collections.abc.Awaitable[list[t.Any]]],
        check_open: collections.abc.Callable[[], None],
        query: PageableQuery | None,
    ) -> None:
        self._fetch = fetch
        self._check_open = check_open
        self._query = query
        self._records: collections.abc.Iterator[t.Any] | None = None  # until they are fetched

    @property
    def query(self) -> PageableQuery | None:
        return self._query

    async def __anext__(self) -> t.Any:
        self._check_open()
        if self._records is None:
            self._records = iter(())
            self._records = iter(await self._fetch())
        for record in self._records:
            return record
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Discard the remaining records."""
        self._records = iter(())
