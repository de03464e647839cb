"""The connections of a pool that nobody uses."""

import collections

import sqlalchemy as sa
from sqlalchemy.util import queue

__all__ = ["Idle"]


class Idle(queue.QueueCommon[sa.pool.ConnectionPoolEntry]):
    """Keeps connections for a pool in which one waits for a turn, and so never for a connection."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._kept: collections.deque[sa.pool.ConnectionPoolEntry] = collections.deque()
        self._take = self._kept.pop if use_lifo else self._kept.popleft

    @property
    def next(self) -> sa.pool.ConnectionPoolEntry:
        """The one that is given next; there has to be one."""
        return self._kept[-1 if self.use_lifo else 0]

    def qsize(self) -> int:
        """Give how many there are."""
        return len(self._kept)

    def put(self, item: sa.pool.ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:
        """Keep one.

        :raises Full: there are as many as may be.
        """
        if 0 < self.maxsize <= len(self._kept):
            raise queue.Full
        self._kept.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> sa.pool.ConnectionPoolEntry:
        """Give one.

        :raises Empty: there is none.
        """
        if not self._kept:
            raise queue.Empty
        return self._take()
