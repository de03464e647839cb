"""The private parts of psycopg that are used here, and what takes their place in a version without them."""

import typing as t

import psycopg

from flama._private import Private, exist

__all__ = ["HAS", "NAMES", "discard", "execute_alone"]

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "autocommit": (
        Private(psycopg.AsyncCursor, "_execute_gen", "A read takes two more round trips: see AsyncCursor.execute()."),
        Private(psycopg.AsyncConnection, "_autocommit", "The same: see AsyncConnection.set_autocommit()."),
    ),
    "cursors": (
        Private(psycopg.AsyncServerCursor, "_close", "A cursor that is lost with its connection warns when collected."),
    ),
}  # fmt: skip
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


async def execute_alone(connection: t.Any, sql: str, arguments: t.Any, *, prepare: bool | None) -> t.Any:
    """Run a statement in a transaction of its own, and return its cursor.

    This saves the round trips of BEGIN and ROLLBACK. The connection's lock is held for the whole, as the statement of
    another task may begin a transaction; set_autocommit() would release it in between.
    """
    if not HAS["autocommit"]:
        return await connection.execute(sql, arguments, prepare=prepare)
    cursor, autocommit = connection.cursor(), connection._autocommit
    async with connection.lock:
        connection._autocommit = True
        try:
            await connection.wait(cursor._execute_gen(sql, arguments, prepare=prepare))
        finally:
            connection._autocommit = autocommit
    return cursor


def discard(cursor: t.Any) -> None:
    """Record that a cursor is closed, without waiting for the server."""
    if HAS["cursors"]:
        cursor._close()
