"""A warning for connections that are in use for too long."""

import asyncio
import logging
import time
import typing as t

from sqlalchemy.ext.asyncio import AsyncEngine

from flama.sqlalchemy.pool._fair_pool import FairPool

__all__ = ["LeakDetector"]

_logger = logging.getLogger("flama.sqlalchemy")


class LeakDetector:
    """A timer that warns once for each connection in use for more than ``limit`` seconds, until it is stopped.

    It checks the engine's pool periodically, so that a checkout costs nothing extra. The warning is late by at most
    half of the limit.
    """

    def __init__(self, engine: AsyncEngine, limit: float) -> None:
        self._engine = engine
        self._limit = limit
        self._looked = time.monotonic()
        self._next = self._later()

    def stop(self) -> None:
        """Stop checking."""
        self._next.cancel()

    def _later(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._limit / 2, self._look)

    def _look(self) -> None:
        before, self._looked = self._looked, time.monotonic()
        for holder in t.cast(FairPool, self._engine.pool).holders:
            if before < holder.since + self._limit <= self._looked:
                _logger.warning("A connection is held for more than %s s: %s", self._limit, holder)
        self._next = self._later()
