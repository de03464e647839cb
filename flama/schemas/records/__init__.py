"""Typed records: dictionaries made into models, and models into dictionaries."""

from flama.schemas.records.base import Records, records

__all__ = ["Records", "records"]
