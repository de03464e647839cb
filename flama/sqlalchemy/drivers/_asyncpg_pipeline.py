"""Pipelining for asyncpg: commands sent ahead of a statement in the same packet."""

import contextlib
import functools
import itertools
import struct
import types
import typing as t

from asyncpg.exceptions import InvalidSavepointSpecificationError, PostgresError

from flama._private import asyncpg as private
from flama._private.sqlalchemy import adapter_transaction, prepared_cache, set_adapter_transaction, start_transaction
from flama._semaphore import FairSemaphore
from flama.sqlalchemy.drivers._buffered_transport import WriteBufferingTransport

__all__ = ["ExecuteMutex", "PipelinedTransaction"]

_Guard: t.TypeAlias = t.Literal["savepoint", "transaction"]

_DEPTH: t.Final = 8  # ended savepoints that are released together
# returns no rows: asyncpg would mistake them for rows of the statement
_READ_ONLY: t.Final = "SELECT WHERE set_config('transaction_read_only', 'on', true) IS NULL"


class PipelinedTransaction:
    """BEGIN and savepoints of a connection, deferred until the statement that needs them.

    They are sent as messages of PostgreSQL's extended query protocol without a Sync. The server runs them in order and,
    after a failure, skips everything up to the next Sync, the statement's. Only then does it respond; asyncpg ignores
    the responses to these messages. When asyncpg refuses to send a statement, an empty one sends the Sync instead. The
    few commands that recur are prepared on their first use.

    Ended savepoints are released a few at a time, or before a statement that bypasses this class, as that may begin a
    savepoint itself. The next savepoints have other names: rolling back to one that was never begun is an error, and
    never undoes another.

    What is sent ahead shares a transaction with the statement, even without a BEGIN: PostgreSQL ends it at the Sync. So
    a statement that reads alone is preceded by a read-only setting, and no transaction has to be ended.
    """

    def __init__(self, adapter: t.Any) -> None:
        self._adapter = adapter
        self._connection = adapter.driver_connection
        transport = private.transport(self._connection)
        self._write: t.Any = transport.hold if isinstance(transport, WriteBufferingTransport) else transport.write
        self._first: tuple[str, ...] = ()  # commands to run right after the next BEGIN
        self._alone = False  # statements outside of a transaction need no BEGIN, and only read
        self._savepoint_pending = False  # whether a savepoint precedes the next statement
        self._blocks = 0  # open blocks that share the savepoint: nothing was done between their beginnings
        self._guarded: _Guard | None = None  # what undoes the statement
        self._number = 0  # of the last savepoint
        self._ended_in: t.Any = None  # the transaction in which that savepoint has ended, unreleased
        self._begun: t.Any = None  # the transaction last begun ahead of a statement
        self._began_with_more = False  # whether commands followed that BEGIN
        self._sent = -1  # the number of statements sent before the last message that was sent ahead
        self._nothing: t.Any = None  # an empty prepared statement, to which the server responds
        self._commit: t.Any = None  # the prepared COMMIT, if any: a unit takes 6 to 8 % less time with it
        self._may_be_gone = False  # whether the server may have dropped the prepared COMMIT since the last end
        self._prepared: dict[tuple[str, ...], bytes] = {}  # messages that run commands known to be prepared
        self._preparing: dict[tuple[str, ...], bytes] = {}  # the same, once the statement has succeeded
        self._names = itertools.count()

    @property
    def is_empty(self) -> bool:
        """Whether only a BEGIN would precede a statement outside of a transaction."""
        return not (self._first or self._alone or self._savepoint_pending)

    def forget_prepared(self) -> None:
        """Prepare recurring commands again, as the server may no longer have them."""
        self._prepared.clear()
        self._nothing = self._commit = None

    def doubt_prepared(self) -> None:
        """Make the next COMMIT unprepared: other code may have run, for example, DEALLOCATE ALL."""
        self._may_be_gone = True

    def begin_with(self, commands: tuple[str, ...]) -> bool:
        """Run commands right after the next BEGIN; return False when a transaction has begun."""
        if adapter_transaction(self._adapter) is not None:
            return False
        self._first = commands
        return True

    def use_single_statement_reads(self) -> None:
        """Make each statement a read-only transaction of its own until a transaction is begun."""
        self._alone = True

    def forget(self) -> None:
        """Discard what was to accompany the next BEGIN."""
        self._first, self._alone = (), False

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        return not self._connection.is_closed() and bool(self._connection.is_in_transaction())

    @property
    def is_at_the_beginning(self) -> bool:
        """Whether the database has received nothing of a transaction, and nothing will accompany its BEGIN."""
        return not (self._first or self.in_transaction)

    @property
    def is_in_block(self) -> bool:
        """Whether a savepoint is open."""
        return self._blocks > 0

    def savepoint(self) -> bool:
        """Begin a savepoint with the next statement; return False if one is open since which something was done."""
        if self._blocks and not self._savepoint_pending:
            return False
        self._blocks += 1
        self._savepoint_pending = True
        return True

    def release(self) -> None:
        """End the savepoint, and keep the changes made since."""
        self._blocks -= 1
        if self._blocks:  # another block shares it
            return
        if self._savepoint_pending:
            self._savepoint_pending = False  # nothing was done
        else:
            self._ended_in = adapter_transaction(self._adapter)

    def undo(self) -> str | None:
        """Return the command that undoes the changes made since the savepoint; None when there are none."""
        return None if self._savepoint_pending else f"ROLLBACK TO SAVEPOINT flama_{self._number}"

    def send(self, *, guarded: bool = False) -> bool:
        """Write the pending commands ahead of the next statement, and return whether that was possible.

        A ``guarded`` statement is undone if it fails, unless a block has begun meanwhile.
        """
        connection, is_begun = self._connection, adapter_transaction(self._adapter) is not None
        if guarded and not (self._blocks or (self._alone and not is_begun)):
            self._guard(in_transaction=connection.is_in_transaction())
        ahead = b""
        if not is_begun and self._adapter.isolation_level != "autocommit":
            if private.is_begun(connection):
                return False  # a transaction that is not SQLAlchemy's
            ahead = self._messages((_READ_ONLY,)) + _encode_unnamed(self._first) if self._alone else self._begin()
        elif not self._savepoint_pending:
            return True
        self._sent = private.queries_sent(connection)
        if self._savepoint_pending:
            ahead += self._messages(self._savepoints())
        self._write(ahead)
        return True

    def record_success(self) -> None:
        """Record that the commands sent ahead of a statement succeeded, as the statement did."""
        self._begun = None
        if self._preparing:
            self._prepared |= self._preparing
            self._preparing = {}
        if self._guarded is not None:
            if self._guarded == "savepoint":
                self._ended_in = adapter_transaction(self._adapter)
            self._guarded = None

    async def recover(self, *, all_of_it: bool = False) -> bool:
        """Clean up after a failed statement, and return whether it was undone.

        With ``all_of_it``, an unguarded statement is also undone if it is all that was done in its transaction.
        """
        self._preparing = {}
        guarded, self._guarded = self._guarded, None
        if self._connection.is_closed():
            return False
        if self._sent == private.queries_sent(self._connection):  # it was not sent, as its values are invalid
            await self._sync()
        begun, self._begun = self._begun, None
        is_first = begun is not None and begun is adapter_transaction(self._adapter)
        if is_first and not self._connection.is_in_transaction():  # BEGIN itself was refused
            self._forget_transaction()
        elif all_of_it and guarded is None and is_first:
            guarded = None if self._blocks or self._began_with_more else "transaction"
        return guarded is not None and await self._try_undo(guarded)

    async def end(self, command: str) -> None:
        """End the transaction by a command, with the effects of the transaction's own methods, even on an error."""
        connection, commit = self._connection, self._commit
        private.end_silently(connection)
        may_be_gone, self._may_be_gone = self._may_be_gone, False
        try:
            if commit is None or may_be_gone or command != "COMMIT":
                await connection.execute(command)
            else:
                await self._commit_prepared(commit)
        finally:
            set_adapter_transaction(self._adapter, None)

    async def run(self, *, guarded: bool = False) -> None:
        """Run the pending commands in requests of their own, ahead of a statement."""
        if guarded and not self._blocks:
            self._guard(in_transaction=self.in_transaction)
        if self._nothing is None:
            self._nothing = await self._connection.prepare("")
        # without a cache, statements can't be prepared by name
        if self._commit is None and prepared_cache(self._adapter) is not None:
            self._commit = await self._connection.prepare("COMMIT")
        await self._start()
        await self._run(self._savepoints())

    async def flush(self) -> None:
        """Run the pending commands ahead of a statement that may begin a savepoint."""
        self.doubt_prepared()
        if self._first:
            await self._start()
        ended, self._ended_in = self._ended_in, None
        released = (
            (_release_command(self._number),)
            if ended is not None and ended is adapter_transaction(self._adapter)
            else ()
        )
        await self._run((*released, *self._savepoints()))

    def _forget_transaction(self) -> None:
        private.end_silently(self._connection)
        set_adapter_transaction(self._adapter, None)

    def _guard(self, *, in_transaction: bool) -> None:
        begins_with_more = bool(self._first) and self._adapter.isolation_level != "autocommit"
        self._savepoint_pending = in_transaction or begins_with_more
        self._guarded = "savepoint" if self._savepoint_pending else "transaction"

    async def _try_undo(self, guard: _Guard) -> bool:
        command, self._savepoint_pending = self.undo(), False
        if command is None or adapter_transaction(self._adapter) is None:  # it didn't begin: there is nothing to undo
            return False
        if guard == "transaction":
            await self.end("ROLLBACK")
            return True
        self._ended_in = adapter_transaction(self._adapter)
        try:
            await self._connection.execute(command)
        except InvalidSavepointSpecificationError:  # the transaction had failed before
            return False
        return True

    async def _sync(self) -> None:
        """Make the server respond to what was sent ahead of a statement that was not sent."""
        with contextlib.suppress(PostgresError):
            if self._nothing is None:
                self._nothing = await self._connection.prepare("")
            else:
                await self._nothing.fetch()

    async def _commit_prepared(self, commit: t.Any) -> None:
        try:
            await private.execute(self._connection, commit, ())
        except PostgresError:
            if not self.in_transaction:
                raise
            # unlike a refused COMMIT, one that the server no longer knows leaves the transaction open
            self._commit = None
            with contextlib.suppress(PostgresError):
                await self._connection.execute("ROLLBACK")
            raise

    async def _start(self) -> None:
        if adapter_transaction(self._adapter) is None:
            await start_transaction(self._adapter)
            first, self._first = self._first, ()
            for command in first:
                await self._connection.execute(command)

    def _messages(self, commands: tuple[str, ...]) -> bytes:
        if (run := self._prepared.get(commands)) is not None:
            return run
        # Names are never reused: after a failure it is unknown whether the command was prepared.
        names = [b"flama_%d" % next(self._names) for _ in commands]
        self._preparing[commands] = b"".join(map(_encode_execute, names))
        return b"".join(
            [_encode_parse(*named) + _encode_execute(named[0]) for named in zip(names, commands, strict=True)]
        )

    def _begin(self) -> bytes:
        adapter, connection = self._adapter, self._connection
        level, readonly, deferrable = adapter.isolation_level, adapter.readonly, adapter.deferrable
        transaction = connection.transaction(isolation=level, readonly=readonly, deferrable=deferrable)
        private.begin_silently(connection, transaction)
        set_adapter_transaction(adapter, transaction)
        self._begun = transaction
        begin = self._messages(_begin_command(level, readonly, deferrable))
        self._began_with_more = bool(self._first)
        if not self._first:
            return begin
        first, self._first = self._first, ()
        return begin + _encode_unnamed(first)

    def _savepoints(self) -> tuple[str, ...]:
        if not self._savepoint_pending:
            return ()
        self._savepoint_pending = False
        ended, self._ended_in = self._ended_in, None
        if ended is None or ended is not adapter_transaction(self._adapter):
            self._number = 0
            return _savepoint_command(0)
        last = self._number
        self._number = number = (last + 1) % (2 * _DEPTH)
        return _savepoint_command(number) if number % _DEPTH else _release_and_savepoint_commands(last, number)

    async def _run(self, commands: tuple[str, ...]) -> None:
        if commands:
            with contextlib.suppress(Exception):  # the transaction has failed: the next statement raises
                await self._connection.execute("; ".join(commands))


