"""Requests to a server other than statements: opening a connection, checking that an old one is alive."""

import asyncio
import collections.abc
import typing as t

from sqlalchemy.util.concurrency import greenlet_spawn

from flama._shielding import wait_uncancelled
from flama.sqlalchemy.pool._socket import ConnectionSocket

__all__ = ["connect", "ping"]

_LIMIT: t.Final = 2.0  # seconds without a response, after which a server is considered gone
_NOTICE: t.Final = 0.5  # seconds for a driver to notice that its connection was ended

_discards: set[asyncio.Task[t.Any]] = set()  # the loop itself holds tasks by weak references only


async def connect(create: collections.abc.Callable[[], t.Any], limit: float) -> t.Any:
    """Return the result of ``create``, run in a greenlet, within ``limit`` seconds.

    Drivers that are cancelled halfway leave sockets and failed futures behind. If the caller is cancelled, the
    connection is therefore still made, and then closed.

    :raises TimeoutError: it took longer.
    """
    making = asyncio.create_task(asyncio.wait_for(greenlet_spawn(create), limit))
    try:
        await wait_uncancelled((making,))
    except asyncio.CancelledError:
        if making.exception() is None:
            _discard(making.result())
        raise
    return making.result()


def _discard(connection: t.Any) -> None:
    discarding = asyncio.create_task(greenlet_spawn(getattr(connection, "terminate", connection.close)))
    _discards.add(discarding)
    discarding.add_done_callback(_discards.discard)


async def ping(dialect: t.Any, connection: t.Any, line: ConnectionSocket) -> bool:
    """Return whether the server responds on a connection, and hang up if it doesn't."""
    ping = asyncio.create_task(greenlet_spawn(dialect.do_ping, connection))
    ping.add_done_callback(_consume_exception)
    try:
        await asyncio.wait((ping,), timeout=_LIMIT)
    finally:
        if not ping.done():
            line.shutdown()
            await wait_uncancelled((ping,), _NOTICE)
            ping.cancel()  # in case it still waits
    try:
        return ping.done() and bool(ping.result())
    except (OSError, dialect.loaded_dbapi.Error):
        return False


def _consume_exception(task: asyncio.Task[t.Any]) -> None:
    if not task.cancelled():
        task.exception()  # the caller that would have retrieved it may be gone
