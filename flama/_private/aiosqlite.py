"""The private parts of aiosqlite that are used here; in a version without them, SQLAlchemy runs all statements."""

import asyncio
import collections.abc
import functools
import typing as t

import aiosqlite

from flama._private import Private, exist

__all__ = ["HAS", "NAMES", "call", "call_nowait", "make_daemon"]

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "calls": (
        Private(aiosqlite.Connection, "_conn", "SQLAlchemy runs all statements. See aiosqlite's Cursor."),
        Private(aiosqlite.Connection, "_execute", "The same."),
    ),
    "queue": (
        Private(aiosqlite.Connection, "_connection", "None but time: each call takes a coroutine of _execute()."),
        Private(aiosqlite.Connection, "_running", "The same."),
        Private(aiosqlite.Connection, "_tx", "The same."),
    ),
    "threads": (
        Private(aiosqlite.Connection, "_thread", "A connection that isn't closed keeps the process from ending."),
    ),
    "renewal": (
        Private(aiosqlite.Connection, "_connection", "None: sqlite.py overrides stop(), which SQLAlchemy calls."),
        Private(aiosqlite.Connection, "_tx", "None: the same."),
    ),
}  # fmt: skip
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


def call(
    connection: t.Any, function: collections.abc.Callable[..., t.Any], *args: t.Any
) -> collections.abc.Coroutine[t.Any, t.Any, t.Any]:
    """Call a function in a connection's thread, with sqlite3's connection, and return a coroutine of the result."""
    called: collections.abc.Coroutine[t.Any, t.Any, t.Any] = connection._execute(function, connection._conn, *args)
    return called


def call_nowait(
    connection: t.Any, function: collections.abc.Callable[..., t.Any], *args: t.Any
) -> collections.abc.Awaitable[t.Any]:
    """Call a function as :func:`call` does, without a coroutine, which takes 4 % of a read by its key."""
    if not HAS["queue"]:
        return call(connection, function, *args)
    if not connection._running or connection._connection is None:
        raise ValueError("Connection closed")
    future: asyncio.Future[t.Any] = asyncio.get_running_loop().create_future()
    connection._tx.put_nowait((future, functools.partial(function, connection._connection, *args)))
    return future


def make_daemon(connection: t.Any) -> None:
    """Make a connection's thread end with the process, even if the connection isn't closed."""
    if HAS["threads"]:
        connection._thread.daemon = True
