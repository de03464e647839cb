"""Schemas that pydantic validates: its models, dataclasses, TypedDicts with a ``__pydantic_config__``."""

import collections.abc
import copy
import dataclasses
import functools
import itertools
import operator
import typing as t

import msgspec
import pydantic
import pydantic.errors
import pydantic.fields
import pydantic.json_schema
import pydantic_core
import starlette.datastructures
import typing_extensions as te
from pydantic_core import core_schema

from flama import exceptions
from flama._annotations import unwrap
from flama._numbers import find_infinite, spell_infinite
from flama.schemas._decimals import find_decimals, quote_decimals
from flama.schemas.adapter import (
    ERROR_LIMIT,
    INPUT_LIMIT,
    LARGE,
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
    too_many_errors,
)

__all__ = [
    "PydanticAdapter",
    "SCHEMA_ERRORS",
    "adapter",
    "annotations",
    "has_output_field",
    "json_schema",
    "names",
    "parameter_reader",
    "to_jsonable",
]

SCHEMA_ERRORS: t.Final = (pydantic.errors.PydanticUserError,)
"""The errors for a type without a schema."""


class PydanticAdapter:
    """An adapter for schemas that pydantic validates."""

    stops_at_first = False

    def __init__(self, spec: SchemaSpec) -> None:
        model = _model(spec)
        self.many = spec.many
        self._adapter: pydantic.TypeAdapter[t.Any] = pydantic.TypeAdapter(spec.full_type(model))
        self._validate_json = self._adapter.validator.validate_json
        self._has_floats = _any_schema(self._adapter.core_schema, _may_be_infinite)
        self._decimals = find_decimals(spec.full_type(model), _input_annotations)
        self._partial = spec.partial
        self._fields = annotations(model)
        self.lists = () if spec.many else lists_of_models(self._fields)
        self._is_dataclass = dataclasses.is_dataclass(model)
        self._result = _result_converter(spec, model)
        self._empty_bodies = empty_bodies(spec)

    def decode(self, body: bytes) -> t.Any:
        """Return the validated value of a JSON body; an empty body or null counts as an empty object or list."""
        try:
            validate = self._validate_json if len(body) <= LARGE else self._fail_fast.validate_json
            value = validate(quote_decimals(body, self._decimals) if self._decimals else body)
        except pydantic.ValidationError as error:
            if (content := self._empty_bodies.get(body.strip())) is not None:
                return self.decode(content)
            raise _decode_error(error, len(body)) from error
        if self._has_floats:
            _check_finite(value)
        return self._result(value)

    @functools.cached_property
    def _fail_fast(self) -> pydantic_core.SchemaValidator:
        """The validator of large values: 10 MB of invalid items take 0.2 s and 100 MB instead of 4 s and 1.5 GB."""
        # otherwise nested models use their own validators, which don't fail fast
        return pydantic_core.SchemaValidator(_set_fail_fast(self._adapter.core_schema), _use_prebuilt=False)

    def names(self, body: bytes) -> list[str]:
        """Return the distinct keys of a JSON body."""
        try:
            return field_names(pydantic_core.from_json(body))
        except ValueError:
            return []

    def convert(self, form: collections.abc.Mapping[str, list[t.Any]]) -> t.Any:
        """Return the validated value of a form."""
        try:
            value = self._adapter.validate_python(fields_of_form(form, self._fields))
        except pydantic.ValidationError as error:
            inputs = all(isinstance(value, str) for values in form.values() for value in values)  # no files
            raise exceptions.ValidationError(error_detail(_errors(error, inputs=inputs))) from error
        _check_finite(value)
        return self._result(value)

    def encode(self, value: t.Any) -> bytes:
        """Encode a value as JSON, with the aliases of its fields."""
        try:
            value = _read_attributes(value, self._fields) if self._is_dataclass else value
            valid = self._adapter.validate_python(value, from_attributes=True, by_alias=True, by_name=True)
        except pydantic.ValidationError as error:
            raise exceptions.SerializationError(error_detail(_errors(error, inputs=False))) from error
        try:
            return self._write(valid)
        except (pydantic_core.PydanticSerializationError, UnicodeEncodeError) as error:
            raise exceptions.SerializationError(str(error)) from error

    def _write(self, valid: t.Any) -> bytes:
        body = self._adapter.dump_json(valid, by_alias=True, exclude_unset=self._partial)
        if not self._has_floats or b"null" not in body:  # pydantic writes null for a non-finite float
            return body
        dumped, source = (
            self._adapter.dump_python(valid, mode=mode, by_alias=True, exclude_unset=self._partial)
            for mode in ("json", "python")
        )
        spelled = spell_infinite(dumped, source)
        return body if spelled is dumped else msgspec.json.encode(spelled)


