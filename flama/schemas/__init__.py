"""Schemas: users' models behind the few things that we ask of their library."""

from flama.schemas.adapter import (
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
    "adapter",
    "annotations",
    "answers",
    "encoder",
    "invalid",
    "is_many",
    "is_model",
    "is_structured",
    "members",
    "names",
    "parameter_reader",
    "to_jsonable",
    "without_none",
]
