"""Façades: packages whose names are loaded when they are first used."""

import collections.abc
import importlib
import typing as t

__all__ = ["lazy"]


def lazy(
    package: str, homes: collections.abc.Mapping[str, str]
) -> tuple[collections.abc.Callable[[str], t.Any], collections.abc.Callable[[], list[str]]]:
    """Give a package's ``__getattr__`` and ``__dir__`` (PEP 562).

    ``homes`` says of each name the module that has it; a name that is a module of the package is its own home.
    """

    def load(name: str) -> t.Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = importlib.import_module(homes[name])
        return home if homes[name] == f"{package}.{name}" else getattr(home, name)

    return load, lambda: sorted(homes)
