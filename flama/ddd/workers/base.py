"""Units of work: entered, their repositories made, committed or rolled back, left."""

import abc
import asyncio
import collections.abc
import contextlib
import contextvars
import copy
import dataclasses
import functools
import inspect
import sys
import types as python_types
import typing as t

from flama import exceptions, types
from flama.ddd.repositories.base import AbstractRepository
from flama.tasks import finished

__all__ = ["AbstractWorker", "BaseWorker", "Transaction", "Worker"]


class Transaction(t.Protocol):
    """What a backend begins, and the worker ends once."""

    async def commit(self) -> None:
        """Keep what was done."""

    async def rollback(self) -> None:
        """Undo what was done."""


class AbstractWorker(abc.ABC):
    """A unit of work: what is done between entering and leaving it is done wholly, or not at all.

    ``async with worker`` begins it. It ends well when the block does, and is rolled back when an exception leaves it.
    """

    def __init__(self, app: types.App | None = None) -> None:
        self._app = app

    @property
    def app(self) -> types.App:
        """The application whose modules the worker uses.

        :raises ApplicationError: it has none yet.
        """
        if self._app is None:
            raise exceptions.ApplicationError("Worker not initialized")
        return self._app

    @app.setter
    def app(self, app: types.App) -> None:
        self._app = app

    @app.deleter
    def app(self) -> None:
        self._app = None

    @abc.abstractmethod
    async def begin(self) -> None:
        """Enter the unit."""

    @abc.abstractmethod
    async def end(self, *, rollback: bool = False) -> None:
        """Leave the unit, keeping what was done in it or undoing it."""

    @abc.abstractmethod
    async def commit(self) -> None:
        """Keep what was done so far; the unit goes on."""

    @abc.abstractmethod
    async def rollback(self) -> None:
        """Undo what was done since the unit began, or since the last commit; the unit goes on."""

    async def __aenter__(self) -> t.Self:
        """Enter the unit."""
        await self.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: python_types.TracebackType | None,
    ) -> None:
        """Leave the unit."""
        await self.end(rollback=error is not None)

    def bound(self, app: types.App) -> t.Self:
        """Give a worker like this one, with no unit begun, that uses the application's modules."""
        bound = copy.copy(self)
        bound._app = app
        return bound


class _Declared:
    # A repository declared by annotation. It has no __set__, so that what a subclass assigns to the name comes first.

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, worker: t.Any, owner: type) -> t.Any:
        return self if worker is None else worker._repository(self.name)


class _RolledBack(Exception):
    # leaves a unit that is to be undone though nothing was raised
    pass


@dataclasses.dataclass(slots=True, eq=False)
class _Unit:
    task: asyncio.Task[t.Any] | None
    session: t.Any
    transactions: list[Transaction | None]  # the unit's own, then one for each time it was entered again
    repositories: dict[str, AbstractRepository]
    stack: contextlib.AsyncExitStack
    open: bool = True


_units: contextvars.ContextVar[dict["BaseWorker", _Unit]] = contextvars.ContextVar("units")


