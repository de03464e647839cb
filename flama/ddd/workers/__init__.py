"""Workers: units of work."""

import typing as t

from flama import _lazy

if t.TYPE_CHECKING:
    from flama.ddd.workers._bindings import Database, Remote
    from flama.ddd.workers.base import AbstractWorker, BaseWorker
    from flama.ddd.workers.composite import Worker
    from flama.ddd.workers.http import HTTPWorker
    from flama.ddd.workers.memory import MemoryWorker

__all__ = ["AbstractWorker", "BaseWorker", "Database", "HTTPWorker", "MemoryWorker", "Remote", "Worker"]

__getattr__, __dir__ = _lazy.lazy(
    __name__,
    {
        "AbstractWorker": "flama.ddd.workers.base",
        "BaseWorker": "flama.ddd.workers.base",
        "Database": "flama.ddd.workers._bindings",
        "HTTPWorker": "flama.ddd.workers.http",
        "MemoryWorker": "flama.ddd.workers.memory",
        "Remote": "flama.ddd.workers._bindings",
        "Worker": "flama.ddd.workers.composite",
    },
)
