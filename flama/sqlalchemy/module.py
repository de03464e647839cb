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
from flama.sqlalchemy import drivers
from flama.sqlalchemy.drivers import _aborted
from flama.sqlalchemy.metadata import metadata
from flama.sqlalchemy.pool import FairPool, LeakDetector, StreamSlots, check_pool_options, dispose, log_outages
from flama.sqlalchemy.replicas import Replicas

__all__ = ["ConnectionManager", "SQLAlchemyModule", "SharedConnectionManager"]

# SQLAlchemy limits its own loggers to warnings by default; the pool's logger is named after its class
_pool_logger = logging.getLogger(f"{FairPool.__module__}.{FairPool.__qualname__}")
if _pool_logger.level == logging.NOTSET:
    _pool_logger.setLevel(logging.WARNING)


class ConnectionManager:
    """A source of connections: one for each unit of work."""

    is_shared: t.ClassVar[bool] = False  # whether a connection may have several users

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def open(self, *, by_program: bool = False) -> collections.abc.Coroutine[t.Any, t.Any, AsyncConnection]:
        """Check a connection out for a unit of work or the program itself, waiting for one if all are in use."""
        return drivers.checkout(self._engine)

    async def open_lazily(self) -> AsyncConnection:
        """Return a connection that is checked out on first use, if the driver supports that and it isn't shared."""
        lazy = None if self.is_shared else drivers.lazy_connection(self._engine)
        return lazy or await self.open()

    async def close(self, connection: AsyncConnection) -> None:
        """Return the connection to the pool; what isn't committed is rolled back."""
        try:
            await drivers.close_streams(connection)  # of lists that weren't read to the end
        finally:
            await drivers.checkin(connection)

    def is_nested(self, connection: AsyncConnection) -> bool:
        """Whether the connection was open already when it was last opened."""
        return False

    def begin(
        self, connection: AsyncConnection, *, by_program: bool = False
    ) -> collections.abc.Coroutine[t.Any, t.Any, AsyncTransaction]:
        """Begin the connection's transaction for a unit of work or the program itself.

        :raises SQLAlchemyError: the connection is in one already.
        """
        return drivers.begin(connection)

    async def end(self, transaction: AsyncTransaction, *, rollback: bool = False, closes: bool = False) -> None:
        """Commit the transaction, or roll it back; with ``closes``, its connection must be closed next.

        :raises SQLAlchemyError: it has ended already.
        """
        begun: t.Any = transaction.sync_transaction
        if begun is None or not begun.is_active:
            raise exceptions.SQLAlchemyError("Transaction not started")
        driver = drivers.ending_driver(transaction)
        if driver is None or not await driver.end(transaction.connection, rollback=rollback):
            await (transaction.rollback() if rollback else transaction.commit())
            return
        begun.is_active = False  # so that SQLAlchemy only records the end, now or when it closes the connection
        if not closes:
            begun.close()


@dataclasses.dataclass(slots=True)
class _Share:
    # a connection that is checked out, and its users: the owner, and within that one task at a time

    connection: AsyncConnection
    owner: asyncio.Task[t.Any] | None
    by_program: bool  # rather than a unit
    is_begun: bool = False  # by the program: units of all tasks are then savepoints within its transaction
    transactions: list[AsyncTransaction] = dataclasses.field(default_factory=list)
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    guest: asyncio.Task[t.Any] | None = None  # the task that holds the lock
    depth: int = 0  # the number of times the guest has opened the connection

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
    """A source of connections for an engine with a single one: tasks use it one at a time.

    A task that opens it again gets the same connection, and a transaction within its transaction is a savepoint.
    While the program itself has a transaction, units of all tasks are savepoints within that, one after the other.
    """

    is_shared = True

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._share: _Share | None = None  # the connection's current users

    async def close(self, connection: AsyncConnection) -> None:
        """Release the connection; its last user returns it to the pool, and what isn't committed is rolled back."""
        share = self._require_share(connection)
        if share.depth:
            share.leave()
            return
        self._share = None
        await super().close(connection)

    def is_nested(self, connection: AsyncConnection) -> bool:
        """Whether the connection was open already when it was last opened."""
        return self._share is not None and self._share.connection is connection and self._share.depth > 0

    async def open(self, *, by_program: bool = False) -> AsyncConnection:
        """Return the connection, waiting until no other task has it."""
        task = asyncio.current_task()
        while (share := self._share) is not None and share.is_open_to(task, by_program=by_program):
            await share.enter(task)
            if share is self._share:
                return share.connection
            share.leave()  # it was closed in the meantime
        connection = await super().open()
        self._share = _Share(connection, task, by_program)
        return connection

    async def begin(self, connection: AsyncConnection, *, by_program: bool = False) -> AsyncTransaction:
        """Begin the connection's transaction, or a savepoint within it."""
        share = self._require_share(connection)
        share.transactions = [open for open in share.transactions if open.is_active]
        transaction = await (connection.begin_nested() if share.transactions else super().begin(connection))
        share.transactions.append(transaction)
        share.is_begun = share.is_begun or by_program
        return transaction

    async def end(self, transaction: AsyncTransaction, *, rollback: bool = False, closes: bool = False) -> None:
        """Commit the innermost transaction, or roll it back.

        :raises SQLAlchemyError: it has ended already, or isn't the innermost.
        """
        share = self._require_share(transaction.connection)
        if share.transactions[-1:] != [transaction]:  # units end their savepoints by themselves
            share.transactions = [open for open in share.transactions if open.is_active]
        if not share.transactions:
            raise exceptions.SQLAlchemyError("Transaction not started")
        if share.transactions[-1] is not transaction:
            raise exceptions.SQLAlchemyError("Wrong transaction")
        share.transactions.pop()
        share.is_begun = share.is_begun and bool(share.transactions)
        await super().end(transaction, rollback=rollback)

    def _require_share(self, connection: AsyncConnection) -> _Share:
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
        # aiosqlite is installed only with SQLite's extra
        from flama.sqlalchemy import sqlite  # noqa: PLC0415

        engine, close = sqlite.create_engine(url, given)
    else:
        if url.get_driver_name() == "asyncpg":
            # asyncpg is installed only with PostgreSQL's extra
            from flama.sqlalchemy.drivers import _buffered_transport  # noqa: PLC0415

            given["connect_args"] = {"async_creator_fn": _buffered_transport.connect, **given.get("connect_args", {})}
        engine = create_async_engine(url, **given)
        close = functools.partial(dispose, engine)
    if url.get_backend_name() in ("postgresql", "mysql", "mariadb"):
        _aborted.watch(engine)
        log_outages(engine)
    manager = SharedConnectionManager if single_connection else ConnectionManager
    return _Running(engine, manager(engine), close)


