"""Resources: classes whose methods handle the routes below a common path."""

import collections.abc
import dataclasses
import re
import typing as t
import warnings

from flama import types
from flama.ddd.repositories.base import AbstractRepository
from flama.exceptions import ResourceNameInvalid
from flama.routing import Mount, Route

__all__ = ["Metadata", "Resource", "ResourceRoute", "resource_method"]

H = t.TypeVar("H", bound=types.Handler)

_NAME: t.Final = re.compile(r"[A-Za-z][-\w]*")
_MARK: t.Final = "__resource_route__"


@dataclasses.dataclass(frozen=True)
class ResourceRoute:
    """The route of a resource's method: its path below the resource's, and its HTTP methods."""

    path: str
    methods: collections.abc.Collection[str] = ("GET",)
    name: str = ""
    pagination: str | None = None
    include_in_schema: bool = True
    tags: collections.abc.Sequence[str] = ()

    @classmethod
    def method(
        cls,
        path: str,
        methods: collections.abc.Collection[str] = ("GET",),
        name: str = "",
        pagination: str | None = None,
        *,
        include_in_schema: bool = True,
        tags: collections.abc.Sequence[str] = (),
    ) -> collections.abc.Callable[[H], H]:
        """Route a path to the decorated method of a resource, for GET by default."""
        route = cls(path, tuple(methods), name, pagination, include_in_schema, tuple(tags))

        def decorate(method: H) -> H:
            setattr(method, _MARK, route)
            return method

        return decorate

    @staticmethod
    def of(method: t.Any) -> "ResourceRoute | None":
        """Return the route of a method; None if it isn't decorated."""
        return t.cast("ResourceRoute | None", getattr(method, _MARK, None))


def resource_method(*args: t.Any, **options: t.Any) -> collections.abc.Callable[[H], H]:
    """Do the same as :meth:`ResourceRoute.method`: a deprecated alias."""
    warnings.warn("resource_method is called ResourceRoute.method now", DeprecationWarning, stacklevel=2)
    return ResourceRoute.method(*args, **options)


class Metadata(t.NamedTuple):
    """The names of a resource."""

    name: str
    verbose_name: str


class Resource:
    """A group of handlers under a path: ``app.resources.add_resource("/puppy/", PuppyResource)``.

    Each method that is decorated with :meth:`ResourceRoute.method` is a handler, with injected parameters as in any
    handler. ``name`` is the prefix of route names, as in ``puppy:create``; the default is the class's name in lower
    case. ``verbose_name`` is its name for people.

    :raises ResourceNameInvalid: the name doesn't start with a letter, or has other characters than letters, digits,
        ``_`` and ``-``.
    """

    name: t.ClassVar[str]
    verbose_name: t.ClassVar[str]
    _meta: t.ClassVar[Metadata]

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()
        if "verbose_name" not in vars(cls):
            cls.verbose_name = cls.__name__
        if not _NAME.fullmatch(str(cls.name)):
            raise ResourceNameInvalid(
                f"{cls.__name__} has the name {cls.name!r}: a name is a letter, then letters, digits, _ and -"
            )
        cls._meta = Metadata(cls.name, cls.verbose_name)

    def routes(self, app: types.App) -> list[Route]:
        """Return the resource's routes for an application, relative to the path at which it is added."""
        methods = {name: getattr(self, name) for name in dir(type(self)) if not name.startswith("__")}
        marked = [(name, method, route) for name, method in methods.items() if (route := ResourceRoute.of(method))]
        return [
            Route(
                route.path,
                method,
                route.name or name,
                route.methods,
                route.include_in_schema,
                route.tags or (self.name,),
                route.pagination,
            )
            for name, method, route in marked
        ]

    def shared_repository(self, app: types.App) -> type[AbstractRepository] | None:
        """Return the repository class to register with the application's ``FlamaWorker``; None if there is none."""
        return None

    def as_mount(self, path: str, app: types.App) -> Mount:
        """Return a mount of the resource's routes under the path."""
        return Mount(path, name=self.name, routes=self.routes(app))
