"""Dependencies that prepare a resource's worker for the caller of a request."""

import typing as t

from flama import types
from flama.ddd.components import scope_from
from flama.ddd.workers.base import BaseWorker
from flama.injection.component import Depends
from flama.resources._spec import ResourceSpec
from flama.rest.operations import Operation
from flama.routing.principals import PrincipalKey

__all__ = ["OWNER", "worker_for"]

OWNER: t.Final = "flama.owner"
"""The key of an ASGI scope that holds the key of the request's principal, for idempotent operations."""


def worker_for(spec: ResourceSpec, operation: Operation, worker: type, repository: str) -> t.Any:
    """Return the annotation that injects the worker of an operation into its handler."""
    annotation: t.Any = worker
    if spec.scope is not None:
        annotation = _narrow_scope(annotation, spec.scope, repository)
    if spec.idempotency and operation.writes:
        annotation = _store_owner(annotation)
    return annotation


def _narrow_scope(worker: t.Any, scope: types.Handler, repository: str) -> Depends:
    def narrow(worker: BaseWorker, condition: t.Any) -> BaseWorker:
        return worker._narrowed({repository: (condition,)})

    narrow.__annotations__ |= {"worker": worker, "condition": scope_from(scope)}
    return Depends(narrow)


def _store_owner(worker: t.Any) -> Depends:
    def store_owner(worker: t.Any, scope: types.Scope, key: PrincipalKey | None = None) -> t.Any:
        scope[OWNER] = key
        return worker

    store_owner.__annotations__ |= {"worker": worker, "key": PrincipalKey}
    return Depends(store_owner)