def adapter(spec: SchemaSpec) -> PydanticAdapter:
    """Return the adapter for the parts of an annotation."""
    return PydanticAdapter(spec)


def names(schema: t.Any, *, output: bool) -> tuple[str, ...] | None:
    """Return the names of a schema's fields in requests or responses; None if it accepts or ignores other names."""
    fields = _field_infos(schema)
    if output:
        aliases = {name: field.serialization_alias for name, field in fields.items()} | _computed_aliases(schema)
        return tuple(alias or name for name, alias in aliases.items())
    config = _config(schema)
    if _is_open(schema, config):
        return None
    by_name = bool(config.get("validate_by_name") or config.get("populate_by_name"))
    found = (_input_names(name, field.validation_alias, by_name) for name, field in fields.items())
    return tuple(dict.fromkeys(itertools.chain.from_iterable(found)))


def has_output_field(schema: t.Any, name: str) -> bool:
    """Whether responses contain the field: excluded fields and masked secrets don't count."""
    fields = [
        field for own, field in _field_infos(schema).items() if name in _input_names(own, field.validation_alias, True)
    ]
    if not fields:
        return _config(schema).get("extra") == "allow"
    return any(not (field.exclude or getattr(field, "exclude_if", None) or _is_masked(field)) for field in fields)


def _is_masked(field: pydantic.fields.FieldInfo) -> bool:
    return any(isinstance(kind, type) and issubclass(kind, _MASKED) for kind in members(field.annotation))


_MASKED: t.Final = (pydantic.SecretStr, pydantic.SecretBytes, pydantic.Secret)


def parameter_reader(annotation: t.Any, *, many: bool) -> collections.abc.Callable[[t.Any], t.Any]:
    """Return the function that converts a string, or a list of strings if ``many``, to a type."""
    adapter: pydantic.TypeAdapter[t.Any] = pydantic.TypeAdapter(annotation)
    validator, has_floats = adapter.validator, _any_schema(adapter.core_schema, _may_be_infinite)
    bare = t.get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    is_literal = t.get_origin(bare) is t.Literal
    validate = validator.validate_python if many or is_literal else validator.validate_strings

    def read(value: t.Any) -> t.Any:
        try:
            found = validate(value)
        except pydantic.ValidationError as error:
            raise ValueError(_errors(error, inputs=True)) from error
        if has_floats and (where := find_infinite(found)) is not None:
            raise ValueError([_infinite_error(where)])
        return found

    members = {str(member): member for member in t.get_args(bare)} if is_literal else {}
    return (lambda text: read(members.get(text, text))) if members else read


def to_jsonable(value: t.Any) -> t.Any:
    """Convert a value of a type that pydantic supports to JSON types, with the aliases of its fields."""
    return _serializer(t.cast("t.Any", type(value))).to_python(value, mode="json", by_alias=True)


@functools.lru_cache(1000)
def _serializer(kind: type) -> t.Any:
    found = vars(kind).get("__pydantic_serializer__")  # models have one
    return pydantic.TypeAdapter(kind).serializer if found is None else found


