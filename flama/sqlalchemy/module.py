"""The module that owns an application's engine."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import functools
import keyword
import logging
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction, create_async_engine

from flama import exceptions, modules
from flama.sqlalchemy import _outages, drivers, failures
from flama.sqlalchemy._pool_options import check_pool_options
from flama.sqlalchemy._stream_slots import StreamSlots
from flama.sqlalchemy.disposal import disposed
from flama.sqlalchemy.leaks import Watch
from flama.sqlalchemy.metadata import metadata
from flama.sqlalchemy.pool import FairPool
from flama.sqlalchemy.replicas import Replicas

__all__ = ["ConnectionManager", "SQLAlchemyModule", "SharedConnectionManager"]

# SQLAlchemy keeps its own loggers to warnings, unless they are told otherwise; the pool's is named after its class
_pool_logger = logging.getLogger(f"{FairPool.__module__}.{FairPool.__qualname__}")
if _pool_logger.level == logging.NOTSET:
    _pool_logger.setLevel(logging.WARNING)


class ConnectionManager:
    """Gives every unit of work a connection of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def open(self) -> collections.abc.Coroutine[t.Any, t.Any, AsyncConnection]:
        """Check a connection out, waiting for one if all are in use."""
        return drivers.checked_out(self._engine)

    async def open_late(self) -> AsyncConnection:
        """Give a connection that is checked out when it is first used, where that can be."""
        return drivers.late(self._engine) or await self.open()

    async def close(self, connection: AsyncConnection) -> None:
        """Give the connection back; what isn't committed is rolled back."""
        try:
            await drivers.close_streams(connection)  # of lists that were left unfinished
        finally:
            await drivers.checked_in(connection)

    async def open_for_program(self) -> AsyncConnection:
        """Check a connection out that no unit of work has asked for."""
        return await self.open()

    def is_nested(self, connection: AsyncConnection) -> bool:
        """Whether it was open already when it was last opened."""
        return False

    async def begin_for_program(self, connection: AsyncConnection) -> AsyncTransaction:
        """Begin the connection's transaction, which is no unit's."""
        return await self.begin(connection)

    def begin(self, connection: AsyncConnection) -> collections.abc.Coroutine[t.Any, t.Any, AsyncTransaction]:
        """Begin the connection's transaction.

        :raises SQLAlchemyError: the connection is in one already.
        """
        return drivers.begun(connection)

    async def end(self, transaction: AsyncTransaction, *, rollback: bool = False) -> None:
        """Commit the transaction, or roll it back."""
        if (begun := transaction.sync_transaction) is None or not begun.is_active:
            raise exceptions.SQLAlchemyError("Transaction not started")
        await drivers.ended(transaction, rollback=rollback)

    def begin_end(self, transaction: AsyncTransaction, *, commit: bool) -> bool | collections.abc.Awaitable[bool]:
        """Begin to end a transaction and to close its connection, as :func:`drivers.begin_end` does."""
        return drivers.begin_end(transaction, commit=commit)

    async def commit_last(self, transaction: AsyncTransaction) -> bool:
        """Commit a transaction with which its connection is closed, if that saves anything; tell whether it was."""
        return await drivers.committed_last(transaction)


@dataclasses.dataclass(slots=True)
class _Share:
    # a connection that is checked out, and who uses it: its owner, and within that one task at a time

    connection: AsyncConnection
    owner: asyncio.Task[t.Any] | None
    by_program: bool  # rather than by a unit
    is_begun: bool = False  # by the program: then units of all tasks are savepoints within its transaction
    transactions: list[AsyncTransaction] = dataclasses.field(default_factory=list)
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    guest: asyncio.Task[t.Any] | None = None  # that has the lock
    depth: int = 0  # how often the guest has opened the connection

    async def enter(self, task: asyncio.Task[t.Any] | None) -> None:
        if self.guest is None or self.guest is not task:
            await self.lock.acquire()
            self.guest = task
        self.depth += 1

    def leave(self) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.guest = None
            self.lock.release()

    def is_open_to(self, task: asyncio.Task[t.Any] | None, *, by_program: bool) -> bool:
        if self.owner is task:
            return True
        # a fixture of a test often ends the task in which it opened the connection
        is_left = self.owner is not None and self.owner.done()
        return self.by_program and (is_left or (self.is_begun and not by_program))


