"""Domain-driven design: repositories, and the units of work that they take part in."""

import importlib
import typing as t

if t.TYPE_CHECKING:
    from flama.ddd.components import WorkerComponent
    from flama.ddd.repositories.base import AbstractRepository, BaseRepository
    from flama.ddd.repositories.http import HTTPRepository, HTTPResourceManager, HTTPResourceRepository
    from flama.ddd.workers.base import AbstractWorker, BaseWorker, Worker
    from flama.ddd.workers.http import HTTPWorker

__all__ = [
    "AbstractRepository",
    "AbstractWorker",
    "BaseRepository",
    "BaseWorker",
    "HTTPRepository",
    "HTTPResourceManager",
    "HTTPResourceRepository",
    "HTTPWorker",
    "Worker",
    "WorkerComponent",
]

_HOMES: t.Final = {
    "AbstractRepository": "flama.ddd.repositories.base",
    "AbstractWorker": "flama.ddd.workers.base",
    "BaseRepository": "flama.ddd.repositories.base",
    "BaseWorker": "flama.ddd.workers.base",
    "HTTPRepository": "flama.ddd.repositories.http",
    "HTTPResourceManager": "flama.ddd.repositories.http",
    "HTTPResourceRepository": "flama.ddd.repositories.http",
    "HTTPWorker": "flama.ddd.workers.http",
    "Worker": "flama.ddd.workers.base",
    "WorkerComponent": "flama.ddd.components",
}


def __getattr__(name: str) -> t.Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
