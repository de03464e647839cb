"""The worker (unit of work) that an application's resources share."""

import collections.abc
import typing as t

from flama import exceptions, injection
from flama.ddd.components import WorkerComponent
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._backend import Part
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker

__all__ = ["FlamaComponent", "FlamaWorker"]

_Repository: t.TypeAlias = type[AbstractRepository]


class FlamaWorker(SQLAlchemyWorker):
    """A unit of work on the repositories of all resources in the application's database.

    ``worker.repositories["puppy"]`` is the repository of the resource ``puppy``, on the unit's connection. Resources
    whose repository belongs to one of the application's own workers aren't included. Each application has one such
    worker, ``app.resources.worker``.
    """

    def __init__(self, *args: t.Any, **options: t.Any) -> None:
        super().__init__(*args, **options)
        self._known: dict[str, _Repository] = {}  # shared by all copies of this worker

    def add_repository(self, name: str, repository: _Repository) -> None:
        """Register a repository class under a name.

        :raises ApplicationError: the name belongs to another class.
        """
        if (known := self._known.setdefault(name, repository)) is not repository:
            raise exceptions.ApplicationError(
                f"The repository '{name}' of the application's resources is {known.__name__}, and can't be "
                f"{repository.__name__} as well: give one of the resources another name"
            )

    def remove_repository(self, name: str) -> None:
        """Remove the repository class of this name.

        :raises KeyError: there is none.
        """
        del self._known[name]

    @property
    def repositories(self) -> t.Any:
        """The unit's repositories: a mapping by name that creates each on first access.

        :raises ApplicationError: no unit of work is open.
        """
        unit = self._unit()
        if unit is None:
            raise exceptions.ApplicationError("Repositories not initialized")
        return _Repositories(self._known, unit.repositories, lambda each: self.make_repository(each, unit.handle))

    def parts(self) -> collections.abc.Sequence[Part]:
        """Return the single part of a unit, without repositories: these are created on access."""
        return ((self._database, {}, self.make_repository),)

    def _classes(self) -> collections.abc.Iterable[_Repository]:
        return self._known.values()


class _Repositories(collections.abc.Mapping[str, AbstractRepository]):
    """A unit's repositories by name, created on first access."""

    def __init__(
        self,
        classes: dict[str, _Repository],
        made: dict[str, AbstractRepository],
        make: collections.abc.Callable[[_Repository], AbstractRepository],
    ) -> None:
        self._classes = classes
        self._made = made
        self._make = make

    def __getitem__(self, name: str) -> AbstractRepository:
        if name not in self._classes:
            raise KeyError(f"no resource '{name}' is in the application's database: there are {sorted(self._classes)}")
        if name not in self._made:
            self._made[name] = self._make(self._classes[name])
        return self._made[name]

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


class FlamaComponent(WorkerComponent):
    """A component that injects :class:`FlamaWorker`, and no other class of workers."""

    def can_handle_parameter(self, parameter: injection.Parameter) -> bool:
        """Whether the annotation is exactly ``FlamaWorker``."""
        return parameter.annotation is FlamaWorker