class SharedConnectionManager(ConnectionManager):
    """Gives all units the one connection of an engine whose pool holds one, a task at a time.

    What the same task opens again is the same connection, and a transaction within its transaction is a savepoint.
    While the program itself has a transaction, units of all tasks are savepoints within that, one after the other.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._share: _Share | None = None  # who has the connection now

    async def open(self) -> AsyncConnection:
        """Give the connection, waiting until no other task has it."""
        return await self._opened(by_program=False)

    async def open_late(self) -> AsyncConnection:
        """Give the connection, waiting until no other task has it."""
        return await self.open()

    async def open_for_program(self) -> AsyncConnection:
        """Return the connection, waiting until no other task has it."""
        return await self._opened(by_program=True)

    async def close(self, connection: AsyncConnection) -> None:
        """Give the connection back; with the last of its users, what isn't committed is rolled back."""
        share = self._shared(connection)
        if share.depth:
            share.leave()
            return
        self._share = None
        await super().close(connection)

    def is_nested(self, connection: AsyncConnection) -> bool:
        """Whether it was open already when it was last opened."""
        return self._share is not None and self._share.connection is connection and self._share.depth > 0

    async def begin_for_program(self, connection: AsyncConnection) -> AsyncTransaction:
        """Begin the connection's transaction, or a savepoint within it."""
        transaction = await self.begin(connection)
        self._shared(connection).is_begun = True
        return transaction

    async def _opened(self, *, by_program: bool) -> AsyncConnection:
        task = asyncio.current_task()
        while (share := self._share) is not None and share.is_open_to(task, by_program=by_program):
            await share.enter(task)
            if share is self._share:
                return share.connection
            share.leave()  # it was closed meanwhile
        connection = await super().open()
        self._share = _Share(connection, task, by_program)
        return connection

    async def begin(self, connection: AsyncConnection) -> AsyncTransaction:
        """Begin the connection's transaction, or a savepoint within it."""
        share = self._shared(connection)
        share.transactions = [open for open in share.transactions if open.is_active]
        transaction = await (connection.begin_nested() if share.transactions else super().begin(connection))
        share.transactions.append(transaction)
        return transaction

    async def end(self, transaction: AsyncTransaction, *, rollback: bool = False) -> None:
        """Commit the innermost transaction, or roll it back."""
        share = self._shared(transaction.connection)
        if share.transactions[-1:] != [transaction]:  # units end their savepoints themselves
            share.transactions = [open for open in share.transactions if open.is_active]
        if not share.transactions:
            raise exceptions.SQLAlchemyError("Transaction not started")
        if share.transactions[-1] is not transaction:
            raise exceptions.SQLAlchemyError("Wrong transaction")
        share.transactions.pop()
        share.is_begun = share.is_begun and bool(share.transactions)
        await super().end(transaction, rollback=rollback)

    def begin_end(self, transaction: AsyncTransaction, *, commit: bool) -> bool | collections.abc.Awaitable[bool]:
        """Leave it to who has the connection to end its transactions."""
        return False

    async def commit_last(self, transaction: AsyncTransaction) -> bool:
        """Leave it to who has the connection to end its transactions."""
        return False

    def _shared(self, connection: AsyncConnection) -> _Share:
        if self._share is None:
            raise exceptions.SQLAlchemyError("Connection not initialized")
        if self._share.connection is not connection:
            raise exceptions.SQLAlchemyError("Wrong connection")
        return self._share


@dataclasses.dataclass(frozen=True, slots=True)
class _Running:
    engine: AsyncEngine
    manager: ConnectionManager
    dispose: collections.abc.Callable[[], collections.abc.Awaitable[None]]


