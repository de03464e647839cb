"""Models that msgspec validates as schemas: its Structs, TypedDicts."""

import collections.abc
import re
import typing as t

import msgspec

from flama import exceptions
from flama._annotations import unwrap
from flama._numbers import spell_infinite
from flama.schemas.adapter import (
    Shape,
    blanks,
    field_names,
    fields_of_form,
    invalid,
    is_many,
    is_model,
    lists_of_models,
    members,
    plain,
)

__all__ = ["SCHEMA_ERRORS", "StructAdapter", "adapter", "annotations", "answers", "json_schema", "names"]

SCHEMA_ERRORS: t.Final = (TypeError,)
"""What is raised where a type has no schema."""

_Fields: t.TypeAlias = dict[str, msgspec.Raw]
_FIELDS: t.Final = msgspec.json.Decoder(_Fields | list[_Fields])


class StructAdapter:
    """A schema that msgspec validates."""

    stops_at_first = True

    def __init__(self, shape: Shape) -> None:
        struct = _model(shape)
        self._type: t.Any = shape.whole(struct)
        self._decoder: msgspec.json.Decoder[t.Any] = msgspec.json.Decoder(self._type)
        self._fields = annotations(struct)
        self.many = shape.many
        self.lists = () if shape.many else lists_of_models(self._fields)
        self._plain = shape.plain
        self._blanks = blanks(shape)

    def decode(self, body: bytes) -> t.Any:
        """Give the validated value of a body of JSON; nothing, or null, counts as an empty object or list."""
        try:
            return self._result(self._decoder.decode(self._blanks.get(body.strip(), body)))
        except msgspec.ValidationError as error:
            raise exceptions.ValidationError(invalid([_error(error)])) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise exceptions.DecodeError(f"Invalid JSON: {error}") from error

    def names(self, body: bytes) -> list[str]:
        """Give the names that a body of JSON has for fields."""
        try:
            return field_names(_FIELDS.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []

    def convert(self, form: collections.abc.Mapping[str, list[t.Any]]) -> t.Any:
        """Give the validated value of a form."""
        try:
            return self._result(msgspec.convert(fields_of_form(form, self._fields), self._type, strict=False))
        except msgspec.ValidationError as error:
            raise exceptions.ValidationError(invalid([_error(error)])) from error

    def encode(self, value: t.Any) -> bytes:
        """Give the JSON of a value, under the names that the struct has for its fields."""
        try:
            return self._write(value)
        except msgspec.ValidationError as error:
            raise exceptions.SerializationError(invalid([_error(error)])) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise exceptions.SerializationError(str(error)) from error

    def _write(self, value: t.Any) -> bytes:
        valid = msgspec.convert(_sendable(value, self._type), self._type, from_attributes=True)
        body = msgspec.json.encode(valid)
        if b"null" not in body:  # which msgspec writes for a float that JSON has no form for
            return body
        plain = msgspec.to_builtins(valid)
        spelled = spell_infinite(plain)
        return body if spelled is plain else msgspec.json.encode(spelled)

    def _result(self, value: t.Any) -> t.Any:
        return plain(value, _fields) if self._plain else value


def adapter(shape: Shape) -> StructAdapter:
    """Give the adapter for what an annotation asks for."""
    return StructAdapter(shape)


def json_schema(shape: Shape, output: bool, reference: str) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Give the JSON Schema of what an annotation asks for, and those of the models in it by name."""
    try:
        schemas, named = msgspec.json.schema_components([shape.whole(_model(shape))], ref_template=reference)
    except KeyError as error:  # msgspec before 0.23, of two Structs that have one name and one module
        raise TypeError(f"{error.args[0]} has the name and the module of another model beside it") from error
    return schemas[0], named


def names(schema: t.Any, *, output: bool) -> tuple[str, ...]:
    """Give the names by which the fields of a schema are sent, which are those by which they are answered."""
    tag = schema.__struct_config__.tag_field if issubclass(schema, msgspec.Struct) else None
    return (*([] if tag is None else [tag]), *annotations(schema))


def answers(schema: t.Any, name: str) -> bool:
    """Whether records are answered with what they have by this name."""
    return name in annotations(schema) or name in getattr(schema, "__struct_fields__", ())


def _model(shape: Shape) -> t.Any:
    return _partial(shape.schema) if shape.partial else shape.schema


def _error(error: msgspec.ValidationError) -> dict[str, t.Any]:
    message, _, place = str(error).partition(" - at `")
    return {"type": "value_error", "loc": _loc(place), "msg": message}


def _loc(place: str) -> list[str | int]:
    """The keys of msgspec's path, as in ``$.items[0].name``."""
    keys = re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)
    return [name or int(index) for name, index in keys]


