"""What asyncpg's server is told in front of a statement, in the same packet."""

import contextlib
import functools
import itertools
import struct
import types
import typing as t

from asyncpg.exceptions import InvalidSavepointSpecificationError, PostgresError
from asyncpg.transaction import TransactionState

from flama._semaphore import FairSemaphore
from flama.sqlalchemy.drivers.held import Holding

__all__ = ["Ahead", "ExecuteMutex"]

_Guard: t.TypeAlias = t.Literal["savepoint", "transaction"]

_DEPTH: t.Final = 8  # of savepoints that have ended, before they are released together
# returns nothing: what a function gives would be taken for what the statement gives
_READ_ONLY: t.Final = "SELECT WHERE set_config('transaction_read_only', 'on', true) IS NULL"


class Ahead:
    """BEGIN and savepoints of a connection, which wait for the statement that needs them.

    They are sent as messages of PostgreSQL's extended query protocol without a Sync, so that the server runs them in
    order, skips all that comes after one that fails until a Sync, the statement's, and answers then; asyncpg passes
    over what it is told of them. A statement that asyncpg refuses to send leaves the Sync to another, of nothing.
    Those few that come again and again are prepared with their first use.

    Savepoints that have ended are released a few at a time, or before a statement of which this knows nothing, as that
    may begin a savepoint itself. Those that come next have other names: undoing one that was never begun is an error,
    and never undoes another.

    What goes ahead is in one transaction with the statement, be there no BEGIN: PostgreSQL ends that by itself with the
    Sync. So a statement that reads alone is told to read only, and there is nothing to be ended.
    """

    def __init__(self, adapter: t.Any) -> None:
        self._adapter = adapter
        self._connection = adapter._connection
        transport = adapter._connection._transport
        self._write: t.Any = transport.hold if isinstance(transport, Holding) else transport.write
        self._first: tuple[str, ...] = ()  # what comes right after the next BEGIN
        self._alone = False  # a statement before which none was begun needs no BEGIN, and only reads
        self._wanted = False  # a savepoint, before the next statement
        self._blocks = 0  # that the savepoint is for: those which began before anything was done since
        self._guarded: _Guard | None = None  # with which the statement is undone
        self._number = 0  # of the last savepoint
        self._ended_in: t.Any = None  # the transaction in which that has ended, and was not released
        self._begun: t.Any = None  # the transaction that was last begun with a statement
        self._began_with_more = False  # than BEGIN
        self._sent = -1  # how many statements had been sent when something was last sent ahead of one
        self._nothing: t.Any = None  # a statement that does nothing, but is answered
        self._commit: t.Any = None  # COMMIT, if it is prepared: the server and asyncpg take 6 to 8 % less for a unit
        self._may_be_gone = False  # that is: since the last end, no statement has shown that the server has it yet
        self._prepared: dict[tuple[str, ...], bytes] = {}  # what runs commands that are known to have been prepared
        self._preparing: dict[tuple[str, ...], bytes] = {}  # or are, if all goes well
        self._names = itertools.count()

    @property
    def has_nothing_to_say(self) -> bool:
        """Whether nothing but a BEGIN would go ahead of a statement before which none was begun."""
        return not (self._first or self._alone or self._wanted)

    def forget_prepared(self) -> None:
        """Prepare what comes again and again anew, as the server may not have it any more."""
        self._prepared.clear()
        self._nothing = self._commit = None

    def doubt_prepared(self) -> None:
        """Commit what is under way without what is prepared: others may have run DEALLOCATE ALL, say, unnoticed."""
        self._may_be_gone = True

    def begin_with(self, commands: tuple[str, ...]) -> bool:
        """Let commands come right after the next BEGIN; False when a transaction has begun."""
        if self._adapter._transaction is not None:
            return False
        self._first = commands
        return True

    def read_alone(self) -> None:
        """Let statements be transactions of their own, which only read, until one is begun."""
        self._alone = True

    def forget(self) -> None:
        """Forget what was to come with the next BEGIN."""
        self._first, self._alone = (), False

    @property
    def in_transaction(self) -> bool:
        """Whether the database has begun a transaction."""
        protocol = self._connection._protocol  # none once it is lost
        return protocol is not None and bool(protocol.is_in_transaction())

    @property
    def is_at_the_beginning(self) -> bool:
        """Whether the database was told nothing of a transaction, and will be told nothing with its BEGIN."""
        return not (self._first or self.in_transaction)

    @property
    def is_in_block(self) -> bool:
        """Whether there is a savepoint that has not ended."""
        return self._blocks > 0

    def savepoint(self) -> bool:
        """Begin a savepoint with the next statement; False when there is one since which something was done."""
        if self._blocks and not self._wanted:
            return False
        self._blocks += 1
        self._wanted = True
        return True

    def release(self) -> None:
        """End the savepoint, and keep what was done since."""
        self._blocks -= 1
        if self._blocks:  # it is another's, too
            return
        if self._wanted:
            self._wanted = False  # nothing was done
        else:
            self._ended_in = self._adapter._transaction

    def undo(self) -> str | None:
        """Give the command that undoes what was done since the savepoint; None when nothing was."""
        return None if self._wanted else f"ROLLBACK TO SAVEPOINT flama_{self._number}"

    def send(self, *, guarded: bool = False) -> bool:
        """Write what goes ahead of a statement that is written next; tell whether that could be done.

        One that is ``guarded`` is undone if it fails, unless a block has begun meanwhile.
        """
        is_alone = self._alone and self._adapter._transaction is None
        protocol = self._connection._protocol
        if guarded and not (self._blocks or is_alone):
            self._guard(in_transaction=protocol.is_in_transaction())
        ahead = b""
        if self._adapter._transaction is None and self._adapter.isolation_level != "autocommit":
            if self._connection._top_xact is not None or protocol.is_in_transaction():
                return False  # a transaction that is not SQLAlchemy's
            ahead = self._messages((_READ_ONLY,)) + _once(self._first) if self._alone else self._begin()
        elif not self._wanted:
            return True
        self._sent = protocol.queries_count
        if self._wanted:
            ahead += self._messages(self._savepoints())
        self._write(ahead)
        return True

    def succeeded(self) -> None:
        """Take it that what went ahead of a statement was done, as the statement was."""
        self._begun = None
        if self._preparing:
            self._prepared |= self._preparing
            self._preparing = {}
        if self._guarded is not None:
            if self._guarded == "savepoint":
                self._ended_in = self._adapter._transaction
            self._guarded = None

    async def recover(self, *, all_of_it: bool = False) -> bool:
        """Do what has to be done when the statement has failed; tell whether it was undone.

        With ``all_of_it``, that is so of one without a guard if it is all that was done in its transaction.
        """
        self._preparing = {}
        guarded, self._guarded = self._guarded, None
        if self._connection.is_closed():
            return False
        if self._sent == self._connection._protocol.queries_count:  # it was not sent, as its values are no good
            await self._answer()
        begun, self._begun = self._begun, None
        if begun is not None and begun is self._adapter._transaction and not self._connection.is_in_transaction():
            self._adapter._transaction = self._connection._top_xact = None  # BEGIN itself was refused
        elif all_of_it and guarded is None and begun is not None and begun is self._adapter._transaction:
            guarded = None if self._blocks or self._began_with_more else "transaction"
        return guarded is not None and await self._undone(guarded)

    async def end(self, command: str) -> None:
        """Do what the transaction's own methods come to, be it refused or not."""
        connection, commit = self._connection, self._commit
        connection._top_xact = None
        may_be_gone, self._may_be_gone = self._may_be_gone, False
        try:
            if commit is None or may_be_gone or command != "COMMIT":
                await connection._protocol.query(command, None)
            else:
                await self._commit_prepared(commit)
        finally:
            self._adapter._transaction = None

    async def run(self, *, guarded: bool = False) -> None:
        """Run what goes ahead of a statement by itself."""
        if guarded and not self._blocks:
            self._guard(in_transaction=self.in_transaction)
        if self._nothing is None:
            self._nothing = await self._connection.prepare("")
        # where there is no cache, names are of no use
        if self._commit is None and self._adapter._prepared_statement_cache is not None:
            self._commit = await self._connection.prepare("COMMIT")
        await self._start()
        await self._run(self._savepoints())

    async def settle(self) -> None:
        """Run what goes ahead of a statement that may begin a savepoint."""
        self.doubt_prepared()
        if self._first:
            await self._start()
        ended, self._ended_in = self._ended_in, None
        released = (_release(self._number),) if ended is not None and ended is self._adapter._transaction else ()
        await self._run((*released, *self._savepoints()))

    def _guard(self, *, in_transaction: bool) -> None:
        begins_with_more = bool(self._first) and self._adapter.isolation_level != "autocommit"
        self._wanted = in_transaction or begins_with_more
        self._guarded = "savepoint" if self._wanted else "transaction"

    async def _undone(self, guard: _Guard) -> bool:
        command, self._wanted = self.undo(), False
        if command is None or self._adapter._transaction is None:  # it didn't begin, so that nothing was undone
            return False
        if guard == "transaction":
            await self.end("ROLLBACK")
            return True
        self._ended_in = self._adapter._transaction
        try:
            await self._connection._protocol.query(command, None)
        except InvalidSavepointSpecificationError:  # the transaction had failed before
            return False
        return True

    async def _answer(self) -> None:
        """Have the server answer what was sent ahead of a statement that was not."""
        with contextlib.suppress(PostgresError):
            if self._nothing is None:
                self._nothing = await self._connection.prepare("")
            else:
                await self._nothing.fetch()

    async def _commit_prepared(self, commit: t.Any) -> None:
        protocol = self._connection._protocol
        try:
            await protocol.bind_execute(commit._state, (), "", 0, True, None)
        except PostgresError:
            if not self.in_transaction:
                raise
            # unlike a COMMIT that is refused, one that the server doesn't know any more leaves the transaction open
            self._commit = None
            with contextlib.suppress(PostgresError):
                await protocol.query("ROLLBACK", None)
            raise

    async def _start(self) -> None:
        if self._adapter._transaction is None:
            await self._adapter._start_transaction()
            first, self._first = self._first, ()
            for command in first:
                await self._connection.execute(command)

    def _messages(self, commands: tuple[str, ...]) -> bytes:
        if (run := self._prepared.get(commands)) is not None:
            return run
        # A name is never used again, as it can't be known whether what failed was prepared.
        names = [b"flama_%d" % next(self._names) for _ in commands]
        self._preparing[commands] = b"".join(map(_execute, names))
        return b"".join([_parse(*named) + _execute(named[0]) for named in zip(names, commands, strict=True)])

    def _begin(self) -> bytes:
        adapter, connection = self._adapter, self._connection
        level, readonly, deferrable = adapter.isolation_level, adapter.readonly, adapter.deferrable
        transaction = connection.transaction(isolation=level, readonly=readonly, deferrable=deferrable)
        # what starting it does, but for running the command
        connection._top_xact = adapter._transaction = self._begun = transaction
        transaction._state = TransactionState.STARTED
        begin = self._messages(_begin(level, readonly, deferrable))
        self._began_with_more = bool(self._first)
        if not self._first:
            return begin
        first, self._first = self._first, ()
        return begin + _once(first)

    def _savepoints(self) -> tuple[str, ...]:
        if not self._wanted:
            return ()
        self._wanted = False
        ended, self._ended_in = self._ended_in, None
        if ended is None or ended is not self._adapter._transaction:
            self._number = 0
            return _begun(0)
        last = self._number
        self._number = number = (last + 1) % (2 * _DEPTH)
        return _begun(number) if number % _DEPTH else _released_and_begun(last, number)

    async def _run(self, commands: tuple[str, ...]) -> None:
        if commands:
            with contextlib.suppress(Exception):  # the transaction has failed, as the next statement will tell
                await self._connection.execute("; ".join(commands))


