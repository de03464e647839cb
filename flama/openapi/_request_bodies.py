"""OpenAPI request bodies: their media types, their schemas."""

import collections.abc
import typing as t

from flama import schemas, types
from flama.http.request import CONTENT_TYPES, JSON as JSON_TYPE
from flama.injection import Parameter
from flama.openapi._components import JSON, Components, strip_null
from flama.routing.components import has_form, is_file, is_optional

__all__ = ["is_required", "request_body"]

_FORMS: t.Final = tuple(media_type for media_type in CONTENT_TYPES if media_type != JSON_TYPE)
_TEXTUAL: t.Final = frozenset({"boolean", "integer", "number", "string"})


def request_body(
    taken: collections.abc.Sequence[Parameter], components: Components, max_records: int | None = None
) -> JSON | None:
    """Return the description of the body that these parameters read; None if no parameter reads the body.

    Lists of models in the body, and the body itself if it is one, have at most ``max_records`` items.

    :raises TypeError: a model has no JSON schema.
    """
    read = [(parameter, schemas.unwrap_optional(parameter.annotation)) for parameter in taken]
    files = [parameter for parameter, annotation in read if is_file(annotation)]
    models = [(parameter, annotation) for parameter, annotation in read if schemas.is_structured(annotation)]
    if files or models:
        return _describe(files, models, components, max_records)
    if any(annotation is types.RequestData for _, annotation in read):
        return _content({**dict.fromkeys(CONTENT_TYPES, _ANYTHING), JSON_TYPE: _max_items(max_records)}, required=False)
    is_raw = any(annotation is types.Body for _, annotation in read)
    return _content({"*/*": _ANYTHING}, required=False) if is_raw else None


_ANYTHING: t.Final[JSON] = {}


def is_required(parameter: Parameter) -> bool:
    """Whether a request without the parameter is refused."""
    return parameter.required and not is_optional(parameter)


def _describe(
    files: list[Parameter],
    models: collections.abc.Sequence[tuple[Parameter, t.Any]],
    components: Components,
    max_records: int | None,
) -> JSON:
    parts = [components.schema(annotation) for _, annotation in models]
    forms = [_form(components.schema(each), components) if has_form(each) else None for _, each in models]
    by_name = len({parameter.name for parameter, _ in models}) > 1
    empty = [not by_name and _may_be_empty(part, components) for part in parts]
    required = any(is_required(p) and not may for (p, _), may in zip(models, empty, strict=True))
    flat = [form for form in forms if form is not None]
    if files:
        form = _all_of([*(flat if len(flat) == len(parts) else parts), _files(files)])
        return _content({"multipart/form-data": form}, required=required or any(map(is_required, files)))
    as_forms = dict.fromkeys(_FORMS, _all_of(flat)) if len(flat) == len(parts) else {}
    whole = [_make_nullable(parameter, _limit_lists(each, components, max_records)) for parameter, each in models]
    as_json = _object_schema(models, whole) if by_name else _all_of(whole)
    return _content({JSON_TYPE: as_json, **as_forms}, required=required)


def _limit_lists(annotation: t.Any, components: Components, max_records: int | None) -> JSON:
    """Return the schema of a type, with a limit on its lists."""
    schema, lists = components.schema(annotation), t.cast("schemas.Adapter", schemas.adapter(annotation)).lists
    if max_records is None or "maxItems" in schema:
        return schema
    limit = _max_items(max_records)
    kinds = [components.resolve(kind) for kind in schema.get("anyOf") or schema.get("oneOf") or [schema]]
    limited = {**schema, **(limit if any(kind.get("type") == "array" for kind in kinds) else {})}
    fields = {name: limit for name in lists if any(name in kind.get("properties", ()) for kind in kinds)}
    return {**limited, "properties": fields} if fields else limited


def _max_items(max_records: int | None) -> JSON:
    return {} if max_records is None else {"maxItems": max_records}


def _make_nullable(parameter: Parameter, schema: JSON) -> JSON:
    return {"anyOf": [schema, {"type": "null"}]} if is_optional(parameter) else schema


def _object_schema(models: collections.abc.Sequence[tuple[Parameter, t.Any]], whole: list[JSON]) -> JSON:
    """Return the schema of an object with a property for each parameter."""
    parts: dict[str, list[JSON]] = {}
    for (parameter, _), schema in zip(models, whole, strict=True):
        parts.setdefault(parameter.name, []).append(schema)
    required = list(dict.fromkeys(parameter.name for parameter, _ in models if is_required(parameter)))
    properties = {name: _all_of(schemas_) for name, schemas_ in parts.items()}
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _may_be_empty(schema: JSON, components: Components) -> bool:
    """Whether the body may be an empty object or list, and so may be missing."""
    resolved = components.resolve(schema)
    return resolved.get("type") == "array" or (resolved.get("type") == "object" and not resolved.get("required"))


def _form(schema: JSON, components: Components) -> JSON | None:
    """Return the schema of a form with a model's fields, without those that only JSON can hold.

    None if such a field is required.
    """
    model = components.resolve(schema)
    if kinds := model.get("anyOf", model.get("oneOf")):
        forms = [_form(kind, components) for kind in kinds]
        return None if None in forms else {"anyOf": forms}
    if "properties" not in model:
        return None
    fields = {name: strip_null(field) for name, field in model["properties"].items()}
    fields = {name: field for name, field in fields.items() if _is_field(field, components)}
    if not fields.keys() >= set(model.get("required", ())):
        return None
    return schema if _drop_titles(fields) == _drop_titles(model["properties"]) else {**model, "properties": fields}


def _drop_titles(fields: collections.abc.Mapping[str, JSON]) -> dict[str, JSON]:
    return {name: {key: value for key, value in field.items() if key != "title"} for name, field in fields.items()}


def _is_field(schema: JSON, components: Components) -> bool:
    """Whether a form's field can hold it: a text, or several under one name."""
    field = components.resolve(schema)
    if "anyOf" in field:
        return all(_is_text(kind, components) for kind in field["anyOf"])
    return _is_text(field.get("items", {}) if field.get("type") == "array" else field, components)


def _is_text(schema: JSON, components: Components) -> bool:
    resolved = components.resolve(schema)
    return resolved.get("type") in _TEXTUAL or "enum" in resolved or "const" in resolved


def _files(files: list[Parameter]) -> JSON:
    required = [file.name for file in files if is_required(file)]
    properties = {file.name: _file(file) for file in files}
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _file(file: Parameter) -> JSON:
    one = {"type": "string", "format": "binary"}
    is_many = schemas.is_many(schemas.unwrap_optional(file.annotation))
    return {"type": "array", "items": one, "minItems": 1} if is_many else one


def _all_of(parts: list[JSON]) -> JSON:
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _content(media_types: collections.abc.Mapping[str, JSON], *, required: bool) -> JSON:
    return {"required": required, "content": {name: {"schema": schema} for name, schema in media_types.items()}}
