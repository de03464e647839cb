"""The adapter: what we ask of a schema library, whichever it is."""

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
    "Shape",
    "adapter",
    "annotations",
    "answers",
    "blanks",
    "encoder",
    "field_names",
    "fields_of_form",
    "invalid",
    "is_many",
    "is_model",
    "is_structured",
    "json_schema",
    "lists_of_models",
    "members",
    "names",
    "parameter_reader",
    "plain",
    "to_jsonable",
    "too_many",
    "without_none",
]

ERROR_LIMIT: t.Final = 100
"""Errors of one value beyond which none of them is listed."""

INPUT_LIMIT: t.Final = 16 * 1024
"""Bytes of a body above which errors don't repeat what was sent: each of them may hold the whole of it."""


LARGE: t.Final = 64 * 1024
"""Bytes of a body above which it is decoded in slices: they take a few milliseconds, in which nobody else is served."""

_LOC_LIMIT: t.Final = 100  # characters of each part of an error's place, which may be a name that was sent
_MESSAGE_LIMIT: t.Final = 1_000


class Adapter(t.Protocol):
    """One schema, in the form that an annotation asks for.

    ``many`` is whether that is a list, and ``lists`` are the names of the fields that are lists of models. With
    ``stops_at_first``, validation ends at the first error.
    """

    many: bool
    lists: tuple[str, ...]
    stops_at_first: bool

    def decode(self, body: bytes) -> t.Any:
        """Give the validated value that these bytes of JSON hold.

        :raises DecodeError: they hold no JSON.
        :raises ValidationError: the value doesn't fit the schema.
        """

    def names(self, body: bytes) -> list[str]:
        """Give the names that these bytes of JSON have for fields, each once; of a list, those of all that is in it.

        They may be none of the schema's. Of what is no JSON, or no object, there are none: :meth:`decode` tells.
        """
        ...

    def convert(self, form: collections.abc.Mapping[str, list[t.Any]]) -> t.Any:
        """Give the validated value of what a form holds: by name all the strings and files that were sent.

        :raises ValidationError: the value doesn't fit the schema.
        """

    def encode(self, value: t.Any) -> bytes:
        """Give the JSON of a value as the schema has it: what it doesn't know is dropped, defaults are added.

        :raises SerializationError: the value doesn't fit the schema.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """What an annotation asks for: a schema, or ``many`` of it; ``plain`` as dictionaries, else as the model.

    The schema is a model, or a type made of models, lists and mappings.
    """

    schema: t.Any
    many: bool = False
    partial: bool = False
    plain: bool = False

    def whole(self, model: t.Any) -> t.Any:
        """Give the model, or the list of it where many are asked for."""
        return list[model] if self.many else model


def blanks(shape: Shape) -> dict[bytes, bytes]:
    """Return the bodies without content, with the JSON that each stands for: an empty list or object.

    Null is one of them for a model, or a list of models.
    """
    origin = t.get_origin(bare := _bare(shape.schema)) or bare
    if shape.many or _is_model(bare):
        return dict.fromkeys((b"", b"null"), b"[]" if shape.many else b"{}")
    if origin in _COLLECTIONS or origin in _MAPPINGS:
        return {b"": b"[]" if origin in _COLLECTIONS else b"{}"}
    return {}


def _bare(annotation: t.Any) -> t.Any:
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation


def adapter(annotation: t.Any) -> Adapter | None:
    """Return the adapter for a type that JSON has objects or lists for, None for any other.

    It is ``Annotated[Schema, SchemaMetadata(Model)]``, a model, a mapping, or a union, a list or another collection in
    which there is one.

    :raises ApplicationError: the library of the models has no schema for the type.
    """
    shape = _shape(unwrap(annotation))
    if shape is None:
        return None
    library = _module("msgspec") if _is_json(shape.schema) else _library_of(shape.schema)
    try:
        return t.cast(Adapter, library.adapter(shape))
    except (TypeError, *library.SCHEMA_ERRORS) as error:
        reason = str(error).partition("\n")[0]
        raise exceptions.ApplicationError(f"{shape.schema!r} is no schema: {reason}") from error


def encoder(annotation: t.Any) -> collections.abc.Callable[[t.Any], bytes] | None:
    """Return what makes JSON of a value as a type's models have it; None for a type without models.

    :raises ApplicationError: the library of the models has no schema for the type.
    """
    annotation = unwrap(annotation)
    found = adapter(annotation) if _has_model(annotation) else None
    return None if found is None else found.encode


def names(schema: t.Any, *, output: bool = False) -> tuple[str, ...] | None:
    """Give the names by which the fields of a schema are sent, or with ``output`` those by which they are answered.

    None where the schema says itself what becomes of any other that is sent: that it is taken, or passed over.
    """
    schema = unwrap(schema)
    return t.cast("tuple[str, ...] | None", _library(schema).names(schema, output=output))


def answers(annotation: t.Any, name: str) -> bool:
    """Whether values of a type are answered with this field of theirs; without a model, all fields are answered."""
    metadata = types.get_schema_metadata(annotation)
    models = [each for each in members(unwrap(metadata.schema if metadata else annotation)) if _is_model(each)]
    return all(_library(model).answers(model, name) for model in models)


def annotations(model: t.Any) -> dict[str, t.Any]:
    """Return the annotations of a model's fields, by each name under which they may be sent."""
    return t.cast("dict[str, t.Any]", _library(model).annotations(model))


