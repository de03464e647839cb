"""The adapter: one interface to schema libraries."""

import collections.abc
import dataclasses
import importlib
import types as python_types
import typing as t

from flama import exceptions, types
from flama._annotations import rebuild, unwrap

__all__ = [
    "Adapter",
    "ERROR_LIMIT",
    "INPUT_LIMIT",
    "LARGE",
    "SchemaSpec",
    "adapter",
    "annotations",
    "empty_bodies",
    "encoder",
    "error_detail",
    "field_names",
    "fields_of_form",
    "has_output_field",
    "is_many",
    "is_model",
    "is_structured",
    "json_schema",
    "lists_of_models",
    "members",
    "names",
    "parameter_reader",
    "to_builtins",
    "to_jsonable",
    "too_many_errors",
    "unwrap_optional",
]

ERROR_LIMIT: t.Final = 100
"""The maximum number of errors of one value; if there are more, none of them is listed."""

INPUT_LIMIT: t.Final = 16 * 1024
"""The size in bytes of a body above which errors omit the input, since each may repeat the whole body."""


LARGE: t.Final = 64 * 1024
"""The size in bytes of a body above which it is decoded in slices, which block the event loop for milliseconds."""

_LOC_LIMIT: t.Final = 100  # characters of each part of an error's location, which may come from the input
_MESSAGE_LIMIT: t.Final = 1_000


class Adapter(t.Protocol):
    """The schema of an annotation.

    ``many`` is true if the annotation is a list; ``lists`` are the names of the fields that are lists of models. If
    ``stops_at_first`` is true, validation ends at the first error.
    """

    many: bool
    lists: tuple[str, ...]
    stops_at_first: bool

    def decode(self, body: bytes) -> t.Any:
        """Return the validated value of a JSON body.

        :raises DecodeError: the body isn't valid JSON.
        :raises ValidationError: the value doesn't match the schema.
        """

    def names(self, body: bytes) -> list[str]:
        """Return the distinct keys of the object, or of all objects in the list, of a JSON body.

        They may not be the schema's fields. The list is empty if the body isn't JSON or has no object: :meth:`decode`
        raises the error.
        """
        ...

    def convert(self, form: collections.abc.Mapping[str, list[t.Any]]) -> t.Any:
        """Return the validated value of a form, which maps each name to all of its strings and files.

        :raises ValidationError: the value doesn't match the schema.
        """

    def encode(self, value: t.Any) -> bytes:
        """Encode a value as JSON by the schema: unknown fields are dropped, defaults are added.

        :raises SerializationError: the value doesn't match the schema.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class SchemaSpec:
    """The parts of an annotation: a schema, a list of it if ``many``, dictionaries instead of models if ``as_dict``.

    The schema is a model, or a type composed of models, lists and mappings.
    """

    schema: t.Any
    many: bool = False
    partial: bool = False
    as_dict: bool = False

    def full_type(self, model: t.Any) -> t.Any:
        """Return the model, or the type of lists of it if ``many``."""
        return list[model] if self.many else model


def empty_bodies(spec: SchemaSpec) -> dict[bytes, bytes]:
    """Map the bodies without content to the JSON that they stand for, an empty list or object.

    For a model, or a list of models, null is one of them.
    """
    origin = t.get_origin(bare := _strip_metadata(spec.schema)) or bare
    if spec.many or _is_model(bare):
        return dict.fromkeys((b"", b"null"), b"[]" if spec.many else b"{}")
    if origin in _COLLECTIONS or origin in _MAPPINGS:
        return {b"": b"[]" if origin in _COLLECTIONS else b"{}"}
    return {}


def _strip_metadata(annotation: t.Any) -> t.Any:
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation


def adapter(annotation: t.Any) -> Adapter | None:
    """Return the adapter for a type whose JSON form is an object or a list, None for any other.

    Such a type is ``Annotated[Schema, SchemaMetadata(Model)]``, a model or a mapping. Unions, lists and other
    collections that contain one of these count, too.

    :raises ApplicationError: the models' library has no schema for the type.
    """
    spec = _schema_spec(unwrap(annotation))
    if spec is None:
        return None
    library = _module("msgspec") if _is_json(spec.schema) else _library_of(spec.schema)
    try:
        return t.cast(Adapter, library.adapter(spec))
    except (TypeError, *library.SCHEMA_ERRORS) as error:
        reason = str(error).partition("\n")[0]
        raise exceptions.ApplicationError(f"{spec.schema!r} is no schema: {reason}") from error


def encoder(annotation: t.Any) -> collections.abc.Callable[[t.Any], bytes] | None:
    """Return the JSON encoder of a type that contains models, None for any other.

    :raises ApplicationError: the models' library has no schema for the type.
    """
    annotation = unwrap(annotation)
    found = adapter(annotation) if _has_model(annotation) else None
    return None if found is None else found.encode


def names(schema: t.Any, *, output: bool = False) -> tuple[str, ...] | None:
    """Return the names of a schema's fields in requests, or in responses with ``output``.

    None if the schema itself is configured to accept or ignore other names.
    """
    schema = unwrap(schema)
    return t.cast("tuple[str, ...] | None", _library(schema).names(schema, output=output))


def has_output_field(annotation: t.Any, name: str) -> bool:
    """Whether responses with values of a type contain a field; without a model, they contain all."""
    metadata = types.get_schema_metadata(annotation)
    models = [each for each in members(unwrap(metadata.schema if metadata else annotation)) if _is_model(each)]
    return all(_library(model).has_output_field(model, name) for model in models)


def annotations(model: t.Any) -> dict[str, t.Any]:
    """Return the annotations of a model's fields, by each of their input names."""
    return t.cast("dict[str, t.Any]", _library(model).annotations(model))


