"""Lazy loading of a package's names at their first use."""

import collections.abc
import importlib
import typing as t

__all__ = ["lazy"]


def lazy(
    package: str, homes: collections.abc.Mapping[str, str]
) -> tuple[collections.abc.Callable[[str], t.Any], collections.abc.Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__`` (PEP 562).

    ``homes`` maps each name to the module that defines it; a name that is a module of the package is mapped to itself.
    """

    def load(name: str) -> t.Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = importlib.import_module(homes[name])
        return home if homes[name] == f"{package}.{name}" else getattr(home, name)

    return load, lambda: sorted(homes)
