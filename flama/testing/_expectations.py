"""Errors that tests expect, with their attributes."""

import collections.abc
import contextlib

import pytest

from flama import exceptions

__all__ = ["raises_integrity_error", "raises_unknown_column"]


@contextlib.contextmanager
def raises_integrity_error(
    resource: str,
    kind: exceptions.IntegrityKind,
    fields: tuple[str, ...] | None = None,
    constraint: str | None = None,
) -> collections.abc.Iterator[None]:
    """Expect a violated constraint; of ``fields`` and ``constraint``, only those that aren't None are compared."""
    with pytest.raises(exceptions.IntegrityError) as caught:
        yield
    error = caught.value
    assert (error.resource, error.kind) == (resource, kind)
    assert fields is None or error.fields == fields
    assert constraint is None or error.constraint == constraint


@contextlib.contextmanager
def raises_unknown_column(*names: str) -> collections.abc.Iterator[None]:
    """Expect an error that names the unknown fields, and those that a member has."""
    with pytest.raises(exceptions.UnknownColumnError) as caught:
        yield
    error = caught.value
    assert (error.resource, error.names) == ("member", names)
    assert {"id", "name", "email", "age", "points", "note"} <= set(error.columns)
