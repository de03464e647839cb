"""Records of a resource: what it asks of its repository, whichever kind that is."""

import builtins
import collections.abc
import dataclasses
import inspect
import typing as t

from flama.exceptions import IntegrityError, InvalidDataError, NotFoundError
from flama.memory.definitions import Sparse
from flama.query import Condition, F, Order, Query, orders as in_full
from flama.query.conditions import as_mapping
from flama.rest.pages import Page

__all__ = ["PortableRecords", "Records", "TableRecords", "has_locks", "has_places", "is_sliceable"]

_Record: t.TypeAlias = dict[str, t.Any]
_Conditions: t.TypeAlias = collections.abc.Sequence[Condition]
_Orders: t.TypeAlias = collections.abc.Sequence[Order]
_Stream: t.TypeAlias = collections.abc.AsyncIterable[t.Any]
_Generator: t.TypeAlias = collections.abc.AsyncGenerator[t.Any]
_Kinds: t.TypeAlias = collections.abc.Mapping[str, t.Any]

_BATCH: t.Final = 1_000  # keys in one statement


class Records(t.Protocol):
    """The verbs that a resource is served by. The errors are those of the repository."""

    async def create(self, rows: builtins.list[_Record]) -> builtins.list[t.Any]:
        """Store records, all or none, and give them as stored."""
        ...

    async def retrieve(self, id: t.Any, *, hold: bool = False) -> t.Any:
        """Give a record; with ``hold`` nobody else changes it before the unit ends, where there is such a thing."""
        ...

    async def update(self, id: t.Any, data: _Record, *, partial: bool, **filters: t.Any) -> t.Any:
        """Change a record, and give it as it is then."""
        ...

    async def delete(self, id: t.Any, **filters: t.Any) -> None:
        """Delete a record."""
        ...

    async def replace(self, rows: builtins.list[_Record], *, partial: bool) -> builtins.list[t.Any]:
        """Make the records all that there are, or change those that are there and store the others."""
        ...

    async def drop(self, conditions: _Conditions, most: int | None) -> int:
        """Delete what matches, if it is no more than so many records, and give how many they were."""
        ...

    async def change(self, data: _Record, conditions: _Conditions, most: int | None) -> builtins.list[t.Any]:
        """Change what matches, if it is no more than so many records, and give the records as they are then."""
        ...

    async def upsert(self, rows: builtins.list[_Record], **options: t.Any) -> builtins.list[t.Any]:
        """Store records or change what is there of them, and give them as stored."""
        ...

    async def get_or_create(self, row: _Record, **options: t.Any) -> tuple[t.Any, bool]:
        """Give the record that is there, and False, or store this one, and give it as stored, and True."""
        ...

    def list(self, conditions: _Conditions, orders: _Orders) -> Query:
        """Give what is asked for when these conditions hold, in an order."""
        ...

    def every(self, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Stream:
        """Give the records on which these conditions hold, in an order; of a page alone, if there is one."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class TableRecords:
    """The records of a table, in a database or in memory.

    ``kinds`` are the types of fields, where it doesn't know them itself. What is sent for the columns that are
    ``generated`` by the database is passed over; a key that is, only tells which record is meant.
    """

    repository: t.Any
    key: str
    kinds: _Kinds
    generated: frozenset[str] = frozenset()

    async def create(self, rows: builtins.list[_Record]) -> builtins.list[t.Any]:
        """Store records."""
        rows = self._written_of_all(rows)
        return _keyed(await self.repository.create(*rows), self.key, self.repository._resource_name)

    async def retrieve(self, id: t.Any, *, hold: bool = False) -> t.Any:
        """Give a record."""
        return await self.repository.retrieve(lock="update" if hold else None, **{self.key: id})

    async def update(self, id: t.Any, data: _Record, *, partial: bool, **filters: t.Any) -> t.Any:
        """Change a record."""
        found = await self.repository.update(self._written(data), **{self.key: id}, **filters)
        if not found:
            raise NotFoundError(resource=self.repository._resource_name, id=id)
        return found[0]

    async def delete(self, id: t.Any, **filters: t.Any) -> None:
        """Delete a record."""
        await self.repository.delete(**{self.key: id}, **filters)

    async def replace(self, rows: builtins.list[_Record], *, partial: bool) -> builtins.list[t.Any]:
        """Make the records all that there are, or change those that are there and store the others."""
        if not partial and self.key not in self.generated:
            await self.repository.drop()
            return await self.create(rows)
        known = await self._known([row[self.key] for row in rows if row.get(self.key) is not None])
        if not partial:  # no record could have its key again
            await self.repository.drop(~F[self.key].in_(list(known)))
        return await self._changed_or_created(rows, known)

    async def drop(self, conditions: _Conditions, most: int | None) -> int:
        """Delete what matches."""
        return t.cast(int, await self.repository.drop(*conditions, max_affected=most))

    async def change(self, data: _Record, conditions: _Conditions, most: int | None) -> builtins.list[t.Any]:
        """Change what matches."""
        changed = await self.repository.update(self._written(data), *conditions, max_affected=most)
        return t.cast("builtins.list[t.Any]", changed)

    async def upsert(self, rows: builtins.list[_Record], **options: t.Any) -> builtins.list[t.Any]:
        """Store records or change what is there of them."""
        if self.key in self.generated and options.get("on", [self.key]) == [self.key]:
            known = await self._known([row[self.key] for row in rows if row.get(self.key) is not None])
            return await self._changed_or_created(rows, known, options.get("set"))
        rows = self._written_of_all(rows)
        return _keyed(await self.repository.upsert(*rows, **options), self.key, self.repository._resource_name)

    async def get_or_create(self, row: _Record, **options: t.Any) -> tuple[t.Any, bool]:
        """Give the record that is there, or store this one."""
        if self.key in self.generated and options.get("on", [self.key]) == [self.key]:
            known = await self._known([row[self.key]] if row.get(self.key) is not None else [])
            if known:
                return await self.retrieve(row[self.key]), False
            return (await self._changed_or_created([row], known))[0], True
        record, created = await self.repository.get_or_create(self._written(row), **options)
        _keyed([record], self.key, self.repository._resource_name)
        return record, created

    def every(self, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Stream:
        """Give the records."""
        return _listed(self.repository, conditions, orders, page)

    def list(self, conditions: _Conditions, orders: _Orders) -> Query:
        """Give what is asked for."""
        query = t.cast(Query, self.repository.list(*conditions, order_by=list(orders) or None).query)
        return _Placed(query, in_full(list(orders), keys=[self.key]), self.kinds) if self.kinds else query

    def _written(self, row: _Record) -> _Record:
        """Return what can be written of a record."""
        if self.generated.isdisjoint(row):
            return row
        return {name: value for name, value in row.items() if name not in self.generated}

    def _written_of_all(self, rows: builtins.list[_Record]) -> builtins.list[_Record]:
        return [self._written(row) for row in rows] if self.generated else rows

    async def _known(self, ids: builtins.list[t.Any]) -> set[t.Any]:
        """Give those of the keys that there are."""
        if len(set(ids)) < len(ids):
            raise InvalidDataError(resource=self.repository._resource_name, detail=f"two records have one {self.key}")
        known: set[t.Any] = set()
        for start in range(0, len(ids), _BATCH):
            found = self.repository.list(F[self.key].in_(ids[start : start + _BATCH]), fields=[self.key])
            known.update([record[self.key] async for record in found])
        return known

    async def _changed_or_created(
        self, rows: builtins.list[_Record], known: set[t.Any], names: collections.abc.Container[str] | None = None
    ) -> builtins.list[t.Any]:
        """Change the records whose keys are known, in these fields or in all that were sent, and store the others.

        :raises InvalidDataError: a record that isn't there has a key that only the database can give it.
        """
        new = [row for row in rows if row.get(self.key) not in known]
        if self.key in self.generated and (lost := [row for row in new if row.get(self.key) is not None]):
            detail = f"there is no record with {self.key} {lost[0][self.key]!r}, and the database generates this key"
            raise InvalidDataError(resource=self.repository._resource_name, detail=detail)
        stored = iter(await self.create(new) if new else [])
        return [await self._changed(row, names) if row.get(self.key) in known else next(stored) for row in rows]

    async def _changed(self, row: _Record, names: collections.abc.Container[str] | None) -> t.Any:
        changes = {name: row[name] for name in row if name != self.key and (names is None or name in names)}
        return await self.update(row[self.key], changes, partial=True)


@dataclasses.dataclass(frozen=True, slots=True)
class PortableRecords:
    """The records of any repository, by what all of them have in common, which over HTTP is said in requests.

    ``name`` is what errors call it. One that isn't ``sliceable`` can only list them all; ``kinds`` are the types of
    fields by which places can be told to one that goes on from there. With ``locks``, it can hold what it retrieves.
    """

    repository: t.Any
    key: str
    name: str
    sliceable: bool
    kinds: _Kinds
    locks: bool

    async def create(self, rows: builtins.list[_Record]) -> builtins.list[t.Any]:
        """Store records."""
        if not rows:
            return []
        stored = await self.repository.create(*rows)
        return _keyed(stored if isinstance(stored, builtins.list) else [stored], self.key, self.name)

    async def retrieve(self, id: t.Any, *, hold: bool = False) -> t.Any:
        """Give a record; others are kept from changing it where the repository can."""
        options = {"lock": "update"} if hold and self.locks else {}
        return await self.repository.retrieve(id=id, **options)

    async def update(self, id: t.Any, data: _Record, *, partial: bool, **filters: t.Any) -> t.Any:
        """Change a record."""
        update = getattr(self.repository, "partial_update", None) if partial else None
        found = await (update or self.repository.update)(id=id, data=data if partial else {**data, self.key: id})
        if isinstance(found, builtins.list):
            if not found:
                raise NotFoundError(resource=self.name, id=id)
            return found[0]
        return found

    async def delete(self, id: t.Any, **filters: t.Any) -> None:
        """Delete a record."""
        await self.repository.delete(id=id)

    async def replace(self, rows: builtins.list[_Record], *, partial: bool) -> builtins.list[t.Any]:
        """Make the records all that there are, or change those that are there and store the others."""
        replace = self.repository.partial_replace if partial else self.repository.replace
        return t.cast("builtins.list[t.Any]", await replace(rows))

    async def drop(self, conditions: _Conditions, most: int | None) -> int:
        """Delete what matches."""
        options = {} if most is None else {"max_affected": most}
        self._check_whole(conditions, options)
        return t.cast(int, await self.repository.drop(*conditions, **options))

    async def change(self, data: _Record, conditions: _Conditions, most: int | None) -> builtins.list[t.Any]:
        """Change what matches."""
        options = {} if most is None else {"max_affected": most}
        return t.cast("builtins.list[t.Any]", await self.repository.update(data, *conditions, **options))

    async def upsert(self, rows: builtins.list[_Record], **options: t.Any) -> builtins.list[t.Any]:
        """Store records or change what is there of them."""
        return _keyed(await self.repository.upsert(*rows, **options), self.key, self.name)

    async def get_or_create(self, row: _Record, **options: t.Any) -> tuple[t.Any, bool]:
        """Give the record that is there, or store this one."""
        record, created = await self.repository.get_or_create(row, **options)
        _keyed([record], self.key, self.name)
        return record, created

    def every(self, conditions: _Conditions, orders: _Orders, page: Page | None) -> _Stream:
        """Give the records."""
        found = self.list(conditions, orders)
        if self.sliceable or page is None:
            return _listed(self.repository, conditions, orders, page)
        return found.sliced(page.limit, page.offset)

    def list(self, conditions: _Conditions, orders: _Orders) -> Query:
        """Give what is asked for.

        :raises InvalidDataError: the repository can't be asked for a part of its records.
        """
        if self.sliceable:
            query = getattr(_listed(self.repository, conditions, orders, None), "query", None)
            return self._placed(conditions, orders) if query is None else t.cast(Query, query)
        self._check_whole(conditions, orders)
        return _Whole(self.repository)

    def _placed(self, conditions: _Conditions, orders: _Orders) -> Query:
        if not self.kinds:
            return _Listing(self.repository, tuple(conditions), tuple(orders))
        whole = in_full(list(orders), keys=[self.key])
        return _Placed(_Listing(self.repository, tuple(conditions), whole), whole, self.kinds)

    def _check_whole(self, *asked: t.Any) -> None:
        if any(asked) and not self.sliceable:
            detail = "its records can't be asked for by conditions or in an order"
            raise InvalidDataError(resource=self.name, detail=detail)


@dataclasses.dataclass(frozen=True, slots=True)
class _Listing:
    repository: t.Any
    conditions: tuple[Condition, ...]
    orders: tuple[Order, ...]

    @property
    def places(self) -> None:
        return None

    def sliced(self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None) -> _Stream:
        beside = {name: place for name, place in (("after", after), ("before", before)) if place is not None}
        return _listed(self.repository, self.conditions, self.orders, Page(limit, offset), **beside)

    async def count(self) -> int:
        return t.cast(int, await self.repository.count(*self.conditions))


@dataclasses.dataclass(frozen=True, slots=True)
class _Placed:
    """A query in an order, whose places can be told by who knows of which types its fields are."""

    query: Query
    orders: tuple[Order, ...]
    kinds: _Kinds

    @property
    def places(self) -> dict[Order, t.Any] | None:
        if not all(order.field in self.kinds for order in self.orders):
            return None
        return {order: self.kinds[order.field] for order in self.orders}

    async def sliced(self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None) -> _Generator:
        async for record in self.query.sliced(limit, offset, after=after, before=before):
            yield Sparse(record) if isinstance(record, dict) else record

    async def count(self) -> int:
        return await self.query.count()


@dataclasses.dataclass(frozen=True, slots=True)
class _Whole:
    """All records of a repository that can't be asked for a part of them."""

    repository: t.Any

    @property
    def places(self) -> None:
        return None

    async def sliced(self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None) -> _Generator:
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


def is_sliceable(repository: t.Any) -> bool:
    """Tell whether a class of repositories lists a part of its records, too."""
    parameters = inspect.signature(repository.list).parameters.values()
    return any(each.name == "limit" or each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def has_places(repository: t.Any) -> bool:
    """Tell whether a class of repositories lists what comes after a record, or before one, in an order."""
    return all(_takes(repository.list, name) for name in ("after", "before", "order_by", "limit"))


def has_locks(repository: t.Any) -> bool:
    """Tell whether a class of repositories can hold what it retrieves, so that nobody else changes it."""
    return hasattr(repository, "retrieve") and _takes(repository.retrieve, "lock")


def _takes(method: t.Any, name: str) -> bool:
    return name in inspect.signature(method).parameters


def _keyed(stored: t.Any, key: str, name: str) -> builtins.list[t.Any]:
    """Give records that were stored, which have a key: some databases, and repositories, would take one without."""
    if any(as_mapping(record).get(key, ...) is None for record in stored):
        raise IntegrityError(resource=name, kind="not_null", fields=[key])
    return t.cast("builtins.list[t.Any]", stored)


def _listed(repository: t.Any, conditions: _Conditions, orders: _Orders, page: Page | None, **beside: t.Any) -> _Stream:
    options: dict[str, t.Any] = {**({} if page is None else {"limit": page.limit, "offset": page.offset}), **beside}
    if orders:
        options["order_by"] = [*orders]
    return t.cast(_Stream, repository.list(*conditions, **options))
