"""Who asks: what the worker of a resource's operation is told of a request before it begins."""

import typing as t

from flama import types
from flama.ddd.components import scope_from
from flama.ddd.workers.base import BaseWorker
from flama.injection.component import Depends
from flama.resources.rest import RESTResource
from flama.rest.operations import Operation
from flama.routing.principals import PrincipalKey

__all__ = ["OWNER", "worker_for"]

OWNER: t.Final = "flama.owner"
"""Where the scope of a request has the key of its principal, for the operations that keep their responses by it."""


def worker_for(resource: type[RESTResource], operation: Operation, worker: type, repository: str) -> t.Any:
    """Return the annotation by which the handler of an operation asks for its worker."""
    asked: t.Any = worker
    if resource.scope is not None:
        asked = _narrowed(asked, resource.scope, repository)
    if resource.idempotency and operation.writes:
        asked = _owned(asked)
    return asked


def _narrowed(worker: t.Any, scope: types.Handler, repository: str) -> Depends:
    def narrowed(worker: BaseWorker, condition: t.Any) -> BaseWorker:
        return worker._narrowed({repository: (condition,)})

    narrowed.__annotations__ |= {"worker": worker, "condition": scope_from(scope)}
    return Depends(narrowed)


def _owned(worker: t.Any) -> Depends:
    def owned(worker: t.Any, scope: types.Scope, key: PrincipalKey | None = None) -> t.Any:
        scope[OWNER] = key
        return worker

    owned.__annotations__ |= {"worker": worker, "key": PrincipalKey}
    return Depends(owned)
