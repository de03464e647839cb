"""Workers as context managers: units of work with their repositories."""

import abc
import asyncio
import collections.abc
import contextlib
import contextvars
import copy
import typing as t
import uuid

from flama import _request_context, _shielding, exceptions, types
from flama._shielding import shield
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._backend import Backend, CallContext, LoopCache, Part, Transaction
from flama.ddd.workers._bindings import Binding
from flama.ddd.workers._declarations import RepositoryAnnotations, RepositoryDescriptor
from flama.ddd.workers._hooks import Committed, Hook
from flama.ddd.workers._scopes import Scopes, conditions_of, narrow
from flama.ddd.workers._unit_of_work import Rollback, Unit
from flama.query import Condition
from flama.retry import Backoff, run_with_retries, stable_idempotency_keys

__all__ = ["AbstractWorker", "BaseWorker"]

R = t.TypeVar("R")

_Ending: t.TypeAlias = collections.abc.Coroutine[t.Any, t.Any, None]

_BACKOFF: t.Final = Backoff(initial=0.01, maximum=1.0)


class AbstractWorker(abc.ABC):
    """A unit of work: what is done between entering and leaving it takes effect as a whole, or not at all.

    ``async with worker`` begins it. It is committed when the block ends well, and rolled back when an exception leaves
    it.
    """

    derivable: t.ClassVar[bool] = True
    """Whether a resource can derive a worker of this class from its repository alone."""
    is_shared: t.ClassVar[bool] = False
    """Whether the resources of an application may share a worker, on a session that the application opens."""

    _after_response: list[_shielding.Work] | None = None  # in a request, the work to run then

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

    async def on_startup(self) -> None:  # noqa: B027 - a choice
        """Start with the worker's application."""

    async def on_shutdown(self) -> None:  # noqa: B027 - a choice
        """Stop with the worker's application."""

    @abc.abstractmethod
    async def begin(self) -> None:
        """Enter the unit."""

    @abc.abstractmethod
    async def end(self, *, rollback: bool = False) -> None:
        """Leave the unit: commit what was done in it, or roll it back."""

    @abc.abstractmethod
    async def commit(self) -> None:
        """Commit what was done so far; the unit goes on."""

    @abc.abstractmethod
    async def rollback(self) -> None:
        """Undo what was done since the unit began, or since the last commit; the unit goes on."""

    async def __aenter__(self) -> t.Self:
        await self.begin()
        return self

    def __aexit__(self, kind: t.Any, error: BaseException | None, traceback: t.Any) -> _Ending:
        return self.end(rollback=error is not None)

    def scope_of(self, name: str) -> tuple[Condition, ...]:
        """Return the conditions on the records of the repository of this name, in units that it begins."""
        return ()

    def bound(self, app: types.App) -> t.Self:
        """Return a copy of this worker, with no unit begun, that uses the application's modules."""
        bound = copy.copy(self)
        bound._app = app
        return bound

    def run_after_response(self, works: list[_shielding.Work] | None) -> None:
        """Add background hooks to the works that run when the response to a request has been sent."""
        self._after_response = works


_units: contextvars.ContextVar[dict["BaseWorker", Unit]] = contextvars.ContextVar("units")


