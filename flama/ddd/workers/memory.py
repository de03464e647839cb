"""Units of work on a store in memory."""

import collections.abc
import contextlib
import importlib
import typing as t

from flama import exceptions, types
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers.base import BaseWorker
from flama.ddd.workers.database import Database
from flama.ddd.workers.remote import Remote
from flama.ddd.workers.units import Part
from flama.memory import MemoryModule, Session, Store, Transaction

__all__ = ["MemoryWorker"]

W = t.TypeVar("W", bound=BaseWorker)

_Repositories: t.TypeAlias = collections.abc.Mapping[str, type[AbstractRepository]]


class MemoryWorker(BaseWorker):
    """A unit of work on a store in memory, which it has to itself.

    The ``store`` is the worker's own unless one is given, and all workers that are made of this one share it. Of
    repositories that are annotated, those of SQL tables keep their records in it as well, by the same methods.

    :raises UnavailableError: other units have the store for longer than it lets one wait.
    :raises IntegrityError: a constraint that is checked at the end refuses what the unit wrote.
    """

    stream_mode = "whole"  # no other unit has the store meanwhile, and the records are in memory anyway

    _given: t.ClassVar[Store | None] = None
    _substitutes: t.ClassVar[_Repositories] = {}

    def __init__(self, *args: t.Any, store: Store | None = None, **options: t.Any) -> None:
        super().__init__(*args, **options)
        self._store: Store | None = store or self._given or Store()
        self._check_remote(options)

    @classmethod
    def of(cls, worker: type[W], substitutes: _Repositories | None = None, *, store: Store | None = None) -> type[W]:
        """Give a worker like another, a subclass of it with the same repositories, which keeps their records in memory.

        So it stands in for that one wherever one is asked for. Repositories of SQL tables keep their own methods. One
        that works on a connection by itself can't be kept, and has a class among the ``substitutes``, by name. So has
        one of a remote service, unless the worker is told where that is when it is made. Isolation levels and other
        settings of a database mean nothing.

        Each worker has a store of its own unless it is given here, or when it is made.

        :raises ApplicationError: a repository can't be kept in memory.
        """
        backend = next(base for base in worker.__mro__ if base.__module__.startswith("flama."))
        name, body = worker.__name__, {"__doc__": worker.__doc__, "__module__": worker.__module__}
        if not issubclass(backend, MemoryWorker):
            backend = type(f"InMemory{backend.__name__}", (MemoryWorker, backend), body)
        own = {"_given": store, "_substitutes": dict(substitutes or {})}
        made: t.Any = type(name, (backend,) if issubclass(backend, worker) else (worker, backend), {**body, **own})
        for name, declared in made._declarations.resolved().items():
            _kept(made._substitutes.get(name, declared.repository), worker)  # what is wrong with them is told now
        return t.cast("type[W]", made)

    @classmethod
    def serving(
        cls, repositories: dict[str, type[AbstractRepository]], app: types.App | None, place: Remote | Database | None
    ) -> t.Self:
        """Give what opens the session of another worker's repositories: on the store of the application's module."""
        worker = super().serving(repositories, app, place)
        module = getattr(app, MemoryModule.name, None)
        worker._store = module.store if isinstance(module, MemoryModule) else None
        return worker

    def _check_remote(self, places: collections.abc.Collection[str]) -> None:
        """Make sure that no remote service is called that the worker was not told of when it was made.

        :raises ApplicationError: one would be.
        """
        for name, declared in self._declarations.resolved().items():
            repository = self._substitutes.get(name, declared.repository)
            if name not in places and repository._backend is not None and _kept(repository, type(self)) is None:
                worker = type(self).__name__
                raise exceptions.ApplicationError(
                    f"{worker}.{name} is a {repository.__name__}, which calls a remote service and can't be kept in "
                    f"memory: give MemoryWorker.of({worker}, {{{name!r}: …}}) a repository in its place, or tell the "
                    f"worker where a service for tests is, {worker}({name}=Remote(…))"
                )

    @property
    def store(self) -> Store:
        """The store.

        :raises ApplicationError: it would be that of the application's module, and there is none.
        """
        if self._store is None:
            names = ", ".join(self.repositories)
            raise exceptions.ApplicationError(f"{names} need the application's store: give it a MemoryModule()")
        return self._store

    @property
    def repositories(self) -> dict[str, type[AbstractRepository]]:
        """The repositories that it declares, by name, of which it keeps the records."""
        found = {name: self._substitutes.get(name, each) for name, each in super().repositories.items()}
        kept = {name: _kept(repository, type(self)) for name, repository in found.items()}
        return {name: repository for name, repository in kept.items() if repository is not None}

    def parts(self) -> collections.abc.Sequence[Part]:
        """Give the parts of a unit: this one, and those of backends that keep what isn't kept in memory."""
        kept = self.repositories
        others = [
            (backend, {name: each for name, each in repositories.items() if name not in kept})
            for backend, repositories in super().parts()
        ]
        return (*[(backend, repositories) for backend, repositories in others if repositories], (self, kept))

    def stream_slot(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Return nothing to wait for, also where it stands in for a worker on a database."""
        return contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def session(self) -> collections.abc.AsyncIterator[Session]:
        """Give what has the store to itself."""
        async with self.store.session() as session:
            yield session

    async def begin_transaction(self, session: Session, *, nested: bool) -> Transaction:
        """Begin the unit's transaction, or a savepoint in it."""
        return await session.begin(nested=nested)

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Make one of the unit's repositories."""
        return repository(session)


def _kept(repository: type[AbstractRepository], worker: type) -> type[AbstractRepository] | None:
    """Give the repository that keeps in memory what this one keeps; None when that stays where it is."""
    backend = repository._backend
    if backend is None or issubclass(backend, MemoryWorker):
        return repository
    if hasattr(repository, "_table"):
        substitutes = importlib.import_module("flama.ddd.repositories.substitutes")
        return t.cast("type[AbstractRepository]", substitutes.in_memory(repository))
    if issubclass(worker, backend):
        raise exceptions.ApplicationError(
            f"{repository.__name__} works on what {backend.__name__} opens, and can't be kept in memory: "
            f"give MemoryWorker.of({worker.__name__}, {{…: …}}) a repository in its place"
        )
    return None
