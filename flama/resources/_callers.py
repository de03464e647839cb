"""The caller of a request: its scope of a resource's records, and what identifies it."""

import collections.abc
import typing as t

from flama import types
from flama.ddd.components import scope_from
from flama.ddd.workers.base import BaseWorker
from flama.http.request import query_pairs
from flama.injection.component import Depends
from flama.query import Condition
from flama.resources._request import ResourceRequest
from flama.resources._spec import ResourceSpec
from flama.rest.operations import Operation
from flama.routing.principals import PrincipalKey

__all__ = ["identify", "worker_for"]

_OWNER: t.Final = "flama.owner"
"""The key of an ASGI scope that holds the key of the request's principal, for idempotent operations."""
_HEADERS: t.Final = ("authorization", "cookie", "host", "proxy-authorization", "x-api-key")


def worker_for(spec: ResourceSpec, operation: Operation, worker: type, repository: str) -> t.Any:
    """Return the annotation that injects the worker of an operation into its handler."""
    annotation: t.Any = worker
    if spec.scope is not None:
        annotation = _narrow_scope(annotation, spec.scope, repository)
    if spec.idempotency and operation.writes:
        annotation = _store_owner(annotation)
    return annotation


def _narrow_scope(worker: t.Any, scope: types.Handler, repository: str) -> Depends:
    def narrow(worker: BaseWorker, condition: Condition) -> BaseWorker:
        return worker.with_scopes({repository: (condition,)})

    narrow.__annotations__ |= {"worker": worker, "condition": scope_from(scope)}
    return Depends(narrow)


def _store_owner(worker: t.Any) -> Depends:
    def store_owner(worker: t.Any, scope: types.Scope, key: PrincipalKey | None = None) -> t.Any:
        scope[_OWNER] = key
        return worker

    store_owner.__annotations__ |= {"worker": worker, "key": PrincipalKey}
    return Depends(store_owner)


def identify(request: ResourceRequest) -> t.Any:
    """Return what identifies the caller of an idempotent operation: the principal's key, or else all credentials.

    Credentials are from headers, cookies, the query, and the client's certificate. Headers are the usual ones, those in
    the resource's ``idempotency_headers``, and the API keys that the application's OpenAPI document declares.
    """
    if owner := request.scope.get(_OWNER):
        return owner
    keys = list(_api_keys(request.scope["app"]))
    names = {*_HEADERS, *request.spec.idempotency_headers, *(name.lower() for place, name in keys if place == "header")}
    parameters = {name for place, name in keys if place == "query"}
    headers = ((name.decode("latin-1").lower(), value) for name, value in request.scope["headers"])
    return (
        sorted((name, value.decode("latin-1")) for name, value in headers if name in names),
        [(name, value) for name, value in query_pairs(request.scope) if name in parameters],
        _certificate(request.scope),
    )


def _api_keys(app: t.Any) -> collections.abc.Iterator[tuple[str, str]]:
    """Yield ``(location, name)`` of each API key that an application, or one it is mounted in, declares."""
    while app is not None:
        for scheme in app._security_schemes.values():
            if scheme.get("type") == "apiKey":
                yield scheme.get("in", ""), scheme.get("name", "")
        app = app.parent


def _certificate(scope: types.Scope) -> tuple[t.Any, ...]:
    tls = (scope.get("extensions") or {}).get("tls") or {}
    return tls.get("client_cert_name"), *tls.get("client_cert_chain", ())
