"""Domain-driven design: repositories, and the units of work that they take part in."""

import typing as t

from flama import _lazy

if t.TYPE_CHECKING:
    from flama.ddd.components import WorkerComponent
    from flama.ddd.repositories.base import AbstractRepository, BaseRepository
    from flama.ddd.repositories.http import HTTPRepository, HTTPResourceManager, HTTPResourceRepository
    from flama.ddd.repositories.memory import MemoryRepository
    from flama.ddd.workers._bindings import Database, Remote
    from flama.ddd.workers.base import AbstractWorker, BaseWorker
    from flama.ddd.workers.composite import Worker
    from flama.ddd.workers.http import HTTPWorker
    from flama.ddd.workers.memory import MemoryWorker
    from flama.query import F

__all__ = [
    "AbstractRepository",
    "AbstractWorker",
    "BaseRepository",
    "BaseWorker",
    "Database",
    "F",
    "HTTPRepository",
    "HTTPResourceManager",
    "HTTPResourceRepository",
    "HTTPWorker",
    "MemoryRepository",
    "MemoryWorker",
    "Remote",
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
        "Database": "flama.ddd.workers._bindings",
        "F": "flama.query",
        "HTTPRepository": "flama.ddd.repositories.http",
        "HTTPResourceManager": "flama.ddd.repositories.http",
        "HTTPResourceRepository": "flama.ddd.repositories.http",
        "HTTPWorker": "flama.ddd.workers.http",
        "MemoryRepository": "flama.ddd.repositories.memory",
        "MemoryWorker": "flama.ddd.workers.memory",
        "Remote": "flama.ddd.workers._bindings",
        "Worker": "flama.ddd.workers.composite",
        "WorkerComponent": "flama.ddd.components",
    },
)
