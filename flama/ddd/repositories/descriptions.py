"""What a service's OpenAPI document says of a resource."""

import re
import typing as t

import msgspec

from flama.ddd.repositories.dialects import Dialect
from flama.rest.operations import OPERATIONS, Operation

__all__ = ["Description"]

_PARAMETER = re.compile(r"\{[^/}]*\}")
_ID: t.Final = "id"
_DEEPEST: t.Final = 20  # references to references


class Description:
    """The part of a document that is about a resource at one of these paths.

    :raises ValueError: it is no such document.
    """

    def __init__(self, document: bytes, paths: tuple[str, ...], dialect: Dialect) -> None:
        self._document = _mapping(msgspec.json.decode(document))
        described = _mapping(self._document.get("paths"))
        self._paths = {_PARAMETER.sub("{}", path): _mapping(methods) for path, methods in described.items()}
        self._bases = paths
        self._dialect = dialect

    @property
    def operations(self) -> frozenset[str]:
        """The names of the operations that it has; of several by one method on one path, that of the first."""
        named: dict[t.Any, Operation] = {}
        for operation in OPERATIONS.values():
            named.setdefault((operation.method, operation.kind, operation.verb), operation)
        return frozenset(operation.name for operation in named.values() if self._operation(operation))

    @property
    def fields(self) -> frozenset[str] | None:
        """The fields of its records; None where it doesn't say."""
        retrieved = self._operation(OPERATIONS["retrieve"])
        answer = self._resolved(_mapping(retrieved.get("responses")).get("200"))
        content = _mapping(_mapping(answer.get("content")).get("application/json"))
        properties = self._resolved(content.get("schema")).get("properties")
        return frozenset(properties) if isinstance(properties, dict) else None

    def _operation(self, operation: Operation) -> dict[str, t.Any]:
        path = self._dialect.path(operation, _ID)
        path = path.replace(_ID, "{}", 1) if operation.kind == "element" else path
        found = (self._paths.get(base + path, {}).get(operation.method.lower()) for base in self._bases)
        return next((_mapping(each) for each in found if each), {})

    def _resolved(self, schema: t.Any) -> dict[str, t.Any]:
        """Give what a reference refers to."""
        for _ in range(_DEEPEST):
            reference = _mapping(schema).get("$ref")
            if not isinstance(reference, str):
                break
            schema = self._document
            for part in reference.removeprefix("#/").split("/"):
                schema = _mapping(schema).get(part.replace("~1", "/").replace("~0", "~"))
        return _mapping(schema)


def _mapping(value: t.Any) -> dict[str, t.Any]:
    return value if isinstance(value, dict) else {}
