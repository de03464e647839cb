"""The methods of a table's repository that read."""

import builtins
import collections.abc
import functools
import typing as t

import sqlalchemy as sa

from flama import exceptions, query
from flama.ddd.repositories._deferred import DeferredQuery, Options, Places
from flama.ddd.repositories._typed import Record, TypedRepository
from flama.ddd.repositories.sqlalchemy import _select_options
from flama.ddd.repositories.sqlalchemy._manager import RecordIterator, SQLAlchemyTableManager
from flama.sqlalchemy import drivers
from flama.sqlalchemy.sql import _select, statements
from flama.sqlalchemy.sql._table_info import Columns

__all__ = ["ReadMixin"]

_Record: t.TypeAlias = dict[str, t.Any]


class ReadMixin(TypedRepository[Record]):
    """The methods of a table's repository that read."""

    _table: t.ClassVar[sa.Table]
    _table_manager: SQLAlchemyTableManager
    _bounds: tuple[query.Condition, ...] = ()  # the conditions that every record of the repository meets

    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: None = None, lock: _select_options.Lock | None = None, **filters: t.Any
    ) -> Record: ...
    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: Columns, lock: _select_options.Lock | None = None, **filters: t.Any
    ) -> _Record: ...
    async def retrieve(
        self,
        *clauses: t.Any,
        fields: Columns | None = None,
        lock: _select_options.Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record:
        """Return the one record that matches.

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
        self, *clauses: t.Any, fields: None = None, lock: _select_options.Lock | None = None, **filters: t.Any
    ) -> Record | None: ...
    @t.overload
    async def get(
        self, *clauses: t.Any, fields: Columns, lock: _select_options.Lock | None = None, **filters: t.Any
    ) -> _Record | None: ...
    async def get(
        self,
        *clauses: t.Any,
        fields: Columns | None = None,
        lock: _select_options.Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record | None:
        """Return the one record that matches; None if none does.

        :raises MultipleRecordsError: more than one does.
        """
        found = await self._few(clauses, filters, fields, lock)
        return self._only(found, clauses, filters) if found else None

    @t.overload
    def list(
        self,
        *clauses: t.Any,
        order_by: _select.OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: None = None,
        lock: _select_options.Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[Record]: ...
    @t.overload
    def list(
        self,
        *clauses: t.Any,
        order_by: _select.OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: Columns,
        lock: _select_options.Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[_Record]: ...
    def list(
        self,
        *clauses: t.Any,
        order_by: _select.OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        fields: Columns | None = None,
        lock: _select_options.Lock | None = None,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[t.Any]:
        """Iterate over the records that match, reading them from the database during the iteration.

        ``order_by`` is a column or its name, with or without a direction, or a sequence of these: ``"age"``,
        ``"-age"``, ``("age", "desc")``, ``F.age.desc(nulls="first")``. ``order_direction`` applies to names without a
        direction. Nulls come last by default. Ties are broken by the primary key, which is also the default order of a
        slice. SQLAlchemy's own orders (``table.c.name.collate("…")``) are used unchanged.

        ``after`` and ``before`` are records, which need not exist: only the records between them in the order are
        returned. A slice begins right after ``after`` or, with ``before`` alone, ends right before ``before``.

        The statement runs when the first record is requested. Leaving the loop early frees the cursor.
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

        def listing() -> DeferredQuery:
            options = Options(
                order_by=order_by, order_direction=order_direction, limit=limit, offset=offset, fields=fields, lock=lock
            )
            return DeferredQuery(self, clauses, filters, options)

        read = self._read if fields is None else _identity
        is_whole = after is None and before is None
        return RecordIterator(self._table_manager, page, read, lock, listing if is_whole else None, limit=limit)

    @t.overload
    async def first(
        self,
        *clauses: t.Any,
        order_by: _select.OrderBy = None,
        order_direction: str = "asc",
        fields: None = None,
        lock: _select_options.Lock | None = None,
        **filters: t.Any,
    ) -> Record | None: ...
    @t.overload
    async def first(
        self,
        *clauses: t.Any,
        order_by: _select.OrderBy = None,
        order_direction: str = "asc",
        fields: Columns,
        lock: _select_options.Lock | None = None,
        **filters: t.Any,
    ) -> _Record | None: ...
    async def first(
        self,
        *clauses: t.Any,
        order_by: _select.OrderBy = None,
        order_direction: str = "asc",
        fields: Columns | None = None,
        lock: _select_options.Lock | None = None,
        **filters: t.Any,
    ) -> Record | _Record | None:
        """Return the first record that matches, ordered as in :meth:`list`; None if none does.

        The default order is that of the primary key.
        """
        page = self._page(clauses, filters, lock, order_by=order_by, order_direction=order_direction, limit=1)
        return next(iter(await self._found(page, fields, lock)), None)

    async def count(self, *clauses: t.Any, **filters: t.Any) -> int:
        """Return the number of records that match."""
        (found,) = await self._table_manager.read(_select.count(self._table, self._bounds + clauses, filters))
        return int(found["count"])

    async def exists(self, *clauses: t.Any, **filters: t.Any) -> bool:
        """Return whether any record matches."""
        return bool(await self._table_manager.read(_select.exists(self._table, self._bounds + clauses, filters)))

    def _page(
        self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any], lock: _select_options.Lock | None, **options: t.Any
    ) -> statements.Statement:
        # no database locks the records of a union
        dialect = self._table_manager.connection.dialect.name if lock is None else None
        return _select.select_page(self._table, self._bounds + clauses, filters, dialect=dialect, **options)

    def _places(self, order_by: _select.OrderBy, order_direction: str) -> Places | None:
        return _select.places(self._table, order_by, order_direction)

    async def _few(
        self,
        clauses: tuple[t.Any, ...],
        filters: dict[str, t.Any],
        fields: Columns | None,
        lock: _select_options.Lock | None,
    ) -> builtins.list[t.Any]:
        table, matching = self._table, self._bounds + clauses
        make = functools.partial(statements.select, table, matching, filters, limit=2)
        if fields is not None or lock is not None:
            return await self._found(make(), fields, lock)
        manager, signature = self._table_manager, statements.signature("few", table, {}, matching, filters)
        with manager.reading:
            found = await drivers.execute_one(manager.connection, drivers.ROWS, make, signature)
        return self._read(found)

    def _only(self, found: builtins.list[t.Any], clauses: tuple[t.Any, ...], filters: dict[str, t.Any]) -> t.Any:
        if len(found) > 1:
            raise self._error(exceptions.MultipleRecordsError, clauses, filters)
        return found[0]

    async def _found(
        self, statement: statements.Statement, fields: Columns | None, lock: _select_options.Lock | None
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
        self, statement: statements.Statement, fields: Columns | None, lock: _select_options.Lock | None
    ) -> statements.Statement:
        if fields is not None:
            statement = _select_options.select_columns(statement, self._table, fields)
        return statement if lock is None else _select_options.with_row_lock(statement, lock)

    def _error(
        self, error: type[exceptions.ResourceException], clauses: statements.Clauses, filters: statements.Filters
    ) -> exceptions.ResourceException:
        return error(resource=self._table.name, id=statements.identity(self._table, clauses, filters))


def _identity(records: list[_Record]) -> list[_Record]:
    return records
