"""Errors in the declaration of a resource."""

from flama.exceptions import (
    ResourceAttributeNotFound,
    ResourceError,
    ResourceFilterInvalid,
    ResourceModelInvalid,
    ResourceNameInvalid,
    ResourcePrimaryKeyInvalid,
    ResourcePrimaryKeyNotFound,
    ResourceSchemaNotFound,
)

__all__ = [
    "ResourceAttributeNotFound",
    "ResourceError",
    "ResourceFilterInvalid",
    "ResourceModelInvalid",
    "ResourceNameInvalid",
    "ResourcePrimaryKeyInvalid",
    "ResourcePrimaryKeyNotFound",
    "ResourceSchemaNotFound",
]
