"""The HTTP client: it calls servers on the network, or an ASGI application in this process."""

import contextlib
import functools
import importlib.metadata
import types as python_types
import typing as t

import httpx

from flama import _distribution
from flama.client._content_coding import ACCEPTED, iter_decompressed
from flama.client._direct import DirectClient, check_base_url
from flama.client._lifespan import ASGIApp, LifespanContextManager, shared_lifespan
from flama.client._models import RawResponse, ResourceURL, ResponseTooLarge, lower_names
from flama.client._transports.asgi import ASGITransport, DirectTransport
from flama.client._transports.network import make_transport, share, ssl_context
from flama.exceptions import ApplicationError
from flama.retry import CircuitBreaker, Policy

__all__ = [
    "ASGITransport",
    "Client",
    "DecodingError",
    "HTTPError",
    "HTTPStatusError",
    "LifespanContextManager",
    "LocalProtocolError",
    "NOT_SENT",
    "Policy",
    "RawResponse",
    "ResourceURL",
    "Response",
    "ResponseTooLarge",
    "TimeoutException",
    "TransportError",
    "UnsupportedProtocol",
    "check_base_url",
    "iter_decompressed",
    "lower_names",
    "make_transport",
    "share",
]

DecodingError = httpx.DecodingError
HTTPError = httpx.HTTPError
HTTPStatusError = httpx.HTTPStatusError
LocalProtocolError = httpx.LocalProtocolError
Response = httpx.Response
TimeoutException = httpx.TimeoutException
TransportError = httpx.TransportError
UnsupportedProtocol = httpx.UnsupportedProtocol

#: Transport errors after which the server can't have seen the request.
NOT_SENT: t.Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


_POLICY: t.Final = Policy()

#: Arguments with which a client doesn't share a TLS context: they change it, or have no use for it.
_OWN_CONTEXT: t.Final = ("cert", "http2", "transport")


class Client(DirectClient):
    """An ``httpx.AsyncClient`` that can also call an ASGI application without a network.

    With ``app``, every request goes directly to that application. ``async with`` starts it first and shuts it down
    last, unless another client of it is open. Responses are those that a socket would bring, also when the
    application fails. With ``raise_app_exceptions``, its exceptions are raised in the caller instead, as tests of an
    application need. ``policy`` sets how repositories handle a failing service.

    All other arguments are httpx's own. Servers are reached through aiohttp's connections if that is installed (the
    extra ``client``). httpx's transport is used otherwise, and for proxies, client certificates and HTTP/2.

    :raises ApplicationError: ``base_url`` has a query or a fragment, a ``transport`` follows redirects by itself, the
        application doesn't start, or it was called without having been started.
    """

    def __init__(
        self,
        *,
        app: ASGIApp | None = None,
        raise_app_exceptions: bool = False,
        policy: Policy = _POLICY,
        **kwargs: t.Any,
    ) -> None:
        for used in (kwargs.get("transport"), *(kwargs.get("mounts") or {}).values()):
            _check_transport(used)
        check_base_url(kwargs.setdefault("base_url", "http://localapp"))
        self.app = app
        self.policy = policy
        self.circuit_breakers: dict[tuple[str, str, int], CircuitBreaker] = {}  # by scheme, host and port
        self.lifespan = None if app is None else shared_lifespan(app)
        self._stack = contextlib.AsyncExitStack()
        headers = httpx.Headers(kwargs.pop("headers", None))
        headers.setdefault("user-agent", _user_agent())
        headers.setdefault("accept-encoding", ACCEPTED)
        if app is not None and self.lifespan is not None:
            state = self.lifespan.state
            kwargs.setdefault("transport", ASGITransport(app, raise_app_exceptions=raise_app_exceptions, state=state))
        elif (network := make_transport(kwargs)) is not None:
            kwargs["transport"] = network
        elif kwargs.get("trust_env", True) and not any(map(kwargs.get, _OWN_CONTEXT)):
            # httpx makes two contexts for a proxy, of 50 ms each
            kwargs.setdefault("verify", ssl_context())
        super().__init__(headers=headers, **kwargs)
        transport = kwargs.get("transport")
        if isinstance(transport, DirectTransport) and not (kwargs.get("mounts") or kwargs.get("proxy")):
            self.direct = transport

    def circuit_breaker(self, resource: ResourceURL) -> CircuitBreaker:
        """Return the circuit breaker of a server; ``circuit_breakers`` may be shared with other clients."""
        breaker = self.circuit_breakers.get(resource.origin)
        if breaker is None:
            breaker = self.circuit_breakers[resource.origin] = CircuitBreaker(self.policy)
        return breaker

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


def _check_transport(transport: object) -> None:
    kind = type(transport)
    if kind.__module__.startswith("pyreqwest."):
        raise ApplicationError(
            f"{kind.__name__} follows redirects by itself, which may turn a write into a read: leave it out, or use "
            "Client(http2=True) for HTTP/2"
        )


@functools.cache
def _user_agent() -> str:
    return f"{_distribution.NAME}/{importlib.metadata.version(_distribution.NAME)}"
