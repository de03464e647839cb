"""Statements that read less than whole records, or hold what they read, made of those that don't."""

import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.sqlalchemy import drivers
from flama.sqlalchemy.columns import Columns, column_keys
from flama.sqlalchemy.statements import Statement

__all__ = ["Lock", "hold", "locked", "only"]

Lock: t.TypeAlias = t.Literal[
    "update", "share", "update nowait", "share nowait", "update skip locked", "share skip locked"
]  # fmt: skip
"""How records are held until the unit ends: for it to change, or for all to read.

What others hold is waited for; or that is a ConflictError, or it is skipped.
"""
_LOCKS: t.Final[tuple[str, ...]] = t.get_args(Lock)


def only(statement: Statement, table: sa.Table, fields: Columns) -> Statement:
    """Read these fields alone.

    :raises UnknownColumnError: the table doesn't have them.
    """
    keys = column_keys(table, fields)
    if not keys:
        raise exceptions.InvalidDataError(resource=table.name, detail="fields are one at least")

    def build() -> sa.Select[t.Any]:
        whole = statement.build()
        found = dict(zip(statement.keys, whole.selected_columns, strict=True))
        return t.cast("sa.Select[t.Any]", whole.with_only_columns(*[found[key] for key in keys]))

    return statement._replace(key=_with(statement, "only", keys), build=build, keys=keys)


def locked(statement: Statement, lock: Lock) -> Statement:
    """Hold the records that are read."""
    options = {"read": "share" in lock, "nowait": "nowait" in lock, "skip_locked": "skip" in lock}
    return statement._replace(key=_with(statement, lock), build=lambda: statement.build().with_for_update(**options))


async def hold(connection: AsyncConnection, table: sa.Table, lock: Lock) -> None:
    """Do what has to be done before records can be read and held.

    SQLite has no locks of records, but one of the database, which a unit takes with its first write: a write of
    nothing takes it, so that nobody changes what is read.

    :raises InvalidDataError: there is no such lock.
    """
    if lock not in _LOCKS:
        detail = f"there is no lock {lock!r}: it is one of {', '.join(map(repr, _LOCKS))}"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)
    if connection.dialect.name == "sqlite":
        await drivers.affected(connection, Statement(("hold", table), (), lambda: sa.delete(table).where(sa.false())))


def _with(statement: Statement, *more: t.Any) -> collections.abc.Hashable | None:
    return None if statement.key is None else (statement.key, *more)
