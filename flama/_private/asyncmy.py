"""The private parts of asyncmy that are used here, and what takes their place in a version without them."""

import typing as t

from asyncmy.connection import Connection

from flama._private import Private, exist

__all__ = ["HAS", "NAMES", "descriptor", "encoders", "is_closed"]

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "transport": (
        Private(Connection, "_stream_broken", "A connection that the server has closed is noticed by the statement."),
        Private(Connection, "_transport", "The same."),
    ),
}  # fmt: skip
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


def encoders(connection: t.Any) -> dict[type, t.Any]:
    """Return the functions that write a connection's values, by type; an empty dictionary if they aren't known.

    Without them, minus infinity and a Decimal that is no number are taken for names of columns.
    """
    # only instances have it: the tests of numbers on MariaDB report when it is gone
    found: dict[type, t.Any] = getattr(connection, "_encoders", {})
    return found


def descriptor(connection: t.Any) -> int:
    """Return the file descriptor of a connection's socket; -1 if it isn't known."""
    return int(connection._transport.get_extra_info("socket").fileno()) if HAS["transport"] else -1


def is_closed(connection: t.Any) -> bool:
    """Return whether a connection is known to be closed."""
    return HAS["transport"] and bool(connection._stream_broken)
