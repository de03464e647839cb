"""What is asked of a server beside statements: a new connection, a sign of life on an old one."""

import asyncio
import collections.abc
import typing as t

from sqlalchemy.util.concurrency import greenlet_spawn

from flama.sqlalchemy.lines import Line
from flama.tasks import outlast

__all__ = ["answers", "made"]

_LIMIT: t.Final = 2.0  # seconds, after which a server that gives no sign of life is taken to be gone
_NOTICE: t.Final = 0.5  # for a driver to see that its connection was ended

_discards: set[asyncio.Task[t.Any]] = set()  # the loop itself holds tasks by weak references only


async def made(create: collections.abc.Callable[[], t.Any], limit: float) -> t.Any:
    """Give what ``create`` makes, in a greenlet, within ``limit`` seconds.

    Drivers that are cancelled half-way leave sockets and failed futures behind: if the caller is cancelled, the
    connection is made all the same, and closed.

    :raises TimeoutError: it took longer.
    """
    making = asyncio.create_task(asyncio.wait_for(greenlet_spawn(create), limit))
    try:
        await outlast((making,))
    except asyncio.CancelledError:
        if making.exception() is None:
            _discard(making.result())
        raise
    return making.result()


def _discard(connection: t.Any) -> None:
    discarding = asyncio.create_task(greenlet_spawn(getattr(connection, "terminate", connection.close)))
    _discards.add(discarding)
    discarding.add_done_callback(_discards.discard)


async def answers(dialect: t.Any, connection: t.Any, line: Line) -> bool:
    """Tell whether the server answers on a connection; one on which it doesn't is hung up."""
    ping = asyncio.create_task(greenlet_spawn(dialect.do_ping, connection))
    ping.add_done_callback(_noticed)
    try:
        await asyncio.wait((ping,), timeout=_LIMIT)
    finally:
        if not ping.done():
            line.hang_up()
            await outlast((ping,), _NOTICE)
            ping.cancel()  # if it waits nevertheless
    try:
        return ping.done() and bool(ping.result())
    except (OSError, dialect.loaded_dbapi.Error):
        return False


def _noticed(task: asyncio.Task[t.Any]) -> None:
    if not task.cancelled():
        task.exception()  # nobody may be there any more to take it
