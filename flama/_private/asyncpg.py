"""The private parts of asyncpg that are used here; in a version without them, SQLAlchemy runs all statements."""

import collections.abc
import typing as t

from asyncpg.connection import Connection
from asyncpg.cursor import CursorIterator
from asyncpg.prepared_stmt import PreparedStatement
from asyncpg.protocol import Protocol
from asyncpg.transaction import Transaction, TransactionState

from flama._private import Private, exist

__all__ = [
    "HAS",
    "NAMES",
    "begin_silently",
    "close_portal",
    "descriptor",
    "end_silently",
    "execute",
    "fetch",
    "has_portal",
    "is_begun",
    "is_exhausted",
    "queries_sent",
    "transport",
]

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "cursors": (
        Private(CursorIterator, "_bind_exec", "SQLAlchemy runs all statements. See PreparedStatement.cursor()."),
        Private(CursorIterator, "_close_portal", "The same."),
        Private(CursorIterator, "_exec", "The same."),
        Private(CursorIterator, "_exhausted", "The same."),
        Private(CursorIterator, "_portal_name", "The same."),
    ),
    "messages": (
        Private(Connection, "_protocol", "SQLAlchemy runs all statements. See Connection.execute()."),
        Private(Connection, "_top_xact", "The same. See Transaction.start()."),
        Private(Connection, "_transport", "The same. See asyncpg.connect()."),
        Private(PreparedStatement, "_state", "The same. See PreparedStatement.fetch()."),
        Private(Protocol, "bind_execute", "The same."),
        Private(Protocol, "queries_count", "The same. See Connection.execute()."),
        Private(Transaction, "_state", "The same. See Transaction.start()."),
    ),
}
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


def transport(connection: t.Any) -> t.Any:
    """Return the transport of a connection."""
    return connection._transport


def descriptor(connection: t.Any) -> int:
    """Return the file descriptor of a connection's socket; -1 if it isn't known."""
    return int(connection._transport.get_extra_info("socket").fileno()) if HAS["messages"] else -1


def queries_sent(connection: t.Any) -> int:
    """Return the number of queries that a connection has sent."""
    return int(connection._protocol.queries_count)


def is_begun(connection: t.Any) -> bool:
    """Return whether a transaction has begun: by a command, or by asyncpg, which may not have sent it yet."""
    return connection._top_xact is not None or bool(connection._protocol.is_in_transaction())


def begin_silently(connection: t.Any, transaction: t.Any) -> None:
    """Record the beginning of a transaction as its start() does, which would also run the command."""
    connection._top_xact = transaction
    transaction._state = TransactionState.STARTED


def end_silently(connection: t.Any) -> None:
    """Record the end of the transaction."""
    connection._top_xact = None


def execute(
    connection: t.Any, statement: t.Any, arguments: t.Any
) -> collections.abc.Awaitable[tuple[list[t.Any], bytes, bool]]:
    """Run a prepared statement, and return its rows and its status: the core of its fetch(), without its overhead.

    That is 13 % of a read within a unit of work.
    """
    result: collections.abc.Awaitable[tuple[list[t.Any], bytes, bool]]
    result = connection._protocol.bind_execute(statement._state, arguments, "", 0, True, None)
    return result


def is_exhausted(cursor: t.Any) -> bool:
    """Return whether a cursor has no more rows."""
    return bool(cursor._exhausted)


async def fetch(cursor: t.Any, number: int) -> list[t.Any]:
    """Return the next rows of a cursor; the first time, this runs its statement, in the same round trip."""
    rows: list[t.Any] = await (cursor._exec if cursor._portal_name else cursor._bind_exec)(number, None)
    # asyncpg mistakes the completion of the commands sent ahead for the end of the statement's rows
    cursor._exhausted = len(rows) < number
    return rows


def has_portal(cursor: t.Any) -> bool:
    """Return whether a cursor is open on the server."""
    return HAS["cursors"] and bool(cursor._portal_name)


async def close_portal(cursor: t.Any) -> None:
    """Close a cursor on the server."""
    await cursor._close_portal(None)
