"""What asyncpg's server is told in front of a statement, in the same packet."""

import asyncio
import contextlib
import functools
import struct
import types
import typing as t

from asyncpg.exceptions import PostgresError
from asyncpg.transaction import TransactionState

__all__ = ["Ahead", "Turn"]

_OTHER: t.Final = {"flama_a": "flama_b", "flama_b": "flama_a"}


class Ahead:
    """BEGIN and savepoints of a connection, which wait for the statement that needs them.

    They are sent as messages of PostgreSQL's extended query protocol without a Sync, so that the server runs them in
    order, skips all that comes after one that fails until a Sync, the statement's, and answers then; asyncpg passes
    over what it is told of them. A statement that asyncpg refuses to send leaves the Sync to another, of nothing.

    A savepoint that has ended is released when the next begins, or before a statement of which this knows nothing,
    as that may begin a savepoint itself. The two that follow one another have different names: undoing one that was
    never begun is an error, and never undoes the other.
    """

    def __init__(self, adapter: t.Any) -> None:
        self._adapter = adapter
        self._connection = adapter._connection
        self._first: tuple[str, ...] = ()  # what comes right after the next BEGIN
        self._wanted = False  # a savepoint, before the next statement
        self._name = "flama_a"  # of the last savepoint
        self._ended_in: t.Any = None  # the transaction in which that has ended, and was not released
        self._begun: t.Any = None  # the transaction that was last begun with a statement
        self._sent = -1  # how many statements had been sent when something was last sent ahead of one
        self._nothing: t.Any = None  # a statement that does nothing, but is answered

    def begin_with(self, commands: tuple[str, ...]) -> bool:
        """Let commands come right after the next BEGIN; False when a transaction has begun."""
        if self._adapter._transaction is not None:
            return False
        self._first = commands
        return True

    def savepoint(self) -> None:
        """Begin a savepoint with the next statement."""
        self._wanted = True

    def release(self) -> None:
        """End the savepoint, and keep what was done since."""
        if self._wanted:
            self._wanted = False  # nothing was done
        else:
            self._ended_in = self._adapter._transaction

    def undo(self) -> str | None:
        """Give the command that undoes what was done since the savepoint; None when nothing was."""
        if self._wanted:
            self._wanted = False
            return None
        return f"ROLLBACK TO SAVEPOINT {self._name}"

    def send(self) -> bool:
        """Write what goes ahead of a statement that is written next; tell whether that could be done."""
        begun: tuple[str, ...] = ()
        if self._adapter._transaction is None and self._adapter.isolation_level != "autocommit":
            if self._connection._top_xact is not None or self._connection.is_in_transaction():
                return False  # a transaction that is not SQLAlchemy's
            begun = self._begin()
        elif not self._wanted:
            return True
        self._sent = self._connection._protocol.queries_count
        self._connection._transport.write(_messages((*begun, *self._savepoints())))
        return True

    async def recover(self) -> None:
        """Do what has to be done when the statement has failed."""
        if self._connection.is_closed():
            return
        if self._sent == self._connection._protocol.queries_count:  # it was not sent, as its values are no good
            with contextlib.suppress(PostgresError):
                await self._nothing.fetch()
        begun, self._begun = self._begun, None
        if begun is not None and begun is self._adapter._transaction and not self._connection.is_in_transaction():
            self._adapter._transaction = self._connection._top_xact = None  # BEGIN itself was refused

    async def run(self) -> None:
        """Run what goes ahead of a statement by itself."""
        if self._nothing is None:
            self._nothing = await self._connection.prepare("")
        await self._start()
        await self._run(self._savepoints())

    async def settle(self) -> None:
        """Run what goes ahead of a statement that may begin a savepoint."""
        if self._first:
            await self._start()
        released = (f"RELEASE SAVEPOINT {self._name}",) if self._has_ended else ()
        self._ended_in = None
        await self._run((*released, *self._savepoints()))

    @property
    def _has_ended(self) -> bool:
        return self._ended_in is not None and self._ended_in is self._adapter._transaction

    async def _start(self) -> None:
        if self._adapter._transaction is None:
            await self._adapter._start_transaction()
            first, self._first = self._first, ()
            for command in first:
                await self._connection.execute(command)

    def _begin(self) -> tuple[str, ...]:
        adapter, connection = self._adapter, self._connection
        level, readonly, deferrable = adapter.isolation_level, adapter.readonly, adapter.deferrable
        transaction = connection.transaction(isolation=level, readonly=readonly, deferrable=deferrable)
        # what starting it does, but for running the command
        connection._top_xact = adapter._transaction = self._begun = transaction
        transaction._state = TransactionState.STARTED
        first, self._first = self._first, ()
        return (_begin(level, readonly, deferrable), *first)

    def _savepoints(self) -> tuple[str, ...]:
        if not self._wanted:
            return ()
        released = (f"RELEASE SAVEPOINT {self._name}",) if self._has_ended else ()
        self._name = _OTHER[self._name]
        self._wanted, self._ended_in = False, None
        return (*released, f"SAVEPOINT {self._name}")

    async def _run(self, commands: tuple[str, ...]) -> None:
        if commands:
            with contextlib.suppress(Exception):  # the transaction has failed, as the next statement will tell
                await self._connection.execute("; ".join(commands))


class Turn:
    """What Core's statements on a connection wait for one another by: as each takes its turn, what waits is run."""

    def __init__(self, lock: asyncio.Lock, ahead: Ahead) -> None:
        self._lock = lock
        self._ahead = ahead

    async def __aenter__(self) -> None:
        """Wait for the turn."""
        await self._lock.acquire()
        try:
            await self._ahead.settle()
        except BaseException:
            self._lock.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        """End the turn."""
        self._lock.release()


@functools.cache
def _begin(level: str | None, readonly: bool, deferrable: bool) -> str:
    isolation = f" ISOLATION LEVEL {level.replace('_', ' ').upper()}" if level else ""
    return f"BEGIN{isolation}{' READ ONLY' if readonly else ''}{' DEFERRABLE' if deferrable else ''}"


@functools.cache
def _messages(commands: tuple[str, ...]) -> bytes:
    # for each, Parse, Bind and Execute of the unnamed statement and portal, without parameters and results
    return b"".join(
        _framed(b"P", b"\0" + command.encode() + b"\0" + struct.pack("!h", 0))
        + _framed(b"B", b"\0\0" + struct.pack("!hhh", 0, 0, 0))
        + _framed(b"E", b"\0" + struct.pack("!i", 0))
        for command in commands
    )


def _framed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
