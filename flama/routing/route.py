"""Routes, compiled at start-up to one function each that serves a request.

The function compiled for ``async def get(id: int) -> dict`` is, except for names::

    async def run(scope, receive, send):
        try:
            v0 = make0(scope)
            result = await handler(v0)
            body = json(result) if type(result) is dict or type(result) in _PLAIN else None
            if body is None:
                return await send_response(await to_response(result), scope, receive, send)
        except Exception as error:
            return await handle_error(scope, receive, send, error)
        await send({"type": "http.response.start", "status": 200, "headers": [CONTENT_TYPE, length]})
        await send({"type": "http.response.body", "body": body})
"""

import collections.abc
import contextlib
import dataclasses
import functools
import math
import re
import typing as t

from flama import concurrency, exceptions, http, schemas, types
from flama.http._send_timeout import add_send_timeout
from flama.http.request import FORM, RESPONSE_STARTED
from flama.http.response import encode_json, to_response
from flama.injection import Component, Components, Injector, Plan
from flama.injection.component import signature
from flama.pagination import paginate, style_of
from flama.routing.components import BodyComponent, ConnectionComponent, ParameterComponent, body_parameters
from flama.routing.matcher import WEBSOCKET
from flama.routing.path import Path

__all__ = [
    "BaseRoute",
    "Context",
    "Endpoint",
    "ErrorHandler",
    "Route",
    "WebSocketRoute",
    "handle_errors",
    "head_endpoint",
]

Endpoint: t.TypeAlias = collections.abc.Callable[[types.Scope, types.Receive, types.Send], t.Awaitable[None]]
ErrorHandler: t.TypeAlias = collections.abc.Callable[
    [types.Scope, types.Receive, types.Send, Exception], collections.abc.Awaitable[None]
]

_PLAIN: t.Final = frozenset({dict, list, str, int, float, bool})
"""Return types that are encoded as JSON without further checks."""
_IS_PLAIN: t.Final = "type(result) is dict or type(result) in PLAIN"  # dict first, for speed


@dataclasses.dataclass(frozen=True)
class Context:
    """The parts of an application that its routes need to be compiled."""

    app: types.App
    components: Components
    handle_error: ErrorHandler
    limit: int | None = None  # bytes of a body
    max_records: int | None = None
    roots: collections.abc.Mapping[t.Any, str] = dataclasses.field(default_factory=dict)
    contexts: collections.abc.Mapping[Component, collections.abc.Mapping[t.Any, t.Any]] = dataclasses.field(
        default_factory=dict
    )
    send_timeout: float = math.inf

    def plan(self, path: Path, handler: types.Handler) -> Plan:
        """Return the plan that creates the arguments of a path's handler.

        :raises ComponentNotFound: no component provides one of the parameters.
        :raises ComponentError: a parameter can't be read from a request, or not together with another.
        """
        injector = self.injector(path)
        plan = injector.plan(handler)
        has_members = len(body_parameters(injector, handler)) > 1
        return self.injector(path, by_name=True).plan(handler) if has_members else plan

    def injector(self, path: Path, *, by_name: bool = False) -> Injector:
        """Return the injector for a path's handlers; the application's components come before the built-in ones.

        With ``by_name``, each parameter of the body is read from the member of its name.
        """
        built_in: tuple[Component, ...] = (
            ConnectionComponent(self.limit, self.max_records),
            ParameterComponent(path),
            BodyComponent(self.limit, self.max_records, by_name=by_name),
        )
        roots = {**self.roots, types.Scope: "scope", types.Receive: "receive", types.Send: "send"}
        return Injector(Components((*self.components, *built_in)), roots, self.contexts)


@dataclasses.dataclass(frozen=True)
class BaseRoute:
    """The base of all routes: a path template, a handler, and a name, by default the handler's."""

    path: str
    handler: types.Handler
    name: str = ""

    @property
    def url_name(self) -> str:
        """The name of the route for building URLs."""
        return self.name or getattr(self.handler, "__name__", type(self.handler).__name__)


@dataclasses.dataclass(frozen=True)
class Route(BaseRoute):
    """A route for requests of some methods; GET includes HEAD.

    With ``pagination`` (``page_number``, ``limit_offset`` or ``cursor``), responses contain one page of the handler's
    result; the default is the style set by ``paginator.paginated``. ``description`` adds to the OpenAPI document what
    the handler's signature doesn't express.
    """

    methods: collections.abc.Collection[str] = ("GET",)
    include_in_schema: bool = True
    tags: collections.abc.Sequence[str] = ()
    pagination: str | None = None
    description: types.Description | None = None

    def __post_init__(self) -> None:
        if self.pagination is None:
            object.__setattr__(self, "pagination", style_of(self.handler))

    @property
    def effective_handler(self) -> types.Handler:
        """The handler, wrapped to return one page if the route has pagination.

        :raises ApplicationError: the pagination style is unknown.
        """
        return self.handler if self.pagination is None else paginate(self.handler, self.pagination)

    def endpoints(self, context: Context) -> dict[str, Endpoint]:
        """Return the compiled endpoint for each method.

        :raises ComponentNotFound: no component provides one of the handler's parameters.
        :raises ApplicationError: the pagination style is unknown.
        """
        handler = self.effective_handler
        plan = context.plan(Path(self.path), handler)
        return dict.fromkeys(map(str.upper, self.methods), _compile(plan, handler, context))


