"""The idle connections of a pool."""

import collections
import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.util import queue

from flama._private import sqlalchemy as private

__all__ = ["IdleQueue"]


class IdleQueue(queue.QueueCommon[sa.pool.ConnectionPoolEntry]):
    """A queue of idle connections for a pool whose tasks wait for slots, and so never for a connection.

    A connection that needed nothing on return may be stored together with SQLAlchemy's proxy for it. Creating that
    proxy takes longer than everything else that a pool does: 31 % more instructions of a unit that reads one record.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._kept: collections.deque[sa.pool.ConnectionPoolEntry] = collections.deque()
        self._resting: dict[sa.pool.ConnectionPoolEntry, t.Any] = {}  # their proxies
        self._take = self._kept.pop if use_lifo else self._kept.popleft

    @property
    def next(self) -> sa.pool.ConnectionPoolEntry | None:
        """The connection that :meth:`get` returns next; None when there is none."""
        return self._kept[-1 if self.use_lifo else 0] if self._kept else None

    def __iter__(self) -> collections.abc.Iterator[sa.pool.ConnectionPoolEntry]:
        """Iterate over all idle connections, longest idle first."""
        return iter(self._kept)

    def qsize(self) -> int:
        """Return the number of idle connections."""
        return len(self._kept)

    def put(self, item: sa.pool.ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:
        """Add a connection without a limit: the pool limits how many it makes, and closes idle ones."""
        self._kept.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> sa.pool.ConnectionPoolEntry:
        """Remove and return the next connection.

        :raises Empty: there is none.
        """
        if not self._kept:
            raise queue.Empty
        item = self._take()
        self._end_rest(item)
        return item

    def remove(self, item: sa.pool.ConnectionPoolEntry) -> None:
        """Remove this connection."""
        self._kept.remove(item)
        self._end_rest(item)

    def park(self, item: sa.pool.ConnectionPoolEntry, proxy: t.Any) -> None:
        """Add a connection together with its proxy."""
        self._kept.append(item)
        self._resting[item] = proxy

    def unpark(self, item: sa.pool.ConnectionPoolEntry) -> t.Any:
        """Remove the next connection and return its proxy; None, removing nothing, if it has no proxy."""
        proxy = self._resting.pop(item, None)
        if proxy is not None:
            self._take()
        return proxy

    def _end_rest(self, item: sa.pool.ConnectionPoolEntry) -> None:
        if (proxy := self._resting.pop(item, None)) is not None:
            private.end_proxy(proxy)
