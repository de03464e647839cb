"""What is read of a table's records."""

import builtins
import collections.abc
import functools
import typing as t

import sqlalchemy as sa

from flama import exceptions, query
from flama.ddd.repositories.listing import Listing, Options, Places
from flama.ddd.repositories.tables import Records, SQLAlchemyTableManager
from flama.ddd.repositories.typed import Record, TypedRepository
from flama.sqlalchemy import drivers, pages, readings, statements
from flama.sqlalchemy.columns import Columns

__all__ = ["TableReader"]

_Record: t.TypeAlias = dict[str, t.Any]


class TableReader(TypedRepository[Record]):
    """The verbs of a table's repository that read."""

    _table: t.ClassVar[sa.Table]
    _table_manager: SQLAlchemyTableManager
    _bounds: tuple[query.Condition, ...] = ()  # what holds on every record that there is to the repository

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
        found = await self._few(clauses, filters, fields, lock)
        if not found:
            raise self._error(exceptions.NotFoundError, clauses, filters)
        record: Record | _Record = self._only(found, clauses, filters)
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
        found = await self._few(clauses, filters, fields, lock)
        return self._only(found, clauses, filters) if found else None

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
            found = self._page(
                clauses,
                filters,
                lock,
                order_by=order_by,
                order_direction=order_direction,
                limit=limit,
                offset=offset,
                after=after,
                before=before,
            )
            return self._refined(found, fields, lock)

        def listing() -> Listing:
            options = Options(
                order_by=order_by, order_direction=order_direction, limit=limit, offset=offset, fields=fields, lock=lock
            )
            return Listing(self, clauses, filters, options)

        read = self._read if fields is None else _as_they_are
        is_whole = after is None and before is None
        return Records(self._table_manager, page, read, lock, listing if is_whole else None, limit=limit)

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
        page = self._page(clauses, filters, lock, order_by=order_by, order_direction=order_direction, limit=1)
        return next(iter(await self._found(page, fields, lock)), None)

    async def count(self, *clauses: t.Any, **filters: t.Any) -> int:
        """Give how many records match."""
        (found,) = await self._table_manager.read(pages.count(self._table, self._bounds + clauses, filters))
        return int(found["count"])

    async def exists(self, *clauses: t.Any, **filters: t.Any) -> bool:
        """Tell whether any record matches."""
        return bool(await self._table_manager.read(pages.exists(self._table, self._bounds + clauses, filters)))

    def _page(
        self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any], lock: readings.Lock | None, **options: t.Any
    ) -> statements.Statement:
        # no database holds the records of a union
        dialect = self._table_manager.connection.dialect.name if lock is None else None
        return pages.page(self._table, self._bounds + clauses, filters, dialect=dialect, **options)

    def _places(self, order_by: pages.OrderBy, order_direction: str) -> Places | None:
        return pages.places(self._table, order_by, order_direction)

    async def _few(
        self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any], fields: Columns | None, lock: readings.Lock | None
    ) -> builtins.list[t.Any]:
        table, matching = self._table, self._bounds + clauses
        make = functools.partial(statements.select, table, matching, filters, limit=2)
        if fields is not None or lock is not None:
            return await self._found(make(), fields, lock)
        manager, signature = self._table_manager, statements.signature("few", table, {}, matching, filters)
        with manager.reading:
            found = await drivers.single(manager.connection, drivers.READ, make, signature)
        return self._read(found)

    def _only(self, found: builtins.list[t.Any], clauses: tuple[t.Any, ...], filters: dict[str, t.Any]) -> t.Any:
        if len(found) > 1:
            raise self._error(exceptions.MultipleRecordsError, clauses, filters)
        return found[0]

    async def _found(
        self, statement: statements.Statement, fields: Columns | None, lock: readings.Lock | None
    ) -> builtins.list[t.Any]:
        manager = self._table_manager
        if lock is not None:
            await manager.hold(lock)
        if fields is not None or lock is not None:
            statement = self._refined(statement, fields, lock)
        with manager.reading:
            found = await drivers.read(manager.connection, statement)
        return self._read(found) if fields is None else found

    def _refined(
        self, statement: statements.Statement, fields: Columns | None, lock: readings.Lock | None
    ) -> statements.Statement:
        if fields is not None:
            statement = readings.only(statement, self._table, fields)
        return statement if lock is None else readings.locked(statement, lock)

    def _error(
        self, error: type[exceptions.ResourceException], clauses: statements.Clauses, filters: statements.Filters
    ) -> exceptions.ResourceException:
        return error(resource=self._table.name, id=statements.identity(self._table, clauses, filters))


def _as_they_are(records: list[_Record]) -> list[_Record]:
    return records