def json_schema(spec: SchemaSpec, output: bool, reference: str) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return the JSON Schema for the parts of an annotation, and those of the models in it by name."""
    mode: t.Literal["serialization", "validation"] = "serialization" if output else "validation"
    template = reference.format(name="{model}")
    try:
        adapter: pydantic.TypeAdapter[t.Any] = pydantic.TypeAdapter(spec.full_type(_model(spec)))
        schemas, rest = pydantic.TypeAdapter.json_schemas(
            [(0, mode, adapter)], ref_template=template, schema_generator=_Generator
        )
    except pydantic.errors.PydanticUserError as error:
        raise TypeError(error.message) from error
    return schemas[0, mode], rest.get("$defs", {})


class _Generator(pydantic.json_schema.GenerateJsonSchema):
    """A generator that also describes uploaded files and the strings that are decimals."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> dict[str, t.Any]:
        described = super().decimal_schema(schema)
        if described.get("type") == "string":  # in responses, which write the exponent of a number
            return {"type": "string"}
        kinds = described.get("anyOf", [])
        pattern = _number_pattern(t.cast("dict[str, t.Any]", schema))
        if pattern is None:
            return next((kind for kind in kinds if kind["type"] == "number"), described)
        for kind in kinds:
            if kind["type"] == "string":
                kind["pattern"] = pattern
        return described

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> dict[str, t.Any]:
        described = super().tagged_union_schema(schema)
        if self.mode == "validation" and (discriminator := described.get("discriminator")):
            described["required"] = [discriminator["propertyName"]]  # even if a model has a default for it
        return described

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> dict[str, t.Any]:
        if issubclass(schema["cls"], starlette.datastructures.UploadFile):
            return {"type": "string", "format": "binary"}
        return super().is_instance_schema(schema)


_LIMITS: t.Final = ("multiple_of", "le", "lt", "gt")


def _number_pattern(schema: dict[str, t.Any]) -> str | None:
    """Return a pattern for numbers within the limits; None if no pattern can express them."""
    if any(limit in schema for limit in _LIMITS) or schema.get("ge", 0) != 0:
        return None
    sign = "[+-]?" if "ge" not in schema else "[+]?"
    most, places = schema.get("max_digits"), schema.get("decimal_places")
    if most is None and places is None:
        return rf"^{sign}([0-9]+\.?[0-9]*|\.[0-9]+)$"
    before = None if most is None else most - (places or 0)
    whole = "[0-9]+" if before is None else f"[0-9]{{1,{before}}}" if before else "0"
    fraction = rf"(\.[0-9]{{1,{places}}})?" if places else ""
    return f"^{sign}{whole}{fraction}$"


def _model(spec: SchemaSpec) -> t.Any:
    return _partial(spec.schema) if spec.partial else spec.schema


def _decode_error(error: pydantic.ValidationError, size: int) -> exceptions.HTTPException:
    errors = _errors(error, inputs=size <= INPUT_LIMIT)
    if errors[0]["type"] == "json_invalid":
        return exceptions.DecodeError(errors[0]["msg"])
    return exceptions.ValidationError(error_detail(errors))


def annotations(model: t.Any) -> dict[str, t.Any]:
    """Return the annotations of the fields by each input name; of a union, those of all its models."""
    found: dict[str, t.Any] = {}
    for member in members(model):
        for name, annotation in _field_annotations(member).items():
            if name not in found or is_many(annotation):
                found[name] = annotation
    return found


def _field_annotations(model: t.Any) -> dict[str, t.Any]:
    if not is_model(model):
        return {}
    if not issubclass(model, pydantic.BaseModel):
        return t.get_type_hints(model)
    named = {name: field.annotation for name, field in model.model_fields.items()}
    return named | {field.alias: field.annotation for field in model.model_fields.values() if field.alias}


def _input_annotations(model: t.Any) -> dict[str, t.Any] | None:
    """Return the annotations of a model's fields by each input name; None for a type that isn't a model."""
    if not (isinstance(model, type) and (issubclass(model, pydantic.BaseModel) or hasattr(model, "__annotations__"))):
        return None
    if not issubclass(model, pydantic.BaseModel):
        return t.get_type_hints(model) if dataclasses.is_dataclass(model) or hasattr(model, "__total__") else None
    return {
        name: field.annotation
        for key, field in model.model_fields.items()
        for name in _input_names(key, field.validation_alias, True)
    }


