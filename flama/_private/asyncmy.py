"""The private parts of asyncmy that are used here, and what takes their place in a version without them."""

import typing as t

from asyncmy import connection

from flama._private import Private, exist

__all__ = ["HAS", "NAMES", "descriptor", "encoders", "is_closed"]

_connection: t.Final = t.cast("t.Any", connection).Connection()  # it never connects

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "encoders": (
        Private(_connection, "_encoders", "Minus infinity and Decimal('NaN') are taken for names of columns."),
    ),
    "transport": (
        Private(_connection, "_stream_broken", "A connection that the server has closed is noticed by the statement."),
        Private(_connection, "_transport", "The same."),
    ),
}  # fmt: skip
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


def encoders(connection: t.Any) -> dict[type, t.Any]:
    """Return the functions that write a connection's values, by type; an empty dictionary if they aren't known."""
    found: dict[type, t.Any] = connection._encoders if HAS["encoders"] else {}
    return found


def descriptor(connection: t.Any) -> int:
    """Return the file descriptor of a connection's socket; -1 if it isn't known."""
    return int(connection._transport.get_extra_info("socket").fileno()) if HAS["transport"] else -1


def is_closed(connection: t.Any) -> bool:
    """Return whether a connection is known to be closed."""
    return HAS["transport"] and bool(connection._stream_broken)
