"""Workers: units of work."""

import typing as t

from flama import facade

if t.TYPE_CHECKING:
    from flama.ddd.workers.base import AbstractWorker, BaseWorker, Worker
    from flama.ddd.workers.http import HTTPWorker

__all__ = ["AbstractWorker", "BaseWorker", "HTTPWorker", "Worker"]

__getattr__, __dir__ = facade.lazy(
    __name__,
    {
        "AbstractWorker": "flama.ddd.workers.base",
        "BaseWorker": "flama.ddd.workers.base",
        "HTTPWorker": "flama.ddd.workers.http",
        "Worker": "flama.ddd.workers.base",
    },
)
