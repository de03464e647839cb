"""A store of records, used by one unit of work at a time."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import typing as t

from flama import exceptions
from flama.memory._foreign_keys import check_foreign_keys
from flama.memory._table_data import TableData
from flama.memory.schema import ForeignKey, Row, Table

__all__ = ["Session", "Store", "Transaction"]

_TIMEOUT: t.Final = 30.0


class Store:
    """A store of the records of any number of tables, for as long as it is referenced.

    A unit of work has exclusive access. Units get the store in the order in which they requested it, each within
    ``timeout`` seconds. :meth:`fail` and :meth:`cancel` inject faults for tests.
    """

    def __init__(self, *, timeout: float = _TIMEOUT) -> None:
        self._timeout = timeout
        self._tables: dict[str, TableData] = {}
        self._faults: list[_Fault] = []
        self._loop_and_lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._session: Session | None = None

    @contextlib.asynccontextmanager
    async def session(self) -> collections.abc.AsyncGenerator["Session"]:
        """Lock the store for one unit; what isn't committed at its end is rolled back.

        :raises UnavailableError: another unit held the store until the timeout.
        """
        lock = self._lock()
        try:
            async with asyncio.timeout(self._timeout):
                await lock.acquire()
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
            lock.release()

    def fail(
        self, verb: str, error: BaseException | type[BaseException], *, table: str | None = None, after: int = 0
    ) -> None:
        """Make a verb raise an error, once, before it does anything: at its next call, or after ``after`` more calls.

        A verb is a method of a repository, on any table or the one named, or ``begin``, ``commit`` or ``rollback``.
        """
        self._faults.append(_Fault(verb, table, after, error))

    def cancel(self, verb: str, *, table: str | None = None, after: int = 0) -> None:
        """Cancel the task that runs a verb, at the same point where :meth:`fail` makes it fail.

        At ``begin``, ``commit`` and ``rollback`` that is the task that entered the unit.
        """
        self._faults.append(_Fault(verb, table, after, None))

    async def inject_faults(
        self, verb: str, table: str | None = None, *, task: asyncio.Task[t.Any] | None = None
    ) -> None:
        """Trigger the faults injected for a verb, and let other tasks run, as any database does.

        ``task`` is the one to cancel, by default the one that runs the verb.
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

    def rows(self, table: Table) -> TableData:
        """Return the records of a table.

        :raises ApplicationError: another table is stored under its name.
        """
        rows = self._tables.get(table.qualified_name)
        if rows is None:
            rows = self._tables[table.qualified_name] = TableData(table)
        elif rows.table.source is not table.source:
            raise exceptions.ApplicationError(f"Two tables of one store are called '{table.qualified_name}'")
        return rows

    def all_rows(self) -> list[TableData]:
        """Return the records of every table that was ever used."""
        return list(self._tables.values())

    def _lock(self) -> asyncio.Lock:
        # a lock is of one event loop, and a store may serve one after the other
        loop = asyncio.get_running_loop()
        if self._loop_and_lock is None or self._loop_and_lock[0] is not loop:
            self._loop_and_lock = loop, asyncio.Lock()
        return self._loop_and_lock[1]


@dataclasses.dataclass(eq=False)
class _Fault:
    verb: str
    table: str | None
    after: int
    error: BaseException | type[BaseException] | None  # None for a cancellation


class _Change(t.NamedTuple):
    rows: TableData
    place: int
    before: Row | None
    number: int


class Session:
    """A unit's access to a store. It records the changes since it began, or was last committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes: list[_Change] = []
        self._deferred: dict[tuple[TableData, ForeignKey], str] = {}
        self._open = True
        self.task = asyncio.current_task()

    async def begin(self, *, nested: bool) -> "Transaction":
        """Begin a transaction, or a savepoint in it."""
        await self._store.inject_faults("begin", task=self.task)
        return Transaction(self, None if nested else self._store, len(self._changes))

    async def begin_operation(self, verb: str, table: Table) -> None:
        """Begin a verb.

        :raises SessionClosedError: the unit has ended.
        """
        self.check_open(table)
        await self._store.inject_faults(verb, table.name)

    def check_open(self, table: Table) -> None:
        """Check that the unit has not ended.

        :raises SessionClosedError: it has.
        """
        if not self._open:
            raise exceptions.SessionClosedError(f"The unit of work of '{table.name}' has ended")

    def rows(self, table: Table) -> TableData:
        """Return the records of a table."""
        return self._store.rows(table)

    def all_rows(self) -> list[TableData]:
        """Return the records of every table."""
        return self._store.all_rows()

    def write(self, rows: TableData, place: int, row: Row | None, *, count: int = 0) -> None:
        """Store a record at a place, or remove it with None, until that is undone; ``count`` is its number."""
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
        """Undo all changes after the first ``mark``."""
        while len(self._changes) > mark:
            change = self._changes.pop()
            change.rows.set(change.place, change.before)
            change.rows.count = change.number

    def discard_undo_log(self) -> None:
        """Make all changes permanent."""
        self._changes.clear()

    def defer_check(self, rows: TableData, key: ForeignKey, resource: str) -> None:
        """Check at the end of the unit that the parents of records exist."""
        self._deferred[rows, key] = resource

    def take_deferred_checks(self) -> list[tuple[TableData, ForeignKey, str]]:
        """Return the deferred checks, and clear them."""
        found = [(rows, key, resource) for (rows, key), resource in self._deferred.items()]
        self._deferred.clear()
        return found

    def close(self) -> None:
        """End the unit, and undo what isn't committed."""
        self.undo(0)
        self._open = False


class Transaction:
    """A transaction, or a savepoint in it. It ends once."""

    def __init__(self, session: Session, store: Store | None, mark: int) -> None:
        self._session = session
        self._store = store  # None for a savepoint
        self._mark = mark
        self._is_lost = False  # an attempt to commit it failed

    async def commit(self) -> None:
        """Make the changes permanent.

        :raises IntegrityError: a parent that a record refers to is missing; nothing is stored.
        :raises ConflictError: an earlier commit failed and rolled the transaction back, so that nothing can be stored.
        """
        if self._store is None:
            return
        try:
            self._check_lost()
            await self._store.inject_faults("commit", task=self._session.task)
            for rows, key, resource in self._session.take_deferred_checks():
                check_foreign_keys(rows, key, self._session.rows(key.parent().table), resource)
        except BaseException:
            self._is_lost = True
            self._session.undo(self._mark)
            raise
        self._session.discard_undo_log()

    async def rollback(self) -> None:
        """Undo the changes."""
        self._session.undo(self._mark)
        if self._store is not None:
            self._session.take_deferred_checks()
            await self._store.inject_faults("rollback", task=self._session.task)

    def _check_lost(self) -> None:
        if self._is_lost:
            detail = "it was rolled back before its end, and nothing of it is stored"
            raise exceptions.ConflictError(resource="unit of work", detail=detail, retryable=True)
