"""Schemas: one interface to the models of pydantic and msgspec."""

from flama.schemas._large_bodies import RecordLimit, decode_large, decoding_slot, names_of_large
from flama.schemas.adapter import (
    LARGE,
    Adapter,
    adapter,
    annotations,
    encoder,
    error_detail,
    has_output_field,
    is_many,
    is_model,
    is_structured,
    members,
    names,
    parameter_reader,
    to_jsonable,
    unwrap_optional,
)

__all__ = [
    "Adapter",
    "LARGE",
    "RecordLimit",
    "adapter",
    "annotations",
    "decode_large",
    "decoding_slot",
    "encoder",
    "error_detail",
    "has_output_field",
    "is_many",
    "is_model",
    "is_structured",
    "members",
    "names",
    "names_of_large",
    "parameter_reader",
    "to_jsonable",
    "unwrap_optional",
]