class SQLAlchemyModule(modules.Module):
    """The owner of an engine while the application runs, as ``app.sqlalchemy``.

    ``engine_args`` go to :func:`sqlalchemy.ext.asyncio.create_async_engine`; the options of the pool are those of
    :class:`~flama.sqlalchemy.pool.FairPool`. With ``single_connection``, units take turns on one connection. An
    in-memory SQLite database always has one connection: each unit gets it exclusively, first come, first served. An
    SQLite file is opened for a service: with a write-ahead log and foreign keys enforced, and writers wait for one
    another.

    Each of several databases has a module with another ``name``, and is ``app.<name>``. The log ``flama.sqlalchemy``
    reports connections that are held for longer than ``leak_after`` seconds, or never returned.

    ``stream_connections`` is the largest number of connections that streams of resources use at a time. By default it
    is half of the pool's maximum; the others stay free for everything else.

    ``replicas`` are the URLs of a PostgreSQL primary's replicas, which serve the units that only read: see
    :class:`~flama.sqlalchemy.replicas.Replicas`. A replica has ``patience`` seconds to reach a reader's position.

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
        self._latest: _Running | None = None  # the last one to run, as units may end after the shutdown
        self._followers: list[_Running] = []  # the replicas, between start-up and shutdown
        self._stream_slots: StreamSlots | None = None  # from start-up on
        self._watches: list[LeakDetector] = []
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
        """The source of connections and transactions, while the application runs."""
        return self._started.manager

    @property
    def stream_slots(self) -> StreamSlots:
        """The limit of connections that streams use at a time, while the application runs."""
        if self._stream_slots is None:
            raise exceptions.ApplicationError("SQLAlchemyModule not initialized")
        return self._stream_slots

    async def on_startup(self) -> None:
        """Create the engine; it connects on first use.

        :raises ApplicationError: the driver is not asynchronous, ``leak_after`` is set with another pool, or
            ``stream_connections`` are more than the pool has.
        """
        urls = map(sa.make_url, (self.database, *self._replica_urls))
        running, *followers = [_start(url, self.single_connection, self.engine_args) for url in urls]
        if self.leak_after is not None:
            engines = [one.engine for one in (running, *followers)]
            if not all(isinstance(engine.pool, FairPool) for engine in engines):
                raise exceptions.ApplicationError("'leak_after' can't be told of a pool that is not the module's own")
            self._watches = [LeakDetector(engine, self.leak_after) for engine in engines]
        self._stream_slots = StreamSlots(running.engine, self.stream_connections)
        self._running, self._latest, self._followers = running, running, followers
        if followers:
            engines = [follower.engine for follower in followers]
            self.replicas = Replicas(running.engine, engines, patience=self._patience)

    async def on_shutdown(self) -> None:
        """Close every connection, within seconds even if the database doesn't respond or a connection is in use."""
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

        With a single connection, it waits until no other task has it.
        """
        return await self.connection_manager.open(by_program=True)

    async def close_connection(self, connection: AsyncConnection) -> None:
        """Return a connection to the pool; what isn't committed is rolled back."""
        await self.manager.close(connection)

    async def begin_transaction(self, connection: AsyncConnection) -> AsyncTransaction:
        """Begin a transaction.

        On a single connection, the units of all tasks are savepoints within it until it ends: a test that rolls it back
        leaves nothing behind.

        :raises SQLAlchemyError: the connection is in one already, and isn't shared.
        """
        return await self.connection_manager.begin(connection, by_program=True)

    async def end_transaction(self, transaction: AsyncTransaction, *, rollback: bool = False) -> None:
        """Commit a transaction, or roll it back.

        :raises SQLAlchemyError: it has ended already, or isn't the innermost of a shared connection.
        """
        await self.manager.end(transaction, rollback=rollback)

    @property
    def manager(self) -> ConnectionManager:
        """The source of the open connections, even after the application has stopped."""
        return (self._latest or self._started).manager

    @property
    def _started(self) -> _Running:
        if self._running is None:
            raise exceptions.ApplicationError("SQLAlchemyModule not initialized")
        return self._running
