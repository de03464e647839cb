"""Calls of a client: past httpx's client layer where nothing asks for it, else through it."""

import collections.abc
import contextlib
import inspect
import types as python_types
import typing as t

import httpx

from flama.client._content import GeneratedContent
from flama.client.messages import Address, Answer, Call, Headers, ResponseTooLarge, decoded
from flama.client.transport import BUFFERED

__all__ = ["CallingClient", "Direct"]

# Who replaces one of these, as what traces requests does, wants to see them.
_LAYER: t.Final = ("build_request", "request", "send")
_UNPATCHED: t.Final = tuple(getattr(httpx.AsyncClient, name) for name in _LAYER)

# What httpx makes fit the request: a client that has its own goes through httpx.
_MADE: t.Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})

_SENDS_LENGTH: t.Final = {"POST", "PUT", "PATCH"}


class Direct(t.Protocol):
    """A transport that takes calls as they are."""

    async def answer(self, call: Call, *, timeout: httpx.Timeout, limit: int | None) -> Answer:
        """Give the answer to a call, which may end early when it is longer than ``limit``."""
        ...


class CallingClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` for which a call is a few bytes, and its answer too.

    ``direct`` is its transport, if that takes calls and is used for every server; ``ended`` tells that it is closed.
    """

    # httpx's client layer takes 130 to 300 µs of CPU for a call: URL, request, response, cookies and hooks are objects
    # of Python. call() does without where it would do nothing; that it does the same is held to by a test.

    direct: Direct | None = None
    ended: bool = False  # is_closed is a property, which is too slow to be asked for every record of a list
    _is_replaced: t.ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._is_replaced = any(getattr(cls, name) is not getattr(CallingClient, name) for name in _LAYER)

    async def aclose(self) -> None:
        """Close the transport, and with it all connections."""
        self.ended = True
        await super().aclose()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: python_types.TracebackType | None = None,
    ) -> None:
        self.ended = True
        await super().__aexit__(exc_type, exc_value, traceback)

    def address(self, resource: str) -> Address:
        """Give the address of a resource, a path below ``base_url`` or a whole URL.

        :raises httpx.UnsupportedProtocol: it isn't one of HTTP.
        """
        url = httpx.AsyncClient.build_request(self, "GET", f"{resource}/").url
        if url.scheme not in {"http", "https"} or not url.host:
            raise httpx.UnsupportedProtocol(f"'{url}' is no URL of http:// or https://")
        return Address.of(resource, url)

    async def call(
        self,
        method: str,
        address: Address,
        path: str = "",
        query: str = "",
        *,
        headers: Headers | None = None,
        body: bytes = b"",
        limit: int | None = None,
    ) -> Answer:
        """Give the answer to a request, whole: the one of :meth:`request`, for a tenth of the work.

        ``path`` follows that of the address; it and ``query`` are percent-encoded, names of headers lower-case. A
        redirect is followed if the client follows any, but to no other server.

        :raises ResponseTooLarge: the answer's body is longer than ``limit`` bytes, compressed or not.
        :raises httpx.HTTPError: there is no answer, or none that can be read.
        """
        direct, sent = self.direct, headers or []
        plain = None if direct is None else self._plain_headers(method, address, sent, body)
        if plain is None or direct is None:
            request = self.build_request(method, _url(address, path, query), headers=sent, content=body)
            return await self._through_httpx(request, limit)
        call = Call(method, address, path, query, plain, body)
        answer = decoded(await direct.answer(call, timeout=self.timeout, limit=limit), limit)
        if answer.header(b"set-cookie") is not None:
            self.cookies.extract_cookies(_response(call, answer))
        return answer

    def opened(
        self, method: str, address: Address, path: str = "", query: str = "", *, headers: Headers | None = None
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        """Give the response to a request while it arrives, as :meth:`stream` does; redirects are those of :meth:`call`.

        :raises httpx.HTTPError: there is no answer, or none that can be read.
        """
        return self._opened(self.build_request(method, _url(address, path, query), headers=headers))

    def build_request(
        self, method: str, url: httpx.URL | str, *, content: t.Any = None, **kwargs: t.Any
    ) -> httpx.Request:
        """Return a request; an asynchronous generator that is its content is closed when it was sent, or wasn't."""
        request = super().build_request(method, url, content=content, **kwargs)
        if inspect.isasyncgen(content):
            request.stream = GeneratedContent(t.cast("collections.abc.AsyncGenerator[bytes]", content))
        return request

    async def send(self, request: httpx.Request, *, stream: bool = False, **kwargs: t.Any) -> httpx.Response:
        """Send a request that is built already."""
        request.extensions[BUFFERED] = not stream
        return await super().send(request, stream=stream, **kwargs)

    def _plain_headers(self, method: str, address: Address, own: Headers, body: bytes) -> Headers | None:
        """Give the headers that httpx would send, if that is all that it would do."""
        if self.auth is not None or self.follow_redirects or self.params or self.cookies or address.has_user:
            return None
        if self.ended or any(self.event_hooks.values()) or self._is_watched():
            return None
        shared = [(name.lower(), value) for name, value in self.headers.raw]
        if not _MADE.isdisjoint([name for name, _ in shared]):
            return None
        if own:
            names = [name for name, _ in own]
            shared = [header for header in shared if header[0] not in names]
        length = [(b"content-length", b"%d" % len(body))] if body or method in _SENDS_LENGTH else []
        return [(b"host", address.authority), *shared, *own, *length]

    def _is_watched(self) -> bool:
        if self._is_replaced or not vars(self).keys().isdisjoint(_LAYER):
            return True
        base = httpx.AsyncClient
        return (base.build_request, base.request, base.send) != _UNPATCHED

    async def _through_httpx(self, request: httpx.Request, limit: int | None) -> Answer:
        async with self._opened(request) as response:
            return Answer(response.status_code, response.headers.raw, await _read(response, limit))

    @contextlib.asynccontextmanager
    async def _opened(self, request: httpx.Request) -> collections.abc.AsyncGenerator[httpx.Response]:
        for _ in range(self.max_redirects + 1):
            response = await self.send(request, stream=True, follow_redirects=False)
            async with contextlib.aclosing(response):
                following = response.next_request
                if not self.follow_redirects or following is None or not _alike(request.url, following.url):
                    yield response
                    return
            request = following
        raise httpx.TooManyRedirects("Exceeded maximum allowed redirects.", request=request)


async def _read(response: httpx.Response, limit: int | None) -> bytes:
    parts, size = list[bytes](), 0
    async for part in response.aiter_bytes():
        size += len(part)
        if limit is not None and max(size, response.num_bytes_downloaded) > limit:
            raise ResponseTooLarge(limit)
        parts.append(part)
    if limit is not None and response.num_bytes_downloaded > limit:  # what it is decompressed to is nothing
        raise ResponseTooLarge(limit)
    return b"".join(parts)


def _url(address: Address, path: str, query: str) -> str:
    return f"{address.url}{path}?{query}" if query else address.url + path


def _alike(one: httpx.URL, other: httpx.URL) -> bool:
    """Tell whether two URLs are of one server."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def _response(call: Call, answer: Answer) -> httpx.Response:
    address = call.address
    url = f"{address.scheme}://{address.authority.decode('ascii')}{call.target.decode('ascii')}"
    return httpx.Response(answer.status, headers=answer.headers, request=httpx.Request(call.method, url))
