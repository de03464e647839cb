"""A store of records, in which one unit of work is at a time."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import typing as t

from flama import exceptions
from flama.memory.definitions import ForeignKey, Row, Table
from flama.memory.references import check_parents
from flama.memory.rows import Rows

__all__ = ["Session", "Store", "Transaction"]

_TIMEOUT: t.Final = 30.0


class Store:
    """The records of any number of tables, for as long as it is referred to.

    A unit of work has the store to itself, and those that ask for it get it in the order of asking, each within
    ``timeout`` seconds. :meth:`fail` and :meth:`cancel` make faults, to try what becomes of them.
    """

    def __init__(self, *, timeout: float = _TIMEOUT) -> None:
        self._timeout = timeout
        self._tables: dict[str, Rows] = {}
        self._faults: list[_Fault] = []
        self._turns: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._session: Session | None = None

    @contextlib.asynccontextmanager
    async def session(self) -> collections.abc.AsyncGenerator["Session"]:
        """Give the store to one unit; what isn't committed at its end is rolled back.

        :raises UnavailableError: another had it all the time.
        """
        turn = self._turn()
        try:
            async with asyncio.timeout(self._timeout):
                await turn.acquire()
        except TimeoutError as error:
            detail = f"another unit has had it for {self._timeout} s"
            raise exceptions.UnavailableError(resource="store", detail=detail) from error
        if self._session is not None:
            self._session.close()  # its event loop ended before it did
        self._session = session = Session(self)
        try:
            yield session
        finally:
            session.close()
            self._session = None
            turn.release()

    def fail(
        self, verb: str, error: BaseException | type[BaseException], *, table: str | None = None, after: int = 0
    ) -> None:
        """Let a verb raise an error, once, before it does anything: the next one, or the one after so many.

        It is a repository's method, on whichever table or that of one name, or ``begin``, ``commit`` or ``rollback``.
        """
        self._faults.append(_Fault(verb, table, after, error))

    def cancel(self, verb: str, *, table: str | None = None, after: int = 0) -> None:
        """Let the task in which a verb is run be cancelled, as :meth:`fail` lets it fail.

        At ``begin``, ``commit`` and ``rollback`` it is the task that entered the unit.
        """
        self._faults.append(_Fault(verb, table, after, None))

    async def reached(self, verb: str, table: str | None = None, *, task: asyncio.Task[t.Any] | None = None) -> None:
        """Make the faults that are meant for a verb; let other tasks run, as any database does.

        The ``task`` is the one to cancel, by default that which runs the verb.
        """
        for fault in self._faults:
            if fault.verb == verb and fault.table in (None, table):
                fault.after -= 1
                if fault.after < 0:
                    self._faults.remove(fault)
                    if fault.error is not None:
                        raise fault.error
                    if (cancelled := task or asyncio.current_task()) is not None:
                        cancelled.cancel()
                    break
        await asyncio.sleep(0)

    def rows(self, table: Table) -> Rows:
        """Give the records of a table.

        :raises ApplicationError: another table is kept under its name.
        """
        rows = self._tables.get(table.path)
        if rows is None:
            rows = self._tables[table.path] = Rows(table)
        elif rows.table.source is not table.source:
            raise exceptions.ApplicationError(f"Two tables of one store are called '{table.path}'")
        return rows

    def all_rows(self) -> list[Rows]:
        """Give the records of every table that was ever asked for."""
        return list(self._tables.values())

    def _turn(self) -> asyncio.Lock:
        # a lock is of one event loop, and a store may serve one after the other
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = loop, asyncio.Lock()
        return self._turns[1]


@dataclasses.dataclass(eq=False)
class _Fault:
    verb: str
    table: str | None
    after: int
    error: BaseException | type[BaseException] | None  # None for a cancellation


class _Change(t.NamedTuple):
    rows: Rows
    place: int
    before: Row | None
    number: int


class Session:
    """A unit's time with a store. It knows what was changed since it began, or was last committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes: list[_Change] = []
        self._deferred: dict[tuple[Rows, ForeignKey], str] = {}
        self._open = True
        self.task = asyncio.current_task()

    async def begin(self, *, nested: bool) -> "Transaction":
        """Begin a transaction, or a savepoint in it."""
        await self._store.reached("begin", task=self.task)
        return Transaction(self, None if nested else self._store, len(self._changes))

    async def reach(self, verb: str, table: Table) -> None:
        """Begin a verb.

        :raises SessionClosedError: the unit has ended.
        """
        self.check_open(table)
        await self._store.reached(verb, table.name)

    def check_open(self, table: Table) -> None:
        """Make sure that the unit has not ended.

        :raises SessionClosedError: it has.
        """
        if not self._open:
            raise exceptions.SessionClosedError(f"The unit of work of '{table.name}' has ended")

    def rows(self, table: Table) -> Rows:
        """Give the records of a table."""
        return self._store.rows(table)

    def all_rows(self) -> list[Rows]:
        """Give the records of every table."""
        return self._store.all_rows()

    def write(self, rows: Rows, place: int, row: Row | None, *, count: int = 0) -> None:
        """Put a record in a place, or take away what is there, until that is undone; ``count`` is its number."""
        self._changes.append(_Change(rows, place, rows.set(place, row), rows.count))
        rows.count = max(rows.count, count)

    @contextlib.contextmanager
    def atomic(self) -> collections.abc.Generator[None]:
        """Undo what the block wrote when it fails."""
        mark = len(self._changes)
        try:
            yield
        except BaseException:
            self.undo(mark)
            raise

    def undo(self, mark: int) -> None:
        """Undo all changes but so many."""
        while len(self._changes) > mark:
            change = self._changes.pop()
            change.rows.set(change.place, change.before)
            change.rows.count = change.number

    def keep(self) -> None:
        """Let no change be undone any more."""
        self._changes.clear()

    def defer(self, rows: Rows, key: ForeignKey, resource: str) -> None:
        """Look at the end of the unit whether records have the parents that they name."""
        self._deferred[rows, key] = resource

    def deferred(self) -> list[tuple[Rows, ForeignKey, str]]:
        """Give what is to be looked at now, and forget it."""
        found = [(rows, key, resource) for (rows, key), resource in self._deferred.items()]
        self._deferred.clear()
        return found

    def close(self) -> None:
        """End the unit; what isn't committed is undone."""
        self.undo(0)
        self._open = False


class Transaction:
    """A transaction, or a savepoint in it: ended once."""

    def __init__(self, session: Session, store: Store | None, mark: int) -> None:
        self._session = session
        self._store = store  # None for a savepoint
        self._mark = mark
        self._is_lost = False  # an attempt to commit it failed

    async def commit(self) -> None:
        """Keep what was done.

        :raises IntegrityError: a record lacks the parent that it names; nothing is kept.
        :raises ConflictError: that was raised before, and nothing can be kept any more.
        """
        if self._store is None:
            return
        try:
            self._check_lost()
            await self._store.reached("commit", task=self._session.task)
            for rows, key, resource in self._session.deferred():
                check_parents(rows, key, self._session.rows(key.parent().table), resource)
        except BaseException:
            self._is_lost = True
            self._session.undo(self._mark)
            raise
        self._session.keep()

    async def rollback(self) -> None:
        """Undo what was done."""
        self._session.undo(self._mark)
        if self._store is not None:
            self._session.deferred()
            await self._store.reached("rollback", task=self._session.task)

    def _check_lost(self) -> None:
        if self._is_lost:
            detail = "it was rolled back before its end, and nothing of it is stored"
            raise exceptions.ConflictError(resource="unit of work", detail=detail, retryable=True)