def _any_schema(schema: t.Any, holds: collections.abc.Callable[[dict[str, t.Any]], bool]) -> bool:
    """Whether ``holds`` is true of a core schema, or of one in it."""
    match schema:
        case dict():
            return holds(schema) or any(_any_schema(each, holds) for each in schema.values())
        case list() | tuple():
            return any(_any_schema(each, holds) for each in schema)
    return False


_COLLECTIONS: t.Final = ("list", "set", "frozenset", "dict")
_NO_SCHEMAS: t.Final = ("config", "custom_error_context", "default", "expected", "metadata", "serialization")


def _set_fail_fast(schema: t.Any) -> t.Any:
    """Return an equivalent core schema in which each collection reports only its first error."""
    match schema:
        case dict():
            found = {key: each if key in _NO_SCHEMAS else _set_fail_fast(each) for key, each in schema.items()}
            is_collection = schema.get("type") in _COLLECTIONS or "variadic_item_index" in schema  # of any length
            return {**found, "fail_fast": True} if is_collection else found
        case list() | tuple():
            return type(schema)(map(_set_fail_fast, schema))
    return schema


def _may_be_infinite(schema: dict[str, t.Any]) -> bool:
    return schema.get("type") == "any" or (schema.get("type") == "float" and schema.get("allow_inf_nan", True))


def _check_finite(value: t.Any) -> None:
    if (where := find_infinite(value)) is not None:
        raise exceptions.ValidationError(error_detail([_infinite_error(where)]))


def _infinite_error(where: tuple[t.Any, ...]) -> dict[str, t.Any]:
    return {"type": "finite_number", "loc": where, "msg": "Input should be a finite number"}


def _field_infos(model: t.Any) -> dict[str, pydantic.fields.FieldInfo]:
    if hasattr(model, "__pydantic_fields__"):
        return t.cast("dict[str, pydantic.fields.FieldInfo]", model.__pydantic_fields__)
    hints = t.get_type_hints(model, include_extras=True)
    if not dataclasses.is_dataclass(model):
        return {name: pydantic.fields.FieldInfo.from_annotation(_value_type(hint)) for name, hint in hints.items()}
    return {field.name: _field_info(field, hints[field.name]) for field in dataclasses.fields(model) if field.init}


def _value_type(hint: t.Any) -> t.Any:
    """Return the type of a TypedDict's key without ``Required`` or ``NotRequired``."""
    return t.get_args(hint)[0] if t.get_origin(hint) in (te.Required, te.NotRequired) else hint


def _field_info(field: dataclasses.Field[t.Any], annotation: t.Any) -> pydantic.fields.FieldInfo:
    if field.default is dataclasses.MISSING:
        return pydantic.fields.FieldInfo.from_annotation(annotation)
    return pydantic.fields.FieldInfo.from_annotated_attribute(annotation, field.default)


def _computed_aliases(model: t.Any) -> dict[str, str | None]:
    """Return the aliases of the computed fields."""
    decorators = getattr(model, "__pydantic_decorators__", None)
    return {name: each.info.alias for name, each in decorators.computed_fields.items()} if decorators else {}


def _config(model: t.Any) -> collections.abc.Mapping[str, t.Any]:
    return getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", None) or {}


def _is_open(model: t.Any, config: collections.abc.Mapping[str, t.Any]) -> bool:
    """Whether a model accepts or ignores unknown fields; dataclasses ignore them, but can't store them."""
    if not issubclass(model, pydantic.BaseModel):
        return config.get("extra") == "ignore"
    return issubclass(model, pydantic.RootModel) or config.get("extra") in ("allow", "ignore")


def _input_names(name: str, alias: t.Any, by_name: bool) -> collections.abc.Iterator[str]:
    match alias:
        case None:
            yield name
            return
        case pydantic.AliasChoices(choices):
            for choice in choices:
                yield from _input_names(name, choice, False)
        case pydantic.AliasPath(path):
            yield str(path[0])
        case _:
            yield alias
    if by_name:
        yield name


def _read_attributes(value: t.Any, names: collections.abc.Iterable[str]) -> t.Any:
    """Return the attributes of an object that isn't the dataclass itself, since pydantic reads none from it."""
    if isinstance(value, list):
        return [_read_attributes(item, names) for item in value]
    if isinstance(value, dict) or dataclasses.is_dataclass(value):
        return value
    return {name: getattr(value, name) for name in names if hasattr(value, name)} or value


