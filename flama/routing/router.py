"""The router: an application's routes, declared with decorators or methods, matched by path and method."""

import abc
import collections.abc
import dataclasses
import typing as t

from flama import exceptions, types
from flama.routing.matcher import WEBSOCKET, Matcher, split_path
from flama.routing.path import Path
from flama.routing.route import BaseRoute, Context, Endpoint, Route, WebSocketRoute, handle_errors, head_endpoint

__all__ = ["CompiledRouter", "Mount", "Router", "Routes"]

H = t.TypeVar("H", bound=types.Handler)


class _Options(t.TypedDict, total=False):
    """The options of a route besides its path and methods."""

    name: str
    include_in_schema: bool
    tags: collections.abc.Sequence[str]
    pagination: str | None


@dataclasses.dataclass(frozen=True)
class Mount:
    """An application, of Flama or any other ASGI framework, mounted at the path prefix ``path``.

    Alternatively, ``routes`` are served as if each was declared with the prefix.
    """

    path: str
    app: "types.App | Router | None" = None
    name: str = ""
    routes: collections.abc.Sequence["BaseRoute | Mount"] = ()

    @property
    def prefix(self) -> str:
        """The path without a trailing slash.

        :raises ValueError: the path has parameters.
        """
        if Path(self.path).parameters:
            raise ValueError(f"The path '{self.path}' of a mount has parameters")
        return self.path.rstrip("/")


