"""Workers as handlers' parameters."""

import collections.abc
import typing as t

from flama import exceptions, injection, types
from flama.ddd.workers import base
from flama.tasks import AFTER_RESPONSE

__all__ = ["WorkerComponent"]

_NO_REQUEST: t.Final[types.Scope] = {"type": "none"}


class WorkerComponent(injection.Component):
    """Gives each request a worker of its own, made after the one given here.

    It serves a parameter annotated with the worker's class or, if no other component does that, with a class of the
    application's own between that and the framework's. The handler enters the worker; until then nothing is opened.

    :raises ComponentError: at start-up: a parameter is annotated with a base of several workers, and with none of them.
    """

    def __init__(self, worker: base.AbstractWorker) -> None:
        self.worker = worker

    async def on_startup(self) -> None:
        """Let the worker keep from one request to the next what is costly to open anew."""
        await self.worker.on_startup()

    async def on_shutdown(self) -> None:
        """Let the worker close what it keeps."""
        await self.worker.on_shutdown()

    def can_handle_parameter(self, parameter: injection.Parameter) -> bool:
        """Tell whether the annotation is the worker's class or a base of it that declares a worker."""
        annotation = parameter.annotation
        declares = isinstance(annotation, type) and issubclass(annotation, base.BaseWorker)
        return annotation is type(self.worker) or (
            declares and annotation is not base.BaseWorker and isinstance(self.worker, annotation)
        )

    def chosen(
        self, parameter: injection.Parameter, others: collections.abc.Sequence[injection.Component]
    ) -> injection.Component:
        """Give the component of the very class; of several bases, none can be chosen."""
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

    def resolve(self, app: types.App, scope: types.Scope = _NO_REQUEST) -> base.AbstractWorker:
        """Return a copy of the worker, bound to the application, for a request or a socket."""
        bound = self.worker.bound(app)
        if scope["type"] == "http":
            bound._after_response = scope.get(AFTER_RESPONSE)
        return bound
