"""What lies under a pool's connection: its line to the server."""

import collections.abc
import contextlib
import os
import select
import socket
import typing as t

__all__ = ["Line"]

# Seconds: who was used that lately isn't looked at, as no server goes and is back in less.
_LATELY: t.Final = 0.01
# What the server sent before it hung up, such as why, may still be there to be read: readable tells nothing.
_EVENTS: t.Final = getattr(select, "POLLRDHUP", 0)

_IsOpen: t.TypeAlias = collections.abc.Callable[[], bool]


class _Driver(t.NamedTuple):
    descriptor: collections.abc.Callable[[t.Any], int]  # of the socket
    is_open: collections.abc.Callable[[t.Any], _IsOpen]  # returns what asks the driver
    finish: collections.abc.Callable[[t.Any], None]  # closes without waiting for anything


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


class Line:
    """The line of a connection that a driver has made; of one by a driver that isn't known here, nothing is known."""

    __slots__ = ("_connection", "_descriptor", "_finish", "_is_open", "_poll", "expires", "idle_since")

    def __init__(self, driver: str, connection: t.Any, now: float, expires: float) -> None:
        self.idle_since = now
        self.expires = expires  # the time after which the connection is replaced, by the clock of idle_since
        known = _DRIVERS.get(driver, _OTHER)
        self._connection = connection
        self._is_open = known.is_open(connection)
        self._finish = known.finish
        self._descriptor = known.descriptor(connection)  # as long as it isn't closed: then it is another's
        self._poll: t.Any = None
        if self._descriptor >= 0 and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._descriptor, _EVENTS)  # an error, and the end of both sides, are always told

    def is_lost(self, now: float) -> bool:
        """Whether the server is known to have hung up; it isn't asked."""
        if not self._is_open():
            return True
        return self._poll is not None and now - self.idle_since > _LATELY and bool(self._poll.poll(0))

    def hang_up(self) -> None:
        """End both sides: who waits for the server has an error.

        To cancel a driver doesn't do, as it then tells the server so, and waits for that; to close what another waits
        for doesn't either, as the loop takes the next that is opened for it.
        """
        if self._descriptor >= 0 and self._is_open():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as line:
                line.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Close it without waiting for anything."""
        self._finish(self._connection)