class Routes(abc.ABC):
    """The declaration of routes, shared by applications and routers.

    Each decorator returns the function unchanged: ``@app.get(path)`` is the same as ``app.add_get(path, function)``.
    """

    @abc.abstractmethod
    def _add(self, route: BaseRoute | Mount) -> None:
        """Add a route."""

    def add_route(
        self,
        path: str | None = None,
        endpoint: types.Handler | None = None,
        methods: collections.abc.Collection[str] | None = None,
        *,
        route: BaseRoute | None = None,
        **options: t.Unpack[_Options],
    ) -> None:
        """Serve a path with a handler, for GET by default; or add an existing route."""
        if route is None:
            if path is None or endpoint is None:
                raise exceptions.ApplicationError("A route needs a path and an endpoint, or 'route='")
            route = Route(path, endpoint, methods=tuple(methods or ("GET",)), **options)
        self._add(route)

    def route(
        self, path: str, methods: collections.abc.Collection[str] | None = None, **options: t.Unpack[_Options]
    ) -> collections.abc.Callable[[H], H]:
        """Serve a path with the decorated handler, for GET by default."""

        def decorate(handler: H) -> H:
            self.add_route(path, handler, methods, **options)
            return handler

        return decorate

    def add_websocket_route(
        self,
        path: str,
        endpoint: types.Handler,
        *,
        name: str = "",
        allowed_origins: collections.abc.Collection[str] | None = None,
    ) -> None:
        """Serve the web sockets of a path with a handler; ``allowed_origins`` restricts the pages that open them."""
        self._add(WebSocketRoute(path, endpoint, name, allowed_origins))

    def websocket_route(
        self, path: str, *, name: str = "", allowed_origins: collections.abc.Collection[str] | None = None
    ) -> collections.abc.Callable[[H], H]:
        """Serve the web sockets of a path with the decorated handler, as :meth:`add_websocket_route` does."""

        def decorate(handler: H) -> H:
            self.add_websocket_route(path, handler, name=name, allowed_origins=allowed_origins)
            return handler

        return decorate

    def mount(
        self,
        path: str | None = None,
        app: "types.App | Router | None" = None,
        *,
        name: str = "",
        mount: Mount | None = None,
    ) -> None:
        """Serve all paths with this prefix with another application; or add an existing mount."""
        if mount is None:
            if path is None or app is None:
                raise exceptions.ApplicationError("A mount needs a path and an app, or 'mount='")
            mount = Mount(path, app, name)
        self._add(mount)

    def add_get(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve GET requests for a path with a handler."""
        self.add_route(path, endpoint, ("GET",), **options)

    def get(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve GET requests for a path with the decorated handler."""
        return self.route(path, ("GET",), **options)

    def add_post(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve POST requests for a path with a handler."""
        self.add_route(path, endpoint, ("POST",), **options)

    def post(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve POST requests for a path with the decorated handler."""
        return self.route(path, ("POST",), **options)

    def add_put(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve PUT requests for a path with a handler."""
        self.add_route(path, endpoint, ("PUT",), **options)

    def put(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve PUT requests for a path with the decorated handler."""
        return self.route(path, ("PUT",), **options)

    def add_patch(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve PATCH requests for a path with a handler."""
        self.add_route(path, endpoint, ("PATCH",), **options)

    def patch(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve PATCH requests for a path with the decorated handler."""
        return self.route(path, ("PATCH",), **options)

    def add_delete(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve DELETE requests for a path with a handler."""
        self.add_route(path, endpoint, ("DELETE",), **options)

    def delete(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve DELETE requests for a path with the decorated handler."""
        return self.route(path, ("DELETE",), **options)

    def add_head(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve HEAD requests for a path with a handler."""
        self.add_route(path, endpoint, ("HEAD",), **options)

    def head(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve HEAD requests for a path with the decorated handler."""
        return self.route(path, ("HEAD",), **options)

    def add_options(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve OPTIONS requests for a path with a handler."""
        self.add_route(path, endpoint, ("OPTIONS",), **options)

    def options(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve OPTIONS requests for a path with the decorated handler."""
        return self.route(path, ("OPTIONS",), **options)

    def add_trace(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve TRACE requests for a path with a handler."""
        self.add_route(path, endpoint, ("TRACE",), **options)

    def trace(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve TRACE requests for a path with the decorated handler."""
        return self.route(path, ("TRACE",), **options)

    def add_connect(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve CONNECT requests for a path with a handler."""
        self.add_route(path, endpoint, ("CONNECT",), **options)

    def connect(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve CONNECT requests for a path with the decorated handler."""
        return self.route(path, ("CONNECT",), **options)

    def add_query(self, path: str, endpoint: types.Handler, **options: t.Unpack[_Options]) -> None:
        """Serve QUERY requests for a path with a handler."""
        self.add_route(path, endpoint, ("QUERY",), **options)

    def query(self, path: str, **options: t.Unpack[_Options]) -> collections.abc.Callable[[H], H]:
        """Serve QUERY requests for a path with the decorated handler."""
        return self.route(path, ("QUERY",), **options)


class Router(Routes):
    """A collection of routes."""

    def __init__(self, routes: collections.abc.Iterable[BaseRoute | Mount] = ()) -> None:
        self.routes: list[BaseRoute | Mount] = list(routes)

    def _add(self, route: BaseRoute | Mount) -> None:
        self.routes.append(route)

    def iter_routes(self) -> collections.abc.Iterator[tuple[BaseRoute | Mount, str]]:
        """Yield each route with its URL name, including the routes of mounted routers."""
        return _flatten(self.routes, "", "")

    def resolve(self, name: str, **parameters: t.Any) -> str:
        """Return the percent-encoded path of a route; the name of a mounted route is ``mount:route``.

        :raises NotFoundException: no route has this name and these parameters.
        """
        for path, title in self.iter_named_paths():
            if title == name and path.parameters.keys() == parameters.keys():
                return path.build(**parameters)
        raise exceptions.NotFoundException(name, parameters)

    def iter_named_paths(self) -> collections.abc.Iterator[tuple[Path, str]]:
        """Yield the path and the URL name of each route, including those of mounted Flama applications."""
        for route, title in self.iter_routes():
            inner = getattr(route.app, "router", None) if isinstance(route, Mount) else None
            if isinstance(inner, Router):
                yield from (
                    (Path(route.path.rstrip("/") + path.template), title + name)
                    for path, name in inner.iter_named_paths()
                )
            elif isinstance(route, BaseRoute):
                yield Path(route.path), title

    def compile(self, context: Context) -> "CompiledRouter":
        """Return a router of the compiled routes.

        :raises ComponentNotFound: no component provides a parameter of one of the handlers.
        """
        compiled = CompiledRouter(context)
        for route in self.routes:
            compiled.add_route(route)
        return compiled


_SERVED: t.Final = (Route, WebSocketRoute)


class CompiledRouter(Matcher[Endpoint]):
    """A matcher that finds the endpoint for a connection."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._heads: Matcher[Endpoint] = Matcher()
        self._mounts: dict[tuple[str, ...], types.App] = {}

    def add_route(self, route: BaseRoute | Mount) -> None:
        """Add a route, or those of a mounted router: all of them or none.

        :raises ComponentNotFound: no component provides a parameter of one of the handlers.
        """
        routes = [one for one, _ in _flatten([route], "", "")]
        endpoints = [(one.path, one.endpoints(self._context)) for one in routes if isinstance(one, _SERVED)]
        for path, targets in endpoints:
            self.add(Path(path), targets)
            if "GET" in targets:
                self._heads.add(Path(path), {"HEAD": head_endpoint(targets["GET"])})
        for mount in routes:
            if isinstance(mount, Mount) and mount.app is not None and not isinstance(mount.app, Router):
                self._mounts.setdefault(tuple(mount.prefix.split("/")), mount.app)

    def not_found(self, scope: types.Scope) -> Endpoint:
        """Return the endpoint for a connection without a route: HEAD of a GET route, a mount, or an error response."""
        if scope.get("method") == "HEAD" and self._heads.methods(scope):
            return self._heads.find(scope)
        _, segments = split_path(scope)
        deepest = max(map(len, self._mounts), default=0)
        for length in range(min(len(segments) - 1, deepest), 0, -1):
            if (app := self._mounts.get(tuple(segments[:length]))) is not None:
                mounted = _mount_endpoint(app, "/".join(segments[:length]))
                return handle_errors(mounted, self._context.handle_error, self._context.send_timeout)
        return self._fallback_endpoint(scope, (self.methods(scope) | self._heads.methods(scope)) - {WEBSOCKET})

    def _fallback_endpoint(self, scope: types.Scope, methods: set[str]) -> Endpoint:
        if scope["type"] == "websocket":
            return _close
        if methods and scope["method"] == "OPTIONS":
            return _options_endpoint(methods)
        return self._error_endpoint(
            exceptions.MethodNotAllowedException(scope["method"], {*methods, "OPTIONS"})
            if methods
            else exceptions.HTTPException(404)
        )

    def _error_endpoint(self, error: exceptions.HTTPException) -> Endpoint:
        async def refuse(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
            await self._context.handle_error(scope, receive, send, error)

        return refuse


def _flatten(
    routes: collections.abc.Iterable[BaseRoute | Mount], prefix: str, namespace: str
) -> collections.abc.Iterator[tuple[BaseRoute | Mount, str]]:
    for route in routes:
        if isinstance(route, Mount):
            name = f"{namespace}{route.name}:" if route.name else namespace
            inner = route.app.routes if isinstance(route.app, Router) else route.routes
            yield from _flatten(inner, prefix + route.prefix, name)
            if route.app is not None and not isinstance(route.app, Router):
                yield dataclasses.replace(route, path=prefix + route.path), name
        else:
            yield dataclasses.replace(route, path=prefix + route.path), namespace + route.url_name


def _mount_endpoint(app: types.App, prefix: str) -> Endpoint:
    async def serve(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        await app({**scope, "root_path": scope.get("root_path", "").rstrip("/") + prefix}, receive, send)

    return serve


def _options_endpoint(methods: set[str]) -> Endpoint:
    allow = ", ".join(sorted({*methods, "OPTIONS"})).encode()

    async def serve(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow)]})
        await send({"type": "http.response.body", "body": b""})

    return serve


async def _close(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
    """Close a web socket before it is accepted, which servers turn into a 403 response."""
    await receive()
    await send({"type": "websocket.close", "code": 1000, "reason": ""})
