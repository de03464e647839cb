"""The resources of an application: ``app.resources``."""

import collections.abc
import importlib
import typing as t

from flama import types
from flama.ddd.components import WorkerComponent
from flama.ddd.repositories.base import AbstractRepository
from flama.resources.resource import Resource, ResourceRoute

__all__ = ["ResourcesModule"]

R = t.TypeVar("R", bound=type[Resource])


class ResourcesModule:
    """The resources of an application: ``app.resources``."""

    method = staticmethod(ResourceRoute.method)

    def __init__(self, app: t.Any) -> None:
        self._app = app

    def add_resource(self, path: str, resource: type[Resource] | Resource) -> None:
        """Serve a resource under a path.

        :raises ResourceError: this application can't serve the resource.
        """
        made = resource() if isinstance(resource, type) else resource
        if (repository := made.shared_repository(t.cast(types.App, self._app))) is not None:
            self.add_repository(made.name, repository)
        self._app.mount(mount=made.as_mount(path, t.cast(types.App, self._app)))

    def resource(self, path: str) -> collections.abc.Callable[[R], R]:
        """Serve the decorated resource class under a path."""

        def decorate(resource: R) -> R:
            self.add_resource(path, resource)
            return resource

        return decorate

    @property
    def worker(self) -> t.Any:
        """The application's :class:`~flama.resources.flama_worker.FlamaWorker`; each request gets a copy."""
        workers = importlib.import_module("flama.resources.flama_worker")
        own = [each.worker for each in self._app._components if isinstance(each, WorkerComponent)]
        if (found := next((each for each in own if isinstance(each, workers.FlamaWorker)), None)) is not None:
            return found
        component = workers.FlamaComponent(workers.FlamaWorker())
        self._app.add_component(component)
        return component.worker

    def add_repository(self, name: str, repository: type[AbstractRepository]) -> None:
        """Register a repository class with the application's ``FlamaWorker`` under a name.

        :raises ApplicationError: the name belongs to another class.
        """
        self.worker.add_repository(name, repository)

    def remove_repository(self, name: str) -> None:
        """Remove the repository class of this name from the application's ``FlamaWorker``.

        :raises KeyError: there is none.
        """
        self.worker.remove_repository(name)
