"""The private parts of Python's own library that are used here, and what takes their place without them."""

# pyright: reportPrivateUsage=false

import collections.abc
import inspect
import sys
import types
import typing as t

from flama._private import Private, exist

__all__ = ["HAS", "NAMES", "get_frame"]

NAMES: t.Final[dict[str, tuple[Private, ...]]] = {
    "frames": (Private(sys, "_getframe", "The frames between are made. See inspect.currentframe()."),),
}
"""The names by use, and what happens without them."""

HAS: t.Final[dict[str, bool]] = {use: exist(names) for use, names in NAMES.items()}
"""Whether the installed version has all the names of a use."""


def _public_get_frame(depth: int = 0) -> types.FrameType | None:
    """Return the caller's frame, or the one at a depth beneath it."""
    frame = inspect.currentframe()
    for _ in range(depth + 1):
        if frame is None:
            raise ValueError("the stack is not that deep")
        frame = frame.f_back
    return frame


get_frame: t.Final[collections.abc.Callable[..., types.FrameType | None]] = (
    sys._getframe if HAS["frames"] else _public_get_frame
)
"""Return the caller's frame, or the one at a depth beneath it; only that one is made.

:raises ValueError: the stack isn't that deep.
"""
