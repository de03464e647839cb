"""Schemas: one interface to the models of pydantic and msgspec."""

from flama.schemas._large_bodies import RecordLimit, decode_large, names_of_large, turn
from flama.schemas.adapter import (
    LARGE,
    Adapter,
    adapter,
    annotations,
    answers,
    encoder,
    invalid,
    is_many,
    is_model,
    is_structured,
    members,
    names,
    parameter_reader,
    to_jsonable,
    without_none,
)

__all__ = [
    "Adapter",
    "LARGE",
    "RecordLimit",
    "adapter",
    "annotations",
    "answers",
    "decode_large",
    "encoder",
    "invalid",
    "is_many",
    "is_model",
    "is_structured",
    "members",
    "names",
    "names_of_large",
    "parameter_reader",
    "to_jsonable",
    "turn",
    "without_none",
]
