"""The JSON schemas of a document: ``components.schemas``, each model once."""

import collections.abc
import typing as t

from flama.schemas.adapter import json_schema

__all__ = ["Components", "JSON", "REFERENCE", "strip_null"]

JSON: t.TypeAlias = dict[str, t.Any]

REFERENCE: t.Final = "#/components/schemas/{name}"
"""The template of a reference to a model's schema."""


class Components:
    """The schemas of types, and the named schemas of the models in them.

    Models with the same name and different schemas get different names.
    """

    def __init__(self, named: collections.abc.Mapping[str, JSON]) -> None:
        self.named: dict[str, JSON] = dict(named)
        self._schemas: dict[tuple[t.Any, bool], JSON] = {}  # a cache, of hashable types
        self._closures: dict[str, dict[str, t.Any]] = {name: _schema_closure(name, named) for name in named}

    def schema(self, annotation: t.Any, *, output: bool = False) -> JSON:
        """Return the schema of values of a type in requests, or with ``output`` in responses.

        The schema is cached: copy it before you change it.

        :raises TypeError: the type has no JSON schema.
        """
        if not _hashable(annotation):
            return self._make(annotation, output)
        if (annotation, output) not in self._schemas:
            self._schemas[annotation, output] = self._make(annotation, output)
        return self._schemas[annotation, output]

    def _make(self, annotation: t.Any, output: bool) -> JSON:
        schema, models = json_schema(annotation, output=output, reference=REFERENCE)
        names = {name: self._name(name, _schema_closure(name, models), output) for name in models}
        references = {_reference(name): _reference(new) for name, new in names.items()}
        self.named.update({names[name]: _replace_texts(model, references) for name, model in models.items()})
        return t.cast(JSON, _replace_texts(schema, references))

    def reference(self, name: str, schema: JSON) -> JSON:
        """Register a schema under a name, or a similar free one, and return a reference to it."""
        free = self._name(name, {"": name, name: schema}, output=True)
        self.named[free] = schema
        return {"$ref": _reference(free)}

    def resolve(self, schema: JSON) -> JSON:
        """Return the schema that a reference points to, or the schema itself if it is no reference."""
        name = str(schema.get("$ref", "")).removeprefix(_reference(""))
        return self.named.get(name, schema)

    def _name(self, name: str, closure: dict[str, t.Any], output: bool) -> str:
        """Return the name of a model: an equal one's, with equal references, or else a free name."""
        for candidate in _candidates(name, output):
            if self._closures.setdefault(candidate, closure) == closure:
                return candidate
        raise AssertionError("there is always one more number")


def _hashable(annotation: t.Any) -> bool:
    try:
        hash(annotation)
    except TypeError:  # the metadata of Annotated need not be hashable
        return False
    return True


def strip_null(schema: JSON) -> JSON:
    """Return a schema without null and title, for values that are sent as text."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "title")}
    if rest.get("default", ...) is None:
        del rest["default"]
    match kinds:
        case []:
            return rest
        case [kind]:
            return {**kind, **rest}
    return {"anyOf": kinds, **rest}


def _candidates(name: str, output: bool) -> collections.abc.Iterator[str]:
    yield name
    yield name + ("Output" if output else "Input")
    number = 2
    while True:
        yield f"{name}{number}"
        number += 1


def _schema_closure(name: str, models: collections.abc.Mapping[str, JSON]) -> dict[str, t.Any]:
    """Return a model's schema with those of all models that it refers to, directly or not."""
    closure: dict[str, t.Any] = {"": name}
    waiting = [name]
    while waiting:
        member = waiting.pop()
        closure[member] = models[member]
        mentioned = set(_texts(models[member]))
        waiting += (other for other in models if other not in closure and _reference(other) in mentioned)
    return closure


def _reference(name: str) -> str:
    return REFERENCE.format(name=name)


def _texts(value: t.Any) -> collections.abc.Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)


def _replace_texts(value: t.Any, texts: collections.abc.Mapping[str, str]) -> t.Any:
    match value:
        case str():
            return texts.get(value, value)
        case dict():
            return {key: _replace_texts(item, texts) for key, item in value.items()}
        case list():
            return [_replace_texts(item, texts) for item in value]
    return value
