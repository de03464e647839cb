"""Scopes of a unit's repositories: the records of each that a request may access."""

import collections.abc
import typing as t

from flama import exceptions
from flama.ddd.repositories.base import AbstractRepository
from flama.query import Condition

__all__ = ["Scopes", "can_be_scoped", "conditions_of", "narrow"]

Scopes: t.TypeAlias = collections.abc.Mapping[str | None, tuple[Condition, ...]]
"""The conditions on the records of repositories, by name; under None, those for all repositories that aren't named."""


def can_be_scoped(repository: type[AbstractRepository]) -> bool:
    """Whether a class of repositories can be scoped: it has a table, or a method ``scoped`` of its own."""
    return hasattr(repository, "scoped") and getattr(repository, "_table", repository) is not None


def conditions_of(scopes: Scopes, name: str | None) -> tuple[Condition, ...]:
    """Return the conditions on the records of the repository of this name."""
    return scopes.get(name, scopes.get(None, ()))


def narrow(repositories: dict[str, AbstractRepository], scopes: Scopes) -> None:
    """Replace each repository by one that is limited to the records which match its conditions.

    What any of the repositories writes may then refer, by foreign keys, only to records in these scopes.

    :raises ApplicationError: the records of one lack a field of its conditions.
    """
    parents: dict[str, tuple[Condition, ...]] = {}  # by the full name of their table
    for name, repository in repositories.items():
        if conditions := conditions_of(scopes, name):
            repositories[name] = _scope_repository(name, repository, conditions)
            if (table := getattr(repository, "_table", None)) is not None:
                parents[table.fullname] = (*parents.get(table.fullname, ()), *conditions)
    bounded: t.Any
    for bounded in repositories.values():
        if hasattr(bounded, "_parents"):
            bounded._parents = parents


def _scope_repository(name: str, repository: t.Any, conditions: tuple[Condition, ...]) -> AbstractRepository:
    try:
        return t.cast(AbstractRepository, repository.scoped(*conditions))
    except exceptions.UnknownColumnError as error:
        raise exceptions.ApplicationError(
            f"The scope of the repository '{name}' names {', '.join(error.names)}, and its records have "
            f"{', '.join(error.columns)}: give it a scope of its own, or None for all its records, "
            f"scope={{{name!r}: …}}"
        ) from error
