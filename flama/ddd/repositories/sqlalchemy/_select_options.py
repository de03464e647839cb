"""Options of select statements: a subset of the columns, and row locks."""

import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.query import Lock, Select
from flama.sqlalchemy import drivers
from flama.sqlalchemy.sql._table_info import Columns, column_keys
from flama.sqlalchemy.sql.statements import Statement

__all__ = ["acquire_sqlite_lock", "select_columns", "with_options", "with_row_lock"]

_LOCKS: t.Final[tuple[str, ...]] = t.get_args(Lock)


def with_options(statement: Statement, table: sa.Table, select: Select) -> Statement:
    """Return the statement with the fields and the row lock of a query."""
    if select.fields is not None:
        statement = select_columns(statement, table, select.fields)
    return statement if select.lock is None else with_row_lock(statement, select.lock)


def select_columns(statement: Statement, table: sa.Table, fields: Columns) -> Statement:
    """Return the statement with these columns only.

    :raises UnknownColumnError: the table doesn't have them.
    :raises InvalidDataError: there are none.
    """
    keys = column_keys(table, fields)
    if not keys:
        raise exceptions.InvalidDataError(resource=table.name, detail="fields are one at least")

    def build() -> sa.Select[t.Any]:
        whole = statement.build()
        found = dict(zip(statement.keys, whole.selected_columns, strict=True))
        return t.cast("sa.Select[t.Any]", whole.with_only_columns(*[found[key] for key in keys]))

    return statement._replace(key=_with(statement, "only", keys), build=build, keys=keys)


def with_row_lock(statement: Statement, lock: Lock) -> Statement:
    """Return the statement with a lock on the records it reads."""
    options = {"read": "share" in lock, "nowait": "nowait" in lock, "skip_locked": "skip" in lock}
    return statement._replace(key=_with(statement, lock), build=lambda: statement.build().with_for_update(**options))


async def acquire_sqlite_lock(connection: AsyncConnection, table: sa.Table, lock: Lock) -> None:
    """Lock the database before records are read with ``lock``, if it is SQLite.

    SQLite has no row locks, only a lock of the database, which a unit of work takes with its first write. A write that
    matches no record takes it, so no other unit can change what is read.

    :raises InvalidDataError: there is no such lock.
    """
    if lock not in _LOCKS:
        detail = f"there is no lock {lock!r}: it is one of {', '.join(map(repr, _LOCKS))}"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)
    if connection.dialect.name == "sqlite":
        await drivers.rowcount(connection, Statement(("hold", table), (), lambda: sa.delete(table).where(sa.false())))


def _with(statement: Statement, *more: t.Any) -> collections.abc.Hashable | None:
    return None if statement.key is None else (statement.key, *more)
