"""The JSON Schemas of a document: those of models once each, under names of their own."""

import collections.abc
import typing as t

from flama.schemas.adapter import json_schema

__all__ = ["Definitions", "JSON", "REFERENCE", "without_null"]

JSON: t.TypeAlias = dict[str, t.Any]

REFERENCE: t.Final = "#/components/schemas/{name}"
"""How a document refers to the schema of a model."""


class Definitions:
    """Gives the schemas of types; keeps those of the models in them.

    A model is known by its schema: two that have one name and another schema get different names.
    """

    def __init__(self, named: collections.abc.Mapping[str, JSON]) -> None:
        self.named: dict[str, JSON] = dict(named)
        self._schemas: dict[tuple[t.Any, bool], JSON] = {}  # of the types that can be looked up
        self._families: dict[str, dict[str, t.Any]] = {name: _family(name, named) for name in named}

    def schema(self, annotation: t.Any, *, output: bool = False) -> JSON:
        """Give the schema of what is taken as this type, or with ``output`` of what is sent as it.

        It may have been given before: who changes it copies it first.

        :raises TypeError: the type has no form in JSON.
        """
        if not _hashable(annotation):
            return self._made(annotation, output)
        if (annotation, output) not in self._schemas:
            self._schemas[annotation, output] = self._made(annotation, output)
        return self._schemas[annotation, output]

    def _made(self, annotation: t.Any, output: bool) -> JSON:
        schema, models = json_schema(annotation, output=output, reference=REFERENCE)
        names = {name: self._name(name, _family(name, models), output) for name in models}
        references = {_reference(name): _reference(new) for name, new in names.items()}
        self.named.update({names[name]: _replaced(model, references) for name, model in models.items()})
        return t.cast(JSON, _replaced(schema, references))

    def reference(self, name: str, schema: JSON) -> JSON:
        """Keep a schema that is made here under a name, or one like it, and give what refers to it."""
        kept = self._name(name, {"": name, name: schema}, output=True)
        self.named[kept] = schema
        return {"$ref": _reference(kept)}

    def resolved(self, schema: JSON) -> JSON:
        """Give the schema itself for one that only refers to it."""
        name = str(schema.get("$ref", "")).removeprefix(_reference(""))
        return self.named.get(name, schema)

    def _name(self, name: str, family: dict[str, t.Any], output: bool) -> str:
        """The name under which a model is kept: that of one which is the same, with all it refers to, or a new one."""
        for candidate in _candidates(name, output):
            if self._families.setdefault(candidate, family) == family:
                return candidate
        raise AssertionError("there is always one more number")


def _hashable(annotation: t.Any) -> bool:
    try:
        hash(annotation)
    except TypeError:  # what stands in Annotated need not be
        return False
    return True


def without_null(schema: JSON) -> JSON:
    """Give the schema of what can be sent as text, where null can't be."""
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


def _family(name: str, models: collections.abc.Mapping[str, JSON]) -> dict[str, t.Any]:
    """A model's schema with those of all the models that it refers to."""
    family: dict[str, t.Any] = {"": name}
    waiting = [name]
    while waiting:
        member = waiting.pop()
        family[member] = models[member]
        mentioned = set(_texts(models[member]))
        waiting += (other for other in models if other not in family and _reference(other) in mentioned)
    return family


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


def _replaced(value: t.Any, texts: collections.abc.Mapping[str, str]) -> t.Any:
    match value:
        case str():
            return texts.get(value, value)
        case dict():
            return {key: _replaced(item, texts) for key, item in value.items()}
        case list():
            return [_replaced(item, texts) for item in value]
    return value
