"""Schemas that msgspec validates: Structs and TypedDicts."""

import collections.abc
import re
import typing as t

import msgspec

from flama import exceptions
from flama._annotations import unwrap
from flama._numbers import spell_infinite
from flama.schemas.adapter import (
    SchemaSpec,
    empty_bodies,
    error_detail,
    field_names,
    fields_of_form,
    is_many,
    is_model,
    lists_of_models,
    members,
    to_builtins,
)

__all__ = ["SCHEMA_ERRORS", "StructAdapter", "adapter", "annotations", "has_output_field", "json_schema", "names"]

SCHEMA_ERRORS: t.Final = (TypeError,)
"""The errors for a type without a schema."""

_Fields: t.TypeAlias = dict[str, msgspec.Raw]
_FIELDS: t.Final = msgspec.json.Decoder(_Fields | list[_Fields])


class StructAdapter:
    """An adapter for schemas that msgspec validates."""

    stops_at_first = True

    def __init__(self, spec: SchemaSpec) -> None:
        struct = _model(spec)
        self._type: t.Any = spec.full_type(struct)
        self._decoder: msgspec.json.Decoder[t.Any] = msgspec.json.Decoder(self._type)
        self._fields = annotations(struct)
        self.many = spec.many
        self.lists = () if spec.many else lists_of_models(self._fields)
        self._as_dict = spec.as_dict
        self._empty_bodies = empty_bodies(spec)

    def decode(self, body: bytes) -> t.Any:
        """Return the validated value of a JSON body; an empty body or null counts as an empty object or list."""
        try:
            return self._result(self._decoder.decode(self._empty_bodies.get(body.strip(), body)))
        except msgspec.ValidationError as error:
            raise exceptions.ValidationError(error_detail([_error_detail(error)])) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise exceptions.DecodeError(f"Invalid JSON: {error}") from error

    def names(self, body: bytes) -> list[str]:
        """Return the distinct keys of a JSON body."""
        try:
            return field_names(_FIELDS.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []

    def convert(self, form: collections.abc.Mapping[str, list[t.Any]]) -> t.Any:
        """Return the validated value of a form."""
        try:
            return self._result(msgspec.convert(fields_of_form(form, self._fields), self._type, strict=False))
        except msgspec.ValidationError as error:
            raise exceptions.ValidationError(error_detail([_error_detail(error)])) from error

    def encode(self, value: t.Any) -> bytes:
        """Encode a value as JSON, with the encoded names of the Struct's fields."""
        try:
            return self._write(value)
        except msgspec.ValidationError as error:
            raise exceptions.SerializationError(error_detail([_error_detail(error)])) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise exceptions.SerializationError(str(error)) from error

    def _write(self, value: t.Any) -> bytes:
        valid = msgspec.convert(_rename_fields(value, self._type), self._type, from_attributes=True)
        body = msgspec.json.encode(valid)
        if b"null" not in body:  # msgspec writes null for a non-finite float
            return body
        plain = msgspec.to_builtins(valid)
        spelled = spell_infinite(plain)
        return body if spelled is plain else msgspec.json.encode(spelled)

    def _result(self, value: t.Any) -> t.Any:
        return to_builtins(value, _fields) if self._as_dict else value


def adapter(spec: SchemaSpec) -> StructAdapter:
    """Return the adapter for the parts of an annotation."""
    return StructAdapter(spec)


def json_schema(spec: SchemaSpec, output: bool, reference: str) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return the JSON Schema for the parts of an annotation, and those of the models in it by name."""
    try:
        schemas, named = msgspec.json.schema_components([spec.full_type(_model(spec))], ref_template=reference)
    except KeyError as error:  # msgspec before 0.23: two Structs with the same name and module
        raise TypeError(f"{error.args[0]} has the name and the module of another model beside it") from error
    return schemas[0], named


def names(schema: t.Any, *, output: bool) -> tuple[str, ...]:
    """Return the names of a schema's fields, which are the same in requests and responses."""
    tag = schema.__struct_config__.tag_field if issubclass(schema, msgspec.Struct) else None
    return (*([] if tag is None else [tag]), *annotations(schema))


def has_output_field(schema: t.Any, name: str) -> bool:
    """Whether responses contain the field."""
    return name in annotations(schema) or name in getattr(schema, "__struct_fields__", ())


def _model(spec: SchemaSpec) -> t.Any:
    return _partial(spec.schema) if spec.partial else spec.schema


def _error_detail(error: msgspec.ValidationError) -> dict[str, t.Any]:
    message, _, place = str(error).partition(" - at `")
    return {"type": "value_error", "loc": _loc(place), "msg": message}


def _loc(place: str) -> list[str | int]:
    """Return the keys in a path of msgspec's, such as ``$.items[0].name``."""
    keys = re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)
    return [name or int(index) for name, index in keys]


def annotations(schema: t.Any) -> dict[str, t.Any]:
    """Return the annotations of the fields by input name; of a union, those of all its models."""
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


def _rename_fields(value: t.Any, annotation: t.Any) -> t.Any:
    """Return a value in which dictionaries for Structs have the encoded names instead of the fields' names."""
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return value
    kind = _match_member(value, members(unwrap(annotation)))
    arguments = t.get_args(kind)
    if not isinstance(value, dict):
        return [_rename_fields(item, arguments[0]) for item in value] if arguments else value
    if is_model(kind):
        return _rename_struct_fields(value, kind) if issubclass(kind, msgspec.Struct) else value
    return {key: _rename_fields(item, arguments[-1]) for key, item in value.items()} if arguments else value


def _rename_struct_fields(value: dict[str, t.Any], struct: t.Any) -> dict[str, t.Any]:
    named = {field.name: field for field in msgspec.structs.fields(struct)}
    pairs = [(named.get(name), name, item) for name, item in value.items()]
    return {f.encode_name if f else name: _rename_fields(item, f.type) if f else item for f, name, item in pairs}


def _match_member(value: t.Any, kinds: tuple[t.Any, ...]) -> t.Any:
    """Return the member of a union that matches a dictionary or a collection; among Structs, the one with the tag."""
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
    """Return the schema with all fields optional."""
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
