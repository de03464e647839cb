"""Schemas: users' models behind the few things that we ask of their library."""

from flama.schemas.adapter import Adapter, adapter, invalid, is_many, names, parameter_reader, to_jsonable, without_none

__all__ = ["Adapter", "adapter", "invalid", "is_many", "names", "parameter_reader", "to_jsonable", "without_none"]