def annotations(schema: t.Any) -> dict[str, t.Any]:
    """The fields' annotations, by the names under which they are sent; of a union, those of all its models."""
    if not is_model(schema):
        found = [pair for each in members(schema) if is_model(each) for pair in annotations(each).items()]
        return dict(sorted(found, key=lambda pair: is_many(pair[1])))
    if not issubclass(schema, msgspec.Struct):
        return t.get_type_hints(schema)
    return {field.encode_name: field.type for field in msgspec.structs.fields(schema)}


def _fields(value: t.Any) -> t.Any:
    if not isinstance(value, msgspec.Struct):
        return value
    return {name: item for name, item in msgspec.structs.asdict(value).items() if item is not msgspec.UNSET}


def _sendable(value: t.Any, annotation: t.Any) -> t.Any:
    """The value with the names under which Structs are sent, where dictionaries have those of their fields."""
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return value
    kind = _kind(value, members(unwrap(annotation)))
    arguments = t.get_args(kind)
    if not isinstance(value, dict):
        return [_sendable(item, arguments[0]) for item in value] if arguments else value
    if is_model(kind):
        return _sendable_fields(value, kind) if issubclass(kind, msgspec.Struct) else value
    return {key: _sendable(item, arguments[-1]) for key, item in value.items()} if arguments else value


def _sendable_fields(value: dict[str, t.Any], struct: t.Any) -> dict[str, t.Any]:
    named = {field.name: field for field in msgspec.structs.fields(struct)}
    pairs = [(named.get(name), name, item) for name, item in value.items()]
    return {f.encode_name if f else name: _sendable(item, f.type) if f else item for f, name, item in pairs}


def _kind(value: t.Any, kinds: tuple[t.Any, ...]) -> t.Any:
    """Return which of a union's members a dictionary or a collection is of: of several Structs, by its tag."""
    if not isinstance(value, dict):
        return next((kind for kind in kinds if t.get_args(kind) and not _is_mapping(kind)), None)
    structs = [kind for kind in kinds if is_model(kind)]
    if len(structs) > 1:
        configs = {kind: getattr(kind, "__struct_config__", None) for kind in structs}
        tagged = (kind for kind, config in configs.items() if config and value.get(config.tag_field) == config.tag)
        return next(tagged, None)
    return next((kind for kind in (*structs, *kinds) if is_model(kind) or _is_mapping(kind)), None)


def _is_mapping(kind: t.Any) -> bool:
    origin = t.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, collections.abc.Mapping)


def _partial(schema: t.Any) -> t.Any:
    """The schema with every field of its own left to the sender."""
    if not issubclass(schema, msgspec.Struct):
        hints = t.get_type_hints(schema)
        return t.TypedDict(f"Partial{schema.__name__}", hints, total=False)  # type: ignore[operator]
    fields = msgspec.structs.fields(schema)
    return msgspec.defstruct(
        f"Partial{schema.__name__}",
        [(field.name, t.Union[field.type, msgspec.UnsetType], msgspec.UNSET) for field in fields],  # noqa: UP007
        rename={field.name: field.encode_name for field in fields},
        forbid_unknown_fields=schema.__struct_config__.forbid_unknown_fields,
    )
