"""The document: OpenAPI 3.1 for all the routes of an application."""

import collections.abc
import re
import typing as t

from flama import exceptions
from flama.openapi.definitions import JSON, Definitions
from flama.openapi.operations import ERROR, Served, operation

__all__ = ["VERSION", "document"]

VERSION: t.Final = "3.1.0"

_METHODS: t.Final = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")
"""The methods that OpenAPI 3.1 has a place for."""

_INFO: t.Final[JSON] = {"title": "Flama", "version": "0.1.0"}
_PARAMETER: t.Final = re.compile(r"{(\w+)(?::\w+)?}")

_ERROR_SCHEMA: t.Final[JSON] = {
    "title": ERROR,
    "description": "What went wrong; some errors say more than this.",
    "type": "object",
    "properties": {
        "status_code": {"type": "integer"},
        "detail": {"description": "A sentence, or what is wrong with each field."},
        "error": {"type": ["string", "null"], "description": "The kind of error."},
    },
    "required": ["status_code", "detail", "error"],
}


def document(routes: collections.abc.Iterable[Served], given: collections.abc.Mapping[str, t.Any]) -> JSON:
    """Give the document that describes routes, together with what is ``given``: what stands in both is as given.

    Of two routes for one path and method the first is described, since it is the one that is served. Methods that
    OpenAPI 3.1 doesn't know, CONNECT and QUERY, are left out.

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
        "components": {"schemas": dict(sorted(paths.definitions.named.items()))},
    }
    return t.cast(JSON, _merged(described, given))


class _Paths:
    """The paths of a document as they grow: which operations there are so far."""

    def __init__(self) -> None:
        self.items: dict[str, JSON] = {}
        self.definitions = Definitions({ERROR: _ERROR_SCHEMA})
        self._templates: dict[str, str] = {}  # by what two templates have in common that the document can't tell apart
        self._served: dict[tuple[str, str], Served] = {}
        self._ids: set[str] = set()

    def add(self, served: Served) -> None:
        """Describe one more route, under each of its methods."""
        template = _PARAMETER.sub(r"{\1}", served.path)
        template = self._templates.setdefault(_PARAMETER.sub("{}", served.path), template)
        methods = [method.upper() for method in served.route.methods]
        added = [method for method in _METHODS if method in methods and self._is_new(template, method, served)]
        for method in added:
            described = _renamed(operation(served, self.definitions), served.path, template)
            name = self._id(served.name if len(methods) == 1 else f"{served.name}_{method.lower()}", method)
            self.items.setdefault(template, {})[method.lower()] = {"operationId": name, **described}

    def _is_new(self, template: str, method: str, served: Served) -> bool:
        """Whether no other route serves the very same; one that serves only the like of it can't be told from it."""
        first = self._served.setdefault((template, method), served)
        if first is not served and _kinds(first.path) != _kinds(served.path):
            raise exceptions.ApplicationError(
                f"The handlers '{first.name}' of '{first.path}' and '{served.name}' of '{served.path}' can't both be "
                f"described, since OpenAPI tells no types of a path's parameters apart: "
                "give one of them include_in_schema=False"
            )
        return first is served

    def _id(self, name: str, method: str) -> str:
        names = [name, f"{name}_{method.lower()}", *(f"{name}_{number}" for number in range(2, len(self._ids) + 3))]
        self._ids.add(free := next(name for name in names if name not in self._ids))
        return free


def _kinds(path: str) -> list[str]:
    """The types of a path's parameters."""
    return re.findall(r"{\w+(?::(\w+))?}", path.replace(":str}", "}"))


def _renamed(described: JSON, path: str, template: str) -> JSON:
    """The operation with the names that the path's parameters have in the document."""
    names = dict(zip(_PARAMETER.findall(path), _PARAMETER.findall(template), strict=True))
    for parameter in described.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["name"] = names[parameter["name"]]
    return described


def _merged(described: t.Any, given: t.Any) -> t.Any:
    if not isinstance(described, collections.abc.Mapping) or not isinstance(given, collections.abc.Mapping):
        return given
    new = {name: value for name, value in given.items() if name not in described}
    return {name: _merged(value, given[name]) if name in given else value for name, value in described.items()} | new