def _start(url: sa.URL, single_connection: bool, given: collections.abc.Mapping[str, t.Any]) -> _Running:
    if not url.get_dialect().get_async_dialect_cls(url).is_async:
        raise exceptions.ApplicationError(f"'{url.drivername}' is no asynchronous driver")
    defaults: dict[str, t.Any] = {} if given.keys() & {"pool", "poolclass"} else {"poolclass": FairPool}
    given = {**defaults, **given, **({"pool_size": 1, "max_overflow": 0} if single_connection else {})}
    if url.get_backend_name() == "sqlite":
        # aiosqlite is wanted only by those who keep their data in SQLite
        from flama.sqlalchemy import sqlite  # noqa: PLC0415

        engine, dispose = sqlite.create_engine(url, given)
    else:
        engine = create_async_engine(url, **_connecting(url, given))
        dispose = functools.partial(disposed, engine)
    if url.get_backend_name() in ("postgresql", "mysql", "mariadb"):
        failures.watch(engine)
        _outages.watch(engine)
    manager = SharedConnectionManager if single_connection else ConnectionManager
    return _Running(engine, manager(engine), dispose)


def _connecting(url: sa.URL, given: dict[str, t.Any]) -> dict[str, t.Any]:
    if url.get_driver_name() != "asyncpg":
        return given
    # asyncpg is wanted only by those who keep their data in PostgreSQL
    from flama.sqlalchemy.drivers import held  # noqa: PLC0415

    return {**given, "connect_args": {"async_creator_fn": held.connect, **given.get("connect_args", {})}}


def _watched(started: collections.abc.Sequence[_Running], leak_after: float) -> list[Watch]:
    if not all(isinstance(one.engine.pool, FairPool) for one in started):
        raise exceptions.ApplicationError("'leak_after' can't be told of a pool that is not the module's own")
    return [Watch(one.engine, leak_after) for one in started]


