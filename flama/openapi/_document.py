"""The OpenAPI 3.1 document of an application's routes."""

import collections.abc
import re
import typing as t

from flama import exceptions
from flama.openapi._components import JSON, Components
from flama.openapi._operations import ERROR, MountedRoute, operation

__all__ = ["VERSION", "document"]

VERSION: t.Final = "3.1.0"

_METHODS: t.Final = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")
"""The HTTP methods that OpenAPI 3.1 can describe."""

_INFO: t.Final[JSON] = {"title": "Flama", "version": "0.1.0"}
_PARAMETER: t.Final = re.compile(r"{(\w+)(?::\w+)?}")

_ERROR_SCHEMA: t.Final[JSON] = {
    "title": ERROR,
    "description": "An error; some errors have more fields.",
    "type": "object",
    "properties": {
        "status_code": {"type": "integer"},
        "detail": {"description": "A message, or the errors of each field."},
        "error": {"type": ["string", "null"], "description": "The kind of error."},
    },
    "required": ["status_code", "detail", "error"],
}


def document(routes: collections.abc.Iterable[MountedRoute], overrides: collections.abc.Mapping[str, t.Any]) -> JSON:
    """Return the document of these routes, merged with ``overrides``, which take precedence.

    Of two routes with the same path and method the first is described, since it is the one that is served. Methods that
    OpenAPI 3.1 doesn't know, such as CONNECT and QUERY, are left out.

    :raises ApplicationError: a route can't be described.
    """
    paths = _Paths()
    for served in routes:
        if served.route.include_in_schema:
            paths.add(served)
    described: JSON = {
        "openapi": VERSION,
        "info": _INFO,
        "paths": paths.items,
        "components": {"schemas": dict(sorted(paths.components.named.items()))},
    }
    return t.cast(JSON, _merge(described, overrides))


class _Paths:
    """The paths of a document, built route by route."""

    def __init__(self) -> None:
        self.items: dict[str, JSON] = {}
        self.components = Components({ERROR: _ERROR_SCHEMA})
        self._templates: dict[str, str] = {}  # by path without parameter names: equal keys are one path in OpenAPI
        self._served: dict[tuple[str, str], MountedRoute] = {}
        self._ids: set[str] = set()

    def add(self, served: MountedRoute) -> None:
        """Add the operations of a route, one for each of its methods."""
        template = _PARAMETER.sub(r"{\1}", served.path)
        template = self._templates.setdefault(_PARAMETER.sub("{}", served.path), template)
        methods = [method.upper() for method in served.route.methods]
        added = [method for method in _METHODS if method in methods and self._is_new(template, method, served)]
        for method in added:
            described = _rename_path_parameters(operation(served, self.components), served.path, template)
            name = self._id(served.name if len(methods) == 1 else f"{served.name}_{method.lower()}", method)
            self.items.setdefault(template, {})[method.lower()] = {"operationId": name, **described}

    def _is_new(self, template: str, method: str, served: MountedRoute) -> bool:
        """Whether no earlier route has this path and method.

        :raises ApplicationError: one has a path that only differs by the types of its parameters.
        """
        first = self._served.setdefault((template, method), served)
        if first is not served and _parameter_types(first.path) != _parameter_types(served.path):
            raise exceptions.ApplicationError(
                f"The handlers '{first.name}' of '{first.path}' and '{served.name}' of '{served.path}' can't both be "
                "described, since their paths differ only by the types of parameters: "
                "set include_in_schema=False on one of them"
            )
        return first is served

    def _id(self, name: str, method: str) -> str:
        names = [name, f"{name}_{method.lower()}", *(f"{name}_{number}" for number in range(2, len(self._ids) + 3))]
        self._ids.add(free := next(name for name in names if name not in self._ids))
        return free


def _parameter_types(path: str) -> list[str]:
    """Return the types of a path's parameters."""
    return re.findall(r"{\w+(?::(\w+))?}", path.replace(":str}", "}"))


def _rename_path_parameters(described: JSON, path: str, template: str) -> JSON:
    """Rename an operation's path parameters as in the document, and return it."""
    names = dict(zip(_PARAMETER.findall(path), _PARAMETER.findall(template), strict=True))
    for parameter in described.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["name"] = names[parameter["name"]]
    return described


def _merge(described: t.Any, overrides: t.Any) -> t.Any:
    if not isinstance(described, collections.abc.Mapping) or not isinstance(overrides, collections.abc.Mapping):
        return overrides
    new = {name: value for name, value in overrides.items() if name not in described}
    merged = {name: _merge(value, overrides[name]) if name in overrides else value for name, value in described.items()}
    return merged | new
