"""The resources of an application, added by path."""

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

        :raises ResourceError: it can't be served by this application.
        """
        made = resource() if isinstance(resource, type) else resource
        if (repository := made.shared(t.cast(types.App, self._app))) is not None:
            self.add_repository(made.name, repository)
        self._app.mount(mount=made.mounted(path, t.cast(types.App, self._app)))

    def resource(self, path: str) -> collections.abc.Callable[[R], R]:
        """Serve the decorated class of a resource under a path."""

        def decorate(resource: R) -> R:
            self.add_resource(path, resource)
            return resource

        return decorate

    @property
    def worker(self) -> t.Any:
        """The application's :class:`~flama.resources.workers.FlamaWorker`, of which each request has a copy."""
        workers = importlib.import_module("flama.resources.workers")
        own = [each.worker for each in self._app._components if isinstance(each, WorkerComponent)]
        if (found := next((each for each in own if isinstance(each, workers.FlamaWorker)), None)) is not None:
            return found
        component = workers.FlamaComponent(workers.FlamaWorker())
        self._app.add_component(component)
        return component.worker

    def add_repository(self, name: str, repository: type[AbstractRepository]) -> None:
        """Have the application's ``FlamaWorker`` give a repository of this class by this name.

        :raises ApplicationError: it gives another by it.
        """
        self.worker.add_repository(name, repository)

    def remove_repository(self, name: str) -> None:
        """Have it give none by this name any more."""
        self.worker.remove_repository(name)
