"""Workers as handlers' parameters."""

import collections.abc
import typing as t

from flama import exceptions, injection, types
from flama._shielding import AFTER_RESPONSE
from flama.ddd.workers import base
from flama.ddd.workers._headers import check_headers
from flama.ddd.workers._scopes import can_be_scoped
from flama.injection.component import Depends
from flama.query import Condition

__all__ = ["WorkerComponent", "scope_from"]

_Scope: t.TypeAlias = types.Handler | collections.abc.Mapping[str, types.Handler | None]

_NO_REQUEST: t.Final[types.Scope] = {"type": "none"}


class WorkerComponent(injection.Component):
    """A component that provides each request with its own copy of a worker.

    It serves a parameter annotated with the worker's class or, if no other component does, with a class of the
    application's own between that and the framework's. The handler enters the worker; until then nothing is opened.

    ``scope`` is a function that returns a condition made by ``F``, which holds on every record that the request reads
    or writes. Its parameters are injected like a handler's. It applies to all repositories of the worker. A mapping by
    name has a function for each instead, where None stands for all records. ``headers`` is such a function, too: it
    returns headers for the request's calls to remote services, beside those of their client. Both are called once in a
    request, before its handler.

    :raises ComponentError: at start-up: a parameter is annotated with a base of several workers, and with none of their
        own classes.
    :raises ApplicationError: at start-up: a repository can't be scoped, or the worker calls no remote service; in a
        request: the records of a repository lack a field of its condition, or a header is one that a call sets itself.
    :raises PermissionDeniedError: in a request: the function returns None, so that the request has no scope.
    """

    def __init__(
        self, worker: base.AbstractWorker, *, scope: _Scope | None = None, headers: types.Handler | None = None
    ) -> None:
        if (scope, headers) != (None, None) and not isinstance(worker, base.BaseWorker):
            raise exceptions.ApplicationError(
                f"{type(worker).__name__} is no BaseWorker: it has no scope and no headers"
            )
        self.worker = worker
        self._scope = scope
        self._headers = headers
        self._provider = self.resolve if scope is None and headers is None else self._make_resolver()

    async def on_startup(self) -> None:
        """Start the worker, which reuses from one request to the next what is costly to open."""
        if isinstance(self.worker, base.BaseWorker):
            self._check(self.worker)
        await self.worker.on_startup()

    async def on_shutdown(self) -> None:
        """Stop the worker, which closes what it reuses."""
        await self.worker.on_shutdown()

    def can_handle_parameter(self, parameter: injection.Parameter) -> bool:
        """Whether the annotation is the worker's class or a base of it that declares a worker."""
        annotation = parameter.annotation
        declares = isinstance(annotation, type) and issubclass(annotation, base.BaseWorker)
        return annotation is type(self.worker) or (
            declares and annotation is not base.BaseWorker and isinstance(self.worker, annotation)
        )

    def select(
        self, parameter: injection.Parameter, others: collections.abc.Sequence[injection.Component]
    ) -> injection.Component:
        """Return the component of exactly the annotated class, or the only one.

        :raises ComponentError: several workers have the class as a base.
        """
        workers = [component for component in (self, *others) if isinstance(component, WorkerComponent)]
        for component in workers:
            if type(component.worker) is parameter.annotation:
                return component
        if len(workers) == 1:
            return self
        names = ", ".join(sorted(type(component.worker).__name__ for component in workers))
        base = parameter.annotation.__name__
        raise exceptions.ComponentError(
            f"Parameter '{parameter.name}: {base}' may be any of {names}: annotate it with one"
        )

    def provider(self, parameter: injection.Parameter) -> types.Handler:
        """Return the function that makes a request's worker."""
        return self._provider

    def resolve(self, app: types.App, scope: types.Scope = _NO_REQUEST) -> base.AbstractWorker:
        """Return a copy of the worker, bound to the application, for a request or a socket."""
        bound = self.worker.bound(app)
        if scope["type"] == "http":
            bound.run_after_response(scope.get(AFTER_RESPONSE))
        return bound

    def _make_resolver(self) -> types.Handler:
        """Return the function that makes a worker with its request's scope and headers."""
        functions = self._functions()

        def resolve(app: types.App, found: t.Any, headers: t.Any, scope: types.Scope = _NO_REQUEST) -> t.Any:
            bound = t.cast(base.BaseWorker, self.resolve(app, scope))
            scopes = {name: () if each is None else (found[each],) for name, each in functions.items()}
            bound.limit_to_request(scopes, headers)
            return bound

        each = [function for function in functions.values() if function is not None]
        resolve.__annotations__ |= {"found": _gather_conditions(each), "headers": _headers_from(self._headers)}
        return resolve

    def _functions(self) -> dict[str | None, types.Handler | None]:
        if isinstance(self._scope, collections.abc.Mapping):
            return dict(self._scope.items())
        return {} if self._scope is None else {None: self._scope}

    def _check(self, worker: base.BaseWorker) -> None:
        """Check the scope and the headers against the worker.

        :raises ApplicationError: they don't fit.
        """
        if self._scope is None and self._headers is None:
            return
        name, parts = type(worker).__name__, worker.parts()
        if self._headers is not None and not any(backend.calls_remotely for backend, _, _ in parts):
            raise exceptions.ApplicationError(f"{name} calls no remote service, to which headers could be sent")
        if self._scope is not None:
            self._check_scopes(name, {each: repository for _, found, _ in parts for each, repository in found.items()})

    def _check_scopes(self, worker: str, repositories: collections.abc.Mapping[str, type]) -> None:
        functions = self._functions()
        if wrong := [str(each) for each in functions if each is not None and each not in repositories]:
            raise exceptions.ApplicationError(f"{worker} has no repository {', '.join(wrong)} that could have a scope")
        if not repositories:
            raise exceptions.ApplicationError(f"{worker} declares no repositories: give each resource its scope")
        for name, repository in repositories.items():
            if name not in functions and None not in functions:
                raise exceptions.ApplicationError(f"{worker}.{name} has no scope: None says that it has all records")
            if functions.get(name, functions.get(None)) is not None and not can_be_scoped(repository):
                raise exceptions.ApplicationError(
                    f"{worker}.{name} is a {repository.__name__}, of whose records there are no scopes: exclude it by "
                    f"a mapping, scope={{{name!r}: None, …}}"
                )


