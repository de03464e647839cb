"""Credentials of a request: what it brings that may tell its caller from others, where no principal does."""

import collections.abc
import typing as t

from flama import types
from flama.http.request import query_pairs
from flama.resources.asked import Asked

__all__ = ["credentials"]

_HEADERS: t.Final = ("authorization", "cookie", "host", "proxy-authorization", "x-api-key")


def credentials(asked: Asked) -> tuple[t.Any, ...]:
    """Return all credentials of a request: those of headers, cookies, the query, and of the client's certificate.

    Beside the usual headers these are those that the resource names, and where the application's document says that API
    keys are.
    """
    keys = list(_api_keys(asked.scope["app"]))
    names = {*_HEADERS, *map(str.lower, asked.resource.idempotency_headers)}
    names.update(name.lower() for place, name in keys if place == "header")
    parameters = {name for place, name in keys if place == "query"}
    return (
        sorted((name, value.decode("latin-1")) for name, value in _headers(asked.scope) if name in names),
        [(name, value) for name, value in query_pairs(asked.scope) if name in parameters],
        _certificate(asked.scope),
    )


def _headers(scope: types.Scope) -> collections.abc.Iterator[tuple[str, bytes]]:
    for name, value in scope["headers"]:
        yield name.decode("latin-1").lower(), value


def _api_keys(app: t.Any) -> collections.abc.Iterator[tuple[str, str]]:
    """Yield where API keys are by the documents of an application and those around it, with their names."""
    while app is not None:
        for scheme in app._security_schemes.values():
            if scheme.get("type") == "apiKey":
                yield scheme.get("in", ""), scheme.get("name", "")
        app = app.parent


def _certificate(scope: types.Scope) -> tuple[t.Any, ...]:
    tls = (scope.get("extensions") or {}).get("tls") or {}
    return tls.get("client_cert_name"), *tls.get("client_cert_chain", ())
