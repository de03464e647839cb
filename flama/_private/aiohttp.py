"""The private parts of aiohttp that are used here, and what takes their place in a version without them."""

import typing as t

import aiohttp

from flama._private import Private, exist

__all__ = ["HAS", "NAMES", "disable_retries"]

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "retries": (
        Private(aiohttp.ClientSession, "_retry_connection", "No connection is reused."),
    ),
}  # fmt: skip
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


def disable_retries(session: t.Any) -> None:
    """Send each request once.

    aiohttp would send PUT and DELETE again when a reused connection ends without a response; it has no option for it.
    Where this isn't possible, no connection may be reused.
    """
    if HAS["retries"]:
        session._retry_connection = False
