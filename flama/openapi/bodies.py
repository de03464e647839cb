"""Bodies: in which forms a request can bring what its handler reads."""

import collections.abc
import typing as t

from flama import schemas, types
from flama.http.request import CONTENT_TYPES, JSON as JSON_TYPE
from flama.injection import Parameter
from flama.openapi.definitions import JSON, Definitions, without_null
from flama.routing.components import has_form, is_file, is_optional

__all__ = ["body", "is_required"]

_FORMS: t.Final = tuple(media_type for media_type in CONTENT_TYPES if media_type != JSON_TYPE)
_TEXTUAL: t.Final = frozenset({"boolean", "integer", "number", "string"})


def body(
    taken: collections.abc.Sequence[Parameter], definitions: Definitions, max_records: int | None = None
) -> JSON | None:
    """Return the description of the body that is read for these parameters; None when none of them is of it.

    Lists that the body is, and lists of models in it, have ``max_records`` at most.

    :raises TypeError: a model has no form in JSON.
    """
    read = [(parameter, schemas.without_none(parameter.annotation)) for parameter in taken]
    files = [parameter for parameter, annotation in read if is_file(annotation)]
    models = [(parameter, annotation) for parameter, annotation in read if schemas.is_structured(annotation)]
    if files or models:
        return _described(files, models, definitions, max_records)
    if any(annotation is types.RequestData for _, annotation in read):
        return _content({**dict.fromkeys(CONTENT_TYPES, _ANYTHING), JSON_TYPE: _at_most(max_records)}, required=False)
    is_raw = any(annotation is types.Body for _, annotation in read)
    return _content({"*/*": _ANYTHING}, required=False) if is_raw else None


_ANYTHING: t.Final[JSON] = {}


def is_required(parameter: Parameter) -> bool:
    """Whether a request that doesn't bring the parameter is refused."""
    return parameter.required and not is_optional(parameter)


def _described(
    files: list[Parameter],
    models: collections.abc.Sequence[tuple[Parameter, t.Any]],
    definitions: Definitions,
    max_records: int | None,
) -> JSON:
    parts = [definitions.schema(annotation) for _, annotation in models]
    forms = [_form(definitions.schema(each), definitions) if has_form(each) else None for _, each in models]
    by_name = len({parameter.name for parameter, _ in models}) > 1
    empty = [not by_name and _may_be_empty(part, definitions) for part in parts]
    required = any(is_required(p) and not may for (p, _), may in zip(models, empty, strict=True))
    flat = [form for form in forms if form is not None]
    if files:
        form = _all([*(flat if len(flat) == len(parts) else parts), _files(files)])
        return _content({"multipart/form-data": form}, required=required or any(map(is_required, files)))
    as_forms = dict.fromkeys(_FORMS, _all(flat)) if len(flat) == len(parts) else {}
    whole = [_or_null(parameter, _bounded(each, definitions, max_records)) for parameter, each in models]
    as_json = _members(models, whole) if by_name else _all(whole)
    return _content({JSON_TYPE: as_json, **as_forms}, required=required)


def _bounded(annotation: t.Any, definitions: Definitions, max_records: int | None) -> JSON:
    """The schema of a type, with what is said of its lists beside it."""
    schema, lists = definitions.schema(annotation), t.cast("schemas.Adapter", schemas.adapter(annotation)).lists
    if max_records is None or "maxItems" in schema:
        return schema
    limit = _at_most(max_records)
    kinds = [definitions.resolved(kind) for kind in schema.get("anyOf") or schema.get("oneOf") or [schema]]
    described = {**schema, **(limit if any(kind.get("type") == "array" for kind in kinds) else {})}
    fields = {name: limit for name in lists if any(name in kind.get("properties", ()) for kind in kinds)}
    return {**described, "properties": fields} if fields else described


def _at_most(max_records: int | None) -> JSON:
    return {} if max_records is None else {"maxItems": max_records}


def _or_null(parameter: Parameter, schema: JSON) -> JSON:
    return {"anyOf": [schema, {"type": "null"}]} if is_optional(parameter) else schema


def _members(models: collections.abc.Sequence[tuple[Parameter, t.Any]], whole: list[JSON]) -> JSON:
    """The schema of an object that has what each parameter is read from under the parameter's name."""
    parts: dict[str, list[JSON]] = {}
    for (parameter, _), schema in zip(models, whole, strict=True):
        parts.setdefault(parameter.name, []).append(schema)
    required = list(dict.fromkeys(parameter.name for parameter, _ in models if is_required(parameter)))
    properties = {name: _all(schemas_) for name, schemas_ in parts.items()}
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _may_be_empty(schema: JSON, definitions: Definitions) -> bool:
    """Whether an empty object or list will do, for which no body at all stands, too."""
    resolved = definitions.resolved(schema)
    return resolved.get("type") == "array" or (resolved.get("type") == "object" and not resolved.get("required"))


def _form(schema: JSON, definitions: Definitions) -> JSON | None:
    """The schema of a form that holds a model: without what only JSON has; None where that is needed."""
    model = definitions.resolved(schema)
    if kinds := model.get("anyOf", model.get("oneOf")):
        forms = [_form(kind, definitions) for kind in kinds]
        return None if None in forms else {"anyOf": forms}
    if "properties" not in model:
        return None
    fields = {name: without_null(field) for name, field in model["properties"].items()}
    fields = {name: field for name, field in fields.items() if _is_field(field, definitions)}
    if not fields.keys() >= set(model.get("required", ())):
        return None
    return schema if _untitled(fields) == _untitled(model["properties"]) else {**model, "properties": fields}


def _untitled(fields: collections.abc.Mapping[str, JSON]) -> dict[str, JSON]:
    return {name: {key: value for key, value in field.items() if key != "title"} for name, field in fields.items()}


def _is_field(schema: JSON, definitions: Definitions) -> bool:
    """Whether a form's field can hold it: text, or several texts under one name."""
    field = definitions.resolved(schema)
    if "anyOf" in field:
        return all(_is_text(kind, definitions) for kind in field["anyOf"])
    return _is_text(field.get("items", {}) if field.get("type") == "array" else field, definitions)


def _is_text(schema: JSON, definitions: Definitions) -> bool:
    resolved = definitions.resolved(schema)
    return resolved.get("type") in _TEXTUAL or "enum" in resolved or "const" in resolved


def _files(files: list[Parameter]) -> JSON:
    required = [file.name for file in files if is_required(file)]
    properties = {file.name: _file(file) for file in files}
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _file(file: Parameter) -> JSON:
    one = {"type": "string", "format": "binary"}
    is_many = schemas.is_many(schemas.without_none(file.annotation))
    return {"type": "array", "items": one, "minItems": 1} if is_many else one


def _all(parts: list[JSON]) -> JSON:
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _content(media_types: collections.abc.Mapping[str, JSON], *, required: bool) -> JSON:
    return {"required": required, "content": {name: {"schema": schema} for name, schema in media_types.items()}}
