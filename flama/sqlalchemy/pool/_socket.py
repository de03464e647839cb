"""The socket of a pool's connection to the server."""

import collections.abc
import contextlib
import functools
import operator
import os
import select
import socket
import typing as t

__all__ = ["ConnectionSocket"]

# Seconds: connections used more recently aren't checked, as no server restarts in less time.
_LATELY: t.Final = 0.01
# Unread data, such as the server's reason for hanging up, may be left: being readable doesn't mean it is open.
_EVENTS: t.Final = getattr(select, "POLLRDHUP", 0)


class _Driver(t.NamedTuple):
    descriptor: collections.abc.Callable[[t.Any], int]  # of the socket
    is_closed: collections.abc.Callable[[t.Any], bool]
    finish: collections.abc.Callable[[t.Any], None]  # closes without waiting


@functools.cache
def _driver(name: str) -> _Driver:
    # each driver is installed only with its database's extra
    match name:
        case "asyncmy":
            from flama._private import asyncmy  # noqa: PLC0415

            return _Driver(asyncmy.descriptor, asyncmy.is_closed, lambda connection: connection.close())
        case "asyncpg":
            import asyncpg  # noqa: PLC0415

            from flama._private import asyncpg as private  # noqa: PLC0415

            return _Driver(
                private.descriptor,
                asyncpg.Connection.is_closed,
                asyncpg.Connection.terminate,
            )
        case "psycopg":
            return _Driver(
                lambda connection: int(connection.fileno()),
                operator.attrgetter("closed"),
                lambda connection: connection.pgconn.finish(),
            )
    return _Driver(lambda connection: -1, lambda connection: False, lambda connection: None)


class ConnectionSocket:
    """The socket of a driver's connection; for an unknown driver, it is never lost and the methods do nothing."""

    __slots__ = ("_connection", "_descriptor", "_finish", "_is_closed", "_poll", "expires", "idle_since")

    def __init__(self, driver: str, connection: t.Any, now: float, expires: float) -> None:
        self.idle_since = now
        self.expires = expires  # the time after which the connection is replaced, by the clock of idle_since
        known = _driver(driver)
        self._connection = connection
        self._is_closed = known.is_closed
        self._finish = known.finish
        self._descriptor = known.descriptor(connection)  # valid until closed: then another socket may get it
        self._poll: t.Any = None
        if self._descriptor >= 0 and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._descriptor, _EVENTS)  # errors and hang-ups are always reported

    def is_closed_by_peer(self, now: float) -> bool:
        """Whether the server is known to have hung up; this sends nothing to the server."""
        if self._is_closed(self._connection):
            return True
        return self._poll is not None and now - self.idle_since > _LATELY and bool(self._poll.poll(0))

    def shutdown(self) -> None:
        """Shut down both directions: tasks that wait for the server get an error.

        Cancelling the driver isn't enough: it sends a cancel request to the server, and waits for that. Closing a
        socket that another task waits on isn't safe either: the loop mistakes the next socket opened for it.
        """
        if self._descriptor >= 0 and not self._is_closed(self._connection):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as line:
                line.shutdown(socket.SHUT_RDWR)

    def terminate(self) -> None:
        """Close the connection without waiting for anything."""
        self._finish(self._connection)
