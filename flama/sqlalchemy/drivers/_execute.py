"""Execution of one statement to completion."""

import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers._asyncmy_workaround import reject_non_finite
from flama.sqlalchemy.drivers._resolve import resolve_driver
from flama.sqlalchemy.drivers._server_cursors import has_open_cursors, prepare_for_statement
from flama.sqlalchemy.sql.statements import Statement

__all__ = ["driver_runs", "execute_core", "execute_many", "fetch_records", "rowcount"]

_Record: t.TypeAlias = dict[str, t.Any]


def driver_runs(connection: AsyncConnection, statement: Statement) -> bool:
    """Return whether the driver runs a statement without SQLAlchemy in between."""
    driver = resolve_driver(connection)
    return driver is not None and driver.shapes.get(statement) is not None


def fetch_records(
    connection: AsyncConnection, statement: Statement, *, guarded: bool = False
) -> collections.abc.Awaitable[list[_Record]]:
    """Run a statement, and return its records.

    When a ``guarded`` statement fails, its transaction remains as usable as before, unless SQLAlchemy runs it.
    """
    driver = None if has_open_cursors(connection) else resolve_driver(connection)
    if driver is not None and (shape := driver.shapes.get(statement)) is not None:
        return driver.execute(connection, shape, statement.values, counts=False, guarded=guarded)
    return _records(connection, statement, guarded=guarded)


async def _records(connection: AsyncConnection, statement: Statement, *, guarded: bool) -> list[_Record]:
    await prepare_for_statement(connection)
    if (driver := resolve_driver(connection)) is not None and (shape := driver.shapes.get(statement)) is not None:
        found: list[_Record] = await driver.execute(connection, shape, statement.values, counts=False, guarded=guarded)
        return found
    result = await execute_core(connection, statement.build(), options=statement.execution_options)
    return [dict(zip(statement.keys, row, strict=True)) for row in result.all()]


async def rowcount(connection: AsyncConnection, statement: Statement) -> int:
    """Run a statement, and return the number of records that it changed."""
    await prepare_for_statement(connection)
    if (driver := resolve_driver(connection)) is not None and (shape := driver.shapes.get(statement)) is not None:
        return int(await driver.execute(connection, shape, statement.values, counts=True))
    return (await execute_core(connection, statement.build(), options=statement.execution_options)).rowcount


async def execute_many(
    connection: AsyncConnection, first: Statement, values: collections.abc.Sequence[tuple[t.Any, ...]]
) -> list[_Record] | None:
    """Run a statement once for each row of values, and return the resulting records, in order.

    Each execution returns one record, or none where a trigger discarded it. The result is None when SQLAlchemy has to
    run the statements.
    """
    await prepare_for_statement(connection)
    if (driver := resolve_driver(connection)) is not None and (shape := driver.shapes.get(first)) is not None:
        return await driver.execute_many(connection, shape, values)
    return None


async def execute_core(
    connection: AsyncConnection,
    statement: sa.Executable,
    parameters: collections.abc.Sequence[collections.abc.Mapping[str, t.Any]] | None = None,
    *,
    options: collections.abc.Mapping[str, t.Any] | None = None,
) -> sa.CursorResult[t.Any]:
    """Run a statement through SQLAlchemy, with these execution options."""
    await prepare_for_statement(connection)
    if connection.dialect.driver == "asyncmy":
        reject_non_finite(connection)
    return t.cast("sa.CursorResult[t.Any]", await connection.execute(statement, parameters, execution_options=options))
