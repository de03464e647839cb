"""Workers as handlers' parameters."""

from flama import injection, types
from flama.ddd.workers import base

__all__ = ["WorkerComponent"]


class WorkerComponent(injection.Component):
    """Gives each request a worker of its own, made after the one given here.

    It serves a parameter annotated with the worker's class, or with a class of the application's own between that
    and the framework's. The handler enters the worker; until then nothing is opened.
    """

    def __init__(self, worker: base.AbstractWorker) -> None:
        self.worker = worker

    def can_handle_parameter(self, parameter: injection.Parameter) -> bool:
        """Tell whether the annotation is the worker's class or a base of it that declares a worker."""
        annotation = parameter.annotation
        declares = isinstance(annotation, type) and issubclass(annotation, base.BaseWorker)
        return annotation is type(self.worker) or (
            declares and annotation is not base.BaseWorker and isinstance(self.worker, annotation)
        )

    def resolve(self, app: types.App) -> base.AbstractWorker:
        """Give a copy of the worker, bound to the application."""
        return self.worker.bound(app)
