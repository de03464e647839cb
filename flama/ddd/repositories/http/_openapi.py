"""The description of a resource in a service's OpenAPI document."""

import re
import typing as t

import msgspec

from flama.ddd.repositories.http._wire_format import WireFormat
from flama.rest.operations import OPERATIONS, Operation

__all__ = ["ResourceDocument"]

_PARAMETER = re.compile(r"\{[^/}]*\}")
_ID: t.Final = "id"
_MAX_DEPTH: t.Final = 20  # the longest chain of references


class ResourceDocument:
    """The part of an OpenAPI document that describes a resource at one of these paths.

    :raises ValueError: the document is not an OpenAPI document.
    """

    def __init__(self, document: bytes, paths: tuple[str, ...], wire_format: WireFormat) -> None:
        self._document = _mapping(msgspec.json.decode(document))
        described = _mapping(self._document.get("paths"))
        self._paths = {_PARAMETER.sub("{}", path): _mapping(methods) for path, methods in described.items()}
        self._bases = paths
        self._wire_format = wire_format

    @property
    def operations(self) -> frozenset[str]:
        """The names of the operations described; where several share a method and path, the first one's name."""
        named: dict[t.Any, Operation] = {}
        for operation in OPERATIONS.values():
            named.setdefault((operation.method, operation.kind, operation.verb), operation)
        return frozenset(operation.name for operation in named.values() if self._operation(operation))

    @property
    def fields(self) -> frozenset[str] | None:
        """The fields of the resource's records; None if the document doesn't describe them."""
        retrieved = self._operation(OPERATIONS["retrieve"])
        answer = self._resolve(_mapping(retrieved.get("responses")).get("200"))
        content = _mapping(_mapping(answer.get("content")).get("application/json"))
        properties = self._resolve(content.get("schema")).get("properties")
        return frozenset(properties) if isinstance(properties, dict) else None

    def _operation(self, operation: Operation) -> dict[str, t.Any]:
        path = self._wire_format.path(operation, _ID)
        path = path.replace(_ID, "{}", 1) if operation.kind == "element" else path
        found = (self._paths.get(base + path, {}).get(operation.method.lower()) for base in self._bases)
        return next((_mapping(each) for each in found if each), {})

    def _resolve(self, schema: t.Any) -> dict[str, t.Any]:
        """Return the schema that a reference leads to."""
        for _ in range(_MAX_DEPTH):
            reference = _mapping(schema).get("$ref")
            if not isinstance(reference, str):
                break
            schema = self._document
            for part in reference.removeprefix("#/").split("/"):
                schema = _mapping(schema).get(part.replace("~1", "/").replace("~0", "~"))
        return _mapping(schema)


def _mapping(value: t.Any) -> dict[str, t.Any]:
    return value if isinstance(value, dict) else {}
