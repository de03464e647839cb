"""One statement, run at once where its connection is free for it."""

import collections.abc
import dataclasses
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers.choice import driver_of
from flama.sqlalchemy.drivers.execution import affected, driver_runs, records
from flama.sqlalchemy.drivers.streams import Stream, make_way, streaming
from flama.sqlalchemy.drivers.transactions import atomic
from flama.sqlalchemy.statements import NO_SIGNATURE, Signature, Statement

__all__ = ["COUNTED", "READ", "WRITTEN", "first_batch", "read", "single"]

_T = t.TypeVar("_T")
_Record: t.TypeAlias = dict[str, t.Any]


async def read(connection: AsyncConnection, statement: Statement) -> list[_Record]:
    """Run a statement that reads, and return what it finds; one that is refused leaves its transaction usable."""
    if driver_runs(connection, statement):
        return await records(connection, statement, guarded=True)
    async with atomic(connection):
        return await records(connection, statement)


async def first_batch(stream: Stream) -> list[_Record]:
    """Run a stream's statement, and return its first records; one that is refused leaves its transaction usable."""
    await make_way(stream.connection)
    if stream.is_short:
        stream.end()
        return await read(stream.connection, stream.statement)
    if driver_runs(stream.connection, stream.statement):
        return await stream.batch()
    async with atomic(stream.connection):
        return await stream.batch()


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome(t.Generic[_T]):
    # what is given of a statement; when one that writes fails, its transaction is as usable as before

    give: collections.abc.Callable[[AsyncConnection, Statement], collections.abc.Awaitable[_T]]
    writes: bool = True
    counts: bool = False


READ: t.Final[_Outcome[list[_Record]]] = _Outcome(records, writes=False)
"""The records that a statement finds."""
WRITTEN: t.Final[_Outcome[list[_Record]]] = _Outcome(records)
"""The records that a statement has written, as they then are."""
COUNTED: t.Final[_Outcome[int]] = _Outcome(affected, counts=True)
"""How many records a statement has written."""


def single(
    connection: AsyncConnection,
    outcome: _Outcome[_T],
    make: collections.abc.Callable[[], Statement],
    signature: Signature = NO_SIGNATURE,
) -> collections.abc.Awaitable[_T]:
    """Run the statement that is made, unless its signature tells what to run, and give this outcome of it."""
    statement: Statement | None = None
    driver = None if streaming(connection) else driver_of(connection)
    if driver is not None and (driver.guards or not outcome.writes):
        key, values = signature
        shape = driver.shapes.known.get(key)
        if shape is None:
            statement = make()
            shape, values = driver.shapes.learn(statement, key), statement.values
        if shape is not None:
            guarded = outcome.writes or key is None or driver.guards_reads
            return driver.execute(connection, shape, values, counts=outcome.counts, guarded=guarded)
    return _by_itself(connection, outcome, statement or make())


async def _by_itself(connection: AsyncConnection, outcome: _Outcome[_T], statement: Statement) -> _T:
    if not outcome.writes:
        return t.cast("_T", await read(connection, statement))
    async with atomic(connection):
        return await outcome.give(connection, statement)
