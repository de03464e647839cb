"""Repositories that a worker's class declares by its annotations, or inherits."""

import collections.abc
import inspect
import sys
import typing as t

from flama._annotations import unwrap
from flama.ddd.repositories.base import AbstractRepository

__all__ = ["Declaration", "RepositoryAnnotations", "RepositoryDescriptor"]


class RepositoryDescriptor:
    """A descriptor in a worker's class for a repository, which each unit has of its own.

    It has no ``__set__``, so that what a subclass assigns to the name comes first.
    """

    def __init__(self, name: str, find: collections.abc.Callable[[t.Any, str], AbstractRepository]) -> None:
        self.name = name
        self._find = find  # a worker's repository, by name

    def __get__(self, worker: t.Any, owner: type) -> t.Any:
        return self if worker is None else self._find(worker, self.name)


class Declaration(t.NamedTuple):
    """A repository's class, and the other arguments of ``Annotated``."""

    repository: type[AbstractRepository]
    hints: tuple[t.Any, ...] = ()


class RepositoryAnnotations:
    """The repositories that a class declares, by name; string annotations are evaluated when they are first needed."""

    def __init__(self, worker: type) -> None:
        self._known: dict[str, Declaration] = {}
        self._deferred: dict[str, tuple[type, t.Any]] = {}
        self._repositories: dict[str, type[AbstractRepository]] | None = None  # when all are known
        for owner in reversed(worker.__mro__):
            for name, annotation in inspect.get_annotations(owner).items():
                if not name.startswith("_"):
                    self._declare(owner, name, annotation)

    @property
    def names(self) -> list[str]:
        """The names of repositories, and of annotations that can't be evaluated yet."""
        return [*self._known, *self._deferred]

    def resolve(self) -> dict[str, Declaration]:
        """Return the declarations, with string annotations evaluated."""
        for name, (owner, annotation) in list(self._deferred.items()):
            try:
                declaration = _declaration(_evaluate(annotation, owner))
            except (NameError, AttributeError):  # raised when it is used: it may be no repository at all
                continue
            del self._deferred[name]
            if declaration:
                self._known[name] = declaration
        return self._known

    def repositories(self) -> dict[str, type[AbstractRepository]]:
        """Return the classes of the declared repositories."""
        if self._repositories is not None:
            return self._repositories
        found = {name: declared.repository for name, declared in self.resolve().items()}
        if not self._deferred:
            self._repositories = found
        return found

    def missing_error(self, worker: type, name: str) -> AttributeError:
        """Return the error for a repository that doesn't exist."""
        if name in self._deferred:
            annotation = self._deferred[name][1]
            return AttributeError(f"{worker.__name__}.{name} is annotated {annotation!r}, which names nothing there")
        return AttributeError(f"{worker.__name__} has no repository '{name}'")

    def _declare(self, owner: type, name: str, annotation: t.Any) -> None:
        self._known.pop(name, None)
        self._deferred.pop(name, None)
        if isinstance(annotation, str):
            self._deferred[name] = (owner, annotation)
            return
        try:
            declaration = _declaration(annotation)
        except NameError:  # in the value of a type alias, which may be defined later
            self._deferred[name] = (owner, annotation)
        else:
            self._known.update({} if declaration is None else {name: declaration})


def _evaluate(annotation: t.Any, owner: type) -> t.Any:
    if not isinstance(annotation, str):
        return annotation
    return eval(annotation, vars(sys.modules[owner.__module__]), dict(vars(owner)))  # noqa: S307


def _declaration(annotation: t.Any) -> Declaration | None:
    annotation = unwrap(annotation)
    repository, *hints = t.get_args(annotation) if t.get_origin(annotation) is t.Annotated else (annotation,)
    if isinstance(repository, type) and issubclass(repository, AbstractRepository):
        return Declaration(repository, tuple(hints))
    return None