class ExecuteMutex:
    """The mutex of SQLAlchemy's statements on a connection: what is queued is sent when it is acquired."""

    def __init__(self, mutex: FairSemaphore, ahead: Ahead) -> None:
        self._mutex = mutex
        self._ahead = ahead

    async def __aenter__(self) -> None:
        """Acquire the mutex."""
        await self._mutex.acquire()
        try:
            await self._ahead.settle()
        except BaseException:
            self._mutex.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        """Release it."""
        self._mutex.release()


@functools.cache
def _begin(level: str | None, readonly: bool, deferrable: bool) -> tuple[str, ...]:
    isolation = f" ISOLATION LEVEL {level.replace('_', ' ').upper()}" if level else ""
    return (f"BEGIN{isolation}{' READ ONLY' if readonly else ''}{' DEFERRABLE' if deferrable else ''}",)


def _release(number: int) -> str:
    """Give what releases a savepoint, with those that were there when it began."""
    return f"RELEASE SAVEPOINT flama_{number - number % _DEPTH}"


@functools.cache
def _begun(number: int) -> tuple[str, ...]:
    return (f"SAVEPOINT flama_{number}",)


@functools.cache
def _released_and_begun(last: int, number: int) -> tuple[str, ...]:
    return _release(last), f"SAVEPOINT flama_{number}"


def _parse(name: bytes, command: str) -> bytes:
    return _framed(b"P", name + b"\0" + command.encode() + b"\0" + struct.pack("!h", 0))


def _execute(name: bytes) -> bytes:
    """Give Bind and Execute of a statement without parameters and results, by the unnamed portal."""
    return _framed(b"B", b"\0" + name + b"\0" + struct.pack("!hhh", 0, 0, 0)) + _framed(
        b"E", b"\0" + struct.pack("!i", 0)
    )


def _once(commands: tuple[str, ...]) -> bytes:
    return b"".join([_parse(b"", command) + _execute(b"") for command in commands])


def _framed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
