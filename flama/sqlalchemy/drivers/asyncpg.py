"""The driver for PostgreSQL through asyncpg, with the prepared statements of SQLAlchemy's adapter."""

import collections.abc
import typing as t

from asyncpg.exceptions import OutdatedSchemaCacheError
from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncConnection

from flama._private import asyncpg as private, sqlalchemy as adapters
from flama._semaphore import FairSemaphore
from flama._shielding import EagerCoroutine
from flama.sqlalchemy._stale import is_stale
from flama.sqlalchemy.drivers._asyncpg_pipeline import ExecuteMutex, PipelinedTransaction
from flama.sqlalchemy.drivers._compiled_cache import CompiledCache, CompiledStatement, Record, RowDecoder
from flama.sqlalchemy.drivers._driver import Cursor, Driver
from flama.sqlalchemy.sql._value_checks import SCALAR_TYPES

__all__ = ["Asyncpg"]

SCALAR_TYPES.add(UUID)  # the type of asyncpg's UUIDs, and so of many filter values

# the levels without a snapshot of the transaction, by the database's names and asyncpg's
_NO_SNAPSHOT: t.Final = frozenset(("READ COMMITTED", "READ UNCOMMITTED", "read_committed", "read_uncommitted"))


class Asyncpg(Driver):
    """A connection of asyncpg, on which BEGIN and savepoints are sent with the statement that needs them."""

    def __init__(self, adapter: t.Any, shapes: CompiledCache) -> None:
        super().__init__(adapter, shapes)
        # the connection's prepared statements, each with the reader of its rows and the time of preparation
        self._statements: dict[CompiledStatement, tuple[t.Any, RowDecoder, float]] = {}
        self._ending: EagerCoroutine | None = None  # a COMMIT that was sent, and holds the mutex
        self._recovered_error: BaseException | None = None  # the error of the statement last undone
        self._ahead = PipelinedTransaction(adapter)
        self._mutex = FairSemaphore(1)
        self._before: bool | None = None  # the adapter's readonly before set_read_only(), while that is in effect
        adapters.set_execute_mutex(adapter, ExecuteMutex(self._mutex, self._ahead))

    @classmethod
    def is_supported(cls) -> bool:
        """Return whether the installed libraries have all that the driver needs of them."""
        return super().is_supported() and adapters.HAS["asyncpg"] and all(private.HAS.values())

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        return self._ahead.in_transaction

    @property
    def is_at_its_beginning(self) -> bool:
        """Whether the database has received nothing yet, and nothing will accompany the BEGIN."""
        return self._ahead.is_at_the_beginning

    @property
    def idle(self) -> bool:
        """Whether the connection is known to be returnable without waiting for the database."""
        return (
            adapters.adapter_transaction(self.adapter) is None
            and self._mutex.available > 0
            and not self._connection.is_closed()
        )

    async def end(self, connection: AsyncConnection, *, rollback: bool) -> bool:
        """End the database's transaction; return whether this was done: SQLAlchemy then only has to record it."""
        ending, self._ending = self._ending, None  # holds the mutex
        if ending is None and not self._mutex.acquire_nowait():
            await self._mutex.acquire()  # waits for another task's statement
        command = "ROLLBACK" if rollback else "COMMIT"
        try:
            if ending is not None:
                await ending.wait()
            elif adapters.adapter_transaction(self.adapter) is not None:
                await self._ahead.end(command)
        except BaseException as error:
            await self._handle_command_error(connection, command, error)
            raise
        finally:
            self._mutex.release()
        return True

    def begin_commit(self, limit: float) -> collections.abc.Awaitable[bool] | None:
        """Return None when there is no transaction, or the connection is busy."""
        if adapters.adapter_transaction(self.adapter) is None or not self._mutex.acquire_nowait():
            return None
        self._ending = EagerCoroutine(self._ahead.end("COMMIT"))
        return self._wait_for_commit(self._ending, limit)

    async def _wait_for_commit(self, ending: EagerCoroutine, limit: float) -> bool:
        await ending.wait(limit)
        self._ending = None
        self._mutex.release()
        return self.idle

    async def begin_with(self, connection: AsyncConnection, commands: tuple[str, ...]) -> bool:
        """Send commands with the next BEGIN; return whether this is possible."""
        return self._ahead.begin_with(commands)

    def allow_autocommit_reads(self, connection: AsyncConnection) -> None:
        """Make each statement a read-only transaction of its own, if the isolation level has no snapshot."""
        if _is_read_committed(self.adapter, connection.dialect):
            self._ahead.use_single_statement_reads()

    def set_read_only(self) -> bool:
        """Make the following transactions read-only."""
        if self._before is None:
            self._before, self.adapter.readonly = self.adapter.readonly, True
        return True

    def forget(self) -> None:
        """Discard the options of the next transaction."""
        self._ahead.forget()
        if self._before is not None:
            self.adapter.readonly, self._before = self._before, None

    def queue_savepoint(self) -> bool:
        """Begin a savepoint with the next statement; return whether this is possible, which it isn't within another."""
        begun = self._ahead.savepoint()
        self.guards = False  # what fails within it is undone with it
        return begun

    async def savepoint(self, connection: AsyncConnection) -> bool:
        """Leave a savepoint within another to SQLAlchemy."""
        return False

    def queue_release(self) -> bool:
        """End the savepoint, and keep the changes made since."""
        self._ahead.release()
        self.guards = not self._ahead.is_in_block
        return True

    async def undo(self, connection: AsyncConnection) -> bool:
        """End the savepoint, and undo the changes made since; return whether it had begun."""
        command = self._ahead.undo()
        try:
            return command is None or await self._try_undo(connection, command)
        finally:
            self.queue_release()

    async def _run(
        self, shape: CompiledStatement, arguments: t.Any, guarded: bool, counts: bool, *, is_repeated: bool = False
    ) -> t.Any:
        mutex, ahead = self._mutex, self._ahead
        if not mutex.acquire_nowait():
            await mutex.acquire()
        try:
            alone = shape.only_reads and self._can_read_alone(shape.dialect)
            kept = self._statements.get(shape)
            is_kept = kept is not None and adapters.is_current(kept[2], self.adapter, shape.dialect)
            if kept is None or not (is_kept and (alone or ahead.send(guarded=guarded))):
                kept = await self._prepare(shape, alone=alone, guarded=guarded)
            statement, reader, _ = kept
            rows, status, _ = await private.execute(self._connection, statement, arguments)
        except Exception as error:
            if not await self._can_repeat(error, shape) or is_repeated:
                raise
        else:
            ahead.record_success()
            return int(status.rpartition(b" ")[2]) if counts else reader(rows)
        finally:
            mutex.release()
        return await self._run(shape, arguments, guarded, counts, is_repeated=True)

    async def _execute_many(self, shape: CompiledStatement, rows: list[t.Any]) -> list[Record]:
        async with self._mutex:
            try:
                statement, reader, _ = await self._prepare(shape)
                return reader(await statement.fetchmany(rows))
            except Exception as error:
                await self._can_repeat(error, shape)  # never repeated: some rows may have been written
                raise

    async def open_cursor(
        self, shape: CompiledStatement, arguments: t.Any, number: int, *, is_repeated: bool = False
    ) -> tuple[Cursor, list[Record]]:
        mutex, ahead = self._mutex, self._ahead
        if not mutex.acquire_nowait():
            await mutex.acquire()
        try:
            kept = self._find_prepared(shape)
            # asyncpg makes cursors only within a transaction that it knows of
            if kept is None or not (self.in_transaction and ahead.send(guarded=True)):
                kept = await self._prepare(shape, guarded=True)
            statement, reader, _ = kept
            # the first fetch, which runs the statement, binds its values as well
            cursor = _Cursor(mutex, statement.cursor(*arguments, prefetch=number).__aiter__(), reader)
            records = await cursor.fetch_exclusively(number)
        except Exception as error:
            if not await self._can_repeat(error, shape) or is_repeated:
                raise
        else:
            ahead.record_success()
            return cursor, records
        finally:
            mutex.release()
        return await self.open_cursor(shape, arguments, number, is_repeated=True)

    async def _execute_command(self, command: str) -> None:
        async with self._mutex:
            await self._connection.execute(command)

    def _find_prepared(self, shape: CompiledStatement) -> tuple[t.Any, RowDecoder, float] | None:
        # unless the tables or types have changed since
        kept = self._statements.get(shape)
        return kept if kept and adapters.is_current(kept[2], self.adapter, shape.dialect) else None

    def _can_read_alone(self, dialect: t.Any) -> bool:
        """Return whether no transaction has begun, and a read has the same result without one."""
        is_begun = adapters.adapter_transaction(self.adapter) is not None
        return not is_begun and self._ahead.is_empty and _is_read_committed(self.adapter, dialect)

    async def _can_repeat(self, error: Exception, shape: CompiledStatement) -> bool:
        """Clean up after a failed statement; return whether it will be prepared again, and may be repeated."""
        stale = is_stale(error)
        if stale or isinstance(error, OutdatedSchemaCacheError):  # as asyncpg does when its own fetch() meets it
            await self._connection.reload_schema_state()
            self._statements.clear()
            self._ahead.forget_prepared()
            adapters.forget_schema(shape.dialect)
        if await self._ahead.recover(all_of_it=stale):
            self._recovered_error = error
        elif self.in_transaction:
            return False
        return stale

    def _leaves_transaction_usable(self, error: BaseException) -> bool:
        undone, self._recovered_error = self._recovered_error, None
        return error is undone or not self.in_transaction

    async def _prepare(
        self, shape: CompiledStatement, *, alone: bool = False, guarded: bool = False
    ) -> tuple[t.Any, RowDecoder, float]:
        if self._find_prepared(shape) is None:
            self._ahead.doubt_prepared()
        if not alone:
            await self._ahead.run(guarded=guarded)
        adapter = self.adapter
        changed = adapters.schema_changed(shape.dialect)
        statement, columns = await adapters.prepare(adapter, shape.sql, changed)
        reader = shape.row_decoder(tuple(column.type.oid for column in columns))
        cache = adapters.prepared_cache(adapter)
        if cache is not None and shape.is_large:  # or a server connection would store a hundred of them
            cache.pop(shape.sql, None)
        if cache is None or shape.is_large:
            return statement, reader, 0.0
        if len(self._statements) >= cache.capacity:
            del self._statements[next(iter(self._statements))]
        kept = self._statements[shape] = statement, reader, cache[shape.sql][2]
        return kept


def _is_read_committed(adapter: t.Any, dialect: t.Any) -> bool:
    """Return whether each statement has its own snapshot, so that a transaction around several adds nothing."""
    return (adapter.isolation_level or dialect.default_isolation_level) in _NO_SNAPSHOT


class _Cursor(Cursor):
    # A portal: bound with its first fetch, and closed with the last one, which asyncpg's own iterator knows.

    def __init__(self, mutex: FairSemaphore, cursor: t.Any, reader: RowDecoder) -> None:
        self._mutex = mutex
        self._cursor = cursor
        self._reader = reader

    async def fetch(self, number: int) -> list[Record]:
        async with self._mutex:
            return await self.fetch_exclusively(number)

    async def fetch_exclusively(self, number: int) -> list[Record]:
        if private.is_exhausted(self._cursor):
            return []
        return self._reader(await private.fetch(self._cursor, number))

    async def close(self) -> None:
        if private.has_portal(self._cursor):
            async with self._mutex:
                await private.close_portal(self._cursor)
