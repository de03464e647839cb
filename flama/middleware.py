"""ASGI middleware: what stands between the server and the routes; the one that answers errors."""

import collections.abc
import re
import traceback
import typing as t

import starlette.exceptions
import starlette.requests

from flama import concurrency, exceptions, http, types
from flama.http.request import STARTED
from flama.rest import errors, problems

__all__ = ["ErrorHandlers", "Middleware", "wrapped"]

_Handler: t.TypeAlias = collections.abc.Callable[..., t.Any]
_Factory: t.TypeAlias = collections.abc.Callable[[types.App], types.App]


class Middleware:
    """Stands before an application: a subclass defines ``__call__``, which may call ``self.app``, the next."""

    app: types.App

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Serve a connection: by default, let the next do it."""
        await self.app(scope, receive, send)

    async def on_startup(self) -> None:
        """Start, after the modules."""

    async def on_shutdown(self) -> None:
        """Stop, before the modules."""


def wrapped(app: types.App, middleware: collections.abc.Sequence[t.Any]) -> types.App:
    """Give the application behind its middleware, the first outermost.

    Each is a :class:`Middleware`, Starlette's ``Middleware(cls, …)``, or a callable that takes the next application.
    """
    for item in reversed(middleware):
        app = _before(app, item)
    return app


def _before(app: types.App, item: t.Any) -> types.App:
    if isinstance(item, Middleware):
        item.app = app
        return t.cast(types.App, item)
    if isinstance(item, collections.abc.Iterable):  # Starlette's: a class and what it is made with
        cls, args, kwargs = item
        return t.cast(types.App, cls(app, *args, **kwargs))
    return t.cast(_Factory, item)(app)


_ANY: t.Final = (Exception, BaseException)


class ErrorHandlers:
    """Answers the errors that reach it: by the handler for the class or status, or as their kind is answered.

    The handler of the error's own class goes first, then those of its bases, then that of the response's status. A
    handler of ``Exception`` gets the errors that have no response of their own: 404, 405, 400 and the errors of
    repositories have one.

    With ``debug``, one that nobody handles is answered with its traceback, without the values of variables.
    """

    def __init__(self, *, debug: bool = False) -> None:
        self.debug = debug
        self._handlers: dict[int | type[BaseException], _Handler] = {}

    def add(self, key: int | type[Exception], handler: _Handler) -> None:
        """Let a handler, ``(scope, receive, send, exc) -> Response``, answer a status or a class of exceptions."""
        self._handlers[key] = handler

    async def answer(self, scope: types.Scope, receive: types.Receive, send: types.Send, error: Exception) -> None:
        """Answer an error; raise it again when no answer can be sent, or when nobody expected it.

        The latter is for the server to log: it has been answered with status 500 by then.
        """
        if isinstance(error, starlette.requests.ClientDisconnect):
            return
        if scope["type"] == "websocket":
            await _close(error, send)
        elif scope.get(STARTED):
            raise error
        else:
            await self._answer(scope, receive, send, error)

    async def _answer(self, scope: types.Scope, receive: types.Receive, send: types.Send, error: Exception) -> None:
        known = _response(error, scope, self.debug)
        response = _unexpected(error, scope, self.debug) if known is None else known
        is_unexpected = known is None or isinstance(error, exceptions.SerializationError)
        by_class = self._by_class(error, is_unexpected=is_unexpected)
        if handler := by_class or self._handlers.get(response.status_code):
            response = await _called(handler, scope, receive, send, error)
        await response(scope, receive, send)
        if by_class is None and is_unexpected:
            raise error

    def _by_class(self, error: Exception, *, is_unexpected: bool) -> _Handler | None:
        classes = (cls for cls in type(error).__mro__ if is_unexpected or cls not in _ANY)
        return next((self._handlers[cls] for cls in classes if cls in self._handlers), None)


async def _called(
    handler: _Handler, scope: types.Scope, receive: types.Receive, send: types.Send, error: Exception
) -> http.Response:
    if concurrency.is_async(handler):
        return t.cast(http.Response, await handler(scope, receive, send, error))
    return t.cast(http.Response, await concurrency.run_in_thread(handler, scope, receive, send, error))


class _Problem(http.APIErrorResponse):
    media_type = problems.MEDIA_TYPE

    def render(self, content: t.Any) -> bytes:
        return super().render(problems.encode(content))


def _response(error: Exception, scope: types.Scope, debug: bool) -> http.Response | None:
    """The response for an error that has one of its own, in the form that is asked for."""
    accept = starlette.requests.HTTPConnection(scope).headers.getlist("accept")
    is_problem = problems.is_wanted(", ".join(accept))
    kind = _Problem if is_problem else http.APIErrorResponse
    if isinstance(error, exceptions.SerializationError) and not debug:
        return kind("Internal Server Error", error.status_code, exception=error)
    if isinstance(error, exceptions.HTTPException | starlette.exceptions.HTTPException):
        if error.status_code in (204, 304):
            return http.Response(status_code=error.status_code, headers=error.headers)
        return kind(error.detail, error.status_code, error.headers, error)
    if (encoded := errors.encode(error)) is not None:
        status, body, headers = encoded
        problem = problems.encode(body) if is_problem else body
        return http.JSONResponse(problem, status, headers, problems.MEDIA_TYPE if is_problem else None)
    return None


def _unexpected(error: Exception, scope: types.Scope, debug: bool) -> http.Response:
    text = _redacted("".join(traceback.format_exception(error))) if debug else "Internal Server Error"
    # a server closes the connection after an application that raised, which its client ought to know beforehand
    closing = {"connection": "close"} if scope.get("http_version", "").startswith("1") else {}
    return http.PlainTextResponse(text, 500, closing)


def _redacted(text: str) -> str:
    """The text without the credentials of URLs: what stands before the host, and what a query says is secret."""
    text = re.sub(r"://(?:([^\s/?#:@]*):)?[^\s/?#]+@", lambda m: f"://{m[1] + ':' if m[1] else ''}***@", text)
    return _PARAMETER.sub(lambda found: f"{found[1]}***" if _SECRET.search(found[1]) else found[0], text)


# The name is looked at once it is found: to search for it by one expression takes time that is quadratic in its length.
_PARAMETER: t.Final = re.compile(r"([?&][\w-]+=)[^&\s'\"]*")
_SECRET: t.Final = re.compile(r"(?i)pass|pwd|secret|token|key|auth")


async def _close(error: Exception, send: types.Send) -> None:
    """Close a web socket with the code for an error (RFC 6455, section 7.4.1)."""
    if isinstance(error, http.WebSocketDisconnect):
        return
    code, reason = _closing(error)
    try:
        await send({"type": "websocket.close", "code": code, "reason": reason.encode()[:123].decode(errors="ignore")})
    except RuntimeError:  # the handler had closed it already
        raise error from None
    if code == _UNEXPECTED:
        raise error


_REFUSED: t.Final = 1008
_UNEXPECTED: t.Final = 1011


def _closing(error: Exception) -> tuple[int, str]:
    match error:
        case exceptions.WebSocketException(code=code, reason=reason):
            return code, reason
        case exceptions.HTTPException(detail=detail):
            return _REFUSED, str(detail)
        case exceptions.ResourceException():
            return _REFUSED, str(error)
    return _UNEXPECTED, ""
