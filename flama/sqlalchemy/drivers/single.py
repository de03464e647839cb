"""One statement that writes: if it fails, its transaction is as usable as before."""

import collections.abc
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers.choice import driver_of
from flama.sqlalchemy.drivers.driver import Driver
from flama.sqlalchemy.drivers.execution import affected, records
from flama.sqlalchemy.drivers.streams import streaming
from flama.sqlalchemy.drivers.transactions import atomic
from flama.sqlalchemy.statements import Statement

__all__ = ["counted", "written"]

_T = t.TypeVar("_T")
_Record: t.TypeAlias = dict[str, t.Any]


def written(connection: AsyncConnection, statement: Statement) -> collections.abc.Awaitable[list[_Record]]:
    """Run a statement that writes, and give the records that it returns."""
    return _guarded(connection, statement, Driver.records, records)


def counted(connection: AsyncConnection, statement: Statement) -> collections.abc.Awaitable[int]:
    """Run a statement that writes, and give how many records it changed."""
    return _guarded(connection, statement, Driver.affected, affected)


async def _guarded(
    connection: AsyncConnection,
    statement: Statement,
    directly: collections.abc.Callable[..., collections.abc.Awaitable[_T]],
    otherwise: collections.abc.Callable[[AsyncConnection, Statement], collections.abc.Awaitable[_T]],
) -> _T:
    guard = atomic(connection)
    driver = None if streaming(connection) else driver_of(connection)
    shape = None if driver is None else driver.shapes.get(statement)
    if driver is None or shape is None or not guard.begin_at_once(driver):
        async with guard:
            return await otherwise(connection, statement)
    try:
        given = await directly(driver, connection, shape, statement.values)
    except BaseException as error:
        await guard.undo(error)
        raise
    guard.keep_at_once()
    return given