def parameter_reader(annotation: t.Any, *, many: bool = False) -> collections.abc.Callable[[t.Any], t.Any]:
    """Give the function that makes a value of this type from a parameter's string, or from the list of its strings.

    It raises :class:`ValueError` with the library's errors; :func:`invalid` makes the answer from them.

    :raises ApplicationError: strings can't be made into the type.
    """
    library = _module("pydantic")
    try:
        return t.cast("collections.abc.Callable[[t.Any], t.Any]", library.parameter_reader(annotation, many=many))
    except library.SCHEMA_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise exceptions.ApplicationError(f"{annotation!r} is no type of parameters: {reason}") from error


def to_jsonable(value: t.Any) -> t.Any:
    """Return what pydantic makes of a value of a type that it knows for JSON: dictionaries, lists, texts, numbers."""
    return _module("pydantic").to_jsonable(value)


def json_schema(annotation: t.Any, *, output: bool, reference: str) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Give the JSON Schema of a type, and by name those of the models in it, to which it refers as ``reference``.

    ``reference`` is a format of the model's ``name``. With ``output`` the schema is of what is sent rather than taken.

    :raises TypeError: the type, or one in it, has no form in JSON that its library knows.
    """
    annotation = unwrap(annotation)
    shape = _shape(annotation) or Shape(annotation)
    library = _library_of(shape.schema)
    return t.cast(tuple[dict[str, t.Any], dict[str, t.Any]], library.json_schema(shape, output, reference))


def is_many(annotation: t.Any) -> bool:
    """Whether a type is of a list or another collection, or optionally so."""
    kinds = members(without_none(unwrap(annotation)))
    return all(t.get_origin(kind) in _COLLECTIONS for kind in kinds)


def lists_of_models(annotations: collections.abc.Mapping[str, t.Any]) -> tuple[str, ...]:
    """Return the names of the fields that are lists, or other collections, of models or mappings."""
    kinds = {name: members(unwrap(annotation)) for name, annotation in annotations.items()}
    return tuple(name for name, several in kinds.items() if any(map(_is_list_of_models, several)))


def _is_list_of_models(annotation: t.Any) -> bool:
    return is_many(annotation) and any(map(is_structured, t.get_args(annotation)))


def is_model(annotation: t.Any) -> bool:
    """Whether a type is a pydantic model, a dataclass, a msgspec Struct or a TypedDict."""
    return _is_model(annotation)


def is_structured(annotation: t.Any) -> bool:
    """Whether a type's values are objects in JSON, or collections or alternatives in which there are objects."""
    if hasattr(annotation, "__metadata__"):
        return types.is_schema(annotation) or is_structured(annotation.__origin__)
    origin = t.get_origin(annotation) or annotation
    if origin in _COLLECTIONS or origin in _UNIONS:
        elements = [each for each in t.get_args(annotation) if each is not ...]
        is_any = origin in _COLLECTIONS and (not elements or t.Any in elements)
        return is_any or any(map(is_structured, elements))
    return _is_model(annotation) or origin in _MAPPINGS


def members(annotation: t.Any) -> tuple[t.Any, ...]:
    """Return the alternatives that a union consists of; any other type is the only one."""
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


def without_none(annotation: t.Any) -> t.Any:
    """Return the type that an optional type is when it isn't None, and any other as it is."""
    arguments = t.get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return rebuild(annotation, without_none)
    if t.get_origin(annotation) in _UNIONS and type(None) in arguments:
        return t.Union[tuple(argument for argument in arguments if argument is not type(None))]  # noqa: UP007
    return annotation


