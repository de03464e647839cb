"""The resources of an application, added by path."""

import collections.abc
import typing as t

from flama import types
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
        self._app.mount(mount=made.mounted(path, t.cast(types.App, self._app)))

    def resource(self, path: str) -> collections.abc.Callable[[R], R]:
        """Serve the decorated class of a resource under a path."""

        def decorate(resource: R) -> R:
            self.add_resource(path, resource)
            return resource

        return decorate
