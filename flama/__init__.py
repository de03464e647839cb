"""A data-access layer for asynchronous applications: repositories, units of work, the small framework around them.

Every name is loaded when it is first used, so that ``import flama`` costs nothing of what isn't needed.
"""

import importlib
import typing as t

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
    "routing",
    "schemas",
    "types",
]

_HOMES: t.Final = {
    "BackgroundProcessTask": "background",
    "BackgroundTask": "background",
    "BackgroundTasks": "background",
    "BackgroundThreadTask": "background",
    "Component": "injection",
    "Components": "injection",
    "Flama": "applications",
    "Module": "modules",
    "Modules": "modules",
}


def __getattr__(name: str) -> t.Any:
    if name not in __all__:
        raise AttributeError(f"module 'flama' has no attribute '{name}'")
    home = importlib.import_module(f"flama.{_HOMES.get(name, name)}")
    return getattr(home, name) if name in _HOMES else home


def __dir__() -> list[str]:
    return __all__
