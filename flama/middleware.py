"""ASGI middleware, with the handlers that turn errors into responses."""

import collections.abc
import re
import traceback
import typing as t

import starlette.exceptions
import starlette.requests

from flama import concurrency, exceptions, http, types
from flama.http.request import RESPONSE_STARTED
from flama.rest import errors, problem_details

__all__ = ["ErrorHandlers", "Middleware", "apply_middleware"]

_Handler: t.TypeAlias = collections.abc.Callable[..., t.Any]
_Factory: t.TypeAlias = collections.abc.Callable[[types.App], types.App]


class Middleware:
    """The base of middleware: a subclass defines ``__call__``, which may call the next application, ``self.app``."""

    app: types.App

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Serve a connection; by default, pass it to the next application."""
        await self.app(scope, receive, send)

    async def on_startup(self) -> None:
        """Start the middleware, after the modules."""

    async def on_shutdown(self) -> None:
        """Stop the middleware, before the modules."""


def apply_middleware(app: types.App, middleware: collections.abc.Sequence[t.Any]) -> types.App:
    """Return the application wrapped in middleware, the first outermost.

    Each item is a :class:`Middleware`, Starlette's ``Middleware(cls, …)``, or a callable that takes the next
    application.
    """
    for item in reversed(middleware):
        app = _apply_one(app, item)
    return app


def _apply_one(app: types.App, item: t.Any) -> types.App:
    if isinstance(item, Middleware):
        item.app = app
        return t.cast(types.App, item)
    if isinstance(item, collections.abc.Iterable):  # Starlette's: a class and its arguments
        cls, args, kwargs = item
        return t.cast(types.App, cls(app, *args, **kwargs))
    return t.cast(_Factory, item)(app)


_ANY: t.Final = (Exception, BaseException)


class ErrorHandlers:
    """Exception handlers by class or status, with default responses.

    The handler of the error's class takes precedence, then those of its bases, then that of the response's status. A
    handler of ``Exception`` is called for errors without a default response: 400, 404, 405 and the errors of
    repositories have one.

    With ``debug``, the response to an unhandled error is its traceback, without the values of variables.
    """

    def __init__(self, *, debug: bool = False) -> None:
        self.debug = debug
        self._handlers: dict[int | type[BaseException], _Handler] = {}

    def add(self, key: int | type[Exception], handler: _Handler) -> None:
        """Add a handler, ``(scope, receive, send, exc) -> Response``, for a status or a class of exceptions."""
        self._handlers[key] = handler

    async def handle(self, scope: types.Scope, receive: types.Receive, send: types.Send, error: Exception) -> None:
        """Send the response for an error.

        The error is raised again if a response has started already, and after an unexpected error's 500, so that the
        server logs it.
        """
        if isinstance(error, starlette.requests.ClientDisconnect):
            return
        if scope["type"] == "websocket":
            await _close(error, send)
        elif scope.get(RESPONSE_STARTED):
            raise error
        else:
            await self._send_response(scope, receive, send, error)

    async def _send_response(
        self, scope: types.Scope, receive: types.Receive, send: types.Send, error: Exception
    ) -> None:
        known = _default_response(error, scope, self.debug)
        response = _unexpected_response(error, scope, self.debug) if known is None else known
        is_unexpected = known is None or isinstance(error, exceptions.SerializationError)
        by_class = self._handler_by_class(error, is_unexpected=is_unexpected)
        if handler := by_class or self._handlers.get(response.status_code):
            response = await _call_handler(handler, scope, receive, send, error)
        await response(scope, receive, send)
        if by_class is None and is_unexpected:
            raise error

    def _handler_by_class(self, error: Exception, *, is_unexpected: bool) -> _Handler | None:
        classes = (cls for cls in type(error).__mro__ if is_unexpected or cls not in _ANY)
        return next((self._handlers[cls] for cls in classes if cls in self._handlers), None)


async def _call_handler(
    handler: _Handler, scope: types.Scope, receive: types.Receive, send: types.Send, error: Exception
) -> http.Response:
    if concurrency.is_async(handler):
        return t.cast(http.Response, await handler(scope, receive, send, error))
    return t.cast(http.Response, await concurrency.run_in_thread(handler, scope, receive, send, error))


class _Problem(http.APIErrorResponse):
    media_type = problem_details.MEDIA_TYPE

    def render(self, content: t.Any) -> bytes:
        return super().render(problem_details.encode(content))


def _default_response(error: Exception, scope: types.Scope, debug: bool) -> http.Response | None:
    """Return the default response for an error, in the form that the client accepts; None if it has none."""
    accept = starlette.requests.HTTPConnection(scope).headers.getlist("accept")
    is_problem = problem_details.is_wanted(", ".join(accept))
    kind = _Problem if is_problem else http.APIErrorResponse
    if isinstance(error, exceptions.SerializationError) and not debug:
        return kind("Internal Server Error", error.status_code, exception=error)
    if isinstance(error, exceptions.HTTPException | starlette.exceptions.HTTPException):
        if error.status_code in (204, 304):
            return http.Response(status_code=error.status_code, headers=error.headers)
        return kind(error.detail, error.status_code, error.headers, error)
    if (encoded := errors.encode(error)) is not None:
        status, body, headers = encoded
        problem = problem_details.encode(body) if is_problem else body
        return http.JSONResponse(problem, status, headers, problem_details.MEDIA_TYPE if is_problem else None)
    return None


def _unexpected_response(error: Exception, scope: types.Scope, debug: bool) -> http.Response:
    text = _redact("".join(traceback.format_exception(error))) if debug else "Internal Server Error"
    # servers close the connection after an application has raised: announce it to the client
    closing = {"connection": "close"} if scope.get("http_version", "").startswith("1") else {}
    return http.PlainTextResponse(text, 500, closing)


def _redact(text: str) -> str:
    """Return the text without credentials in URLs: those before the host, and query parameters with secret names."""
    text = re.sub(r"://(?:([^\s/?#:@]*):)?[^\s/?#]+@", lambda m: f"://{m[1] + ':' if m[1] else ''}***@", text)
    return _PARAMETER.sub(lambda found: f"{found[1]}***" if _SECRET.search(found[1]) else found[0], text)


# The name is tested after the match: a single expression would take time quadratic in its length.
_PARAMETER: t.Final = re.compile(r"([?&][\w-]+=)[^&\s'\"]*")
_SECRET: t.Final = re.compile(r"(?i)pass|pwd|secret|token|key|auth")


async def _close(error: Exception, send: types.Send) -> None:
    """Close a web socket with the code for an error (RFC 6455, section 7.4.1)."""
    if isinstance(error, http.WebSocketDisconnect):
        return
    code, reason = _close_code(error)
    try:
        await send({"type": "websocket.close", "code": code, "reason": reason.encode()[:123].decode(errors="ignore")})
    except RuntimeError:  # the handler had closed it already
        raise error from None
    if code == _UNEXPECTED:
        raise error


_REFUSED: t.Final = 1008
_UNEXPECTED: t.Final = 1011


def _close_code(error: Exception) -> tuple[int, str]:
    match error:
        case exceptions.WebSocketException(code=code, reason=reason):
            return code, reason
        case exceptions.HTTPException(detail=detail):
            return _REFUSED, str(detail)
        case exceptions.ResourceException():
            return _REFUSED, str(error)
    return _UNEXPECTED, ""
