"""Execution of a single statement, immediately where its connection is free."""

import collections.abc
import dataclasses
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers._execute import driver_runs, fetch_records, rowcount
from flama.sqlalchemy.drivers._resolve import resolve_driver
from flama.sqlalchemy.drivers._savepoints import atomic
from flama.sqlalchemy.drivers._server_cursors import ServerCursor, has_open_cursors, prepare_for_statement
from flama.sqlalchemy.sql.statements import NO_SIGNATURE, Signature, Statement

__all__ = ["RETURNING", "ROWCOUNT", "ROWS", "execute_one", "first_batch", "read"]

_T = t.TypeVar("_T")
_Record: t.TypeAlias = dict[str, t.Any]


async def read(connection: AsyncConnection, statement: Statement) -> list[_Record]:
    """Run a statement that reads, and return its records; if it fails, its transaction remains usable."""
    if driver_runs(connection, statement):
        return await fetch_records(connection, statement, guarded=True)
    async with atomic(connection):
        return await fetch_records(connection, statement)


async def first_batch(stream: ServerCursor) -> list[_Record]:
    """Run a stream's statement, and return its first records; if it fails, its transaction remains usable."""
    await prepare_for_statement(stream.connection)
    if stream.is_short:
        stream.end()
        return await read(stream.connection, stream.statement)
    if driver_runs(stream.connection, stream.statement):
        return await stream.batch()
    async with atomic(stream.connection):
        return await stream.batch()


@dataclasses.dataclass(frozen=True, slots=True)
class _ResultKind(t.Generic[_T]):
    # the kind of a statement's result; when one that writes fails, its transaction remains usable

    fetch: collections.abc.Callable[[AsyncConnection, Statement], collections.abc.Awaitable[_T]]
    writes: bool = True
    counts: bool = False


ROWS: t.Final[_ResultKind[list[_Record]]] = _ResultKind(fetch_records, writes=False)
"""The records that a statement finds."""
RETURNING: t.Final[_ResultKind[list[_Record]]] = _ResultKind(fetch_records)
"""The records that a statement has written, as stored."""
ROWCOUNT: t.Final[_ResultKind[int]] = _ResultKind(rowcount, counts=True)
"""The number of records that a statement has written."""


def execute_one(
    connection: AsyncConnection,
    outcome: _ResultKind[_T],
    make: collections.abc.Callable[[], Statement],
    signature: Signature = NO_SIGNATURE,
) -> collections.abc.Awaitable[_T]:
    """Run the statement that ``make`` builds, or the one known by its signature, and return its result."""
    statement: Statement | None = None
    driver = None if has_open_cursors(connection) else resolve_driver(connection)
    if driver is not None and (driver.guards or not outcome.writes):
        key, values = signature
        shape = driver.shapes.by_signature.get(key)
        if shape is None:
            statement = make()
            shape, values = driver.shapes.remember(statement, key), statement.values
        if shape is not None:
            guarded = outcome.writes or key is None or driver.guards_reads
            return driver.execute(connection, shape, values, counts=outcome.counts, guarded=guarded)
    return _execute_atomic(connection, outcome, statement or make())


async def _execute_atomic(connection: AsyncConnection, outcome: _ResultKind[_T], statement: Statement) -> _T:
    if not outcome.writes:
        return t.cast("_T", await read(connection, statement))
    async with atomic(connection):
        return await outcome.fetch(connection, statement)
