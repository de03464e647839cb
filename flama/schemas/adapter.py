"""The adapter: what we ask of a schema library, whichever it is."""

import collections.abc
import dataclasses
import importlib
import types as python_types
import typing as t

from flama import exceptions, types

__all__ = [
    "Adapter",
    "ERROR_LIMIT",
    "INPUT_LIMIT",
    "Shape",
    "adapter",
    "field_names",
    "fields_of_form",
    "invalid",
    "is_many",
    "json_schema",
    "names",
    "parameter_reader",
    "plain",
    "to_jsonable",
    "too_many",
    "without_none",
]

ERROR_LIMIT: t.Final = 100
"""Errors of one value beyond which they are counted rather than told."""

INPUT_LIMIT: t.Final = 16 * 1024
"""Bytes of a body above which errors don't repeat what was sent: each of them may hold the whole of it."""


class Adapter(t.Protocol):
    """One schema, in the form that an annotation asks for."""

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
    """What an annotation asks for: a schema, or ``many`` of it; ``plain`` as dictionaries, else as the model."""

    schema: t.Any
    many: bool = False
    partial: bool = False
    plain: bool = False

    def whole(self, model: t.Any) -> t.Any:
        """Give the model, or the list of it where many are asked for."""
        return list[model] if self.many else model


def adapter(annotation: t.Any) -> Adapter | None:
    """Give the adapter for ``Annotated[Schema, SchemaMetadata(Model)]``, a model, or a list of either; else None."""
    shape = _shape(annotation)
    return None if shape is None else t.cast(Adapter, _library(shape.schema).adapter(shape))


def names(schema: t.Any, *, output: bool = False) -> tuple[str, ...] | None:
    """Give the names by which the fields of a schema are sent, or with ``output`` those by which they are answered.

    None where the schema says itself what becomes of any other that is sent: that it is taken, or passed over.
    """
    return t.cast("tuple[str, ...] | None", _library(schema).names(schema, output=output))


def parameter_reader(annotation: t.Any, *, many: bool = False) -> collections.abc.Callable[[t.Any], t.Any]:
    """Give the function that makes a value of this type from a parameter's string, or from the list of its strings.

    It raises :class:`ValueError` with the library's errors; :func:`invalid` makes the answer from them.
    """
    return t.cast(collections.abc.Callable[[t.Any], t.Any], _module("pydantic").parameter_reader(annotation, many=many))


def to_jsonable(value: t.Any) -> t.Any:
    """Return what pydantic makes of a value of a type that it knows for JSON: dictionaries, lists, texts, numbers."""
    return _module("pydantic").to_jsonable(value)


def json_schema(annotation: t.Any, *, output: bool, reference: str) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Give the JSON Schema of a type, and by name those of the models in it, to which it refers as ``reference``.

    ``reference`` is a format of the model's ``name``. With ``output`` the schema is of what is sent rather than taken.

    :raises TypeError: the type, or one in it, has no form in JSON that its library knows.
    """
    shape = _shape(annotation) or Shape(annotation)
    library = _library(shape.schema) if _is_model(shape.schema) or shape.plain else _library_of(annotation)
    return t.cast(tuple[dict[str, t.Any], dict[str, t.Any]], library.json_schema(shape, output, reference))


def is_many(annotation: t.Any) -> bool:
    """Tell whether a type is of a list, a set or a tuple, or optionally so."""
    if hasattr(annotation, "__metadata__"):
        return is_many(t.get_args(annotation)[0])
    return t.get_origin(without_none(annotation)) in (list, set, frozenset, tuple)


def without_none(annotation: t.Any) -> t.Any:
    """Give the type that an optional type is when it isn't None, and any other as it is."""
    arguments = t.get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return annotation if (inner := without_none(arguments[0])) is arguments[0] else inner
    if t.get_origin(annotation) in (t.Union, python_types.UnionType) and type(None) in arguments:
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


def too_many(count: int) -> dict[str, t.Any]:
    """Give the error that stands for so many that a list of them would be larger than what was sent."""
    return {"type": "too_many_errors", "loc": [], "msg": f"There are {count} errors"}


def invalid(errors: collections.abc.Iterable[dict[str, t.Any]], loc: tuple[t.Any, ...] = ()) -> dict[str, t.Any]:
    """Give the detail of a validation error: each error by the dotted name of its field."""
    located = [{**error, "loc": [*loc, *error["loc"]]} for error in errors]
    return {".".join(map(str, error["loc"])) or "body": error for error in reversed(located)}


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
        return Shape(metadata.schema, many, metadata.partial, plain=True)
    if t.get_origin(annotation) is list:
        return None if (element := _shape(*t.get_args(annotation))) is None else dataclasses.replace(element, many=True)
    return Shape(annotation) if _is_model(annotation) else None


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
    """The library that knows a type which is no model, but may have some in it."""
    return _module("msgspec" if _mentions_struct(annotation) else "pydantic")


def _mentions_struct(annotation: t.Any) -> bool:
    return hasattr(annotation, "__struct_fields__") or any(map(_mentions_struct, t.get_args(annotation)))


def _is_typed_dict(annotation: t.Any) -> bool:
    return hasattr(annotation, "__required_keys__")  # also those of typing_extensions, another class before 3.12


def _is_plain_typed_dict(annotation: t.Any) -> bool:
    """Whether it is a TypedDict that isn't set up for pydantic."""
    return _is_typed_dict(annotation) and not hasattr(annotation, "__pydantic_config__")


def _module(library: str) -> t.Any:
    return importlib.import_module(f"flama.schemas.{library}")
