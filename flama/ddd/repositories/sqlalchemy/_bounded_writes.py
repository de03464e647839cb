"""Guarded writes: of a limited number of records, or of one version of a record."""

import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.ddd.repositories.sqlalchemy._select_options import select_columns, with_row_lock
from flama.query.select import check_non_negative_int
from flama.sqlalchemy import drivers
from flama.sqlalchemy.drivers._dml import checks_each_deletion, supports_self_subquery_in_delete
from flama.sqlalchemy.sql import statements

__all__ = ["delete", "update"]

_Record: t.TypeAlias = dict[str, t.Any]
_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]

_ATTEMPTS: t.Final = 10


async def update(
    connection: AsyncConnection,
    table: sa.Table,
    data: _Row,
    clauses: statements.Clauses,
    filters: statements.Filters,
    *,
    at_most: int | None = None,
    version: str | None = None,
) -> list[_Record]:
    """Change the records that match, increment ``version`` in each, and return them as changed.

    :raises MultipleRecordsError: more than ``at_most`` match; none is changed.
    :raises InvalidDataError: ``at_most`` is not an integer from 0 on.
    """
    few = _BoundedMatch(
        connection, table, clauses, filters, check_non_negative_int(table.name, "max_affected", at_most)
    )
    if not connection.dialect.update_returning:
        counted = {} if version is None else {version: table.columns[version] + 1}
        async with drivers.atomic(connection):
            await few.lock()
            return await drivers.update(connection, table, {**data, **counted}, clauses, filters)
    statement = few.limit(statements.update(table, data, clauses, filters))
    if version is not None:
        statement = _increment_version(statement, table, version)
    for _ in range(_ATTEMPTS):
        records = await drivers.execute_one(connection, drivers.RETURNING, lambda: statement)
        if records or await few.confirm_no_match():
            return records
    raise drivers.trigger_error(table, "changed")  # each time few enough match, but none is written


async def delete(
    connection: AsyncConnection,
    table: sa.Table,
    clauses: statements.Clauses,
    filters: statements.Filters,
    *,
    at_most: int | None = None,
    marks: _Row | None = None,
    version: str | None = None,
) -> int:
    """Delete the records that match and return their number.

    With ``marks``, records are not removed: these columns are set and ``version`` is incremented in each.

    :raises MultipleRecordsError: more than ``at_most`` match; none is deleted.
    :raises InvalidDataError: ``at_most`` is not an integer from 0 on.
    """
    few = _BoundedMatch(
        connection, table, clauses, filters, check_non_negative_int(table.name, "max_affected", at_most)
    )
    if marks is None and checks_each_deletion(connection, table):
        async with drivers.atomic(connection):
            await few.lock()
            return await drivers.delete(connection, table, clauses, filters)
    statement = _build_delete(table, clauses, filters, marks, version)
    if not supports_self_subquery_in_delete(connection.dialect):
        async with drivers.atomic(connection):
            await few.lock()
            return await drivers.rowcount(connection, statement)
    statement = few.limit(statement)
    for _ in range(_ATTEMPTS):
        number = await drivers.execute_one(connection, drivers.ROWCOUNT, lambda: statement)
        if number or await few.confirm_no_match():
            return number
    raise drivers.trigger_error(table, "deleted")


def _build_delete(
    table: sa.Table,
    clauses: statements.Clauses,
    filters: statements.Filters,
    marks: _Row | None,
    version: str | None,
) -> statements.Statement:
    if marks is None:
        return statements.delete(table, clauses, filters)
    statement = statements.soft_delete(table, marks, clauses, filters)
    return statement if version is None else _increment_version(statement, table, version)


class _BoundedMatch(t.NamedTuple):
    # the records that match, and the most that may

    connection: AsyncConnection
    table: sa.Table
    clauses: statements.Clauses
    filters: statements.Filters
    at_most: int | None

    def limit(self, statement: statements.Statement) -> statements.Statement:
        """Return a statement that writes nothing if more than ``at_most`` records match."""
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

    async def confirm_no_match(self) -> bool:
        """Return whether no record matches.

        :raises MultipleRecordsError: more than ``at_most`` match.
        """
        return self.at_most is None or not self._check_count(await drivers.fetch_records(self.connection, self._keys()))

    async def lock(self) -> None:
        """Lock the records that match for a later write.

        :raises MultipleRecordsError: more than ``at_most`` match.
        """
        if self.at_most is not None:
            self._check_count(await drivers.fetch_records(self.connection, with_row_lock(self._keys(), "update")))

    def _keys(self) -> statements.Statement:
        limit = None if self.at_most is None else self.at_most + 1
        key = [column.key for column in statements.keys_of(self.table)]
        return select_columns(statements.select(self.table, self.clauses, self.filters, limit=limit), self.table, key)

    def _check_count(self, records: collections.abc.Sequence[_Record]) -> int:
        if self.at_most is not None and len(records) > self.at_most:
            detail = f"more than {self.at_most} match: none is changed"
            raise exceptions.MultipleRecordsError(resource=self.table.name, detail=detail)
        return len(records)


def _increment_version(statement: statements.Statement, table: sa.Table, version: str) -> statements.Statement:
    column = table.columns[version]
    key = None if statement.key is None else (statement.key, "counted", version)
    return statement._replace(key=key, build=lambda: statement.build().values({column: column + 1}))
