"""Workers: units of work."""

import importlib
import typing as t

if t.TYPE_CHECKING:
    from flama.ddd.workers.base import AbstractWorker, BaseWorker, Worker
    from flama.ddd.workers.http import HTTPWorker

__all__ = ["AbstractWorker", "BaseWorker", "HTTPWorker", "Worker"]

_HOMES: t.Final = {
    "AbstractWorker": "flama.ddd.workers.base",
    "BaseWorker": "flama.ddd.workers.base",
    "HTTPWorker": "flama.ddd.workers.http",
    "Worker": "flama.ddd.workers.base",
}


def __getattr__(name: str) -> t.Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
