"""Resources: classes whose methods serve paths below one of their own."""

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
    """How a method of a resource is served: by which path below the resource's, for which methods of HTTP."""

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
        """Serve a path by the decorated method of a resource, for GET unless methods are given."""
        route = cls(path, tuple(methods), name, pagination, include_in_schema, tuple(tags))

        def decorate(method: H) -> H:
            setattr(method, _MARK, route)
            return method

        return decorate

    @staticmethod
    def of(method: t.Any) -> "ResourceRoute | None":
        """Give how a method is served; None when it isn't decorated."""
        return t.cast("ResourceRoute | None", getattr(method, _MARK, None))


def resource_method(*args: t.Any, **options: t.Any) -> collections.abc.Callable[[H], H]:
    """Do what :meth:`ResourceRoute.method` does, which it is an older name of."""
    warnings.warn("resource_method is called ResourceRoute.method now", DeprecationWarning, stacklevel=2)
    return ResourceRoute.method(*args, **options)


class Metadata(t.NamedTuple):
    """What a resource is called, for code that is written for any."""

    name: str
    verbose_name: str


class Resource:
    """Something that is served under a path: ``app.resources.add_resource("/puppy/", PuppyResource)``.

    Each method that is decorated with :meth:`ResourceRoute.method` is a handler, which can ask for what any handler
    can. ``name`` begins the names of the routes, as in ``puppy:create``, by default the class's own in lower case;
    ``verbose_name`` is what people call it.

    :raises ResourceNameInvalid: the name isn't made of letters, digits, ``_`` and ``-``.
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
            raise ResourceNameInvalid(f"{cls.__name__} has the name {cls.name!r}: letters, digits, _ and - make one")
        cls._meta = Metadata(cls.name, cls.verbose_name)

    def routes(self, app: types.App) -> list[Route]:
        """Give what an application serves of it, below the path at which it is added."""
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

    def shared(self, app: types.App) -> type[AbstractRepository] | None:
        """Give the repository that handlers can have of the application's ``FlamaWorker``; None when there is none."""
        return None

    def mounted(self, path: str, app: types.App) -> Mount:
        """Give its routes under the path."""
        return Mount(path, name=self.name, routes=self.routes(app))