class SQLAlchemyModule(modules.Module):
    """Keeps an engine for as long as the application runs, as ``app.sqlalchemy``.

    ``engine_args`` go to :func:`sqlalchemy.ext.asyncio.create_async_engine`; the options of the pool are those of
    :class:`~flama.sqlalchemy.pool.FairPool`. With ``single_connection``, units take
    turns on one connection. A database in SQLite's memory has one connection by nature: each unit gets it to itself,
    in the order of asking. An SQLite file is opened for a service: write-ahead log, foreign keys enforced, writers
    wait for one another.

    Each of several databases has a module with another ``name``, and is ``app.<name>``. Who holds a connection for
    longer than ``leak_after`` seconds is told of in the log ``flama.sqlalchemy``, as is who never gives one back.

    ``stream_connections`` are the connections that the streams of resources have at most at a time, by default half of
    those that the pool may have; others stay free for all else.

    ``replicas`` are the URLs of the primary's replicas, PostgreSQL's, which units that only read are served by: see
    :class:`~flama.sqlalchemy.replicas.Replicas`. One has ``patience`` seconds to come to where a reader wants it.

    :raises ApplicationError: the URL is empty, the name can't be an attribute's, ``leak_after`` or
        ``stream_connections`` isn't positive, an option of the pool in ``engine_args`` can't have its value, or
        replicas are to share a single connection.
    """

    name = "sqlalchemy"
    metadata = metadata

    def __init__(
        self,
        database: str,
        single_connection: bool = False,
        engine_args: collections.abc.Mapping[str, t.Any] | None = None,
        *,
        name: str = "sqlalchemy",
        leak_after: float | None = None,
        stream_connections: int | None = None,
        replicas: collections.abc.Iterable[str] = (),
        patience: float = 0.1,
    ) -> None:
        if not database:
            raise exceptions.ApplicationError("Database connection string must be provided")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise exceptions.ApplicationError(f"A module can't be named '{name}': no attribute can")
        if leak_after is not None and leak_after <= 0:
            raise exceptions.ApplicationError(f"'leak_after' is a number of seconds above 0, not {leak_after}")
        if stream_connections is not None and (type(stream_connections) is not int or stream_connections < 1):
            raise exceptions.ApplicationError(f"'stream_connections' is a number from 1, not {stream_connections!r}")
        check_pool_options(engine_args or {})
        self.name = name
        self.database = database
        self.single_connection = single_connection
        self.engine_args = dict(engine_args or {})
        self.leak_after = leak_after
        self.stream_connections = stream_connections
        self._running: _Running | None = None  # between start-up and shutdown
        self._latest: _Running | None = None  # what ran last, as units may end after the shutdown
        self._followers: list[_Running] = []  # meanwhile
        self._stream_slots: StreamSlots | None = None  # meanwhile
        self._watches: list[Watch] = []
        self._replica_urls = tuple(replicas)
        self._patience = patience
        self.replicas: Replicas | None = None
        if single_connection and self._replica_urls:
            raise exceptions.ApplicationError("A single connection goes to a single server, and to no replicas")

    @property
    def engine(self) -> AsyncEngine:
        """The engine, while the application runs."""
        return self._started.engine

    @property
    def connection_manager(self) -> ConnectionManager:
        """What opens connections and transactions, while the application runs."""
        return self._started.manager

    @property
    def stream_slots(self) -> StreamSlots:
        """The connections that streams may have at a time, while the application runs."""
        if self._stream_slots is None:
            raise exceptions.ApplicationError("SQLAlchemyModule not initialized")
        return self._stream_slots

    async def on_startup(self) -> None:
        """Make the engine; it connects when it is first used.

        :raises ApplicationError: the driver is not asynchronous, ``leak_after`` is given beside another pool, or
            ``stream_connections`` are more than the pool has.
        """
        urls = map(sa.make_url, (self.database, *self._replica_urls))
        running, *followers = [_start(url, self.single_connection, self.engine_args) for url in urls]
        if self.leak_after is not None:
            self._watches = _watched([running, *followers], self.leak_after)
        self._stream_slots = StreamSlots(running.engine, self.stream_connections)
        self._running, self._latest, self._followers = running, running, followers
        if followers:
            engines = [follower.engine for follower in followers]
            self.replicas = Replicas(running.engine, engines, patience=self._patience)

    async def on_shutdown(self) -> None:
        """Close every connection, within seconds though the database doesn't answer, or somebody holds one."""
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.stop()
        try:
            async with contextlib.AsyncExitStack() as stack:
                for one in ([] if self._running is None else [self._running]) + self._followers:
                    stack.push_async_callback(one.dispose)
        finally:
            self._running, self._followers, self.replicas = None, [], None

    async def open_connection(self) -> AsyncConnection:
        """Check a connection out, waiting for one if all are in use.

        Of a single connection, that is until no other task has it.
        """
        return await self.connection_manager.open_for_program()

    async def close_connection(self, connection: AsyncConnection) -> None:
        """Give a connection back; what isn't committed is rolled back."""
        await self.manager.close(connection)

    async def begin_transaction(self, connection: AsyncConnection) -> AsyncTransaction:
        """Begin a transaction.

        On a single connection, the units of all tasks are savepoints within it until it ends: a test that rolls it back
        leaves nothing behind.

        :raises SQLAlchemyError: the connection is in one already, and isn't shared.
        """
        return await self.connection_manager.begin_for_program(connection)

    async def end_transaction(self, transaction: AsyncTransaction, *, rollback: bool = False) -> None:
        """Commit a transaction, or roll it back.

        :raises SQLAlchemyError: it has ended already, or isn't the innermost of a shared connection.
        """
        await self.manager.end(transaction, rollback=rollback)

    @property
    def manager(self) -> ConnectionManager:
        """What opened the connections there are, be it that the application has stopped meanwhile."""
        return (self._latest or self._started).manager

    @property
    def _started(self) -> _Running:
        if self._running is None:
            raise exceptions.ApplicationError("SQLAlchemyModule not initialized")
        return self._running
