"""Repositories: collections of records, wherever they are kept."""

import importlib
import typing as t

if t.TYPE_CHECKING:
    from flama.ddd.repositories.base import AbstractRepository, BaseRepository
    from flama.ddd.repositories.http import HTTPRepository, HTTPResourceManager, HTTPResourceRepository

__all__ = [
    "AbstractRepository",
    "BaseRepository",
    "HTTPRepository",
    "HTTPResourceManager",
    "HTTPResourceRepository",
]

_HOMES: t.Final = {
    "AbstractRepository": "flama.ddd.repositories.base",
    "BaseRepository": "flama.ddd.repositories.base",
    "HTTPRepository": "flama.ddd.repositories.http",
    "HTTPResourceManager": "flama.ddd.repositories.http",
    "HTTPResourceRepository": "flama.ddd.repositories.http",
}


def __getattr__(name: str) -> t.Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
