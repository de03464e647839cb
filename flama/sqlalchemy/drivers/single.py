"""One statement that writes: if it fails, its transaction is as usable as before."""

import collections.abc
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers.choice import driver_of
from flama.sqlalchemy.drivers.execution import affected, records
from flama.sqlalchemy.drivers.streams import streaming
from flama.sqlalchemy.drivers.transactions import atomic
from flama.sqlalchemy.statements import Statement

__all__ = ["counted", "written"]

_T = t.TypeVar("_T")
_Record: t.TypeAlias = dict[str, t.Any]
_Otherwise: t.TypeAlias = collections.abc.Callable[[AsyncConnection, Statement], collections.abc.Awaitable[_T]]


def written(connection: AsyncConnection, statement: Statement) -> collections.abc.Awaitable[list[_Record]]:
    """Run a statement that writes, and give the records that it returns."""
    return _chosen(connection, statement, records, counts=False)


def counted(connection: AsyncConnection, statement: Statement) -> collections.abc.Awaitable[int]:
    """Run a statement that writes, and give how many records it changed."""
    return _chosen(connection, statement, affected, counts=True)


def _chosen(
    connection: AsyncConnection, statement: Statement, otherwise: _Otherwise[_T], *, counts: bool
) -> collections.abc.Awaitable[_T]:
    driver = None if streaming(connection) else driver_of(connection)
    shape = None if driver is None else driver.shapes.get(statement)
    if driver is None or shape is None or not driver.guards:
        return _within(atomic(connection), connection, statement, otherwise)
    return driver.execute(connection, shape, statement.values, counts=counts, guarded=True)


async def _within(guard: atomic, connection: AsyncConnection, statement: Statement, run: _Otherwise[_T]) -> _T:
    async with guard:
        return await run(connection, statement)
