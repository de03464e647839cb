"""The ASGI application: modules, components, middleware and routes, compiled at start-up."""

import collections.abc
import contextlib
import math
import typing as t

from flama import _shielding, concurrency, exceptions, types
from flama.http._send_timeout import SendTimeoutError, abort_connection
from flama.injection import Component, Components, Injector
from flama.middleware import ErrorHandlers, Middleware, apply_middleware
from flama.modules import Module, Modules
from flama.openapi import Documentation, MountedRoute, document
from flama.pagination import Paginator, paginator
from flama.resources import ResourcesModule
from flama.rest.cursors import Codec, Secret, codec
from flama.routing.matcher import PERCENT
from flama.routing.path import Path
from flama.routing.principals import PrincipalComponent
from flama.routing.route import BaseRoute, Context, Endpoint, Route, handle_errors, head_endpoint
from flama.routing.router import CompiledRouter, Mount, Router, Routes

__all__ = ["Flama"]

E = t.TypeVar("E", bound=types.Handler)
_Find: t.TypeAlias = collections.abc.Callable[[types.Scope], Endpoint]
_Call: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[None]]
_Static: t.TypeAlias = collections.abc.Mapping[t.Any, collections.abc.Mapping[t.Any, Endpoint]]
_Lifespan: t.TypeAlias = collections.abc.Callable[["Flama"], contextlib.AbstractAsyncContextManager[t.Any]]
_EventHandlers: t.TypeAlias = collections.abc.Mapping[str, collections.abc.Iterable[types.Handler]]

_EVENTS: t.Final = ("startup", "shutdown")
_NOT_STARTED: t.Final = (
    "Nothing has started it: a server does by the lifespan protocol. Where it is mounted in an application of another "
    "framework, pass that one 'lifespan=app.lifespan' (with app for this application), or write "
    "'async with app.lifespan():' in the lifespan that it has"
)
_MAX_BODY_SIZE: t.Final = 10 * 2**20
_MAX_RECORDS: t.Final = 10_000


