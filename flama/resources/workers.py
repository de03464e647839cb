"""The unit of work that an application's resources share."""

import collections.abc
import typing as t

from flama import exceptions, injection
from flama.ddd.components import WorkerComponent
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.ddd.workers.units import Part

__all__ = ["FlamaComponent", "FlamaWorker"]

_Repository: t.TypeAlias = type[AbstractRepository]


class FlamaWorker(SQLAlchemyWorker):
    """A unit of work on the records of all resources that are kept in the application's database.

    ``worker.repositories["puppy"]`` is the repository of the resource of that name, on the unit's connection. One
    whose repository a worker of the application's own has isn't there. Each application has one, which its resources
    are added to: ``app.resources.worker``.
    """

    def __init__(self, *args: t.Any, **options: t.Any) -> None:
        super().__init__(*args, **options)
        self._known: dict[str, _Repository] = {}  # by all that are made of this one

    def add_repository(self, name: str, repository: _Repository) -> None:
        """Have units give a repository of this class by this name.

        :raises ApplicationError: they give another by it.
        """
        if (known := self._known.setdefault(name, repository)) is not repository:
            raise exceptions.ApplicationError(
                f"The repository '{name}' of the application's resources is {known.__name__}, and can't be "
                f"{repository.__name__} as well: give one of the resources another name"
            )

    def remove_repository(self, name: str) -> None:
        """Have units give no repository by this name any more.

        :raises KeyError: they don't.
        """
        del self._known[name]

    @property
    def repositories(self) -> t.Any:
        """The unit's repositories by name: a mapping, in which each is made when it is first asked for.

        :raises ApplicationError: there is no unit.
        """
        unit = self._unit()
        if unit is None:
            raise exceptions.ApplicationError("Repositories not initialized")
        return _Repositories(self._known, unit.repositories, lambda each: self.make_repository(each, unit.session))

    def parts(self) -> collections.abc.Sequence[Part]:
        """Give the one part of a unit, which has none of the repositories yet."""
        return ((self, {}),)

    def _classes(self) -> collections.abc.Iterable[_Repository]:
        return self._known.values()


class _Repositories(collections.abc.Mapping[str, AbstractRepository]):
    """A unit's repositories, of classes by name: those that were made, and what makes the others."""

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
        """Give the repository of this name.

        :raises KeyError: there is none.
        """
        if name not in self._classes:
            raise KeyError(f"no resource '{name}' is in the application's database: there are {sorted(self._classes)}")
        if name not in self._made:
            self._made[name] = self._make(self._classes[name])
        return self._made[name]

    def __iter__(self) -> collections.abc.Iterator[str]:
        """Give their names."""
        return iter(self._classes)

    def __len__(self) -> int:
        """Tell how many they are."""
        return len(self._classes)


class FlamaComponent(WorkerComponent):
    """Gives each request a :class:`FlamaWorker`, and what asks for any other worker nothing."""

    def can_handle_parameter(self, parameter: injection.Parameter) -> bool:
        """Tell whether the annotation is that very class."""
        return parameter.annotation is FlamaWorker