@dataclasses.dataclass(frozen=True)
class WebSocketRoute(BaseRoute):
    """A route for web sockets.

    With ``allowed_origins``, such as ``["https://example.com"]``, pages of other sites get a 403 response: browsers
    open sockets, with cookies, for the pages of any site. Clients that send no ``Origin`` aren't browsers; they are
    served.

    :raises ApplicationError: an origin isn't a scheme and a host, with a port unless it is the scheme's default.
    """

    allowed_origins: collections.abc.Collection[str] | None = None

    def __post_init__(self) -> None:
        origins = [self.allowed_origins] if isinstance(self.allowed_origins, str) else self.allowed_origins or ()
        if isinstance(self.allowed_origins, str) or not all(map(_is_origin, origins)):
            raise exceptions.ApplicationError(
                f"The origins allowed for the web socket '{self.path}' are {self.allowed_origins!r}: it is a list of "
                "such as 'https://example.com' or 'http://localhost:8000', without a path"
            )

    def endpoints(self, context: Context) -> dict[str, Endpoint]:
        """Return the compiled endpoint, by the pseudo-method of web sockets.

        :raises ComponentNotFound: no component provides one of the handler's parameters.
        :raises ApplicationError: the handler isn't a coroutine function.
        """
        if not concurrency.is_async(self.handler):
            raise exceptions.ApplicationError(f"The handler '{self.url_name}' of a web socket must be 'async def'")
        plan = context.plan(Path(self.path), self.handler)
        source = _function_source(plan, _add_exit_stack(plan, ["{lines}", "await handler({arguments})"]))
        serve = t.cast(Endpoint, plan.function(source, handler=self.handler, **_globals(context)))
        return {WEBSOCKET: serve if self.allowed_origins is None else _restrict_origins(self.allowed_origins, serve)}


def _is_origin(text: t.Any) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#@*]+", text) is not None