def fields_of_form(
    form: collections.abc.Mapping[str, list[t.Any]], annotations: collections.abc.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Give a form's fields: all values of one that takes many, of any other the last."""
    return {name: values if is_many(annotations.get(name)) else values[-1] for name, values in form.items()}


def field_names(content: t.Any) -> list[str]:
    """Give the names of the fields of what JSON holds, an object or a list of them, each once."""
    objects = content if isinstance(content, list) else [content]
    return list(dict.fromkeys(name for each in objects if isinstance(each, dict) for name in each))


def too_many() -> dict[str, t.Any]:
    """Return the error that stands for so many that a list of them would be larger than what was sent."""
    return {"type": "too_many_errors", "loc": [], "msg": f"There are more than {ERROR_LIMIT} errors"}


def invalid(errors: collections.abc.Iterable[dict[str, t.Any]], loc: tuple[t.Any, ...] = ()) -> dict[str, t.Any]:
    """Return the detail of a validation error: each error by the dotted name of its field.

    Names and messages are cut, as what was sent may be in them.
    """
    located = [
        {**error, "loc": [*loc, *map(_cut, error["loc"])], "msg": error["msg"][:_MESSAGE_LIMIT]} for error in errors
    ]
    return {".".join(map(str, error["loc"])) or "body": error for error in reversed(located)}


def _cut(part: t.Any) -> t.Any:
    return part[:_LOC_LIMIT] if isinstance(part, str) else part


def plain(value: t.Any, opened: collections.abc.Callable[[t.Any], t.Any]) -> t.Any:
    """Give a validated value with every model in it as a dictionary; ``opened`` gives a model's, or what isn't one."""
    match opened(value):
        case dict() as fields:
            return {key: plain(item, opened) for key, item in fields.items()}
        case list() as items:
            return [plain(item, opened) for item in items]
        case tuple() as items:
            made = [plain(item, opened) for item in items]
            return getattr(items, "_make", tuple)(made)
        case set() | frozenset() as items:
            made = [plain(item, opened) for item in items]
            return made if any(isinstance(item, dict) for item in made) else type(items)(made)
        case other:
            return other


def _shape(annotation: t.Any) -> Shape | None:
    if metadata := types.get_schema_metadata(annotation):
        many = t.get_origin(annotation) is list or t.get_origin(annotation.__origin__) is list
        return Shape(_check_schema(unwrap(metadata.schema), metadata.partial), many, metadata.partial, plain=True)
    if t.get_origin(annotation) is list and _is_model(element := t.get_args(annotation)[0]):
        return Shape(element, many=True)
    if _is_model(annotation):
        return Shape(annotation)
    if not is_structured(annotation):
        return None
    opened = _open(annotation)
    return Shape(opened, plain=opened is not annotation)


def _check_schema(schema: t.Any, partial: bool) -> t.Any:
    if not _is_model(schema) if partial else not is_structured(schema):
        of = " of which a part can be sent" if partial else ""
        raise exceptions.ApplicationError(
            f"{schema!r} is no schema{of}: a pydantic model, msgspec Struct, dataclass or TypedDict would do"
        )
    return schema


def _open(annotation: t.Any) -> t.Any:
    """Return a type with models in place of the dictionaries that are annotated with them."""
    if hasattr(annotation, "__metadata__") and (metadata := types.get_schema_metadata(annotation)):
        return _check_schema(unwrap(metadata.schema), metadata.partial)
    return rebuild(annotation, _open)


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
    """Return the library that knows a type: that of a model, or of the models in it."""
    if _is_model(annotation):
        return _library(annotation)
    models = [each for each in _parts(annotation) if _is_model(each)]
    if any(hasattr(model, "__struct_fields__") for model in models):
        return _module("msgspec")
    return _module("msgspec" if len(models) == 1 and _is_typed_dict(models[0]) else "pydantic")


def _is_json(annotation: t.Any) -> bool:
    """Whether a type is made of JSON's own types alone, of which msgspec takes no number that JSON hasn't."""
    return all(each in _JSON for each in _parts(annotation))


_JSON: t.Final = (*_MAPPINGS, *_UNIONS, list, str, int, float, bool, type(None), t.Any)


def _parts(annotation: t.Any) -> collections.abc.Iterator[t.Any]:
    """Yield what a type is made of: itself without its arguments, and the parts of these."""
    yield t.Annotated if hasattr(annotation, "__metadata__") else t.get_origin(annotation) or annotation
    for argument in t.get_args(annotation):
        yield from _parts(argument)


def _has_model(annotation: t.Any) -> bool:
    return _is_model(annotation) or types.is_schema(annotation) or any(map(_has_model, t.get_args(annotation)))


def _is_typed_dict(annotation: t.Any) -> bool:
    return hasattr(annotation, "__required_keys__")  # also those of typing_extensions, another class before 3.12


def _is_plain_typed_dict(annotation: t.Any) -> bool:
    """Whether it is a TypedDict that isn't set up for pydantic."""
    return _is_typed_dict(annotation) and not hasattr(annotation, "__pydantic_config__")


def _module(library: str) -> t.Any:
    return importlib.import_module(f"flama.schemas.{library}")
