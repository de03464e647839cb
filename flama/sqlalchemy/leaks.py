"""A warning of connections that are held for longer than they should be."""

import asyncio
import logging
import time
import typing as t

from sqlalchemy.ext.asyncio import AsyncEngine

from flama.sqlalchemy.pool import FairPool

__all__ = ["Watch"]

_logger = logging.getLogger("flama.sqlalchemy")


class Watch:
    """Warns once of each connection of an engine that is held for more than ``limit`` seconds, until it is stopped.

    It looks at the pool now and then, so that who takes a connection pays nothing; the warning comes late by half of
    the limit at most.
    """

    def __init__(self, engine: AsyncEngine, limit: float) -> None:
        self._engine = engine
        self._limit = limit
        self._looked = time.monotonic()
        self._next = self._later()

    def stop(self) -> None:
        """Look no more."""
        self._next.cancel()

    def _later(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._limit / 2, self._look)

    def _look(self) -> None:
        before, self._looked = self._looked, time.monotonic()
        for holder in t.cast(FairPool, self._engine.pool).holders:
            if before < holder.since + self._limit <= self._looked:
                _logger.warning("A connection is held for more than %s s: %s", self._limit, holder)
        self._next = self._later()
