"""The application: modules, components, middleware, routes, put together to be served."""

import collections.abc
import contextlib
import math
import typing as t

from flama import concurrency, exceptions, tasks, types
from flama.http._send_timeout import SendTimeoutError, hang_up
from flama.injection import Component, Components, Injector
from flama.middleware import ErrorHandlers, Middleware, wrapped
from flama.modules import Module, Modules
from flama.openapi import Documentation, Served, document
from flama.pagination import Paginator, paginator
from flama.resources import ResourcesModule
from flama.rest.cursors import Codec, Secret, codec
from flama.routing.matcher import PERCENT
from flama.routing.path import Path
from flama.routing.principals import PrincipalComponent
from flama.routing.route import BaseRoute, Context, Endpoint, Route, guarded, without_body
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

    ``app.<name>`` is the module of that name, its own or else that of the application in which it is mounted. Handlers
    are compiled when the application starts: what nothing provides fails there, by the names of the handler and the
    parameter.

    ``lifespan`` is a function that takes the application and gives an asynchronous context manager; the application
    serves while it is entered. ``events`` maps "startup" and "shutdown" to handlers. ``max_body_size`` is in bytes:
    larger bodies are answered with 413 without being read to their end; None takes any. So are bodies of JSON that hold
    more than ``max_records``: as a list, or in one of an object's lists of models. None takes any number; a resource
    may have a limit of its own. A client that keeps a piece of a stream or a file waiting for ``send_timeout`` seconds
    is hung up on; None waits for ever. With ``debug``, errors that nobody expected are answered with their traceback.

    ``principal`` is a function that returns whom a request is from, or None for nobody; its parameters are injected as
    a handler's are. A parameter annotated :data:`~flama.types.Principal`, or with the class that the function is
    annotated to return, receives the value; where that may not be None, a request from nobody is answered with 401. A
    mounted application has the principal of the one around it, unless it has its own.

    ``schema`` is the path at which the OpenAPI document of the application is served, and ``docs`` that of a page which
    shows it; None serves none, and a route or a mount of the application's own on that path comes first. ``openapi``
    is what the document says beside the routes: ``info``, ``servers``, ``tags``, ``security`` and whatever else it can.

    ``secret`` encrypts the cursors of pages: they reveal nothing of the records, and nobody else can make any. It is
    text or bytes, of 32 bytes at least; of a sequence of secrets the first encrypts, and all decrypt. It needs the
    extra ``secrets``. A mounted application without a secret has that of the application around it.

    :raises ApplicationError: two modules have the same name, or one that every application has; ``docs`` is given
        without ``schema``; ``max_records`` is less than 1, ``secret`` too short or ``send_timeout`` not positive.
    :raises DependencyNotInstalled: ``secret`` is given, and the extra isn't installed.
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
        self._about = dict(openapi or {})
        self._described: dict[str, dict[str, t.Any]] = {}  # holds the document; another takes its place when that ages
        self._documentation = Documentation(schema, docs, lambda: self.openapi)
        self._errors = ErrorHandlers(debug=debug)
        self._codec = codec(secret)
        self._lifespan = lifespan
        self._status = types.AppStatus.NOT_STARTED
        self._built: CompiledRouter | None = None  # from start-up on
        self._calls: dict[str, list[_Call]] = {}  # of the events' handlers
        self._static: _Static = {}
        self._find: _Find = self._refuse
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
        """Serve one connection, or the whole life of the application.

        :raises ApplicationError: the application has not been started, or has been shut down.
        """
        scope["app"] = self
        after_response: list[tasks.Work] | None = None  # of an application that is mounted, the outermost one's
        if tasks.AFTER_RESPONSE not in scope:
            scope[tasks.AFTER_RESPONSE] = after_response = []
        endpoint = None
        try:
            endpoints = self._static.get(scope["path"])
            if endpoints is not None and not (scope["root_path"] or PERCENT in scope["raw_path"]):
                endpoint = endpoints[scope["method"]]
        except (KeyError, TypeError):  # another method, no request, or without what a server may leave out
            pass
        if endpoint is None:
            endpoint = self._live if scope["type"] == "lifespan" else self._find(scope)
        try:
            await endpoint(scope, receive, send)
        except* SendTimeoutError as error:  # by itself, or from a task group
            if after_response is None:  # only the outermost application has the server's own send
                raise
            await hang_up(scope, receive, send, error)
        finally:
            if after_response:
                await tasks.run_all(after_response)

    def __getattr__(self, name: str) -> t.Any:
        app: Flama | None = self if "modules" in vars(self) else None
        while app is not None:  # on the way of every unit of work, so without anything in between
            if name in app.modules:
                return app.modules[name]
            app = app.parent
        modules = self._all_modules() if "modules" in vars(self) else {}
        there_are = f"its modules are {', '.join(modules)}" if modules else "it has no modules"
        raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}': {there_are}", name=name, obj=self)

    @property
    def debug(self) -> bool:
        """Whether errors that nobody expected are answered with their traceback."""
        return self._errors.debug

    @property
    def status(self) -> types.AppStatus:
        """Where the application stands in its life."""
        return self._status

    @property
    def routes(self) -> list[BaseRoute | Mount]:
        """The routes in the order in which they were declared."""
        return self.router.routes

    @property
    def components(self) -> Components:
        """The components: the application's own, then those of the one that it is mounted in."""
        return Components((*self._components, *(self.parent.components if self.parent else ())))

    @property
    def injector(self) -> Injector:
        """What calls functions with the application and its components."""
        return Injector(self.components, self._roots, self._component_contexts())

    @property
    def openapi(self) -> dict[str, t.Any]:
        """The OpenAPI document: of the routes, those of mounted applications of ours among them.

        Made when it is first asked for while the application runs, and anew when routes or components were added.

        :raises ApplicationError: a route can't be described.
        """
        described = self._described  # of now, whatever is added while the document is made in a thread
        if "document" in described:
            return described["document"]
        made = document(self._served(), self._about)
        if self._status is types.AppStatus.READY:
            described["document"] = made
        return made

    @property
    def resources(self) -> ResourcesModule:
        """What adds REST resources: ``app.resources.add_resource("/puppy/", PuppyResource)``."""
        return ResourcesModule(self)

    @property
    def paginator(self) -> Paginator:
        """What marks handlers that are answered in pages: ``@app.paginator.paginated("cursor")``."""
        return paginator

    @property
    def root(self) -> "Flama":
        """The outermost application: the one that is mounted in no other."""
        return self.parent.root if self.parent else self

    def _add(self, route: BaseRoute | Mount) -> None:
        if self._is_running and isinstance(route, Mount) and isinstance(route.app, Flama):
            raise exceptions.ApplicationError("An application must be mounted before the outer one starts")
        if self._built is not None:
            self._built.serve(route)
        self.routes.append(route)
        self._forget_document()
        if self._documentation.concerns(route):
            self._rebuild()

    def add_component(self, component: Component) -> None:
        """Add a component; those added first are asked first."""
        self._components.append(component)
        self._forget_document()
        self._rebuild()

    def add_middleware(self, middleware: t.Any) -> None:
        """Add a middleware inside of those that are there.

        :raises ApplicationError: the application runs already.
        """
        if self._is_running:
            raise exceptions.ApplicationError("Middleware must be added before the application starts")
        self.middleware.append(middleware)

    def add_exception_handler(self, key: int | type[Exception], handler: collections.abc.Callable[..., t.Any]) -> None:
        """Answer a status or a class of exceptions with what ``handler(scope, receive, send, exc)`` returns.

        A class goes before a status, and a class before its bases. A handler of ``Exception`` gets what has no
        response of its own: not 404, 405, an ``HTTPException`` or the error of a repository.
        """
        self._errors.add(key, handler)

    def add_event_handler(self, event: str, handler: types.Handler) -> None:
        """Call a function at an event, "startup" or "shutdown"; it may ask for the application and for components.

        Those of start-up run in order after the modules have started; those of shutdown in the reverse order, before
        the modules stop, when start-up had come to its end.

        :raises ApplicationError: there is no such event.
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
        """Serve while the context is entered, as between the start-up and the shutdown of a server.

        It starts an application that is mounted in one of another framework, which is passed as ``app``::

            Starlette(routes=[Mount("/v1", app=flama)], lifespan=flama.lifespan)

        :raises ApplicationError: the application has been started already, or a handler can't be served.
        """
        self._prepare()
        async with self._running():
            yield

    def resolve_url(self, name: str, **parameters: t.Any) -> types.URL:
        """Give the path of the route of this name, ``mount:route`` for one that is mounted.

        :raises NotFoundException: no route of this name takes these parameters.
        """
        return types.URL(self.router.resolve(name, **parameters))

    @property
    def _cursors(self) -> Codec:
        """What makes and reads cursors: by the secret of the application, or else of the one that it is mounted in."""
        return self._codec if self._codec.is_secret or self.parent is None else self.parent._cursors

    @property
    def _is_running(self) -> bool:
        still = (types.AppStatus.STARTING, types.AppStatus.READY, types.AppStatus.SHUTTING_DOWN)
        return self._status in still

    def _refuse(self, scope: types.Scope) -> Endpoint:
        match self._status:
            case types.AppStatus.SHUT_DOWN:
                raise exceptions.ApplicationError("Application is already shut down.")
            case types.AppStatus.NOT_STARTED:
                raise exceptions.ApplicationError(f"Application is not ready to process requests yet. {_NOT_STARTED}")
        raise exceptions.ApplicationError("Application is not ready to process requests yet.")

    @property
    def _security_schemes(self) -> collections.abc.Mapping[str, t.Any]:
        """How requests bring credentials, by name, as ``openapi`` says: ``components.securitySchemes``."""
        return t.cast("dict[str, t.Any]", (self._about.get("components") or {}).get("securitySchemes") or {})

    @property
    def _context(self) -> Context:
        return Context(
            self,
            self.components,
            self._errors.answer,
            self.max_body_size,
            self.max_records,
            self._roots,
            self._component_contexts(),
            math.inf if self.send_timeout is None else self.send_timeout,
        )

    @property
    def _roots(self) -> dict[t.Any, str]:
        """The expressions of what is passed for a parameter that is annotated with an application's class."""
        known = self._applications_by_class()
        depths = {id(app): depth for depth, app in enumerate(self._applications())}
        return {cls: "app" + ".parent" * depths[id(app)] for cls, app in known.items()}

    def _component_contexts(self) -> dict[Component, dict[t.Any, t.Any]]:
        """Return the applications that each component is passed: those of the one that it was added to.

        So a component uses the modules that it was written for, also where a mounted application inherits it.
        """
        applications = reversed([*self._applications()])
        return {component: app._applications_by_class() for app in applications for component in app._components}

    def _applications_by_class(self) -> dict[t.Any, "Flama"]:
        """Return the application by its classes, and those around it by theirs, where these aren't its own."""
        found: dict[t.Any, Flama] = {types.App: self}
        for app in self._applications():
            for cls in type(app).__mro__:
                if issubclass(cls, Flama):
                    found.setdefault(cls, app)
        return found

    def _applications(self) -> collections.abc.Iterator["Flama"]:
        """Yield the application, then those around it, from the inside out."""
        app: Flama | None = self
        while app is not None:
            yield app
            app = app.parent

    def _all_modules(self) -> dict[str, Module]:
        """Return the modules that it has as attributes: its own go before those of the applications around it."""
        applications = reversed([*self._applications()])
        return {name: module for app in applications for name, module in app.modules.items()}

    def _compiled(self) -> CompiledRouter:
        """What finds the endpoint for a connection."""
        router = self.router.compiled(self._context)
        for path, served in self._documentation.endpoints(route for route, _ in self.router.flat()):
            endpoint = guarded(served, self._errors.answer)
            router.add(path, {"GET": endpoint, "HEAD": without_body(endpoint)})
        return router

    def _rebuild(self) -> None:
        self._built = None
        if self._status is types.AppStatus.READY:
            self._serve()

    def _served(self, prefix: str = "", namespace: str = "") -> collections.abc.Iterator[Served]:
        """The routes as they are served, in the order in which they are tried: those of mounts after one's own."""
        context, mounts = self._context, []
        for route, name in self.router.flat():
            if isinstance(route, Route):
                yield Served(prefix + route.path, namespace + name, route, context.injector(Path(route.path)))
            elif isinstance(route, Mount) and isinstance(route.app, Flama):
                route.app.parent = self  # as it will be from start-up on: it has the components of this one
                mounts.append(route.app._served(prefix + route.prefix, namespace + name))
        for mounted in mounts:
            yield from mounted

    def _forget_document(self) -> None:
        self._described = {}
        if self.parent is not None:
            self.parent._forget_document()

    def _serve(self) -> None:
        self._built = router = self._built or self._compiled()
        self._static, self._find = router.static, router.find
        if self.middleware:

            async def routed(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
                await router.find(scope)(scope, receive, send)

            served = wrapped(t.cast(types.App, routed), self.middleware)
            endpoint = guarded(served, self._errors.answer, self._context.send_timeout)
            self._static, self._find = {}, lambda scope: endpoint

    async def _live(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Speak the lifespan protocol of ASGI."""
        await receive()
        phase = "startup"
        try:
            self._prepare()
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
        """Start, serve, stop: in order, and in the reverse order, whatever fails on the way."""
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
        self._built, self._static, self._find = None, {}, self._refuse
        self._described = {}
        self._status = status

    def _prepare(self) -> None:
        """Compile all there is, so that what is wrong with a handler fails before anything has started."""
        if self._is_running:
            raise exceptions.ApplicationError(f"Trying to start application from '{self._status}' state")
        self._status = types.AppStatus.FAILED  # unless all that follows is right
        self._built = self._compiled()
        self._calls = {event: [self._planned(call) for call in calls] for event, calls in self.events.items()}
        for app in self._mounted():
            app.parent = self
            app._prepare()

    def _mounted(self) -> list["Flama"]:
        mounted = (route.app for route, _ in self.router.flat() if isinstance(route, Mount))
        return list(dict.fromkeys(app for app in mounted if isinstance(app, Flama)))  # once, wherever it is mounted

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        middleware = [item for item in self.middleware if isinstance(item, Middleware)]
        parts: list[Module | Component | Middleware] = [*self.modules.values(), *self._components, *middleware]
        for part in parts:
            await part.on_startup()
            stack.push_async_callback(part.on_shutdown)
        stack.push_async_callback(tasks.settle, self)
        for call in self._calls["startup"]:
            await call()
        for call in self._calls["shutdown"]:
            stack.push_async_callback(call)
        if self._lifespan is not None:
            await stack.enter_async_context(self._lifespan(self))
        for app in self._mounted():
            await stack.enter_async_context(app._running())
        self._serve()

    def _planned(self, handler: types.Handler) -> _Call:
        """What calls an event's handler with what it asks for."""
        plan = self.injector.plan(handler)
        call = "await handler({arguments})" if concurrency.is_async(handler) else "handler({arguments})"
        source = f"async def run():\n  async with AsyncExitStack() as stack:\n    {{lines}}\n    {call}\n"
        names = {"handler": handler, "app": self, "AsyncExitStack": contextlib.AsyncExitStack}
        return t.cast(_Call, plan.function(source, **names))
