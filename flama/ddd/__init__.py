"""Domain-driven design: repositories, and the units of work that they take part in."""

import typing as t

from flama import _lazy

if t.TYPE_CHECKING:
    from flama.ddd.components import WorkerComponent
    from flama.ddd.repositories.base import AbstractRepository, BaseRepository, CRUDRepository, RecordIterator
    from flama.ddd.repositories.http import HTTPRepository, HTTPResourceManager, HTTPResourceRepository
    from flama.ddd.repositories.memory import MemoryRepository
    from flama.ddd.workers._bindings import Database, Remote
    from flama.ddd.workers.base import AbstractWorker, BaseWorker
    from flama.ddd.workers.composite import Worker
    from flama.ddd.workers.http import HTTPWorker
    from flama.ddd.workers.memory import MemoryWorker
    from flama.query import F, Select

__all__ = [
    "AbstractRepository",
    "AbstractWorker",
    "BaseRepository",
    "BaseWorker",
    "CRUDRepository",
    "Database",
    "F",
    "HTTPRepository",
    "HTTPResourceManager",
    "HTTPResourceRepository",
    "HTTPWorker",
    "MemoryRepository",
    "MemoryWorker",
    "RecordIterator",
    "Remote",
    "Select",
    "Worker",
    "WorkerComponent",
]

__getattr__, __dir__ = _lazy.lazy(
    __name__,
    {
        "AbstractRepository": "flama.ddd.repositories.base",
        "AbstractWorker": "flama.ddd.workers.base",
        "BaseRepository": "flama.ddd.repositories.base",
        "BaseWorker": "flama.ddd.workers.base",
        "CRUDRepository": "flama.ddd.repositories.base",
        "Database": "flama.ddd.workers._bindings",
        "F": "flama.query",
        "HTTPRepository": "flama.ddd.repositories.http",
        "HTTPResourceManager": "flama.ddd.repositories.http",
        "HTTPResourceRepository": "flama.ddd.repositories.http",
        "HTTPWorker": "flama.ddd.workers.http",
        "MemoryRepository": "flama.ddd.repositories.memory",
        "MemoryWorker": "flama.ddd.workers.memory",
        "RecordIterator": "flama.ddd.repositories.base",
        "Remote": "flama.ddd.workers._bindings",
        "Select": "flama.query",
        "Worker": "flama.ddd.workers.composite",
        "WorkerComponent": "flama.ddd.components",
    },
)