def _restrict_origins(origins: collections.abc.Collection[str], serve: Endpoint) -> Endpoint:
    """Return an endpoint that serves the web sockets of these origins' pages only."""
    allowed = frozenset(origin.lower().encode() for origin in origins)

    async def serve_allowed(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if all(value.lower() in allowed for name, value in scope["headers"] if name == b"origin"):
            return await serve(scope, receive, send)
        await receive()
        return await send({"type": "websocket.close", "code": 1008, "reason": "another site's page"})

    return serve_allowed


def _compile(plan: Plan, handler: types.Handler, context: Context) -> Endpoint:
    dump = _response_encoder(handler)
    source = _function_source(plan, _handling_lines(plan, handler, dump is not None), _SENDING)
    return t.cast(Endpoint, plan.function(source, handler=handler, dump=dump, **_globals(context)))


def _response_encoder(handler: types.Handler) -> collections.abc.Callable[[t.Any], bytes] | None:
    """Return the encoder of the handler's return annotation, None if that has no schema.

    :raises ApplicationError: no schema can be made for the annotation.
    """
    returned = schemas.unwrap_optional(signature(handler)[1])
    values = [kind for kind in schemas.members(returned) if not _is_response(kind)]
    try:
        if len(values) == len(schemas.members(returned)):
            return schemas.encoder(returned)
        return schemas.encoder(t.Union[tuple(values)]) if values else None  # noqa: UP007
    except exceptions.ApplicationError as error:
        name = getattr(handler, "__name__", type(handler).__name__)
        raise exceptions.ApplicationError(f"What the handler '{name}' returns can't be encoded: {error}") from error


def _is_response(annotation: t.Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, http.Response)


def _handling_lines(plan: Plan, handler: types.Handler, has_schema: bool) -> list[str]:
    made = [f"result = {_call_expression(handler)}", *(_ENCODED_BY_SCHEMA if has_schema else _ENCODED)]
    if not plan.needs_exit_stack:
        return ["{lines}", *made, *_WITHOUT_BODY]
    return [*_add_exit_stack(plan, ["{lines}", *made, *_STREAMED]), *_WITHOUT_BODY]


def _call_expression(handler: types.Handler) -> str:
    if concurrency.is_async(handler):
        return "await handler({arguments})"
    if concurrency.is_async_generator(handler) or concurrency.is_generator(handler):
        return "handler({arguments})"
    return "await run_in_thread(handler, {arguments})"


# A value that can't be encoded is passed to the response, which raises the right error. A value that a schema can't
# encode is not: without the schema, the response would contain the fields that it hides.
_ENCODED: t.Final = [
    "try:",
    f"    body = json(result) if {_IS_PLAIN} else None",
    "except UNENCODABLE:",
    "    body = None",
]
_ENCODED_BY_SCHEMA: t.Final = ["body = dump(result) if not isinstance(result, UNENCODED) else None"]

_WITHOUT_BODY: t.Final = [
    "if body is None:",
    "    return await send_response(await to_response(result), scope, receive, send)",
]

# A stream may use values of generator components, so it is sent before they end. A complete body is sent after they
# have ended, so that nothing is acknowledged which their end may still refuse.
_STREAMED: t.Final = [
    "if body is None:",
    "    result = await to_response(result)",
    "    if isinstance(result, StreamingResponse):",
    "        return await send_response(result, scope, receive, send)",
]

_SENDING: t.Final = [
    "size = len(body)",
    "length = LENGTHS[size] if size < KNOWN else content_length(size)",
    'await send({"type": "http.response.start", "status": 200, "headers": [CONTENT_TYPE, length]})',
    'await send({"type": "http.response.body", "body": body})',
]

_CLOSING: t.Final = ["finally:", "    if FORM in scope:", "        await scope[FORM].close()"]


def _add_exit_stack(plan: Plan, body: list[str]) -> list[str]:
    return ["async with AsyncExitStack() as stack:", *_indent(body)] if plan.needs_exit_stack else body


def _function_source(plan: Plan, handling: list[str], sending: collections.abc.Iterable[str] = ()) -> str:
    body = [
        "try:",
        *_indent(handling),
        "except Exception as error:",
        "    return await handle_error(scope, receive, send, error)",
        *(_CLOSING if _may_receive(plan) else ()),
        *sending,
    ]
    return "\n".join(["async def run(scope, receive, send):", *_indent(body)])


def _may_receive(plan: Plan) -> bool:
    """Whether a request's body may be read: otherwise there can't be a form to close."""
    return any("receive" in line for line in (*plan.lines, plan.arguments))


def _indent(lines: collections.abc.Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _content_length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


_LENGTHS: t.Final = tuple(map(_content_length, range(2048)))


def _globals(context: Context) -> dict[str, t.Any]:
    return {
        "AsyncExitStack": contextlib.AsyncExitStack,
        "CONTENT_TYPE": (b"content-type", b"application/json"),
        "FORM": FORM,
        "KNOWN": len(_LENGTHS),
        "LENGTHS": _LENGTHS,
        "PLAIN": _PLAIN,
        "StreamingResponse": http.StreamingResponse,
        "UNENCODABLE": (TypeError, ValueError, RecursionError),
        "UNENCODED": (http.Response, type(None)),
        "to_response": to_response,
        "app": context.app,
        "content_length": _content_length,
        "send_response": functools.partial(_send_response, context.send_timeout),
        "handle_error": context.handle_error,
        "json": encode_json,
        "run_in_thread": concurrency.run_in_thread,
    }


async def _send_response(
    timeout: float, response: http.Response, scope: types.Scope, receive: types.Receive, send: types.Send
) -> None:
    """Send a response, record that it has started, and close its stream."""
    if type(response).__call__ is not http.Response.__call__:  # a complete response holds nothing while it waits
        send = add_send_timeout(send, timeout)
    try:
        await response(scope, receive, _mark_started(scope, send))
    finally:
        if isinstance(response, http.StreamingResponse):
            await _close(response.body_iterator)


def _mark_started(scope: types.Scope, send: types.Send) -> types.Send:
    async def mark_and_send(message: types.Message) -> None:
        scope[RESPONSE_STARTED] = True
        await send(message)

    return mark_and_send


def handle_errors(app: Endpoint, handle_error: ErrorHandler, timeout: float = math.inf) -> Endpoint:
    """Return an application that passes its errors to ``handle_error``.

    The connection is closed if the client reads nothing of a stream for ``timeout`` seconds.
    """

    async def serve(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        timed_send: types.Send | None = None

        async def send_timed(message: types.Message) -> None:
            nonlocal timed_send
            if timed_send is None and message.get("more_body"):
                timed_send = add_send_timeout(send, timeout)
            await (timed_send or send)(message)

        try:
            await app(scope, receive, _mark_started(scope, send_timed))
        except Exception as error:  # noqa: BLE001 - it raises unexpected errors again
            await handle_error(scope, receive, send, error)

    return serve


async def _close(iterator: t.Any) -> None:
    if aclose := getattr(iterator, "aclose", None):
        await aclose()


def head_endpoint(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint for HEAD: the response of GET without its body (RFC 9110, section 9.3.2)."""

    async def head(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        async def send_without_body(message: types.Message) -> None:
            is_body = message["type"] == "http.response.body"
            await send({"type": "http.response.body", "body": b""} if is_body else message)
            if is_body and message.get("more_body"):
                raise _StopStreaming

        with contextlib.suppress(_StopStreaming):
            await endpoint(scope, receive, send_without_body)

    return head


class _StopStreaming(Exception):
    """Stops a stream whose body isn't sent."""