class BaseWorker(AbstractWorker):
    """A worker whose repositories are its annotations.

    A public annotation that is a repository's class declares one, there between entering and leaving; a subclass has
    those of its bases too. A backend gives ``session()``, what the repositories are made with, and
    ``begin_transaction()`` if it has any.

    The worker is a template: each task that enters it has a unit of its own, which the tasks it starts see too.
    Entering it again within the unit begins a savepoint.
    """

    _repositories: t.ClassVar[dict[str, type[AbstractRepository]]] = {}
    _deferred: t.ClassVar[dict[str, tuple[type, str]]] = {}  # annotations written as strings, not evaluated yet

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._repositories, cls._deferred = {}, {}
        for owner in reversed(cls.__mro__):
            for name, annotation in inspect.get_annotations(owner).items():
                if not name.startswith("_"):
                    cls._declare(owner, name, annotation)

    def __init__(self, app: types.App | None = None) -> None:
        super().__init__(app)
        self._begun: set[_Unit] = set()

    @abc.abstractmethod
    def session(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        """Give what opens the backend's session for a unit, and closes it."""

    async def begin_transaction(self, session: t.Any, *, nested: bool) -> Transaction | None:
        """Begin the unit's transaction, or one nested in it; None when the backend has none."""
        return None

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Make one of the unit's repositories."""
        return repository(session)

    async def begin(self) -> None:
        """Enter the unit, or begin a savepoint in it."""
        unit = self._unit()
        if unit is None or unit.task is not asyncio.current_task():
            await self._open()
        else:
            unit.transactions.append(await self.begin_transaction(unit.session, nested=True))

    async def end(self, *, rollback: bool = False) -> None:
        """Leave the unit, or its innermost savepoint."""
        await self._leave(_RolledBack() if rollback else None)

    async def commit(self) -> None:
        """Keep what was done so far: within a savepoint, as part of the unit."""
        await self._renew(rollback=False)

    async def rollback(self) -> None:
        """Undo what was done since the unit or the savepoint began, or since the last commit."""
        await self._renew(rollback=True)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: python_types.TracebackType | None,
    ) -> None:
        """Leave the unit, or its innermost savepoint."""
        await self._leave(error)

    def bound(self, app: types.App) -> t.Self:
        """Give a worker like this one, with no unit begun, that uses the application's modules."""
        bound = object.__new__(type(self))
        vars(bound).update(vars(self), _app=app, _begun=set())
        return bound

    async def _open(self) -> None:
        stack = contextlib.AsyncExitStack()
        try:
            session = await stack.enter_async_context(self.session())
            transaction = await self.begin_transaction(session, nested=False)
            unit = _Unit(asyncio.current_task(), session, [transaction], {}, stack)
            stack.push_async_exit(functools.partial(_exit, unit))
            for name, repository in self._resolved().items():
                unit.repositories[name] = self.make_repository(repository, session)
        except BaseException as error:
            await finished(stack.__aexit__(type(error), error, error.__traceback__), error)
            raise
        self._begun.add(unit)
        _units.set({**_units.get({}), self: unit})

    async def _leave(self, error: BaseException | None) -> None:
        unit = self._unit()
        if unit is None and len(self._begun) == 1:
            (unit,) = self._begun  # left in another context than it was entered in, as by a generator's finalizer
        if unit is None:
            raise exceptions.ApplicationError(f"{type(self).__name__} is left, but was not entered")
        if len(unit.transactions) > 1:
            await finished(_end(unit, error), error)
            return
        unit.open = False
        self._begun.remove(unit)
        _units.set({worker: other for worker, other in _units.get({}).items() if other is not unit})
        kind, traceback = (None, None) if error is None else (type(error), error.__traceback__)
        await finished(unit.stack.__aexit__(kind, error, traceback), error)

    async def _renew(self, *, rollback: bool) -> None:
        unit = self._inside("commit() and rollback() are")
        transaction = unit.transactions[-1]
        if transaction is not None:
            await (transaction.rollback() if rollback else transaction.commit())
            nested = len(unit.transactions) > 1
            unit.transactions[-1] = await self.begin_transaction(unit.session, nested=nested)

    def _unit(self) -> _Unit | None:
        unit = _units.get({}).get(self)
        return unit if unit is not None and unit.open else None

    def _inside(self, what: str) -> _Unit:
        unit = self._unit()
        if unit is None:
            raise AttributeError(f"{what} there only inside 'async with' of the {type(self).__name__}")
        return unit

    def _repository(self, name: str) -> AbstractRepository:
        repositories = self._inside(f"'{name}' is").repositories
        if name in repositories:
            return repositories[name]
        if name in self._deferred:
            annotation = self._deferred[name][1]
            raise AttributeError(f"{type(self).__name__}.{name} is annotated {annotation!r}, which names nothing there")
        raise AttributeError(f"{type(self).__name__} has no repository '{name}'")

    @classmethod
    def _declare(cls, owner: type, name: str, annotation: t.Any) -> None:
        cls._repositories.pop(name, None)
        cls._deferred.pop(name, None)
        if isinstance(annotation, str):
            cls._deferred[name] = (owner, annotation)
        elif _is_repository(annotation):
            cls._repositories[name] = annotation
        else:
            return
        if not hasattr(cls, name):
            setattr(cls, name, _Declared(name))

    @classmethod
    def _resolved(cls) -> dict[str, type[AbstractRepository]]:
        for name, (owner, annotation) in list(cls._deferred.items()):
            try:
                value = eval(annotation, vars(sys.modules[owner.__module__]), dict(vars(owner)))  # noqa: S307
            except (NameError, AttributeError):  # told when it is asked for: it may be no repository at all
                continue
            del cls._deferred[name]
            if _is_repository(value):
                cls._repositories[name] = value
        return cls._repositories


class Worker(BaseWorker):
    """A worker without a backend: its repositories are made with nothing."""

    @contextlib.asynccontextmanager
    async def session(self) -> collections.abc.AsyncIterator[None]:
        """Give a session that is nothing."""
        yield

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Make one of the unit's repositories."""
        return repository()


def _is_repository(annotation: t.Any) -> t.TypeGuard[type[AbstractRepository]]:
    return isinstance(annotation, type) and issubclass(annotation, AbstractRepository)


async def _exit(unit: _Unit, *details: t.Any) -> None:
    await _end(unit, details[1])


async def _end(unit: _Unit, error: BaseException | None) -> None:
    transaction = unit.transactions.pop()
    if transaction is not None:
        await (transaction.commit() if error is None else transaction.rollback())
