"""How a statement is run on a connection."""

import collections.abc
import contextlib
import typing as t
import weakref

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncResult

from flama.sqlalchemy import failures, statements

__all__ = ["Stream", "affected", "atomic", "close_streams", "delete_one", "fetched", "inserted", "make_way", "updated"]

_Rows: t.TypeAlias = collections.abc.Sequence[sa.Row[t.Any]]
_Row: t.TypeAlias = dict[str, t.Any]

_BATCH: t.Final = 200
# their protocol has no cursor that waits while another statement runs
_ONE_AT_A_TIME: t.Final = frozenset(("mysql", "mariadb"))
_VALUES: t.Final = 500
# MySQL and MariaDB answer these by rolling back the whole transaction, and let the next statement begin another
_TRANSACTION_LOST: t.Final = frozenset((1020, 1213))


async def fetched(connection: AsyncConnection, statement: sa.Executable, parameters: t.Any = None) -> _Rows:
    """Run a statement and give all its rows."""
    return (await _run(connection, statement, parameters)).all()


async def affected(connection: AsyncConnection, statement: sa.Executable) -> int:
    """Run a statement and give how many records it changed."""
    return (await _run(connection, statement)).rowcount


async def inserted(connection: AsyncConnection, table: sa.Table, rows: collections.abc.Sequence[_Row]) -> _Rows:
    """Insert rows, whichever columns each of them has, and give them as stored, in their order."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(tuple(row), []).append(index)
    stored: dict[int, sa.Row[t.Any]] = {}
    for indexes in groups.values():
        alike = await _inserted_alike(connection, table, [rows[index] for index in indexes])
        stored.update(zip(indexes, alike, strict=True))
    return [stored[index] for index in range(len(rows))]


async def updated(
    connection: AsyncConnection, table: sa.Table, data: _Row, conditions: collections.abc.Sequence[t.Any]
) -> _Rows:
    """Change the records on which the conditions hold, and give them as they then are."""
    statement = statements.update(table, data, conditions)
    if connection.dialect.update_returning:
        return await fetched(connection, statement.returning(*table.columns))
    keys = statements.keys_of(table)
    found = await fetched(connection, sa.select(*keys).where(*conditions).with_for_update())
    await affected(connection, statement)
    changed = [tuple(data.get(key.key, value) for key, value in zip(keys, row, strict=True)) for row in found]
    return await fetched(connection, sa.select(*table.columns).where(sa.tuple_(*keys).in_(changed))) if changed else []


async def delete_one(
    connection: AsyncConnection, table: sa.Table, clauses: statements.Clauses, filters: statements.Filters
) -> int:
    """Delete the record that matches if it is the only one; give how many match: 0, 1, or 2 for many."""
    few = statements.select(table, clauses, filters, limit=2)
    if _may_read_what_it_deletes(connection.dialect):
        if await affected(connection, statements.delete_one(table, clauses, filters)) == 1:
            return 1
        # one that came in between was not there to be deleted
        return 2 if len(await fetched(connection, few)) == 2 else 0
    found = await fetched(connection, few.with_for_update())
    if len(found) == 1:
        await affected(connection, statements.delete(table, clauses, filters))
    return len(found)


@contextlib.asynccontextmanager
async def atomic(connection: AsyncConnection, *, several: bool = False) -> collections.abc.AsyncIterator[None]:
    """Undo what the block wrote when it fails, with the transaction as usable as before.

    A single statement undoes itself, except that PostgreSQL then refuses all others until the transaction, or a
    savepoint in it, is rolled back. A savepoint costs two round trips; none is needed before the first statement.
    """
    poisonous = connection.dialect.name == "postgresql"
    begun = poisonous and await _begun(connection)
    try:
        if several or begun:
            await make_way(connection)
            async with connection.begin_nested():
                yield
        else:
            yield
    except exc.DBAPIError as error:
        if _lost_transaction(error):
            await connection.rollback()
        elif poisonous and not begun and not several and not connection.invalidated:
            await connection.run_sync(_roll_back_driver)
        raise


class Stream:
    """The rows of a statement, batch by batch, as the database's cursor gives them; run when the first is asked for.

    Its cursor closes with the last row, with :meth:`aclose`, with the transaction, and, when it was left unfinished
    and dropped, before the connection's next statement.
    """

    def __init__(self, connection: AsyncConnection, statement: collections.abc.Callable[[], sa.Executable]) -> None:
        self._connection = connection
        self._statement = statement
        self._result: AsyncResult[t.Any] | None = None
        self._ahead: _Rows = ()
        self._ended = False

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, and the rows with it."""
        return self._connection.closed

    async def batch(self) -> _Rows:
        """Give the next rows, none when there are no more."""
        if self._ahead:
            ahead, self._ahead = self._ahead, ()
            return ahead
        if self._ended:
            return ()
        if self._result is None:
            await make_way(self._connection)
            self._result = await self._connection.stream(self._statement())
            _streams.setdefault(self._connection, {})[self._result] = weakref.ref(self)
        try:
            rows = await self._result.fetchmany(_BATCH)
        except BaseException:
            self._forget()  # a fetch that fails or is cancelled closes the cursor
            raise
        if not rows and (result := self._forget()):
            await result.close()
        return rows

    async def aclose(self) -> None:
        """Close the cursor."""
        self._ahead = ()
        if result := self._forget():
            await _close(result)

    async def read_ahead(self) -> None:
        """Read what is left into memory, so that the connection is free for something else."""
        if self._result is not None:
            rows = await self._result.fetchall()
            await self.aclose()
            self._ahead = rows

    def _forget(self) -> AsyncResult[t.Any] | None:
        self._ended = True
        result, self._result = self._result, None
        if result is not None:
            _streams.get(self._connection, {}).pop(result, None)
        return result


