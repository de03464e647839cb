"""Repositories: collections of records, whatever their backend."""

import typing as t

from flama import _lazy

if t.TYPE_CHECKING:
    from flama.ddd.repositories.base import AbstractRepository, BaseRepository, CRUDRepository, RecordIterator
    from flama.ddd.repositories.http import HTTPRepository, HTTPResourceManager, HTTPResourceRepository
    from flama.ddd.repositories.memory import MemoryRepository

__all__ = [
    "AbstractRepository",
    "BaseRepository",
    "CRUDRepository",
    "HTTPRepository",
    "HTTPResourceManager",
    "HTTPResourceRepository",
    "MemoryRepository",
    "RecordIterator",
]

__getattr__, __dir__ = _lazy.lazy(
    __name__,
    {
        "AbstractRepository": "flama.ddd.repositories.base",
        "BaseRepository": "flama.ddd.repositories.base",
        "CRUDRepository": "flama.ddd.repositories.base",
        "HTTPRepository": "flama.ddd.repositories.http",
        "HTTPResourceManager": "flama.ddd.repositories.http",
        "HTTPResourceRepository": "flama.ddd.repositories.http",
        "MemoryRepository": "flama.ddd.repositories.memory",
        "RecordIterator": "flama.ddd.repositories.base",
    },
)
