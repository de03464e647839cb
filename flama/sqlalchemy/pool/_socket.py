"""The socket of a pool's connection to the server."""

import collections.abc
import contextlib
import os
import select
import socket
import typing as t

__all__ = ["ConnectionSocket"]

# Seconds: connections used more recently aren't checked, as no server restarts in less time.
_LATELY: t.Final = 0.01
# Unread data, such as the server's reason for hanging up, may be left: being readable doesn't mean it is open.
_EVENTS: t.Final = getattr(select, "POLLRDHUP", 0)

_IsOpen: t.TypeAlias = collections.abc.Callable[[], bool]


class _Driver(t.NamedTuple):
    descriptor: collections.abc.Callable[[t.Any], int]  # of the socket
    is_open: collections.abc.Callable[[t.Any], _IsOpen]  # returns a function that queries the driver
    finish: collections.abc.Callable[[t.Any], None]  # closes without waiting


def _of_transport(connection: t.Any) -> int:
    return int(connection._transport.get_extra_info("socket").fileno())


_DRIVERS: t.Final = {
    "asyncmy": _Driver(
        _of_transport,
        lambda connection: lambda: not connection._stream_broken,
        lambda connection: connection.close(),
    ),
    "asyncpg": _Driver(
        _of_transport,
        lambda connection: t.cast(_IsOpen, connection._protocol.is_connected),
        lambda connection: connection.terminate(),
    ),
    "psycopg": _Driver(
        lambda connection: int(connection.fileno()),
        lambda connection: lambda: not connection.closed,
        lambda connection: connection.pgconn.finish(),
    ),
}
_OTHER: t.Final = _Driver(lambda connection: -1, lambda connection: lambda: True, lambda connection: None)


class ConnectionSocket:
    """The socket of a driver's connection; for an unknown driver, it is never lost and the methods do nothing."""

    __slots__ = ("_connection", "_descriptor", "_finish", "_is_open", "_poll", "expires", "idle_since")

    def __init__(self, driver: str, connection: t.Any, now: float, expires: float) -> None:
        self.idle_since = now
        self.expires = expires  # the time after which the connection is replaced, by the clock of idle_since
        known = _DRIVERS.get(driver, _OTHER)
        self._connection = connection
        self._is_open = known.is_open(connection)
        self._finish = known.finish
        self._descriptor = known.descriptor(connection)  # valid until closed: then another socket may get it
        self._poll: t.Any = None
        if self._descriptor >= 0 and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._descriptor, _EVENTS)  # errors and hang-ups are always reported

    def is_lost(self, now: float) -> bool:
        """Whether the server is known to have hung up; this sends nothing to the server."""
        if not self._is_open():
            return True
        return self._poll is not None and now - self.idle_since > _LATELY and bool(self._poll.poll(0))

    def hang_up(self) -> None:
        """Shut down both directions: tasks that wait for the server get an error.

        Cancelling the driver isn't enough: it sends a cancel request to the server, and waits for that. Closing a
        socket that another task waits on isn't safe either: the loop mistakes the next socket opened for it.
        """
        if self._descriptor >= 0 and self._is_open():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as line:
                line.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Close the connection without waiting for anything."""
        self._finish(self._connection)