async def close_streams(connection: AsyncConnection) -> None:
    """Close every cursor that is open on the connection."""
    for result in _streams.pop(connection, ()):
        if not connection.invalidated:
            await result.close()


# the cursors that are open on a connection, each for a stream that may have been dropped unfinished since
_Streams: t.TypeAlias = dict[AsyncResult[t.Any], weakref.ref[Stream]]
_streams: weakref.WeakKeyDictionary[AsyncConnection, _Streams] = weakref.WeakKeyDictionary()


async def _close(result: AsyncResult[t.Any]) -> None:
    # SQLAlchemy drops asyncpg's cursor and leaves it open on the server until the transaction ends
    unfinished: t.Any = result
    cursor: t.Any = getattr(unfinished._real_result.cursor, "_cursor", None)
    if getattr(cursor, "_portal_name", None):
        await cursor._close_portal(None)
    await result.close()


async def make_way(connection: AsyncConnection) -> None:
    """Make the connection free for a statement: close cursors that were dropped, and read ahead if it has to be."""
    if not _streams or not (streams := _streams.get(connection)):
        return
    for result, reference in list(streams.items()):
        stream = reference()
        if stream is None:
            del streams[result]
            await _close(result)
        elif connection.dialect.name in _ONE_AT_A_TIME:
            await stream.read_ahead()


async def _run(
    connection: AsyncConnection, statement: sa.Executable, parameters: t.Any = None
) -> sa.CursorResult[t.Any]:
    await make_way(connection)
    return t.cast("sa.CursorResult[t.Any]", await connection.execute(statement, parameters))


async def _inserted_alike(
    connection: AsyncConnection, table: sa.Table, rows: collections.abc.Sequence[_Row]
) -> collections.abc.Sequence[sa.Row[t.Any]]:
    insert, dialect = sa.insert(table), connection.dialect
    if not dialect.insert_returning:
        return [await _inserted_and_read(connection, table, row) for row in rows]
    plain = bool(rows[0]) and not any(isinstance(value, sa.ClauseElement) for row in rows for value in row.values())
    if len(rows) == 1 or not plain:
        return [(await fetched(connection, insert.values(row).returning(*table.columns)))[0] for row in rows]
    if dialect.insert_executemany_returning_sort_by_parameter_order:
        return await fetched(connection, insert.returning(*table.columns, sort_by_parameter_order=True), rows)
    stored: list[sa.Row[t.Any]] = []
    for start in range(0, len(rows), _VALUES):
        some = insert.values(list(rows[start : start + _VALUES])).returning(*table.columns)
        stored.extend(await fetched(connection, some))
    return stored


async def _inserted_and_read(connection: AsyncConnection, table: sa.Table, row: _Row) -> sa.Row[t.Any]:
    keys = statements.keys_of(table)
    result = await _run(connection, sa.insert(table).values(row))
    same = [key == value for key, value in zip(keys, result.inserted_primary_key or (), strict=True)]
    return (await fetched(connection, sa.select(*table.columns).where(*same)))[0]


def _may_read_what_it_deletes(dialect: sa.Dialect) -> bool:
    return dialect.name not in ("mysql", "mariadb") or bool(getattr(dialect, "is_mariadb", False))


async def _begun(connection: AsyncConnection) -> bool:
    raw = await connection.get_raw_connection()
    driver: t.Any = raw.driver_connection
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return bool(driver.is_in_transaction())
    return bool(driver.info.transaction_status)  # psycopg: 0 is idle


def _lost_transaction(error: exc.DBAPIError) -> bool:
    number = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return number in _TRANSACTION_LOST


def _roll_back_driver(connection: sa.Connection) -> None:
    failures.mend(connection)
    connection.dialect.do_rollback(connection.connection.dbapi_connection)  # type: ignore[arg-type]
