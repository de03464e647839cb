"""A data-access layer for asynchronous applications: repositories, units of work, a small ASGI framework.

Each name is imported on first use, so ``import flama`` loads nothing that isn't needed.
"""

import typing as t

from flama import _distribution as _distribution, _lazy

if t.TYPE_CHECKING:
    from flama import (
        background,
        client,
        concurrency,
        ddd,
        exceptions,
        http,
        injection,
        middleware,
        modules,
        pagination,
        resources,
        routing,
        schemas,
        types,
    )
    from flama.applications import Flama
    from flama.background import BackgroundProcessTask, BackgroundTask, BackgroundTasks, BackgroundThreadTask
    from flama.injection import Component, Components
    from flama.modules import Module, Modules

__all__ = [
    "BackgroundProcessTask",
    "BackgroundTask",
    "BackgroundTasks",
    "BackgroundThreadTask",
    "Component",
    "Components",
    "Flama",
    "Module",
    "Modules",
    "background",
    "client",
    "concurrency",
    "ddd",
    "exceptions",
    "http",
    "injection",
    "middleware",
    "modules",
    "pagination",
    "resources",
    "routing",
    "schemas",
    "types",
]

__getattr__, __dir__ = _lazy.lazy(
    __name__,
    {
        "BackgroundProcessTask": "flama.background",
        "BackgroundTask": "flama.background",
        "BackgroundTasks": "flama.background",
        "BackgroundThreadTask": "flama.background",
        "Component": "flama.injection",
        "Components": "flama.injection",
        "Flama": "flama.applications",
        "Module": "flama.modules",
        "Modules": "flama.modules",
        "background": "flama.background",
        "client": "flama.client",
        "concurrency": "flama.concurrency",
        "ddd": "flama.ddd",
        "exceptions": "flama.exceptions",
        "http": "flama.http",
        "injection": "flama.injection",
        "middleware": "flama.middleware",
        "modules": "flama.modules",
        "pagination": "flama.pagination",
        "resources": "flama.resources",
        "routing": "flama.routing",
        "schemas": "flama.schemas",
        "types": "flama.types",
    },
)
