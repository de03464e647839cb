"""What is wrong with a resource's declaration."""

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