def parameter_reader(annotation: t.Any, *, many: bool = False) -> collections.abc.Callable[[t.Any], t.Any]:
    """Return the function that converts the string of a parameter, or a list of its strings, to a type.

    The function raises :class:`ValueError` with the library's errors, which :func:`error_detail` formats.

    :raises ApplicationError: strings don't convert to the type.
    """
    library = _module("pydantic")
    try:
        return t.cast("collections.abc.Callable[[t.Any], t.Any]", library.parameter_reader(annotation, many=many))
    except library.SCHEMA_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise exceptions.ApplicationError(f"{annotation!r} is no type of parameters: {reason}") from error


def to_jsonable(value: t.Any) -> t.Any:
    """Convert a value of a type that pydantic supports to dictionaries, lists, strings and numbers."""
    return _module("pydantic").to_jsonable(value)


def json_schema(annotation: t.Any, *, output: bool, reference: str) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return the JSON Schema of a type, and those of the models in it by name.

    ``reference`` is the format of references to models, with the field ``name``. With ``output`` the schema describes
    responses, otherwise requests.

    :raises TypeError: the library has no JSON form for the type, or for a type in it.
    """
    annotation = unwrap(annotation)
    spec = _schema_spec(annotation) or SchemaSpec(annotation)
    library = _library_of(spec.schema)
    return t.cast(tuple[dict[str, t.Any], dict[str, t.Any]], library.json_schema(spec, output, reference))


def is_many(annotation: t.Any) -> bool:
    """Whether a type is a list or another collection, or an optional one."""
    kinds = members(unwrap_optional(unwrap(annotation)))
    return all(t.get_origin(kind) in _COLLECTIONS for kind in kinds)


def lists_of_models(annotations: collections.abc.Mapping[str, t.Any]) -> tuple[str, ...]:
    """Return the names of the fields that are collections of models or mappings."""
    kinds = {name: members(unwrap(annotation)) for name, annotation in annotations.items()}
    return tuple(name for name, several in kinds.items() if any(map(_is_list_of_models, several)))


def _is_list_of_models(annotation: t.Any) -> bool:
    return is_many(annotation) and any(map(is_structured, t.get_args(annotation)))


def is_model(annotation: t.Any) -> bool:
    """Whether a type is a pydantic model, a dataclass, a msgspec Struct or a TypedDict."""
    return _is_model(annotation)


def is_structured(annotation: t.Any) -> bool:
    """Whether a type's JSON form is an object, or a collection or a union that contains objects."""
    if hasattr(annotation, "__metadata__"):
        return types.is_schema(annotation) or is_structured(annotation.__origin__)
    origin = t.get_origin(annotation) or annotation
    if origin in _COLLECTIONS or origin in _UNIONS:
        elements = [each for each in t.get_args(annotation) if each is not ...]
        is_any = origin in _COLLECTIONS and (not elements or t.Any in elements)
        return is_any or any(map(is_structured, elements))
    return _is_model(annotation) or origin in _MAPPINGS