def _errors(error: pydantic.ValidationError, *, inputs: bool) -> list[dict[str, t.Any]]:
    if error.error_count() > ERROR_LIMIT:
        return [too_many_errors()]
    return t.cast(list[dict[str, t.Any]], error.errors(include_url=False, include_input=inputs))


def _result_converter(spec: SchemaSpec, model: t.Any) -> collections.abc.Callable[[t.Any], t.Any]:
    """Return the function that converts a validated value to the handler's argument."""
    if not spec.as_dict:
        return lambda value: value
    one = _record_converter(model, spec.partial)
    return (lambda values: [one(value) for value in values]) if spec.many else one


def _record_converter(model: t.Any, partial: bool) -> collections.abc.Callable[[t.Any], t.Any]:
    if _is_flat(model) and not partial:
        return operator.attrgetter("__dict__")  # the model isn't shared, so the caller may have its dictionary
    return lambda value: to_builtins(value, _explicit_fields if partial else _fields)


def _is_flat(model: t.Any) -> bool:
    """Whether the ``__dict__`` of a model is its whole value: no nested models, extra fields or root."""
    return (
        isinstance(model, type)
        and issubclass(model, pydantic.BaseModel)
        and not issubclass(model, pydantic.RootModel)
        and model.model_config.get("extra") != "allow"
        and all(_is_scalar(unwrap(field.annotation)) for field in model.model_fields.values())
    )


def _is_scalar(annotation: t.Any) -> bool:
    if arguments := t.get_args(annotation):
        return all(_is_scalar(argument) for argument in arguments if isinstance(argument, type) or t.get_args(argument))
    return isinstance(annotation, type) and not (
        issubclass(annotation, pydantic.BaseModel) or dataclasses.is_dataclass(annotation)
    )


def _fields(value: t.Any) -> t.Any:
    match value:
        case pydantic.RootModel():
            return _fields(value.root)
        case pydantic.BaseModel():
            return {**vars(value), **(value.model_extra or {})}
        case _ if dataclasses.is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value


def _explicit_fields(value: t.Any) -> t.Any:
    if isinstance(value, pydantic.BaseModel) and type(value).__name__.startswith("Partial"):
        return {name: getattr(value, name) for name in value.model_fields_set}
    return _fields(value)


def _partial(schema: t.Any) -> t.Any:
    """Return the schema with all fields optional."""
    if isinstance(schema, type) and issubclass(schema, pydantic.BaseModel):
        fields: dict[str, t.Any] = {
            name: (field.annotation, _make_optional(field)) for name, field in schema.model_fields.items()
        }
        return pydantic.create_model(
            f"Partial{schema.__name__}", __base__=schema, __module__=schema.__module__, **fields
        )
    hints = {name: _drop_field_default(field) for name, field in _field_infos(schema).items()}
    make: t.Any = te.TypedDict  # mypy can't check a dynamic TypedDict
    partial = make(f"Partial{schema.__name__}", hints, total=False)
    partial.__pydantic_config__ = _config(schema)
    return partial


def _drop_field_default(field: pydantic.fields.FieldInfo) -> t.Any:
    """Return the type of a field with its metadata, but without its default."""
    sent = copy.copy(field)
    sent.default, sent.default_factory = pydantic_core.PydanticUndefined, None
    return t.Annotated[field.annotation, sent]


def _make_optional(field: pydantic.fields.FieldInfo) -> pydantic.fields.FieldInfo:
    optional = copy.copy(field)
    optional.default, optional.default_factory = None, None
    extra = optional.json_schema_extra
    optional.json_schema_extra = lambda schema: _drop_default(schema, extra)
    return optional


def _drop_default(schema: dict[str, t.Any], extra: t.Any) -> None:
    """Remove the placeholder default from a field's JSON schema, and apply the author's additions."""
    schema.pop("default", None)
    if callable(extra):
        extra(schema)
    else:
        schema.update(extra or {})
