"""A route: a path, its methods, a handler; compiled at start-up to one function that serves a request.

What is compiled for ``async def get(id: int) -> dict`` is, but for names::

    async def run(scope, receive, send):
        try:
            v0 = make0(scope)
            result = await handler(v0)
            body = json(result) if type(result) is dict or type(result) in _PLAIN else None
            if body is None:
                return await deliver(await answer(result), scope, receive, send)
        except Exception as error:
            return await failed(scope, receive, send, error)
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
from flama.http._send_timeout import timed
from flama.http.request import FORM, STARTED
from flama.http.response import answer, json
from flama.injection import Component, Components, Injector, Plan
from flama.injection.component import signature
from flama.pagination import paginated, style_of
from flama.routing.components import BodyComponent, ConnectionComponent, ParameterComponent, body_parameters
from flama.routing.matcher import WEBSOCKET
from flama.routing.path import Path

__all__ = ["BaseRoute", "Context", "Endpoint", "Failed", "Route", "WebSocketRoute", "guarded", "without_body"]

Endpoint: t.TypeAlias = collections.abc.Callable[[types.Scope, types.Receive, types.Send], t.Awaitable[None]]
Failed: t.TypeAlias = collections.abc.Callable[
    [types.Scope, types.Receive, types.Send, Exception], collections.abc.Awaitable[None]
]

_PLAIN: t.Final = frozenset({dict, list, str, int, float, bool})
"""What a handler may return that JSON can be made of at once."""
_IS_PLAIN: t.Final = "type(result) is dict or type(result) in PLAIN"  # the first for speed


@dataclasses.dataclass(frozen=True)
class Context:
    """What a route needs of its application to be compiled."""

    app: types.App
    components: Components
    failed: Failed
    limit: int | None = None  # bytes of a body
    max_records: int | None = None
    roots: collections.abc.Mapping[t.Any, str] = dataclasses.field(default_factory=dict)
    contexts: collections.abc.Mapping[Component, collections.abc.Mapping[t.Any, t.Any]] = dataclasses.field(
        default_factory=dict
    )
    send_timeout: float = math.inf

    def plan(self, path: Path, handler: types.Handler) -> Plan:
        """Return the plan that makes the arguments of a path's handler.

        :raises ComponentNotFound: nothing provides one of them.
        :raises ComponentError: one can't be read from a request, or not together with another.
        """
        injector = self.injector(path)
        plan = injector.plan(handler)
        has_members = len(body_parameters(injector, handler)) > 1
        return self.injector(path, by_name=True).plan(handler) if has_members else plan

    def injector(self, path: Path, *, by_name: bool = False) -> Injector:
        """Return what makes the plans of a path's handlers: the application's components before the built-in ones.

        With ``by_name``, bodies are read from the members of their parameters' names.
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
    """What all routes have: a path's template, a handler, a name; the handler's own when none is given."""

    path: str
    handler: types.Handler
    name: str = ""

    @property
    def title(self) -> str:
        """The name under which a URL is built."""
        return self.name or getattr(self.handler, "__name__", type(self.handler).__name__)


@dataclasses.dataclass(frozen=True)
class Route(BaseRoute):
    """Serves the requests of some methods for a path; GET brings HEAD along.

    With ``pagination``, ``page_number``, ``limit_offset`` or ``cursor``, it answers with one page of what the handler
    gives; by default, as the handler is marked by ``paginator.paginated``. ``description`` gives what an OpenAPI
    document has to say of it that its handler's signature doesn't.
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
    def served(self) -> types.Handler:
        """What serves a request: the handler, or what answers with one page of what that gives.

        :raises ApplicationError: there is no such pagination.
        """
        return self.handler if self.pagination is None else paginated(self.handler, self.pagination)

    def endpoints(self, context: Context) -> dict[str, Endpoint]:
        """Give by method the function that serves it.

        :raises ComponentNotFound: nothing provides one of the handler's parameters.
        :raises ApplicationError: there is no such pagination.
        """
        handler = self.served
        plan = context.plan(Path(self.path), handler)
        return dict.fromkeys(map(str.upper, self.methods), _compiled(plan, handler, context))


@dataclasses.dataclass(frozen=True)
class WebSocketRoute(BaseRoute):
    """Serves the web sockets of a path.

    With ``allowed_origins``, such as ``["https://example.com"]``, a page of another site is answered with 403: browsers
    open sockets, with cookies, for the pages of any. What isn't a browser says no ``Origin``, and is served.

    :raises ApplicationError: one isn't a scheme and a host, with a port if it isn't the scheme's own.
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
        """Give the function that serves a socket, under the name that stands for its method."""
        if not concurrency.is_async(self.handler):
            raise exceptions.ApplicationError(f"The handler '{self.title}' of a web socket must be 'async def'")
        plan = context.plan(Path(self.path), self.handler)
        source = _function(plan, _stacked(plan, ["{lines}", "await handler({arguments})"]))
        serve = t.cast(Endpoint, plan.function(source, handler=self.handler, **_globals(context)))
        return {WEBSOCKET: serve if self.allowed_origins is None else _of_origins(self.allowed_origins, serve)}


def _is_origin(text: t.Any) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#@*]+", text) is not None


