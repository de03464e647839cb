"""Reads from PostgreSQL's replicas that see a request's earlier writes."""

import asyncio
import collections.abc
import contextlib
import dataclasses
import re
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flama import _request_context, exceptions
from flama._shielding import shield
from flama.sqlalchemy import drivers
from flama.sqlalchemy.errors import translate_errors
from flama.sqlalchemy.sql.statements import Statement

__all__ = ["LogPosition", "Replicas", "position"]

_FORM: t.Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", re.ASCII)
_KNOWN: t.Final = "flama.position"
_SILENCE: t.Final = 1.0  # seconds without a response after which a replica counts as unavailable
_PAUSE: t.Final = 0.001  # seconds between two queries of the position, doubled after each
_LONGEST_PAUSE: t.Final = 0.02

_cancellations: set[asyncio.Task[None]] = set()  # the loop itself holds tasks by weak references only

# Replicas get what was inserted into the log once it is flushed. That happens before COMMIT returns, unless
# synchronous_commit is off. When the log ends with a page, the insert position is after the next page's header of 24
# bytes. No replica gets there before there is a record, and no commit's record is that short.
_POSITION: t.Final = """
CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn() - '0/0', 0) ELSE (
    SELECT CASE WHEN inserted - flushed < 40 THEN flushed ELSE inserted END - '0/0' FROM (
        SELECT pg_current_wal_insert_lsn() AS inserted, pg_current_wal_flush_lsn() AS flushed OFFSET 0
    ) AS ends
) END
"""


def _select_position() -> sa.Select[t.Any]:
    return sa.select(sa.cast(sa.literal_column(_POSITION), sa.BigInteger).label("position"))


_STATEMENT: t.Final = Statement((_KNOWN,), (), _select_position, (), ("position",))


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class LogPosition:
    """A position in PostgreSQL's write-ahead log: a server at this position or later shows all writes up to it.

    Its string is PostgreSQL's own (``0/3018AA8``), fit for a header, a cookie or a session.
    """

    offset: int

    def __str__(self) -> str:
        return f"{self.offset >> 32:X}/{self.offset & 0xFFFFFFFF:X}"

    @classmethod
    def parse(cls, text: str) -> t.Self:
        """Return the position with this string.

        :raises ValueError: the string is no position.
        """
        if (found := _FORM.fullmatch(text)) is None:
            raise ValueError(f"{text[:40]!r} is no position: '0/3018AA8' is one")
        return cls((int(found[1], 16) << 32) + int(found[2], 16))


async def position(connection: AsyncConnection) -> LogPosition:
    """Return the position of a connection's server: of all commits on a primary, of the replayed ones on a replica.

    :raises UnavailableError: the server doesn't respond.
    :raises SQLAlchemyError: the connection is in a transaction, whose own writes are committed later.
    """
    if connection.in_transaction():
        raise exceptions.SQLAlchemyError("The position to wait for is known when the transaction has ended")
    with translate_errors(None):
        [found] = await drivers.fetch_records(connection, _STATEMENT)
        await connection.rollback()
    return LogPosition(found["position"])


class _ReadYourWrites(t.NamedTuple):
    """The position that reads of a request must see, shared by its tasks."""

    writes: int = 0
    counted: int = 0  # the number of those writes that the position includes
    position: LogPosition | None = None


@dataclasses.dataclass(slots=True)
class _Replica:
    engine: AsyncEngine
    rests_until: float = 0.0  # set when it didn't respond