class BaseWorker(AbstractWorker):
    """A worker whose repositories are its annotations.

    A public annotation with a repository's class declares a repository, which exists between entering and leaving. A
    subclass inherits the declarations of its bases. A worker on a backend of its own implements ``session()``, which
    opens what repositories are made with, and ``begin_transaction()`` if it has transactions.

    The worker is a template: each task that enters it has its own unit, which the tasks that it starts share. Entering
    it again within the unit begins a savepoint.

    ``timeout`` is how many seconds the block may take; then it is cancelled and the unit rolled back.

    :raises UnavailableError: the block took longer.
    """

    _declarations: t.ClassVar[RepositoryAnnotations]

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._declarations = RepositoryAnnotations(cls)
        for name in cls._declarations.names:
            if not hasattr(cls, name):
                setattr(cls, name, RepositoryDescriptor(name, BaseWorker._repository))

    def __init__(self, app: types.App | None = None, *, timeout: float | None = None) -> None:
        super().__init__(app)
        self._timeout = timeout
        self._begun: set[Unit] = set()
        self._applications = 0  # how many run
        self._calls = CallContext()  # with the request's headers in its copy of the worker
        self._scopes: Scopes = {}  # of the request, in such a copy

    async def on_startup(self) -> None:
        """Begin to reuse what is costly to open for each unit."""
        self._applications += 1
        if self._calls.cache is None:
            self._calls = self._calls._replace(cache=LoopCache())

    async def on_shutdown(self) -> None:
        """Close what was reused, unless another application still runs."""
        self._applications -= 1
        if self._applications:
            return
        cache, self._calls = self._calls.cache, self._calls._replace(cache=None)
        if cache is not None:
            await cache.aclose()

    def session(self) -> contextlib.AbstractAsyncContextManager[t.Any]:
        """Return the context manager that opens the session of a unit, and closes it."""
        raise NotImplementedError(f"{type(self).__name__} has no session()")

    async def begin_transaction(self, session: t.Any, *, nested: bool) -> Transaction | None:
        """Begin the unit's transaction, or one nested in it; return None when there are none."""
        return None

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Make one of the unit's repositories."""
        return repository(session)

    def parts(self) -> collections.abc.Sequence[Part]:
        """Return the parts of a unit in the order in which they are opened; they end in the reverse order."""
        return ((_WorkerBackend(self), self.repositories, self.make_repository),)

    def backend_of(self, name: str) -> Backend | None:
        """Return the backend that opens the session of the repository of this name; None where it needs none."""
        for backend, repositories, _ in self.parts():
            if name in repositories and repositories[name].worker_class() is not None:
                return backend
        return None

    @classmethod
    def backend_for(
        cls, repositories: dict[str, type[AbstractRepository]], binding: Binding | None, app: types.App | None
    ) -> Backend:
        """Return a backend for another worker's repositories, bound to a database or a service if they are at all."""
        return _WorkerBackend(cls(app))

    @property
    def repositories(self) -> dict[str, type[AbstractRepository]]:
        """The repositories that it declares, by name."""
        return self._declarations.repositories()

    async def begin(self) -> None:
        """Enter the unit, or begin a savepoint in it."""
        unit = self._unit()
        if unit is not None and unit.task is asyncio.current_task():
            await unit.begin_nested()
            return
        deadline = None if self._timeout is None else await asyncio.timeout(self._timeout).__aenter__()
        unit = Unit(deadline, self._start)
        try:
            await unit.begin(self.parts(), self._app, self._calls)
            if self._scopes:
                narrow(unit.repositories, self._scopes)
        except BaseException as error:
            await self._end(unit, error)
            raise
        self._begun.add(unit)
        _units.set({**_units.get({}), self: unit})

    async def end(self, *, rollback: bool = False) -> None:
        """Leave the unit, or its innermost savepoint."""
        await BaseWorker.__aexit__(self, None, Rollback() if rollback else None, None)

    async def commit(self) -> None:
        """Commit what was done so far; within a savepoint, make it part of the unit.

        Once it has begun, it is completed even if the task is cancelled.
        """
        await shield(self._require_unit("commit() is").restart(rollback=False))

    async def rollback(self) -> None:
        """Undo what was done since the unit or the savepoint began, or since the last commit."""
        await shield(self._require_unit("rollback() is").restart(rollback=True))

    @contextlib.asynccontextmanager
    async def savepoint(self) -> collections.abc.AsyncGenerator[None]:
        """Run a block within the unit, and undo what it did when an exception leaves it.

        :raises AttributeError: there is no unit.
        """
        self._require_unit("a savepoint is")
        async with self:
            yield

    def after_commit(self, hook: Hook, *, raises: bool = False, background: bool = False) -> None:
        """Run a function, or a coroutine function, once after the unit was committed.

        Hooks run in the order of registration, after the unit's sessions have been closed. A hook that fails is logged,
        and the others still run: the unit is stored. With ``raises``, leaving the unit then raises an
        ``ExceptionGroup``. Hooks of a savepoint that is undone never run. None runs when it isn't known whether the
        unit was committed.

        With ``background``, the unit doesn't wait for the hook. In a request, it runs when the response has been sent.
        Otherwise it runs in a task of its own, for which the application waits ten seconds at most when it stops.

        :raises ApplicationError: the hook has both ``raises`` and ``background``.
        """
        if raises and background:
            raise exceptions.ApplicationError("A hook in the background can't raise: nobody waits for it")
        self._require_unit("after_commit() is").hooks.committed.append(Committed(hook, raises, background))

    def after_rollback(self, hook: Hook) -> None:
        """Run a function, or a coroutine function, once after the unit, or the savepoint, was rolled back.

        The exception that ended the unit propagates; a hook that fails meanwhile is logged. None runs when it isn't
        known whether the unit was committed after all.
        """
        self._require_unit("after_rollback() is").hooks.rolled_back.append(hook)

    async def run(
        self, work: collections.abc.Callable[[t.Self], collections.abc.Awaitable[R]], *, attempts: int = 5
    ) -> R:
        """Return the result of ``work(worker)``, run in a unit that is retried when it conflicts with another.

        Every ConflictError that is ``retryable`` is retried, also one at COMMIT, up to ``attempts`` attempts in all.
        The pause before each is random: at most 10 ms, then 20 ms, and so on up to 1 s. ``work`` must be safe to call
        again. Its remote writes with idempotency keys have the same keys in each attempt.

        :raises ConflictError: the last attempt raised it, or it isn't retryable.
        :raises ApplicationError: the worker is already in a unit, which can't be retried from within.
        """
        if (unit := self._unit()) is not None and unit.task is asyncio.current_task():
            raise exceptions.ApplicationError(f"run() begins a unit, and {type(self).__name__} is in one already")
        identity = uuid.uuid4().hex

        async def attempt() -> R:
            with stable_idempotency_keys(identity):
                async with self:
                    return await work(self)

        return await run_with_retries(attempt, attempts, _BACKOFF, _pause)

    async def __aexit__(self, kind: t.Any, error: BaseException | None, traceback: t.Any) -> None:
        unit = self._leave()
        if unit.nested:
            await shield(unit.end_nested(error), error)
            return
        unit.open = False
        self._begun.remove(unit)
        units = {**_units.get({})}
        if units.pop(self, None) is unit:
            _units.set(units)
        # tests/unit/ddd/test_commit_frames.py counts the calls from here to COMMIT
        ending = False if (session := unit.only_session) is None else session.finish(commit=error is None)
        try:
            if ending is True or (ending and await ending):
                return
        except asyncio.CancelledError as cancelled:
            await shield(unit.end(None), cancelled)
            raise
        await self._end(unit, error)

    def bound(self, app: types.App) -> t.Self:
        """Return a copy of this worker for a request, with no unit begun, that uses the application's modules."""
        _request_context.copy_state()
        bound = self._copy()
        bound._app = app
        return bound

    def limit_to_request(self, scopes: Scopes, headers: collections.abc.Mapping[str, str]) -> None:
        """Limit a request's copy to the records of its scopes, and add headers to its calls of remote services."""
        self._scopes = scopes
        self._calls = self._calls._replace(headers=headers)

    def with_scopes(self, scopes: Scopes) -> t.Self:
        """Return a copy of this worker, with no unit begun, whose repositories have more conditions."""
        narrowed = self._copy()
        narrowed._scopes = {
            **self._scopes,
            **{name: (*conditions_of(self._scopes, name), *more) for name, more in scopes.items()},
        }
        return narrowed

    @classmethod
    def declared_repositories(cls) -> dict[str, type[AbstractRepository]]:
        """Return the repositories that the class declares, by name."""
        return cls._declarations.repositories()

    def scope_of(self, name: str) -> tuple[Condition, ...]:
        return conditions_of(self._scopes, name)

    @property
    def _scope_key(self) -> str:
        """A text that is the same for workers of the same scope; empty where that is all records."""
        return repr(self._scopes) if self._scopes else ""

    def _copy(self) -> t.Self:
        copied = object.__new__(type(self))
        vars(copied).update(vars(self), _begun=set())
        return copied

    def _start(self, work: _shielding.Work) -> None:
        if self._after_response is not None:
            self._after_response.append(work)
        else:
            _shielding.start(work, self._app)

    def _leave(self) -> Unit:
        unit = self._unit()
        if unit is None and len(self._begun) == 1:
            (unit,) = self._begun  # left in another context than it was entered in, as by a generator's finalizer
        if unit is None:
            raise exceptions.ApplicationError(f"{type(self).__name__} is left, but was not entered")
        return unit

    def _end(self, unit: Unit, error: BaseException | None) -> _Ending:
        ending = shield(unit.end(error), error)
        return ending if unit.deadline is None else self._end_within(unit.deadline, ending, error)

    async def _end_within(self, deadline: asyncio.Timeout, ending: _Ending, error: BaseException | None) -> None:
        if not deadline.expired():
            deadline.reschedule(None)  # it is for the block alone
        raised = error
        try:
            await ending
        except BaseException as failure:
            raised = failure
            raise
        finally:
            try:
                await deadline.__aexit__(None if raised is None else type(raised), raised, None)
            except TimeoutError as late:
                detail = f"it took longer than {self._timeout} s"
                raise exceptions.UnavailableError(
                    resource="unit of work", detail=detail, maybe_applied=error is None
                ) from late

    def _unit(self) -> Unit | None:
        unit = _units.get({}).get(self)
        return unit if unit is not None and unit.open else None

    def _require_unit(self, what: str) -> Unit:
        unit = self._unit()
        if unit is None:
            raise AttributeError(f"{what} there only inside 'async with' of the {type(self).__name__}")
        return unit

    def _repository(self, name: str) -> AbstractRepository:
        repositories = self._require_unit(f"'{name}' is").repositories
        if name not in repositories:
            raise self._declarations.missing_error(type(self), name)
        return repositories[name]


class _WorkerBackend(Backend):
    """The backend of a worker that implements ``session()`` and ``begin_transaction()`` itself."""

    def __init__(self, worker: BaseWorker) -> None:
        self._worker = worker

    def session(self, calls: CallContext) -> contextlib.AbstractAsyncContextManager[t.Any]:
        return self._worker.session()

    async def begin_transaction(self, session: t.Any, *, nested: bool) -> Transaction | None:
        return await self._worker.begin_transaction(session, nested=nested)

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        return self._worker.make_repository(repository, session)


def _pause(error: Exception) -> float | None:
    return 0.0 if isinstance(error, exceptions.ConflictError) and error.retryable else None