def members(annotation: t.Any) -> tuple[t.Any, ...]:
    """Return the members of a union, flattened; any other type is its only member."""
    if hasattr(annotation, "__metadata__"):
        return members(annotation.__origin__)
    if t.get_origin(annotation) not in _UNIONS:
        return (annotation,)
    return tuple(member for argument in t.get_args(annotation) for member in members(argument))


_UNIONS: t.Final = (t.Union, python_types.UnionType)
_COLLECTIONS: t.Final = (
    list, set, frozenset, tuple, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Set,
)  # fmt: skip
_MAPPINGS: t.Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def unwrap_optional(annotation: t.Any) -> t.Any:
    """Return an optional type without None; any other type unchanged."""
    arguments = t.get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return rebuild(annotation, unwrap_optional)
    if t.get_origin(annotation) in _UNIONS and type(None) in arguments:
        return t.Union[tuple(argument for argument in arguments if argument is not type(None))]  # noqa: UP007
    return annotation


def fields_of_form(
    form: collections.abc.Mapping[str, list[t.Any]], annotations: collections.abc.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Return the fields of a form: all values of a collection, the last value of any other field."""
    return {name: values if is_many(annotations.get(name)) else values[-1] for name, values in form.items()}


def field_names(content: t.Any) -> list[str]:
    """Return the distinct keys of an object, or of the objects in a list."""
    objects = content if isinstance(content, list) else [content]
    return list(dict.fromkeys(name for each in objects if isinstance(each, dict) for name in each))


def too_many_errors() -> dict[str, t.Any]:
    """Return the error that replaces more than ``ERROR_LIMIT`` errors, whose list could be larger than the input."""
    return {"type": "too_many_errors", "loc": [], "msg": f"There are more than {ERROR_LIMIT} errors"}


def error_detail(errors: collections.abc.Iterable[dict[str, t.Any]], loc: tuple[t.Any, ...] = ()) -> dict[str, t.Any]:
    """Return the detail of a validation error: the errors by the dotted names of their fields.

    Names and messages are truncated, since they may contain the input.
    """
    located = [
        {**error, "loc": [*loc, *map(_truncate, error["loc"])], "msg": error["msg"][:_MESSAGE_LIMIT]}
        for error in errors
    ]
    return {".".join(map(str, error["loc"])) or "body": error for error in reversed(located)}


def _truncate(part: t.Any) -> t.Any:
    return part[:_LOC_LIMIT] if isinstance(part, str) else part


def to_builtins(value: t.Any, model_fields: collections.abc.Callable[[t.Any], t.Any]) -> t.Any:
    """Convert each model in a validated value to a dictionary.

    ``model_fields`` returns a model's fields as a dictionary, and any other value unchanged.
    """
    match model_fields(value):
        case dict() as fields:
            return {key: to_builtins(item, model_fields) for key, item in fields.items()}
        case list() as items:
            return [to_builtins(item, model_fields) for item in items]
        case tuple() as items:
            made = [to_builtins(item, model_fields) for item in items]
            return getattr(items, "_make", tuple)(made)
        case set() | frozenset() as items:
            made = [to_builtins(item, model_fields) for item in items]
            return made if any(isinstance(item, dict) for item in made) else type(items)(made)
        case other:
            return other


def _schema_spec(annotation: t.Any) -> SchemaSpec | None:
    if metadata := types.get_schema_metadata(annotation):
        many = t.get_origin(annotation) is list or t.get_origin(annotation.__origin__) is list
        return SchemaSpec(
            _check_schema(unwrap(metadata.schema), metadata.partial), many, metadata.partial, as_dict=True
        )
    if t.get_origin(annotation) is list and _is_model(element := t.get_args(annotation)[0]):
        return SchemaSpec(element, many=True)
    if _is_model(annotation):
        return SchemaSpec(annotation)
    if not is_structured(annotation):
        return None
    expanded = _expand_schemas(annotation)
    return SchemaSpec(expanded, as_dict=expanded is not annotation)


def _check_schema(schema: t.Any, partial: bool) -> t.Any:
    if not _is_model(schema) if partial else not is_structured(schema):
        of = " of which a part can be sent" if partial else ""
        raise exceptions.ApplicationError(
            f"{schema!r} is no schema{of}: a pydantic model, msgspec Struct, dataclass or TypedDict would do"
        )
    return schema


def _expand_schemas(annotation: t.Any) -> t.Any:
    """Return a type with each annotated dictionary replaced by its model."""
    if hasattr(annotation, "__metadata__") and (metadata := types.get_schema_metadata(annotation)):
        return _check_schema(unwrap(metadata.schema), metadata.partial)
    return rebuild(annotation, _expand_schemas)


def _is_model(annotation: t.Any) -> bool:
    return isinstance(annotation, type) and (
        hasattr(annotation, "__struct_fields__")
        or hasattr(annotation, "__pydantic_fields__")
        or dataclasses.is_dataclass(annotation)
        or _is_typed_dict(annotation)
    )


def _library(schema: t.Any) -> t.Any:
    if not _is_model(schema):
        raise exceptions.ApplicationError(
            f"{schema!r} is no schema: a pydantic model, msgspec Struct, dataclass or TypedDict would do"
        )
    return _module("msgspec" if hasattr(schema, "__struct_fields__") or _is_plain_typed_dict(schema) else "pydantic")


def _library_of(annotation: t.Any) -> t.Any:
    """Return the library of a type: that of the model, or of the models in it."""
    if _is_model(annotation):
        return _library(annotation)
    models = [each for each in _parts(annotation) if _is_model(each)]
    if any(hasattr(model, "__struct_fields__") for model in models):
        return _module("msgspec")
    return _module("msgspec" if len(models) == 1 and _is_typed_dict(models[0]) else "pydantic")


def _is_json(annotation: t.Any) -> bool:
    """Whether a type contains JSON types only; msgspec, which reads those, rejects non-finite numbers."""
    return all(each in _JSON for each in _parts(annotation))


_JSON: t.Final = (*_MAPPINGS, *_UNIONS, list, str, int, float, bool, type(None), t.Any)


def _parts(annotation: t.Any) -> collections.abc.Iterator[t.Any]:
    """Yield a type without its arguments, then recursively the parts of the arguments."""
    yield t.Annotated if hasattr(annotation, "__metadata__") else t.get_origin(annotation) or annotation
    for argument in t.get_args(annotation):
        yield from _parts(argument)


def _has_model(annotation: t.Any) -> bool:
    return _is_model(annotation) or types.is_schema(annotation) or any(map(_has_model, t.get_args(annotation)))


def _is_typed_dict(annotation: t.Any) -> bool:
    return hasattr(annotation, "__required_keys__")  # before 3.12, typing_extensions has a class of its own


def _is_plain_typed_dict(annotation: t.Any) -> bool:
    """Whether a type is a TypedDict without a configuration for pydantic."""
    return _is_typed_dict(annotation) and not hasattr(annotation, "__pydantic_config__")


def _module(library: str) -> t.Any:
    return importlib.import_module(f"flama.schemas.{library}")
