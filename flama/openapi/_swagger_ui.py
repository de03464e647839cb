"""Endpoints that serve the OpenAPI document, with Swagger UI."""

import collections.abc
import functools
import html
import pathlib
import posixpath
import re
import typing as t

from starlette.staticfiles import StaticFiles

from flama import concurrency, exceptions, http, types
from flama.openapi._components import JSON
from flama.routing.path import Path
from flama.routing.route import BaseRoute, Endpoint
from flama.routing.router import Mount

__all__ = ["Documentation"]

_Document: t.TypeAlias = collections.abc.Callable[[], JSON]

_ASSETS: t.Final = pathlib.Path(__file__).parent / "assets"
_KINDS: t.Final = frozenset({".css", ".html", ".jpeg", ".js", ".png", ".svg"})

_PAGE: t.Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="{assets}favicon-32x32.png">
<link rel="stylesheet" href="{assets}swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{assets}swagger-ui-bundle.js"></script>
<script src="{assets}init.js" data-schema="{schema}"></script>
</body>
</html>
"""


class Documentation:
    """The endpoints of an application's OpenAPI document (``schema``) and of its Swagger UI (``docs``).

    A path of None isn't served. ``document`` is called in a thread, for each request.

    :raises ApplicationError: there is a page without a document, both have the same path, or a path has parameters.
    """

    def __init__(self, schema: str | None, docs: str | None, document: _Document) -> None:
        if docs is not None and schema is None:
            raise exceptions.ApplicationError(
                f"The page at '{docs}' shows the document, which schema=None doesn't serve: set docs=None, too"
            )
        if schema is not None and (schema == docs or Path(schema).parameters or Path(docs or "/").parameters):
            raise exceptions.ApplicationError(
                f"The document at '{schema}' and its page at '{docs}' need a path each, without parameters"
            )
        self._schema, self._docs, self._document = schema, docs, document

    def endpoints(
        self, routes: collections.abc.Iterable[BaseRoute | Mount]
    ) -> collections.abc.Iterator[tuple[Path, Endpoint]]:
        """Yield the endpoints with their paths, except for paths that one of the ``routes`` has."""
        taken = list(routes)
        if self._schema is not None and not any(_has(route, self._schema) for route in taken):
            yield Path(self._schema), self._serve_document
        if self._docs is not None and not any(_has(route, self._docs) for route in taken):
            yield Path(self._docs), self._serve_page
            yield from _assets(self._docs)

    def concerns(self, route: BaseRoute | Mount) -> bool:
        """Whether a route has one of the paths."""
        return any(path is not None and _has(route, path) for path in (self._schema, self._docs))

    async def _serve_document(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        document = await concurrency.run_in_thread(self._document)
        root = scope.get("root_path", "").rstrip("/")
        servers = {"servers": [{"url": root}]} if root and "servers" not in document else {}
        await http.OpenAPIResponse({**document, **servers}, headers=_headers())(scope, receive, send)

    async def _serve_page(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        document = await concurrency.run_in_thread(self._document)
        page = _page(t.cast(str, self._docs), t.cast(str, self._schema), document["info"]["title"])
        await http.HTMLResponse(page, headers=_headers(_origins(document)))(scope, receive, send)


def _headers(origins: collections.abc.Iterable[str] = ()) -> dict[str, str]:
    """Return headers that forbid foreign content in a page, and frames around it.

    The page may send requests to its own server, and to these ``origins``.
    """
    connect = " ".join(["'self'", *origins])
    policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    return {
        "content-security-policy": f"{policy}; connect-src {connect}",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


def _origins(document: JSON) -> list[str]:
    """Return the origins that the page sends requests to: the API's servers, and those that issue its tokens."""
    schemes = document.get("components", {}).get("securitySchemes", {}).values()
    flows = [flow for scheme in schemes for flow in scheme.get("flows", {}).values()]
    tokens = [flow[name] for flow in flows for name in ("tokenUrl", "refreshUrl") if name in flow]
    urls = [server["url"] for server in document.get("servers", ())]
    found = [_ORIGIN.match(url) for url in (*urls, *tokens)]
    return sorted({origin[0] for origin in found if origin is not None})


_ORIGIN: t.Final = re.compile(r"https?://[\w.:\[\]-]+", re.ASCII)


def _has(route: BaseRoute | Mount, path: str) -> bool:
    if isinstance(route, Mount):
        return bool(route.prefix) and path.startswith(route.prefix + "/")
    return route.path == path


def _page(docs: str, schema: str, title: str) -> str:
    """Return the page, with relative links: they work wherever the application is mounted."""
    folder = posixpath.dirname(docs)
    assets = _relative(docs.rstrip("/") + "/", folder)
    values = {"title": title, "assets": assets, "schema": _relative(schema, folder)}
    return _PAGE.format_map({name: html.escape(str(value)) for name, value in values.items()})


def _relative(path: str, folder: str) -> str:
    return posixpath.relpath(path, folder) + ("/" if path.endswith("/") else "")


@functools.cache
def _assets(docs: str) -> tuple[tuple[Path, Endpoint], ...]:
    """Return the endpoints of the page's files, each with an exact path: routing of other paths stays as fast."""
    files = StaticFiles(directory=_ASSETS)
    names = [file.name for file in _ASSETS.iterdir() if file.suffix in _KINDS]
    return tuple((Path(f"{docs.rstrip('/')}/{name}"), _file(files, name)) for name in names)


def _file(files: StaticFiles, name: str) -> Endpoint:
    async def serve(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        response = await files.get_response(name, {**scope, "method": "GET"})
        response.headers["cache-control"] = "no-cache"  # cache it, but revalidate
        response.headers.update(_headers())
        await response(scope, receive, send)

    return serve