def scope_from(function: types.Handler) -> Depends:
    """Return the annotation of a parameter that receives the condition which a function returns.

    :raises PermissionDeniedError: in a request: it returns None.
    :raises ApplicationError: in a request: it returns what is no condition.
    """

    def condition(found: t.Any) -> Condition:
        if found is None:
            raise exceptions.PermissionDeniedError(resource="request", detail="it has no scope here")
        if not isinstance(found, Condition):
            name = getattr(function, "__name__", repr(function))
            raise exceptions.ApplicationError(f"{name}() returned {found!r}: a scope is a condition made by F, or None")
        return found

    condition.__annotations__["found"] = Depends(function)
    return Depends(condition, (401, 403))


def _gather_conditions(functions: collections.abc.Iterable[types.Handler]) -> Depends:
    """Return the annotation of a parameter that receives the conditions which functions return, by function."""
    gathered = Depends(_empty_mapping)
    for function in dict.fromkeys(functions):
        gathered = _add_condition(gathered, function)
    return gathered


def _empty_mapping() -> dict[t.Any, t.Any]:
    return {}


def _add_condition(gathered: Depends, function: types.Handler) -> Depends:
    def both(found: t.Any, condition: t.Any) -> dict[t.Any, t.Any]:
        return {**found, function: condition}

    both.__annotations__ |= {"found": gathered, "condition": scope_from(function)}
    return Depends(both)


def _headers_from(function: types.Handler | None) -> Depends:
    if function is None:
        return Depends(_empty_mapping)

    def headers(found: t.Any) -> collections.abc.Mapping[str, str]:
        return check_headers(found, function)

    headers.__annotations__["found"] = Depends(function)
    return Depends(headers)