def _of_origins(origins: collections.abc.Collection[str], serve: Endpoint) -> Endpoint:
    """Return what serves the web sockets of pages of these origins alone."""
    allowed = frozenset(origin.lower().encode() for origin in origins)

    async def served(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if all(value.lower() in allowed for name, value in scope["headers"] if name == b"origin"):
            return await serve(scope, receive, send)
        await receive()
        return await send({"type": "websocket.close", "code": 1008, "reason": "another site's page"})

    return served


def _compiled(plan: Plan, handler: types.Handler, context: Context) -> Endpoint:
    dump = _dump(handler)
    source = _function(plan, _handling(plan, handler, dump is not None), _SENDING)
    return t.cast(Endpoint, plan.function(source, handler=handler, dump=dump, **_globals(context)))


def _dump(handler: types.Handler) -> collections.abc.Callable[[t.Any], bytes] | None:
    """What makes JSON of a returned value: the schema that the handler is annotated to return, if one.

    :raises ApplicationError: there is no such schema.
    """
    returned = schemas.without_none(signature(handler)[1])
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


def _handling(plan: Plan, handler: types.Handler, has_schema: bool) -> list[str]:
    made = [f"result = {_call(handler)}", *(_ENCODED_BY_SCHEMA if has_schema else _ENCODED)]
    if not plan.stacked:
        return ["{lines}", *made, *_WITHOUT_BODY]
    return [*_stacked(plan, ["{lines}", *made, *_STREAMED]), *_WITHOUT_BODY]


def _call(handler: types.Handler) -> str:
    if concurrency.is_async(handler):
        return "await handler({arguments})"
    if concurrency.is_async_generator(handler) or concurrency.is_generator(handler):
        return "handler({arguments})"
    return "await run_in_thread(handler, {arguments})"


# What can't be encoded is left to the response, which says why not. What a schema can't encode is not: without the
# schema, the response would have the fields that it hides.
_ENCODED: t.Final = [
    "try:",
    f"    body = json(result) if {_IS_PLAIN} else None",
    "except UNENCODABLE:",
    "    body = None",
]
_ENCODED_BY_SCHEMA: t.Final = ["body = dump(result) if not isinstance(result, UNENCODED) else None"]

_WITHOUT_BODY: t.Final = [
    "if body is None:",
    "    return await deliver(await answer(result), scope, receive, send)",
]

# A stream may use what generator components made, so these end after it; a body that is complete is sent after them,
# so that nothing is acknowledged which their end could still refuse.
_STREAMED: t.Final = [
    "if body is None:",
    "    result = await answer(result)",
    "    if isinstance(result, StreamingResponse):",
    "        return await deliver(result, scope, receive, send)",
]

_SENDING: t.Final = [
    "size = len(body)",
    "length = LENGTHS[size] if size < KNOWN else content_length(size)",
    'await send({"type": "http.response.start", "status": 200, "headers": [CONTENT_TYPE, length]})',
    'await send({"type": "http.response.body", "body": body})',
]

_CLOSING: t.Final = ["finally:", "    if FORM in scope:", "        await scope[FORM].close()"]


def _stacked(plan: Plan, body: list[str]) -> list[str]:
    return ["async with AsyncExitStack() as stack:", *_indented(body)] if plan.stacked else body


def _function(plan: Plan, handling: list[str], sending: collections.abc.Iterable[str] = ()) -> str:
    body = [
        "try:",
        *_indented(handling),
        "except Exception as error:",
        "    return await failed(scope, receive, send, error)",
        *(_CLOSING if _receives(plan) else ()),
        *sending,
    ]
    return "\n".join(["async def run(scope, receive, send):", *_indented(body)])


def _receives(plan: Plan) -> bool:
    """Whether a request's body may be read: only then can there be a form to close."""
    return any("receive" in line for line in (*plan.lines, plan.arguments))


def _indented(lines: collections.abc.Iterable[str]) -> list[str]:
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
        "answer": answer,
        "app": context.app,
        "content_length": _content_length,
        "deliver": functools.partial(_deliver, context.send_timeout),
        "failed": context.failed,
        "json": json,
        "run_in_thread": concurrency.run_in_thread,
    }


async def _deliver(
    timeout: float, response: http.Response, scope: types.Scope, receive: types.Receive, send: types.Send
) -> None:
    """Send a response object; note when it begins, and leave no stream open behind it."""
    if type(response).__call__ is not http.Response.__call__:  # else it is whole, and nothing waits for the client
        send = timed(send, timeout)
    try:
        await response(scope, receive, _noting(scope, send))
    finally:
        if isinstance(response, http.StreamingResponse):
            await _close(response.body_iterator)


def _noting(scope: types.Scope, send: types.Send) -> types.Send:
    async def noting(message: types.Message) -> None:
        scope[STARTED] = True
        await send(message)

    return noting


def guarded(app: Endpoint, failed: Failed, timeout: float = math.inf) -> Endpoint:
    """Return an application whose errors are answered, as long as it has not begun to answer itself.

    A client that takes nothing of a stream of its for ``timeout`` seconds is hung up on.
    """

    async def serve(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        timed_send: types.Send | None = None

        async def send_timed(message: types.Message) -> None:
            nonlocal timed_send
            if timed_send is None and message.get("more_body"):
                timed_send = timed(send, timeout)
            await (timed_send or send)(message)

        try:
            await app(scope, receive, _noting(scope, send_timed))
        except Exception as error:  # noqa: BLE001 - it raises what nobody expected again
            await failed(scope, receive, send, error)

    return serve


async def _close(iterator: t.Any) -> None:
    if aclose := getattr(iterator, "aclose", None):
        await aclose()


def without_body(endpoint: Endpoint) -> Endpoint:
    """Give the endpoint for HEAD: what GET would answer, headers and all, without a body (RFC 9110, section 9.3.2)."""

    async def head(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        async def bodiless(message: types.Message) -> None:
            is_body = message["type"] == "http.response.body"
            await send({"type": "http.response.body", "body": b""} if is_body else message)
            if is_body and message.get("more_body"):
                raise _Enough

        with contextlib.suppress(_Enough):
            await endpoint(scope, receive, bodiless)

    return head


class _Enough(Exception):
    """Ends a stream of which nobody wants the rest."""
