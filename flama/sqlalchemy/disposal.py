"""Closing all connections of an engine, within a time limit."""

import asyncio
import collections.abc
import contextlib
import logging
import typing as t

from sqlalchemy.ext.asyncio import AsyncEngine

from flama.sqlalchemy.pool import FairPool

__all__ = ["disposed"]

_GRACE: t.Final = 1.0  # seconds, for who holds a connection to give it back
_LIMIT: t.Final = 5.0  # for the server to take leave
_NOTICE: t.Final = 0.5  # for who holds a connection that was ended to be told so

_logger = logging.getLogger("flama.sqlalchemy")


async def disposed(engine: AsyncEngine) -> None:
    """Close every connection of an engine, be the server silent, those too that somebody holds."""
    pool = engine.pool
    if isinstance(pool, FairPool):
        await _within(_GRACE, pool.all_returned())
        if holders := pool.holders:
            for holder in holders:
                _logger.warning("A connection was not given back before the shutdown, and is closed: %s", holder)
            pool.hang_up()
            await _within(_NOTICE, pool.all_returned())
        await _within(_LIMIT, pool.close())
    await _within(_LIMIT, engine.dispose())


async def _within(limit: float, waiting: collections.abc.Coroutine[t.Any, t.Any, None]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            await waiting