class Flama(Routes):
    """An ASGI application.

    ``app.<name>`` is the module of that name, of this application or of the one that it is mounted in. Handlers are
    compiled when the application starts: a parameter that no component provides fails there, with an error that names
    the handler and the parameter.

    ``lifespan`` is a function that takes the application and returns an asynchronous context manager, which stays
    entered while the application serves. ``events`` maps "startup" and "shutdown" to handlers.

    ``max_body_size`` is in bytes: a larger body gets a 413 response without being read to its end. So does a JSON body
    with more than ``max_records`` items, as a list or in one of an object's lists of models; a resource may have its
    own limit. If the client reads nothing of a stream or a file for ``send_timeout`` seconds, its connection is closed.
    Each of these may be None, for no limit. With ``debug``, the response to an unexpected error is its traceback.

    ``principal`` is a function that returns the user or client that sent a request, or None for an anonymous request;
    its parameters are injected as a handler's are. A parameter annotated :data:`~flama.types.Principal`, or with the
    function's return class, receives the value. If the annotation doesn't allow None, an anonymous request gets a 401
    response. A mounted application without a principal function uses that of the outer application.

    ``schema`` is the path of the OpenAPI document, ``docs`` that of a page that displays it. None disables them, and
    the application's own routes and mounts take precedence. ``openapi`` contains the rest of the document: ``info``,
    ``servers``, ``tags``, ``security`` and any other field.

    ``secret`` encrypts page cursors, so that they reveal no data and can't be forged. It is text or bytes, at least 32
    bytes long. In a sequence of secrets the first encrypts, and all decrypt. It requires the extra ``secrets``. A
    mounted application without a secret uses that of the outer application.

    :raises ApplicationError: two modules have the same name, or a module has that of an attribute of applications;
        ``docs`` is set without ``schema``; ``max_records`` is less than 1; ``secret`` is too short; or
        ``send_timeout`` isn't positive.
    :raises DependencyNotInstalled: ``secret`` is set, and the extra isn't installed.
    """

    def __init__(
        self,
        *,
        routes: collections.abc.Iterable[BaseRoute | Mount] | None = None,
        components: collections.abc.Iterable[Component] | None = None,
        modules: collections.abc.Iterable[Module] | None = None,
        middleware: collections.abc.Iterable[t.Any] | None = None,
        debug: bool = False,
        events: _EventHandlers | None = None,
        lifespan: _Lifespan | None = None,
        openapi: collections.abc.Mapping[str, t.Any] | None = None,
        schema: str | None = "/schema/",
        docs: str | None = "/docs/",
        parent: "Flama | None" = None,
        max_body_size: int | None = _MAX_BODY_SIZE,
        max_records: int | None = _MAX_RECORDS,
        principal: types.Handler | None = None,
        secret: Secret | None = None,
        send_timeout: float | None = 30.0,
    ) -> None:
        self.parent = parent
        self.router = Router(routes or ())
        self.modules = Modules(self, modules or ())
        self.middleware: list[t.Any] = list(middleware or ())
        self.events: dict[str, list[types.Handler]] = {event: [] for event in _EVENTS}
        self.max_body_size = max_body_size
        self.max_records = max_records
        self.send_timeout = send_timeout
        self._components = [*([] if principal is None else [PrincipalComponent(principal)]), *(components or ())]
        self._openapi_fields = dict(openapi or {})
        self._openapi_cache: dict[str, dict[str, t.Any]] = {}  # holds the document; replaced to invalidate it
        self._documentation = Documentation(schema, docs, lambda: self.openapi)
        self._errors = ErrorHandlers(debug=debug)
        self._codec = codec(secret)
        self._lifespan = lifespan
        self._status = types.AppStatus.NOT_STARTED
        self._compiled_router: CompiledRouter | None = None  # from start-up on
        self._event_calls: dict[str, list[_Call]] = {}  # by event
        self._static: _Static = {}
        self._find: _Find = self._raise_not_running
        if max_records is not None and max_records < 1:
            raise exceptions.ApplicationError(f"max_records is {max_records}: it is a number from 1, or None")
        if send_timeout is not None and not send_timeout > 0:
            raise exceptions.ApplicationError(
                f"'send_timeout' is a number of seconds above 0, or None: {send_timeout!r}"
            )
        for name in self.modules:
            if name in vars(self) or hasattr(type(self), name):
                raise exceptions.ApplicationError(f"A module can't be named '{name}': an application has that already")
        for event, handlers in (events or {}).items():
            for handler in handlers:
                self.add_event_handler(event, handler)

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Serve one connection, or the lifespan of the application.

        :raises ApplicationError: the application has not started, or has shut down.
        """
        scope["app"] = self
        after_response: list[_shielding.Work] | None = None  # a mounted application uses the outermost one's
        if _shielding.AFTER_RESPONSE not in scope:
            scope[_shielding.AFTER_RESPONSE] = after_response = []
        endpoint = None
        try:
            endpoints = self._static.get(scope["path"])
            if endpoints is not None and not (scope["root_path"] or PERCENT in scope["raw_path"]):
                endpoint = endpoints[scope["method"]]
        except (KeyError, TypeError):  # another method, not a request, or a scope without optional keys
            pass
        if endpoint is None:
            endpoint = self._handle_lifespan if scope["type"] == "lifespan" else self._find(scope)
        try:
            await endpoint(scope, receive, send)
        except* SendTimeoutError as error:  # alone, or from a task group
            if after_response is None:  # only the outermost application has the server's own send
                raise
            await abort_connection(scope, receive, send, error)
        finally:
            if after_response:
                await _shielding.run_all(after_response)

    def __getattr__(self, name: str) -> t.Any:
        app: Flama | None = self if "modules" in vars(self) else None
        while app is not None:  # every unit of work comes here, so without indirection
            if name in app.modules:
                return app.modules[name]
            app = app.parent
        modules = self._all_modules() if "modules" in vars(self) else {}
        there_are = f"its modules are {', '.join(modules)}" if modules else "it has no modules"
        raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}': {there_are}", name=name, obj=self)

    @property
    def debug(self) -> bool:
        """Whether the response to an unexpected error is its traceback."""
        return self._errors.debug

    @property
    def status(self) -> types.AppStatus:
        """The phase of the lifespan that the application is in."""
        return self._status

    @property
    def routes(self) -> list[BaseRoute | Mount]:
        """The routes, in the order of declaration."""
        return self.router.routes

    @property
    def components(self) -> Components:
        """The components of this application, then those of the one that it is mounted in."""
        return Components((*self._components, *(self.parent.components if self.parent else ())))

    @property
    def injector(self) -> Injector:
        """The injector of the application and its components."""
        return Injector(self.components, self._roots, self._component_contexts())

    @property
    def openapi(self) -> dict[str, t.Any]:
        """The OpenAPI document of the routes, including those of mounted Flama applications.

        While the application runs, the document is created on first access and again after routes or components are
        added.

        :raises ApplicationError: a route can't be described.
        """
        described = self._openapi_cache  # the current one: routes may be added while a thread makes the document
        if "document" in described:
            return described["document"]
        made = document(self._iter_served_routes(), self._openapi_fields)
        if self._status is types.AppStatus.READY:
            described["document"] = made
        return made

    @property
    def resources(self) -> ResourcesModule:
        """The module that adds REST resources: ``app.resources.add_resource("/puppy/", PuppyResource)``."""
        return ResourcesModule(self)

    @property
    def paginator(self) -> Paginator:
        """The decorators for paginated handlers: ``@app.paginator.paginated("cursor")``."""
        return paginator

    @property
    def root(self) -> "Flama":
        """The outermost application, which isn't mounted in another."""
        return self.parent.root if self.parent else self

    def _add(self, route: BaseRoute | Mount) -> None:
        if self._is_running and isinstance(route, Mount) and isinstance(route.app, Flama):
            raise exceptions.ApplicationError("An application must be mounted before the outer one starts")
        if self._compiled_router is not None:
            self._compiled_router.add_route(route)
        self.routes.append(route)
        self._invalidate_openapi()
        if self._documentation.concerns(route):
            self._rebuild()

    def add_component(self, component: Component) -> None:
        """Add a component, after those that exist: the first that can handle a parameter provides it."""
        self._components.append(component)
        self._invalidate_openapi()
        self._rebuild()

    def add_middleware(self, middleware: t.Any) -> None:
        """Add a middleware inside the existing ones.

        :raises ApplicationError: the application is running.
        """
        if self._is_running:
            raise exceptions.ApplicationError("Middleware must be added before the application starts")
        self.middleware.append(middleware)

    def add_exception_handler(self, key: int | type[Exception], handler: collections.abc.Callable[..., t.Any]) -> None:
        """Respond to a status or a class of exceptions with the result of ``handler(scope, receive, send, exc)``.

        A class takes precedence over its bases, and these over a status. A handler of ``Exception`` is called only for
        errors without a default response: not for 404, 405, an ``HTTPException`` or the error of a repository.
        """
        self._errors.add(key, handler)

    def add_event_handler(self, event: str, handler: types.Handler) -> None:
        """Call a function at an event, "startup" or "shutdown"; the application and components are injected.

        Start-up handlers run in order, after the modules have started. Shutdown handlers run in the reverse order,
        before the modules stop, if all start-up handlers have finished.

        :raises ApplicationError: the event is unknown.
        """
        if event not in self.events:
            raise exceptions.ApplicationError(f"Wrong event: {event}. The events are {', '.join(_EVENTS)}")
        self.events[event].append(handler)

    def on_event(self, event: str) -> collections.abc.Callable[[E], E]:
        """Call the decorated function at an event."""

        def decorate(handler: E) -> E:
            self.add_event_handler(event, handler)
            return handler

        return decorate

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> collections.abc.AsyncGenerator[None]:
        """Start the application on entry, and stop it on exit.

        Use it to start an application that is mounted in one of another framework, which is passed as ``app``::

            Starlette(routes=[Mount("/v1", app=flama)], lifespan=flama.lifespan)

        :raises ApplicationError: the application is running already, or a handler can't be compiled.
        """
        self._compile()
        async with self._running():
            yield

    def resolve_url(self, name: str, **parameters: t.Any) -> types.URL:
        """Return the path of a route; the name of a mounted route is ``mount:route``.

        :raises NotFoundException: no route has this name and these parameters.
        """
        return types.URL(self.router.resolve(name, **parameters))

    @property
    def _cursors(self) -> Codec:
        """The codec of cursors: with the secret of this application, or of the one that it is mounted in."""
        return self._codec if self._codec.is_secret or self.parent is None else self.parent._cursors

    @property
    def _is_running(self) -> bool:
        still = (types.AppStatus.STARTING, types.AppStatus.READY, types.AppStatus.SHUTTING_DOWN)
        return self._status in still

    def _raise_not_running(self, scope: types.Scope) -> Endpoint:
        match self._status:
            case types.AppStatus.SHUT_DOWN:
                raise exceptions.ApplicationError("Application is already shut down.")
            case types.AppStatus.NOT_STARTED:
                raise exceptions.ApplicationError(f"Application is not ready to process requests yet. {_NOT_STARTED}")
        raise exceptions.ApplicationError("Application is not ready to process requests yet.")

    @property
    def _security_schemes(self) -> collections.abc.Mapping[str, t.Any]:
        """The security schemes by name, ``components.securitySchemes`` of ``openapi``."""
        return t.cast("dict[str, t.Any]", (self._openapi_fields.get("components") or {}).get("securitySchemes") or {})

    @property
    def _context(self) -> Context:
        return Context(
            self,
            self.components,
            self._errors.handle,
            self.max_body_size,
            self.max_records,
            self._roots,
            self._component_contexts(),
            math.inf if self.send_timeout is None else self.send_timeout,
        )

    @property
    def _roots(self) -> dict[t.Any, str]:
        """The expressions of applications, by the classes with which a parameter for them is annotated."""
        known = self._applications_by_class()
        depths = {id(app): depth for depth, app in enumerate(self._applications())}
        return {cls: "app" + ".parent" * depths[id(app)] for cls, app in known.items()}

    def _component_contexts(self) -> dict[Component, dict[t.Any, t.Any]]:
        """Return the applications that each component receives: those of the application that it was added to.

        Thus a component uses the modules that it was written for, even if a mounted application inherits it.
        """
        applications = reversed([*self._applications()])
        return {component: app._applications_by_class() for app in applications for component in app._components}

    def _applications_by_class(self) -> dict[t.Any, "Flama"]:
        """Return this application and the outer ones by their classes; inner applications take precedence."""
        found: dict[t.Any, Flama] = {types.App: self}
        for app in self._applications():
            for cls in type(app).__mro__:
                if issubclass(cls, Flama):
                    found.setdefault(cls, app)
        return found

    def _applications(self) -> collections.abc.Iterator["Flama"]:
        """Yield this application, then the outer ones, from the inside out."""
        app: Flama | None = self
        while app is not None:
            yield app
            app = app.parent

    def _all_modules(self) -> dict[str, Module]:
        """Return the modules that are attributes; those of this application take precedence over outer ones."""
        applications = reversed([*self._applications()])
        return {name: module for app in applications for name, module in app.modules.items()}

    def _compile_router(self) -> CompiledRouter:
        router = self.router.compile(self._context)
        for path, served in self._documentation.endpoints(route for route, _ in self.router.iter_routes()):
            endpoint = handle_errors(served, self._errors.handle)
            router.add(path, {"GET": endpoint, "HEAD": head_endpoint(endpoint)})
        return router

    def _rebuild(self) -> None:
        self._compiled_router = None
        if self._status is types.AppStatus.READY:
            self._serve()

    def _iter_served_routes(self, prefix: str = "", namespace: str = "") -> collections.abc.Iterator[MountedRoute]:
        """Yield the routes in the order of matching: those of mounts after the application's own."""
        context, mounts = self._context, []
        for route, name in self.router.iter_routes():
            if isinstance(route, Route):
                yield MountedRoute(prefix + route.path, namespace + name, route, context.injector(Path(route.path)))
            elif isinstance(route, Mount) and isinstance(route.app, Flama):
                route.app.parent = self  # as from start-up on, so that it inherits the components
                mounts.append(route.app._iter_served_routes(prefix + route.prefix, namespace + name))
        for mounted in mounts:
            yield from mounted

    def _invalidate_openapi(self) -> None:
        self._openapi_cache = {}
        if self.parent is not None:
            self.parent._invalidate_openapi()

    def _serve(self) -> None:
        self._compiled_router = router = self._compiled_router or self._compile_router()
        self._static, self._find = router.static, router.find
        if self.middleware:

            async def route_request(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
                await router.find(scope)(scope, receive, send)

            served = apply_middleware(t.cast(types.App, route_request), self.middleware)
            endpoint = handle_errors(served, self._errors.handle, self._context.send_timeout)
            self._static, self._find = {}, lambda scope: endpoint

    async def _handle_lifespan(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Handle the lifespan protocol of ASGI."""
        await receive()
        phase = "startup"
        try:
            self._compile()
            async with self._running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
                phase = "shutdown"
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            await send({"type": f"lifespan.{phase}.failed", "message": message})
            raise exceptions.ApplicationError(f"Lifespan {phase} failed: {message}") from error
        await send({"type": "lifespan.shutdown.complete"})

    @contextlib.asynccontextmanager
    async def _running(self) -> collections.abc.AsyncGenerator[None, None]:
        """Start on entry and stop on exit, in the reverse order, whichever step fails."""
        self._status = types.AppStatus.STARTING
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._start(stack)
                self._status = types.AppStatus.READY
                yield
                self._stop_serving(types.AppStatus.SHUTTING_DOWN)
        except BaseException:
            self._stop_serving(types.AppStatus.FAILED)
            raise
        self._status = types.AppStatus.SHUT_DOWN

    def _stop_serving(self, status: types.AppStatus) -> None:
        self._compiled_router, self._static, self._find = None, {}, self._raise_not_running
        self._openapi_cache = {}
        self._status = status

    def _compile(self) -> None:
        """Compile all handlers, so that errors in them are raised before anything has started."""
        if self._is_running:
            raise exceptions.ApplicationError(f"Trying to start application from '{self._status}' state")
        self._status = types.AppStatus.FAILED  # unless the rest succeeds
        self._compiled_router = self._compile_router()
        self._event_calls = {
            event: [self._compile_event_handler(call) for call in calls] for event, calls in self.events.items()
        }
        for app in self._mounted_applications():
            app.parent = self
            app._compile()

    def _mounted_applications(self) -> list["Flama"]:
        mounted = (route.app for route, _ in self.router.iter_routes() if isinstance(route, Mount))
        return list(dict.fromkeys(app for app in mounted if isinstance(app, Flama)))  # once each, even if mounted twice

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        middleware = [item for item in self.middleware if isinstance(item, Middleware)]
        parts: list[Module | Component | Middleware] = [*self.modules.values(), *self._components, *middleware]
        for part in parts:
            await part.on_startup()
            stack.push_async_callback(part.on_shutdown)
        stack.push_async_callback(_shielding.settle, self)
        for call in self._event_calls["startup"]:
            await call()
        for call in self._event_calls["shutdown"]:
            stack.push_async_callback(call)
        if self._lifespan is not None:
            await stack.enter_async_context(self._lifespan(self))
        for app in self._mounted_applications():
            await stack.enter_async_context(app._running())
        self._serve()

    def _compile_event_handler(self, handler: types.Handler) -> _Call:
        plan = self.injector.plan(handler)
        call = "await handler({arguments})" if concurrency.is_async(handler) else "handler({arguments})"
        source = f"async def run():\n  async with AsyncExitStack() as stack:\n    {{lines}}\n    {call}\n"
        names = {"handler": handler, "app": self, "AsyncExitStack": contextlib.AsyncExitStack}
        return t.cast(_Call, plan.function(source, **names))
