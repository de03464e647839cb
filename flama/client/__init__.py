"""An HTTP client for the network, or for an application in this very process."""

import contextlib
import functools
import importlib.metadata
import types as python_types
import typing as t

import httpx

from flama.client.kept import KeptConnections, ssl_context
from flama.client.lifespan import ASGIApp, LifespanContextManager
from flama.client.transport import BUFFERED, ASGITransport

__all__ = [
    "ASGITransport",
    "Client",
    "HTTPError",
    "HTTPStatusError",
    "KeptConnections",
    "LifespanContextManager",
    "NOT_SENT",
    "Response",
    "TransportError",
    "UnsupportedProtocol",
]

HTTPError = httpx.HTTPError
HTTPStatusError = httpx.HTTPStatusError
Response = httpx.Response
TransportError = httpx.TransportError
UnsupportedProtocol = httpx.UnsupportedProtocol

#: Transport errors after which the server can't have seen the request.
NOT_SENT: t.Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Client(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` that can also call an application without a network.

    With ``app``, any ASGI application, ``async with`` starts it first and shuts it down last, and every request goes
    straight to it; what comes back is what a socket would bring, also when the application fails. With
    ``raise_app_exceptions`` its exceptions are raised in the caller instead, which is what a test of the application
    wants. All other arguments are httpx's own.

    :raises ApplicationError: the application doesn't start, or was called without having been started.
    """

    def __init__(self, *, app: ASGIApp | None = None, raise_app_exceptions: bool = False, **kwargs: t.Any) -> None:
        self.app = app
        self.lifespan = None if app is None else LifespanContextManager(app)
        self._stack = contextlib.AsyncExitStack()
        headers = httpx.Headers(kwargs.pop("headers", None))
        headers.setdefault("user-agent", _user_agent())
        kwargs.setdefault("base_url", "http://localapp")
        if app is not None and self.lifespan is not None:
            state = self.lifespan.state
            kwargs.setdefault("transport", ASGITransport(app, raise_app_exceptions=raise_app_exceptions, state=state))
        elif not kwargs.keys() & {"transport", "verify", "cert", "trust_env"}:
            kwargs["verify"] = ssl_context()
        super().__init__(headers=headers, **kwargs)

    async def __aenter__(self) -> t.Self:
        async with contextlib.AsyncExitStack() as stack:
            if self.lifespan is not None:
                await stack.enter_async_context(self.lifespan)
            await super().__aenter__()
            stack.push_async_exit(super().__aexit__)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: python_types.TracebackType | None = None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc_value, traceback)

    async def send(self, request: httpx.Request, *, stream: bool = False, **kwargs: t.Any) -> httpx.Response:
        """Send a request that is built already."""
        request.extensions[BUFFERED] = not stream
        return await super().send(request, stream=stream, **kwargs)


@functools.cache
def _user_agent() -> str:
    return f"flama/{importlib.metadata.version('flama')}"
