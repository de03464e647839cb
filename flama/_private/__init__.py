"""The parts of other libraries that are used beneath their documented interfaces: one module for each library.

Each module lists the names that it needs, and looks each of them up once, on import. Where one is missing, the
documented way is taken instead, which is slower. ``tests/architecture/test_private_names.py`` reports what is missing.
"""

import collections.abc
import inspect
import typing as t

__all__ = ["Private", "exist"]


class Private(t.NamedTuple):
    """A name that a library doesn't document."""

    owner: t.Any
    name: str
    instead: str
    """What happens without it, and where to look for another way."""


def exist(names: collections.abc.Iterable[Private]) -> bool:
    """Return whether the installed versions of the libraries have all of these names."""
    return all(hasattr(owner, name) or _is_of_instances(owner, name) for owner, name, _ in names)


def _is_of_instances(owner: t.Any, name: str) -> bool:
    """Return whether a class declares an attribute of its instances, or its constructor sets it."""
    kinds = owner.__mro__ if inspect.isclass(owner) else ()
    constructors = (getattr(vars(kind).get("__init__"), "__code__", None) for kind in kinds)
    return any(name in inspect.get_annotations(kind) for kind in kinds) or any(
        name in constructor.co_names for constructor in constructors if constructor is not None
    )
