"""Adapters from any repository to the verbs that a resource needs."""

import builtins
import collections.abc
import dataclasses
import typing as t

from flama.exceptions import IntegrityError, InvalidDataError, NotFoundError
from flama.memory.schema import DefaultNoneDict
from flama.query import Condition, F, Order, PageableQuery, parse_order as in_full
from flama.query.conditions import as_mapping
from flama.rest.paging import Page

__all__ = ["RecordStore", "TableRecordStore"]

_Record: t.TypeAlias = dict[str, t.Any]
_Records: t.TypeAlias = list[t.Any]
_Conditions: t.TypeAlias = collections.abc.Sequence[Condition]
_Orders: t.TypeAlias = collections.abc.Sequence[Order]
_Stream: t.TypeAlias = collections.abc.AsyncIterable[t.Any]
_Generator: t.TypeAlias = collections.abc.AsyncGenerator[t.Any]
_FieldTypes: t.TypeAlias = collections.abc.Mapping[str, t.Any]

_BATCH: t.Final = 1_000  # keys in one statement


@dataclasses.dataclass(frozen=True, slots=True)
class RecordStore:
    """The verbs that a resource needs of its repository, by methods that every repository has.

    Errors are the repository's own. ``name`` is the resource's name in errors. ``field_types`` are the types of the
    fields that keyset pages can start at, where the repository doesn't know them. A repository that isn't ``sliceable``
    can only list all records. With ``locks``, it can lock a record.
    """

    repository: t.Any
    key: str
    name: str
    field_types: _FieldTypes
    sliceable: bool = True
    locks: bool = False

    async def create(self, rows: builtins.list[_Record]) -> _Records:
        """Store the records, all or none, and return them as stored."""
        stored = await self.repository.create(*rows) if rows else []
        return self._require_key(stored if isinstance(stored, builtins.list) else [stored])

    async def retrieve(self, id: t.Any, *, lock: bool = False) -> t.Any:
        """Return the record; ``lock`` locks it until the unit of work ends, where the repository has locks."""
        options = {"lock": "update"} if lock and self.locks else {}
        return await self.repository.retrieve(id=id, **options)

    async def update(self, id: t.Any, data: _Record, *, partial: bool, **filters: t.Any) -> t.Any:
        """Update the record, and return its new state."""
        update = getattr(self.repository, "partial_update", None) if partial else None
        found = await (update or self.repository.update)(id=id, data=data if partial else {**data, self.key: id})
        return self._require_one(found, id) if isinstance(found, builtins.list) else found

    async def delete(self, id: t.Any, **filters: t.Any) -> None:
        """Delete the record."""
        await self.repository.delete(id=id)

    async def replace(self, rows: builtins.list[_Record], *, partial: bool) -> _Records:
        """Replace the whole collection by the records; with ``partial``, update existing ones and insert the others."""
        replace = self.repository.partial_replace if partial else self.repository.replace
        return t.cast(_Records, await replace(rows))

    async def drop(self, conditions: _Conditions, max_affected: int | None) -> int:
        """Delete the matching records if they are at most ``max_affected``, and return their number."""
        options = {} if max_affected is None else {"max_affected": max_affected}
        self._check_unfiltered(conditions, options)
        return t.cast(int, await self.repository.drop(*conditions, **options))

    async def update_where(self, data: _Record, conditions: _Conditions, max_affected: int | None) -> _Records:
        """Update the matching records if they are at most ``max_affected``, and return their new state."""
        options = {} if max_affected is None else {"max_affected": max_affected}
        return t.cast(_Records, await self.repository.update(data, *conditions, **options))

    async def upsert(self, rows: builtins.list[_Record], **options: t.Any) -> _Records:
        """Insert the records, or update existing ones, and return them as stored."""
        return self._require_key(await self.repository.upsert(*rows, **options))

    async def get_or_create(self, row: _Record, **options: t.Any) -> tuple[t.Any, bool]:
        """Return ``(record, created)``: the existing record and False, or the newly stored one and True."""
        record, created = await self.repository.get_or_create(row, **options)
        self._require_key([record])
        return record, created

    def list(self, conditions: _Conditions, orders: _Orders) -> PageableQuery:
        """Return a query of the records that match all conditions, in this order.

        :raises InvalidDataError: the repository can only list all of its records.
        """
        if not self.sliceable:
            self._check_unfiltered(conditions, orders)
            return _UnfilteredQuery(self.repository)
        query = getattr(_list_records(self.repository, conditions, orders, None), "query", None)
        if query is not None:
            return t.cast(PageableQuery, query)
        if not self.field_types:
            return _RepositoryQuery(self.repository, tuple(conditions), tuple(orders))
        whole = in_full(builtins.list(orders), keys=[self.key])
        return _KeysetQuery(_RepositoryQuery(self.repository, tuple(conditions), whole), whole, self.field_types)

    def stream(self, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Stream:
        """Return an iterator of the matching records in this order, limited to the page if there is one."""
        if not self.sliceable and page is not None:
            return self.list(conditions, orders).slice(page.limit, page.offset)
        self._check_unfiltered(conditions, orders)
        return _list_records(self.repository, conditions, orders, page)

    def _check_unfiltered(self, *options: t.Any) -> None:
        if any(options) and not self.sliceable:
            raise InvalidDataError(resource=self.name, detail="the repository can't filter or order its records")

    def _require_one(self, found: _Records, id: t.Any) -> t.Any:
        if not found:
            raise NotFoundError(resource=self.name, id=id)
        return found[0]

    def _require_key(self, stored: _Records) -> _Records:
        """Return the stored records if all have a key: some databases and repositories accept a null one.

        :raises IntegrityError: a record has no key.
        """
        if any(as_mapping(record).get(self.key, ...) is None for record in stored):
            raise IntegrityError(resource=self.name, kind="not_null", fields=[self.key])
        return stored


@dataclasses.dataclass(frozen=True, slots=True)
class TableRecordStore(RecordStore):
    """The records of a table, in a database or in memory.

    Values sent for ``generated`` columns are ignored. A generated key only identifies an existing record.
    """

    generated: frozenset[str] = frozenset()

    async def create(self, rows: builtins.list[_Record]) -> _Records:
        return await RecordStore.create(self, [self._drop_generated(row) for row in rows] if self.generated else rows)

    async def retrieve(self, id: t.Any, *, lock: bool = False) -> t.Any:
        return await self.repository.retrieve(lock="update" if lock else None, **{self.key: id})

    async def update(self, id: t.Any, data: _Record, *, partial: bool, **filters: t.Any) -> t.Any:
        found = await self.repository.update(self._drop_generated(data), **{self.key: id}, **filters)
        return self._require_one(found, id)

    async def delete(self, id: t.Any, **filters: t.Any) -> None:
        await self.repository.delete(**{self.key: id}, **filters)

    async def replace(self, rows: builtins.list[_Record], *, partial: bool) -> _Records:
        if not partial and self.key not in self.generated:
            await self.repository.drop()
            return await self.create(rows)
        known = await self._existing_keys(rows)
        if not partial:  # no record could have its key again
            await self.repository.drop(~F[self.key].in_(builtins.list(known)))
        return await self._update_or_create(rows, known)

    async def update_where(self, data: _Record, conditions: _Conditions, max_affected: int | None) -> _Records:
        return await RecordStore.update_where(self, self._drop_generated(data), conditions, max_affected)

    async def upsert(self, rows: builtins.list[_Record], **options: t.Any) -> _Records:
        if self._identifies_by_generated_key(options):
            return await self._update_or_create(rows, await self._existing_keys(rows), options.get("set"))
        rows = [self._drop_generated(row) for row in rows] if self.generated else rows
        return await RecordStore.upsert(self, rows, **options)

    async def get_or_create(self, row: _Record, **options: t.Any) -> tuple[t.Any, bool]:
        if not self._identifies_by_generated_key(options):
            return await RecordStore.get_or_create(self, self._drop_generated(row), **options)
        known = await self._existing_keys([row])
        if known:
            return await self.retrieve(row[self.key]), False
        return (await self._update_or_create([row], known))[0], True

    def list(self, conditions: _Conditions, orders: _Orders) -> PageableQuery:
        query = t.cast(PageableQuery, self.repository.list(*conditions, order_by=builtins.list(orders) or None).query)
        if not self.field_types:
            return query
        return _KeysetQuery(query, in_full(builtins.list(orders), keys=[self.key]), self.field_types)

    def _drop_generated(self, row: _Record) -> _Record:
        if self.generated.isdisjoint(row):
            return row
        return {name: value for name, value in row.items() if name not in self.generated}

    def _identifies_by_generated_key(self, options: collections.abc.Mapping[str, t.Any]) -> bool:
        return self.key in self.generated and options.get("on", [self.key]) == [self.key]

    async def _existing_keys(self, rows: builtins.list[_Record]) -> set[t.Any]:
        """Return the keys of these records that exist.

        :raises InvalidDataError: a key occurs twice.
        """
        ids = [row[self.key] for row in rows if row.get(self.key) is not None]
        if len(set(ids)) < len(ids):
            raise InvalidDataError(resource=self.name, detail=f"two records have the same {self.key}")
        known: set[t.Any] = set()
        for start in range(0, len(ids), _BATCH):
            found = self.repository.list(F[self.key].in_(ids[start : start + _BATCH]), fields=[self.key])
            known.update([record[self.key] async for record in found])
        return known

    async def _update_or_create(
        self, rows: builtins.list[_Record], known: set[t.Any], names: collections.abc.Container[str] | None = None
    ) -> _Records:
        """Update the records with known keys, and insert the others.

        ``names`` are the fields to update; None updates all fields that were sent.

        :raises InvalidDataError: a new record has a key, and only the database generates keys.
        """
        new = [row for row in rows if row.get(self.key) not in known]
        if self.key in self.generated and (lost := [row for row in new if row.get(self.key) is not None]):
            detail = f"there is no record with {self.key} {lost[0][self.key]!r}, and the database generates this key"
            raise InvalidDataError(resource=self.name, detail=detail)
        stored = iter(await self.create(new) if new else [])
        return [await self._update_fields(row, names) if row.get(self.key) in known else next(stored) for row in rows]

    async def _update_fields(self, row: _Record, names: collections.abc.Container[str] | None) -> t.Any:
        changes = {name: row[name] for name in row if name != self.key and (names is None or name in names)}
        return await self.update(row[self.key], changes, partial=True)


@dataclasses.dataclass(frozen=True, slots=True)
class _RepositoryQuery:
    repository: t.Any
    conditions: tuple[Condition, ...]
    orders: tuple[Order, ...]

    @property
    def keyset_columns(self) -> None:
        return None

    def slice(self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None) -> _Stream:
        bounds = {name: place for name, place in (("after", after), ("before", before)) if place is not None}
        return _list_records(self.repository, self.conditions, self.orders, Page(limit, offset), **bounds)

    async def count(self) -> int:
        return t.cast(int, await self.repository.count(*self.conditions))


@dataclasses.dataclass(frozen=True, slots=True)
class _KeysetQuery:
    """An ordered query whose keyset values have known types."""

    query: PageableQuery
    orders: tuple[Order, ...]
    field_types: _FieldTypes

    @property
    def keyset_columns(self) -> dict[Order, t.Any] | None:
        if not all(order.field in self.field_types for order in self.orders):
            return None
        return {order: self.field_types[order.field] for order in self.orders}

    async def slice(self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None) -> _Generator:
        async for record in self.query.slice(limit, offset, after=after, before=before):
            yield DefaultNoneDict(record) if isinstance(record, dict) else record

    async def count(self) -> int:
        return await self.query.count()


@dataclasses.dataclass(frozen=True, slots=True)
class _UnfilteredQuery:
    """A query of all records, for a repository that can't filter or slice."""

    repository: t.Any

    @property
    def keyset_columns(self) -> None:
        return None

    async def slice(self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None) -> _Generator:
        number = 0
        async for record in self.repository.list():
            if number >= offset:
                yield record
            number += 1
            if number >= offset + limit:
                return

    async def count(self) -> int:
        number = 0
        async for _ in self.repository.list():
            number += 1
        return number


def _list_records(
    repository: t.Any, conditions: _Conditions, orders: _Orders, page: Page | None, **bounds: t.Any
) -> _Stream:
    options: dict[str, t.Any] = {**({} if page is None else {"limit": page.limit, "offset": page.offset}), **bounds}
    if orders:
        options["order_by"] = [*orders]
    return t.cast(_Stream, repository.list(*conditions, **options))
