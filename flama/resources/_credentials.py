"""Credentials of a request, which identify its caller if there is no principal."""

import collections.abc
import typing as t

from flama import types
from flama.http.request import query_pairs
from flama.resources._request import ResourceRequest

__all__ = ["credentials"]

_HEADERS: t.Final = ("authorization", "cookie", "host", "proxy-authorization", "x-api-key")


def credentials(request: ResourceRequest) -> tuple[t.Any, ...]:
    """Return all credentials of a request: from headers, cookies, the query, and the client's certificate.

    Headers are the usual ones, those in the resource's ``idempotency_headers``, and the API keys that the application's
    OpenAPI document declares.
    """
    keys = list(_api_keys(request.scope["app"]))
    names = {*_HEADERS, *request.spec.idempotency_headers}
    names.update(name.lower() for place, name in keys if place == "header")
    parameters = {name for place, name in keys if place == "query"}
    return (
        sorted((name, value.decode("latin-1")) for name, value in _headers(request.scope) if name in names),
        [(name, value) for name, value in query_pairs(request.scope) if name in parameters],
        _certificate(request.scope),
    )


def _headers(scope: types.Scope) -> collections.abc.Iterator[tuple[str, bytes]]:
    for name, value in scope["headers"]:
        yield name.decode("latin-1").lower(), value


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
