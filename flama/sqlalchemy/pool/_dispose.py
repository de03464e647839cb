"""Closing all connections of an engine, within a time limit."""

import asyncio
import collections.abc
import contextlib
import logging
import typing as t

from sqlalchemy.ext.asyncio import AsyncEngine

from flama.sqlalchemy.pool._fair_pool import FairPool

__all__ = ["dispose"]

_GRACE: t.Final = 1.0  # seconds for tasks to return the connections in use
_LIMIT: t.Final = 5.0  # seconds for the server to close its side
_NOTICE: t.Final = 0.5  # seconds for tasks to notice that their connection was ended

_logger = logging.getLogger("flama.sqlalchemy")


async def dispose(engine: AsyncEngine) -> None:
    """Close every connection of an engine, including those in use, even when the server doesn't respond."""
    pool = engine.pool
    if isinstance(pool, FairPool):
        await _within(_GRACE, pool.wait_for_returns())
        if holders := pool.holders:
            for holder in holders:
                _logger.warning("A connection was not given back before the shutdown, and is closed: %s", holder)
            pool.hang_up()
            await _within(_NOTICE, pool.wait_for_returns())
        await _within(_LIMIT, pool.close())
    await _within(_LIMIT, engine.dispose())


async def _within(limit: float, waiting: collections.abc.Coroutine[t.Any, t.Any, None]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            await waiting
