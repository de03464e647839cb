"""How one statement is run to its end."""

import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers.asyncmy import write_finite
from flama.sqlalchemy.drivers.choice import driver_of
from flama.sqlalchemy.drivers.streams import make_way, streaming
from flama.sqlalchemy.statements import Statement

__all__ = ["affected", "by_core", "driver_runs", "records", "records_of_many"]

_Record: t.TypeAlias = dict[str, t.Any]


def driver_runs(connection: AsyncConnection, statement: Statement) -> bool:
    """Whether a statement is run without SQLAlchemy in between."""
    driver = driver_of(connection)
    return driver is not None and driver.shapes.get(statement) is not None


def records(
    connection: AsyncConnection, statement: Statement, *, guarded: bool = False
) -> collections.abc.Awaitable[list[_Record]]:
    """Run a statement and give the records that it returns.

    When one that is ``guarded`` fails, its transaction is as usable as before, unless SQLAlchemy runs it.
    """
    driver = None if streaming(connection) else driver_of(connection)
    if driver is not None and (shape := driver.shapes.get(statement)) is not None:
        return driver.execute(connection, shape, statement.values, counts=False, guarded=guarded)
    return _records(connection, statement, guarded=guarded)


async def _records(connection: AsyncConnection, statement: Statement, *, guarded: bool) -> list[_Record]:
    await make_way(connection)
    if (driver := driver_of(connection)) is not None and (shape := driver.shapes.get(statement)) is not None:
        found: list[_Record] = await driver.execute(connection, shape, statement.values, counts=False, guarded=guarded)
        return found
    result = await by_core(connection, statement.build(), options=statement.execution_options)
    return [dict(zip(statement.keys, row, strict=True)) for row in result.all()]


async def affected(connection: AsyncConnection, statement: Statement) -> int:
    """Run a statement and give how many records it changed."""
    await make_way(connection)
    if (driver := driver_of(connection)) is not None and (shape := driver.shapes.get(statement)) is not None:
        return int(await driver.execute(connection, shape, statement.values, counts=True))
    return (await by_core(connection, statement.build(), options=statement.execution_options)).rowcount


async def records_of_many(
    connection: AsyncConnection, first: Statement, values: collections.abc.Sequence[tuple[t.Any, ...]]
) -> list[_Record] | None:
    """Run statements of one shape, whose values these are, and give the records that they return, in order.

    Each returns one, or none where a trigger took its record away.

    None when SQLAlchemy has to run them.
    """
    await make_way(connection)
    if (driver := driver_of(connection)) is not None and (shape := driver.shapes.get(first)) is not None:
        return await driver.records_of_many(connection, shape, values)
    return None


async def by_core(
    connection: AsyncConnection,
    statement: sa.Executable,
    parameters: collections.abc.Sequence[collections.abc.Mapping[str, t.Any]] | None = None,
    *,
    options: collections.abc.Mapping[str, t.Any] | None = None,
) -> sa.CursorResult[t.Any]:
    """Run a statement as SQLAlchemy does, with these execution options."""
    await make_way(connection)
    if connection.dialect.driver == "asyncmy":
        write_finite(connection)
    return t.cast("sa.CursorResult[t.Any]", await connection.execute(statement, parameters, execution_options=options))
