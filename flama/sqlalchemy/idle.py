"""The connections of a pool that nobody uses."""

import collections
import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.util import queue

__all__ = ["Idle"]


class Idle(queue.QueueCommon[sa.pool.ConnectionPoolEntry]):
    """Keeps connections for a pool in which one waits for a turn, and so never for a connection.

    One that needed nothing when it was given back may rest: SQLAlchemy's proxy for it, which takes longer to make than
    all else that a pool does, is kept with it.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._kept: collections.deque[sa.pool.ConnectionPoolEntry] = collections.deque()
        self._resting: dict[sa.pool.ConnectionPoolEntry, t.Any] = {}  # their proxies
        self._take = self._kept.pop if use_lifo else self._kept.popleft

    @property
    def next(self) -> sa.pool.ConnectionPoolEntry | None:
        """The one that is given next; None when there is none."""
        return self._kept[-1 if self.use_lifo else 0] if self._kept else None

    def __iter__(self) -> collections.abc.Iterator[sa.pool.ConnectionPoolEntry]:
        """Iterate over all of them, the one that was idle for longest first."""
        return iter(self._kept)

    def qsize(self) -> int:
        """Give how many there are."""
        return len(self._kept)

    def put(self, item: sa.pool.ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:
        """Keep one, however many there are: the pool limits how many it makes, and closes those that are idle."""
        self._kept.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> sa.pool.ConnectionPoolEntry:
        """Give one.

        :raises Empty: there is none.
        """
        if not self._kept:
            raise queue.Empty
        item = self._take()
        self._end_rest(item)
        return item

    def remove(self, item: sa.pool.ConnectionPoolEntry) -> None:
        """Remove this one."""
        self._kept.remove(item)
        self._end_rest(item)

    def rest(self, proxy: t.Any) -> None:
        """Keep a connection with its proxy."""
        item = proxy._connection_record
        self.put(item)
        self._resting[item] = proxy

    def wake(self, item: sa.pool.ConnectionPoolEntry) -> t.Any:
        """Return the proxy of the connection that is given next, and take that; None if it isn't kept with one."""
        proxy = self._resting.pop(item, None)
        if proxy is not None:
            self._take()
        return proxy

    def _end_rest(self, item: sa.pool.ConnectionPoolEntry) -> None:
        if (proxy := self._resting.pop(item, None)) is not None:
            _end(proxy)


def _end(proxy: t.Any) -> None:
    """Let a proxy stand for its connection no more, as SQLAlchemy does it."""
    proxy._finalizer.detach()
    proxy._connection_record.fairy_ref = None
    proxy.dbapi_connection = proxy._connection_record = None