class Replicas:
    """A primary server with replicas that serve reads in turn.

    A replica that doesn't respond is skipped for ``rest`` seconds. ``patience`` is the number of seconds that replicas
    have to reach a reader's position.

    :raises ApplicationError: the servers aren't PostgreSQL's.
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

    async def open(self, after: LogPosition | None = None) -> AsyncConnection:
        """Check out a connection that shows all writes up to a position: to a replica, or else to the primary.

        Replicas that are behind have ``patience`` seconds in all to catch up; then each of the others is checked once.
        Without a position, any replica serves, however far behind it is.
        """
        deadline = _now() + self._patience
        for replica in self._rotate():
            try:
                connection = await _open_caught_up(replica.engine, after, deadline)
            except exceptions.UnavailableError as error:
                if isinstance(error.__cause__, exc.TimeoutError):  # the pool's: all of its connections are in use
                    raise
                replica.rests_until = _now() + self._rest
            else:
                if connection is not None:
                    return connection
        return await drivers.checkout(self._primary)

    @contextlib.asynccontextmanager
    async def read(self, after: LogPosition | None = None) -> collections.abc.AsyncGenerator[AsyncConnection]:
        """Yield a connection that shows all writes up to a position, then return it to the pool: see :meth:`open`."""
        connection = await self.open(after)
        try:
            yield connection
        finally:
            await shield(drivers.checkin(connection))

    async def open_for_request(self, after: LogPosition | None = None) -> AsyncConnection:
        """Check out a connection that shows all writes up to a position, and those of this request: see :meth:`open`.

        From then on, the request reads nothing older than that position.
        """
        if after is not None:
            self._require_position(after)
        return await self.open(await self.position())

    def mark_write(self) -> None:
        """Record a commit that later reads of this request must see."""
        seen = self._request_state
        self._request_state = seen._replace(writes=seen.writes + 1)

    async def position(self) -> LogPosition | None:
        """Return the position that includes this request's writes and all it has waited for, None without any.

        It queries the primary if the request has written since the last query.
        """
        writes, counted, _ = self._request_state
        if writes > counted:
            reached = await self._fetch_primary_position()
            self._require_position(reached)
            self._request_state = self._request_state._replace(counted=max(writes, self._request_state.counted))
        return self._request_state.position

    @property
    def _request_state(self) -> _ReadYourWrites:
        seen: _ReadYourWrites = _request_context.get_state().get(self, _ReadYourWrites())
        return seen

    @_request_state.setter
    def _request_state(self, seen: _ReadYourWrites) -> None:
        _request_context.get_state()[self] = seen

    def _require_position(self, position: LogPosition) -> None:
        seen = self._request_state
        if seen.position is None or seen.position < position:
            self._request_state = seen._replace(position=position)

    async def _fetch_primary_position(self) -> LogPosition:
        with translate_errors(None):
            connection = await drivers.checkout(self._primary)
        try:
            return await position(connection)
        finally:
            await shield(drivers.checkin(connection))

    @property
    def _engines(self) -> list[AsyncEngine]:
        return [replica.engine for replica in self._replicas]

    def _rotate(self) -> list[_Replica]:
        now = _now()
        self._turn = (self._turn + 1) % max(1, len(self._replicas))
        ordered = self._replicas[self._turn :] + self._replicas[: self._turn]
        return [replica for replica in ordered if replica.rests_until <= now]


async def _open_caught_up(engine: AsyncEngine, after: LogPosition | None, deadline: float) -> AsyncConnection | None:
    """Check out a connection to a server that reaches a position before the deadline; return None if it doesn't."""
    with translate_errors(None):
        connection = await drivers.checkout(engine)
    if after is None:
        return connection
    asking = asyncio.create_task(_wait_for_position(connection, after, deadline))
    try:
        await asyncio.wait((asking,), timeout=max(0, deadline - _now()) + _SILENCE)
    except asyncio.CancelledError as error:
        await shield(_cancel_and_checkin(asking, connection), error)
        raise
    if not asking.done():
        # some drivers take long to notice that the server doesn't respond to a cancellation either
        given_up = asyncio.create_task(_cancel_and_checkin(asking, connection))
        _cancellations.add(given_up)
        given_up.add_done_callback(_cancellations.discard)
        raise exceptions.UnavailableError(resource="replica", detail=f"it told nothing for {_SILENCE} s")
    if asking.exception() is not None or not asking.result():
        await shield(drivers.checkin(connection))
        asking.result()
        return None
    return connection


async def _cancel_and_checkin(asking: asyncio.Task[bool], connection: AsyncConnection) -> None:
    asking.cancel()
    await asyncio.wait((asking,))
    await drivers.checkin(connection)


async def _wait_for_position(connection: AsyncConnection, after: LogPosition, deadline: float) -> bool:
    info: dict[str, LogPosition] = t.cast("t.Any", connection.sync_connection).info
    # during a connection's lifetime, its server's position only increases
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
