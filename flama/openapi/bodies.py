"""Bodies: in which forms a request can bring what its handler reads."""

import collections.abc
import typing as t

from flama import http, schemas, types
from flama.http.request import CONTENT_TYPES, JSON as JSON_TYPE
from flama.injection import Parameter
from flama.openapi.definitions import JSON, Definitions, without_null

__all__ = ["body", "is_required"]

_FORMS: t.Final = tuple(media_type for media_type in CONTENT_TYPES if media_type != JSON_TYPE)
_TEXTUAL: t.Final = frozenset({"boolean", "integer", "number", "string"})


def body(asked: collections.abc.Sequence[Parameter], definitions: Definitions) -> JSON | None:
    """Give the description of the body that is read for these parameters; None when none of them is of it.

    :raises TypeError: a model has no form in JSON.
    """
    read = [(parameter, schemas.without_none(parameter.annotation)) for parameter in asked]
    files = [parameter for parameter, annotation in read if annotation is http.UploadFile]
    models = [(parameter, annotation) for parameter, annotation in read if schemas.adapter(annotation) is not None]
    if files or models:
        return _described(files, models, definitions)
    if any(annotation is types.RequestData for _, annotation in read):
        return _content(dict.fromkeys(CONTENT_TYPES, _ANYTHING), required=False)
    is_raw = any(annotation is types.Body for _, annotation in read)
    return _content({"*/*": _ANYTHING}, required=False) if is_raw else None


_ANYTHING: t.Final[JSON] = {}


def is_required(parameter: Parameter) -> bool:
    """Tell whether a request that doesn't bring the parameter is refused."""
    is_optional: bool = schemas.without_none(parameter.annotation) is not parameter.annotation
    return parameter.required and not is_optional


def _described(
    files: list[Parameter], models: collections.abc.Sequence[tuple[Parameter, t.Any]], definitions: Definitions
) -> JSON:
    parts = [definitions.schema(annotation) for _, annotation in models]
    forms = [form for part in parts if (form := _form(part, definitions)) is not None]
    has_forms = len(forms) == len(parts)
    empty = [_may_be_empty(part, definitions) for part in parts]
    required = any(is_required(p) and not may for (p, _), may in zip(models, empty, strict=True))
    if files:
        form = _all([*(forms if has_forms else parts), _files(files)])
        return _content({"multipart/form-data": form}, required=required or any(map(is_required, files)))
    as_forms = dict.fromkeys(_FORMS, _all(forms)) if has_forms else {}
    return _content({JSON_TYPE: _all(parts), **as_forms}, required=required)


def _may_be_empty(schema: JSON, definitions: Definitions) -> bool:
    """Whether an empty object or list will do, for which no body at all stands, too."""
    resolved = definitions.resolved(schema)
    return resolved.get("type") == "array" or (resolved.get("type") == "object" and not resolved.get("required"))


def _form(schema: JSON, definitions: Definitions) -> JSON | None:
    """The schema of a form that holds a model: without what only JSON has; None where that is needed."""
    model = definitions.resolved(schema)
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
    properties = {file.name: {"type": "string", "format": "binary"} for file in files}
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _all(parts: list[JSON]) -> JSON:
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _content(media_types: collections.abc.Mapping[str, JSON], *, required: bool) -> JSON:
    return {"required": required, "content": {name: {"schema": schema} for name, schema in media_types.items()}}
