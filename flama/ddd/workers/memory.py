"""Units of work on an in-memory store."""

import collections.abc
import contextlib
import importlib
import typing as t

from flama import exceptions, types
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._backend import Backend, CallContext, Part, Transaction
from flama.ddd.workers._bindings import Binding
from flama.ddd.workers.base import BaseWorker
from flama.memory import MemoryModule, Session, Store

__all__ = ["MemoryWorker"]

W = t.TypeVar("W", bound=BaseWorker)

_Repositories: t.TypeAlias = collections.abc.Mapping[str, type[AbstractRepository]]


class MemoryWorker(BaseWorker):
    """A unit of work with exclusive access to an in-memory store.

    The worker has its own ``store`` unless one is passed, and its copies share it. Annotated repositories of SQL tables
    store their records in it as well, through the same methods.

    :raises UnavailableError: other units have the store for longer than its timeout.
    :raises IntegrityError: a constraint that is checked at the end refuses what the unit wrote.
    """

    _default_store: t.ClassVar[Store | None] = None
    _substitutes: t.ClassVar[_Repositories] = {}

    def __init__(self, *args: t.Any, store: Store | None = None, **options: t.Any) -> None:
        super().__init__(*args, **options)
        self._memory = _MemoryBackend(store or self._default_store or Store())
        self._check_remote(options)

    @classmethod
    def of(cls, worker: type[W], substitutes: _Repositories | None = None, *, store: Store | None = None) -> type[W]:
        """Return a subclass of a worker that has the same repositories, and stores their records in memory.

        It can be used wherever that worker is expected. Repositories of SQL tables keep their own methods. One that
        works on a connection by itself can't be stored in memory, and needs a class in ``substitutes``, by name. So
        does one of a remote service, unless the worker is made with its location. Isolation levels and other settings
        of a database have no effect.

        Each worker has its own store unless one is passed here, or when it is made.

        :raises ApplicationError: a repository can't be stored in memory.
        """
        backend = next(base for base in worker.__mro__ if base.__module__.startswith("flama."))
        name, body = worker.__name__, {"__doc__": worker.__doc__, "__module__": worker.__module__}
        if not issubclass(backend, MemoryWorker):
            backend = type(f"InMemory{backend.__name__}", (MemoryWorker, backend), body)
        own = {"_default_store": store, "_substitutes": dict(substitutes or {})}
        made: t.Any = type(name, (backend,) if issubclass(backend, worker) else (worker, backend), {**body, **own})
        for name, declared in made._declarations.resolve().items():
            _memory_repository_class(
                made._substitutes.get(name, declared.repository), worker
            )  # raises now, not when it is entered
        return t.cast("type[W]", made)

    @classmethod
    def backend_for(
        cls, repositories: dict[str, type[AbstractRepository]], binding: Binding | None, app: types.App | None
    ) -> Backend:
        """Return the backend of another worker's repositories, which is the store of the application's module."""
        module = getattr(app, MemoryModule.name, None)
        return _MemoryBackend(module.store if isinstance(module, MemoryModule) else None, repositories)

    def _check_remote(self, places: collections.abc.Collection[str]) -> None:
        """Check that the worker has the location of every remote service that it calls.

        :raises ApplicationError: one is missing.
        """
        for name, declared in self._declarations.resolve().items():
            repository = self._substitutes.get(name, declared.repository)
            if (
                name not in places
                and repository.worker_class() is not None
                and _memory_repository_class(repository, type(self)) is None
            ):
                worker = type(self).__name__
                raise exceptions.ApplicationError(
                    f"{worker}.{name} is a {repository.__name__}, which calls a remote service and can't be kept in "
                    f"memory: give MemoryWorker.of({worker}, {{{name!r}: …}}) a repository in its place, or tell the "
                    f"worker where a service for tests is, {worker}({name}=Remote(…))"
                )

    @property
    def store(self) -> Store:
        """The store."""
        return self._memory.store

    @property
    def repositories(self) -> dict[str, type[AbstractRepository]]:
        """The declared repositories that store their records in memory, by name."""
        found = {name: self._substitutes.get(name, each) for name, each in super().repositories.items()}
        stored = {name: _memory_repository_class(repository, type(self)) for name, repository in found.items()}
        return {name: repository for name, repository in stored.items() if repository is not None}

    def parts(self) -> collections.abc.Sequence[Part]:
        """Return the parts of a unit: those of other backends, then this one."""
        stored = self.repositories
        others = [
            (backend, {name: each for name, each in repositories.items() if name not in stored}, make)
            for backend, repositories, make in super().parts()
        ]
        return (*[part for part in others if part[1]], (self._memory, stored, self.make_repository))

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        return repository(session)


class _MemoryBackend(Backend):
    stream_mode = "whole"  # no other unit may use the store meanwhile, and the records are in memory anyway

    def __init__(self, store: Store | None, repositories: collections.abc.Iterable[str] = ()) -> None:
        self._store = store  # None if the application has none
        self._repositories = repositories  # the names of those that need it

    @property
    def store(self) -> Store:
        """The store.

        :raises ApplicationError: it is that of the application's module, and there is none.
        """
        if self._store is None:
            names = ", ".join(self._repositories)
            raise exceptions.ApplicationError(f"{names} need the application's store: give it a MemoryModule()")
        return self._store

    def session(self, calls: CallContext) -> contextlib.AbstractAsyncContextManager[Session]:
        return self.store.session()

    async def begin_transaction(self, session: Session, *, nested: bool) -> Transaction:
        return await session.begin(nested=nested)


def _memory_repository_class(repository: type[AbstractRepository], worker: type) -> type[AbstractRepository] | None:
    """Return the class that stores the repository's records in memory; None when they stay where they are."""
    backend = repository.worker_class()
    if backend is None or issubclass(backend, MemoryWorker):
        return repository
    if hasattr(repository, "_table"):
        substitutes = importlib.import_module("flama.ddd.repositories.memory._fakes")
        return t.cast("type[AbstractRepository]", substitutes.fake_for(repository))
    if issubclass(worker, backend):
        raise exceptions.ApplicationError(
            f"{repository.__name__} works on what {backend.__name__} opens, and can't be kept in memory: "
            f"give MemoryWorker.of({worker.__name__}, {{…: …}}) a repository in its place"
        )
    return None
