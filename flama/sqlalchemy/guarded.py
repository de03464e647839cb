"""Writes under a guard: of so many records at most, or of one version of a record."""

import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.sqlalchemy import drivers, statements
from flama.sqlalchemy.drivers.writes import checks_each_deletion, may_read_what_it_deletes
from flama.sqlalchemy.pages import natural
from flama.sqlalchemy.readings import locked, only

__all__ = ["dropped", "updated"]

_Record: t.TypeAlias = dict[str, t.Any]
_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]

_ATTEMPTS: t.Final = 10


async def updated(
    connection: AsyncConnection,
    table: sa.Table,
    data: _Row,
    clauses: statements.Clauses,
    filters: statements.Filters,
    *,
    at_most: int | None = None,
    version: str | None = None,
) -> list[_Record]:
    """Change the records that match, ``version`` counting up in each, and give them as they then are.

    :raises MultipleRecordsError: more than ``at_most`` match; none is changed.
    :raises InvalidDataError: ``at_most`` is no natural number.
    """
    few = _Few(connection, table, clauses, filters, natural(table, "max_affected", at_most))
    if not connection.dialect.update_returning:
        counted = {} if version is None else {version: table.columns[version] + 1}
        async with drivers.atomic(connection):
            await few.hold()
            return await drivers.updated(connection, table, {**data, **counted}, clauses, filters)
    statement = few.guarded(statements.update(table, data, clauses, filters))
    if version is not None:
        statement = _counted(statement, table, version)
    for _ in range(_ATTEMPTS):
        records = await drivers.single(connection, drivers.WRITTEN, lambda: statement)
        if records or await few.is_none():
            return records
    raise drivers.trigger_error(table, "changed")  # there are few enough each time, and none is written


async def dropped(
    connection: AsyncConnection,
    table: sa.Table,
    clauses: statements.Clauses,
    filters: statements.Filters,
    *,
    at_most: int | None = None,
    marks: _Row | None = None,
    version: str | None = None,
) -> int:
    """Delete the records that match, and give how many they were.

    With ``marks`` they stay, changed in these columns, ``version`` counting up in each.

    :raises MultipleRecordsError: more than ``at_most`` match; none is deleted.
    :raises InvalidDataError: ``at_most`` is no natural number.
    """
    few = _Few(connection, table, clauses, filters, natural(table, "max_affected", at_most))
    if marks is None and checks_each_deletion(connection, table):
        async with drivers.atomic(connection):
            await few.hold()
            return await drivers.dropped(connection, table, clauses, filters)
    statement = _deletion(table, clauses, filters, marks, version)
    if not may_read_what_it_deletes(connection.dialect):
        async with drivers.atomic(connection):
            await few.hold()
            return await drivers.affected(connection, statement)
    statement = few.guarded(statement)
    for _ in range(_ATTEMPTS):
        number = await drivers.single(connection, drivers.COUNTED, lambda: statement)
        if number or await few.is_none():
            return number
    raise drivers.trigger_error(table, "deleted")


def _deletion(
    table: sa.Table,
    clauses: statements.Clauses,
    filters: statements.Filters,
    marks: _Row | None,
    version: str | None,
) -> statements.Statement:
    if marks is None:
        return statements.delete(table, clauses, filters)
    statement = statements.mark(table, marks, clauses, filters)
    return statement if version is None else _counted(statement, table, version)


class _Few(t.NamedTuple):
    # the records that match, of which there may be so many at most

    connection: AsyncConnection
    table: sa.Table
    clauses: statements.Clauses
    filters: statements.Filters
    at_most: int | None

    def guarded(self, statement: statements.Statement) -> statements.Statement:
        """Give a statement that writes to nothing if they are too many."""
        if (at_most := self.at_most) is None:
            return statement

        def build() -> t.Any:
            written = statement.build()
            few: sa.Select[t.Any] = (
                sa.select(sa.literal_column("1")).select_from(self.table).limit(at_most + 1).correlate(None)
            )
            if written.whereclause is not None:
                few = few.where(written.whereclause)
            count = sa.select(sa.func.count()).select_from(few.subquery()).scalar_subquery()
            return written.where(count <= sa.literal_column(str(at_most)))

        key = None if statement.key is None else (statement.key, "at most", at_most)
        return statement._replace(key=key, build=build)

    async def is_none(self) -> bool:
        """Tell whether they are none; if they are too many, say so."""
        return self.at_most is None or not self._counted(await drivers.records(self.connection, self._keys()))

    async def hold(self) -> None:
        """Hold them for a statement that writes; if they are too many, say so."""
        if self.at_most is not None:
            self._counted(await drivers.records(self.connection, locked(self._keys(), "update")))

    def _keys(self) -> statements.Statement:
        limit = None if self.at_most is None else self.at_most + 1
        key = [column.key for column in statements.keys_of(self.table)]
        return only(statements.select(self.table, self.clauses, self.filters, limit=limit), self.table, key)

    def _counted(self, records: collections.abc.Sequence[_Record]) -> int:
        if self.at_most is not None and len(records) > self.at_most:
            detail = f"more than {self.at_most} match: none is changed"
            raise exceptions.MultipleRecordsError(resource=self.table.name, detail=detail)
        return len(records)


def _counted(statement: statements.Statement, table: sa.Table, version: str) -> statements.Statement:
    column = table.columns[version]
    key = None if statement.key is None else (statement.key, "counted", version)
    return statement._replace(key=key, build=lambda: statement.build().values({column: column + 1}))