class ExecuteMutex:
    """The mutex of SQLAlchemy's statements on a connection: pending commands are sent when it is acquired."""

    def __init__(self, mutex: FairSemaphore, ahead: PipelinedTransaction) -> None:
        self._mutex = mutex
        self._ahead = ahead

    async def __aenter__(self) -> None:
        """Acquire the mutex, and send the pending commands."""
        await self._mutex.acquire()
        try:
            await self._ahead.flush()
        except BaseException:
            self._mutex.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        """Release the mutex."""
        self._mutex.release()


@functools.cache
def _begin_command(level: str | None, readonly: bool, deferrable: bool) -> tuple[str, ...]:
    isolation = f" ISOLATION LEVEL {level.replace('_', ' ').upper()}" if level else ""
    return (f"BEGIN{isolation}{' READ ONLY' if readonly else ''}{' DEFERRABLE' if deferrable else ''}",)


def _release_command(number: int) -> str:
    """Return the command that releases a savepoint, along with those open when it began."""
    return f"RELEASE SAVEPOINT flama_{number - number % _DEPTH}"


@functools.cache
def _savepoint_command(number: int) -> tuple[str, ...]:
    return (f"SAVEPOINT flama_{number}",)


@functools.cache
def _release_and_savepoint_commands(last: int, number: int) -> tuple[str, ...]:
    return _release_command(last), f"SAVEPOINT flama_{number}"


def _encode_parse(name: bytes, command: str) -> bytes:
    return _encode_message(b"P", name + b"\0" + command.encode() + b"\0" + struct.pack("!h", 0))


def _encode_execute(name: bytes) -> bytes:
    """Return Bind and Execute, on the unnamed portal, of a statement without parameters and results."""
    return _encode_message(b"B", b"\0" + name + b"\0" + struct.pack("!hhh", 0, 0, 0)) + _encode_message(
        b"E", b"\0" + struct.pack("!i", 0)
    )


def _encode_unnamed(commands: tuple[str, ...]) -> bytes:
    return b"".join([_encode_parse(b"", command) + _encode_execute(b"") for command in commands])


def _encode_message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
