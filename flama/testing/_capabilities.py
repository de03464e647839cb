"""Capabilities that a backend may declare, and the base of the contracts, which skips the tests of others."""

import collections.abc
import types
import typing as t

import pytest

__all__ = ["CAPABILITIES", "Contract", "requires"]

CAPABILITIES: t.Final[collections.abc.Mapping[str, str]] = types.MappingProxyType(
    {
        "bulk_create": "several records in one create",
        "composite_keys": "keys of several fields",
        "conditions": "conditions of F, wherever filters are accepted",
        "constraints": "unique, not null and CHECK constraints",
        "defaults": "defaults of fields that a record lacks",
        "deferred_references": "references that are checked when the unit ends",
        "filters": "fields as keyword arguments of every verb",
        "keyset": "after and before",
        "max_affected": "max_affected",
        "ordering": "order_by, limit and offset",
        "portable_verbs": "create_one, create_many and list(…).all()",
        "positional_ids": "an id as in retrieve(id), where other repositories take a condition",
        "queries": "get, first, count and exists",
        "reference_fields": "errors that name the reference that a write violates",
        "references": "records that refer to others",
        "schema": "an error for an unknown field, and for a value that isn't of a field's type",
        "strict_types": "an error where a text is compared with a number",
        "transactions": "units that are committed or rolled back as a whole",
        "upserts": "upsert and get_or_create",
    }
)
"""What may be declared beside ``create``, ``retrieve``, ``update``, ``delete``, ``list`` and ``drop``."""

_Test = t.TypeVar("_Test", bound=collections.abc.Callable[..., t.Any])


def requires(*capabilities: str) -> collections.abc.Callable[[_Test], _Test]:
    """Return a decorator of a test that needs capabilities."""

    def mark(test: _Test) -> _Test:
        vars(test)["requires"] = frozenset(capabilities)
        return test

    return mark


class Contract:
    """The base of the contracts, with the capabilities that a subclass declares."""

    pytestmark = pytest.mark.anyio

    capabilities: t.ClassVar[frozenset[str]] = frozenset(CAPABILITIES) - {"positional_ids"}

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if unknown := sorted(cls.capabilities - CAPABILITIES.keys()):
            raise TypeError(f"{cls.__name__} declares {unknown}: there are {', '.join(CAPABILITIES)}")

    @pytest.fixture(autouse=True)
    def _skip_unless_declared(self, request: pytest.FixtureRequest) -> None:
        if missing := sorted(getattr(request.function, "requires", frozenset()) - self.capabilities):
            pytest.skip(f"not declared: {', '.join(missing)}")
