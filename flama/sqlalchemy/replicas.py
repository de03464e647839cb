"""PostgreSQL's replicas, read by who may see what was written so far."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import re
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flama import contexts, exceptions
from flama.sqlalchemy import drivers
from flama.sqlalchemy.errors import translated
from flama.sqlalchemy.statements import Statement
from flama.tasks import finished

__all__ = ["Position", "Replicas", "position"]

_FORM: t.Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", re.ASCII)
_KNOWN: t.Final = "flama.position"
_SILENCE: t.Final = 1.0  # seconds, after which a replica won't tell its position any more
_PAUSE: t.Final = 0.001  # between one question for it and the next; then twice that, and so on
_LONGEST_PAUSE: t.Final = 0.02

_given_ups: set[asyncio.Task[None]] = set()  # the loop itself holds tasks by weak references only

# What was inserted into the log is there for replicas once it is flushed, which it is before COMMIT is answered unless
# the server was told otherwise (synchronous_commit = off). When the log ends with a page, the place to insert at is
# behind the next one's header, of 24 bytes, where no replica comes before there is a record: no commit is so short.
_POSITION: t.Final = """
CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn() - '0/0', 0) ELSE (
    SELECT CASE WHEN inserted - flushed < 40 THEN flushed ELSE inserted END - '0/0' FROM (
        SELECT pg_current_wal_insert_lsn() AS inserted, pg_current_wal_flush_lsn() AS flushed OFFSET 0
    ) AS ends
) END
"""


def _ask() -> sa.Select[t.Any]:
    return sa.select(sa.cast(sa.literal_column(_POSITION), sa.BigInteger).label("position"))


_STATEMENT: t.Final = Statement((_KNOWN,), (), _ask, (), ("position",))


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Position:
    """How far a server has come in the log of what is written: who is at least there shows all up to it.

    Its string is PostgreSQL's own (``0/3018AA8``), fit for a header, a cookie or a session.
    """

    offset: int

    def __str__(self) -> str:
        return f"{self.offset >> 32:X}/{self.offset & 0xFFFFFFFF:X}"

    @classmethod
    def parse(cls, text: str) -> t.Self:
        """Give the position whose string this is.

        :raises ValueError: it's none.
        """
        if (found := _FORM.fullmatch(text)) is None:
            raise ValueError(f"{text[:40]!r} is no position: '0/3018AA8' is one")
        return cls((int(found[1], 16) << 32) + int(found[2], 16))


async def position(connection: AsyncConnection) -> Position:
    """Give how far a connection's server is: the primary with all that is committed, a replica with what it shows.

    :raises UnavailableError: the server doesn't answer.
    :raises SQLAlchemyError: the connection is in a transaction, whose own writes are committed later.
    """
    if connection.in_transaction():
        raise exceptions.SQLAlchemyError("The position to wait for is known when the transaction has ended")
    with translated(None):
        [found] = await drivers.records(connection, _STATEMENT)
        await connection.rollback()
    return Position(found["position"])


class _Seen(t.NamedTuple):
    """What the tasks of a request know of what they have to see."""

    writes: int = 0
    counted: int = 0  # of those writes, how many the position shows
    position: Position | None = None


@dataclasses.dataclass(slots=True)
class _Replica:
    engine: AsyncEngine
    rests_until: float = 0.0  # it didn't answer


class Replicas:
    """A primary server, with replicas that are read in its stead, in turn.

    One that doesn't answer is left alone for ``rest`` seconds. ``patience`` is how many seconds a replica has to come
    to where a reader wants it.

    :raises ApplicationError: they aren't PostgreSQL's.
    """

    def __init__(
        self,
        primary: AsyncEngine,
        replicas: collections.abc.Iterable[AsyncEngine],
        *,
        patience: float = 0.1,
        rest: float = 5.0,
    ) -> None:
        self._primary = primary
        self._replicas = [_Replica(engine) for engine in replicas]
        self._patience = patience
        self._rest = rest
        self._turn = 0  # whose turn it is
        for name in {engine.dialect.name for engine in (primary, *self._engines)} - {"postgresql"}:
            raise exceptions.ApplicationError(f"Replicas are PostgreSQL's: of '{name}', nothing tells how far they are")

    async def open(self, after: Position | None = None) -> AsyncConnection:
        """Check out a connection that shows all up to a position: to a replica, or else to the primary.

        A replica that is behind has a moment to catch up, while the others are but asked. Without a position, any
        replica will do, however far behind it is.
        """
        deadline = _now() + self._patience
        for replica in self._in_turn():
            try:
                connection = await _opened(replica.engine, after, deadline)
            except exceptions.UnavailableError as error:
                if isinstance(error.__cause__, exc.TimeoutError):  # its pool's, all of whose connections are in use
                    raise
                replica.rests_until = _now() + self._rest
            else:
                if connection is not None:
                    return connection
        return await drivers.checked_out(self._primary)

    @contextlib.asynccontextmanager
    async def read(self, after: Position | None = None) -> collections.abc.AsyncGenerator[AsyncConnection]:
        """Give a connection that shows all up to a position, for as long as this is open: see :meth:`open`."""
        connection = await self.open(after)
        try:
            yield connection
        finally:
            await finished(drivers.checked_in(connection))

    async def reader(self, after: Position | None = None) -> AsyncConnection:
        """Check out a connection that shows all up to a position, and what this request has written: see :meth:`open`.

        From then on, the request sees nothing older than that position.
        """
        if after is not None:
            self._see(after)
        return await self.open(await self.position())

    def wrote(self) -> None:
        """Note that something was committed, which the tasks of this request are to see."""
        seen = self._seen
        self._seen = seen._replace(writes=seen.writes + 1)

    async def position(self) -> Position | None:
        """Give the position that shows what this request has written and what it waited for; None if that is nothing.

        The primary is asked when it wasn't since the last write.
        """
        writes, counted, _ = self._seen
        if writes > counted:
            reached = await self._reached()
            self._see(reached)
            self._seen = self._seen._replace(counted=max(writes, self._seen.counted))
        return self._seen.position

    @property
    def _seen(self) -> _Seen:
        seen: _Seen = contexts.known().get(self, _Seen())
        return seen

    @_seen.setter
    def _seen(self, seen: _Seen) -> None:
        contexts.known()[self] = seen

    def _see(self, position: Position) -> None:
        seen = self._seen
        if seen.position is None or seen.position < position:
            self._seen = seen._replace(position=position)

    async def _reached(self) -> Position:
        with translated(None):
            connection = await drivers.checked_out(self._primary)
        try:
            return await position(connection)
        finally:
            await finished(drivers.checked_in(connection))

    @property
    def _engines(self) -> list[AsyncEngine]:
        return [replica.engine for replica in self._replicas]

    def _in_turn(self) -> list[_Replica]:
        now = _now()
        self._turn = (self._turn + 1) % max(1, len(self._replicas))
        ordered = self._replicas[self._turn :] + self._replicas[: self._turn]
        return [replica for replica in ordered if replica.rests_until <= now]


async def _opened(engine: AsyncEngine, after: Position | None, deadline: float) -> AsyncConnection | None:
    """Check out a connection to a server that has come to a position before the deadline; None when it has not."""
    with translated(None):
        connection = await drivers.checked_out(engine)
    if after is None:
        return connection
    asking = asyncio.create_task(_reached(connection, after, deadline))
    try:
        await asyncio.wait((asking,), timeout=max(0, deadline - _now()) + _SILENCE)
    except asyncio.CancelledError as error:
        await finished(_given_up(asking, connection), error)
        raise
    if not asking.done():
        # for some drivers it takes long to see that nobody listens to a cancellation either
        given_up = asyncio.create_task(_given_up(asking, connection))
        _given_ups.add(given_up)
        given_up.add_done_callback(_given_ups.discard)
        raise exceptions.UnavailableError(resource="replica", detail=f"it told nothing for {_SILENCE} s")
    if asking.exception() is not None or not asking.result():
        await finished(drivers.checked_in(connection))
        asking.result()
        return None
    return connection


async def _given_up(asking: asyncio.Task[bool], connection: AsyncConnection) -> None:
    asking.cancel()
    await asyncio.wait((asking,))
    await drivers.checked_in(connection)


async def _reached(connection: AsyncConnection, after: Position, deadline: float) -> bool:
    info: dict[str, Position] = t.cast("t.Any", connection.sync_connection).info
    # as long as this connection lives, its server goes forwards only
    if _KNOWN in info and info[_KNOWN] >= after:
        return True
    pause = _PAUSE
    while (known := await position(connection)) < after:
        if _now() >= deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    info[_KNOWN] = known
    return True


def _now() -> float:
    return asyncio.get_running_loop().time()
