"""Calls of services, which bypass httpx's client layer when none of its features are in use."""

import collections.abc
import contextlib
import dataclasses
import inspect
import types as python_types
import typing as t

import httpx

from flama import exceptions
from flama.client._content import GeneratedContent
from flama.client._content_coding import decompress, iter_raw
from flama.client._models import Headers, RawRequest, RawResponse, ResourceURL, ResponseTooLarge, lower_names
from flama.client._redirects import find_next, is_redirect
from flama.client._transports.asgi import READ_BODY, DirectTransport

__all__ = ["DirectClient", "check_base_url"]

# Code that replaces one of these methods, such as request tracing, has to see every call.
_PATCHABLE: t.Final = ("build_request", "request", "send")
_BUILD_REQUEST, _REQUEST, _SEND = (getattr(httpx.AsyncClient, name) for name in _PATCHABLE)

# Headers that httpx computes for each request: a client with values of its own goes through httpx.
_PER_REQUEST: t.Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})

_SENDS_LENGTH: t.Final = {"POST", "PUT", "PATCH"}


class DirectClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` that can also make calls in bytes, without objects for requests and responses.

    ``direct`` is the client's transport if it is a :class:`DirectTransport` and serves every server. ``ended`` is true
    once the client is closed.
    """

    # httpx's client layer takes 130 to 300 µs of CPU for a call: URL, request, response, cookies and hooks are objects
    # of Python. call() skips that layer where it would do nothing; a test checks that the results are the same.

    direct: DirectTransport | None = None
    ended: bool = False  # is_closed is a property, which is too slow to read for every record of a list
    _is_overridden: t.ClassVar[bool] = False
    _counting: "_CountingHeaders"
    _changes = -1  # the change count of the client's headers from which these were built:
    _default_headers: Headers | None = None  # the headers of every call
    _bare_headers: dict[bytes, Headers]  # of a call without headers of its own, by authority: always the same list

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._is_overridden = any(getattr(cls, name) is not getattr(DirectClient, name) for name in _PATCHABLE)

    @property
    def headers(self) -> "_CountingHeaders":
        """The headers of every request."""
        return self._counting

    @headers.setter
    def headers(self, headers: t.Any) -> None:
        base: t.Any = httpx.AsyncClient.headers
        base.fset(self, headers)  # adds httpx's own
        self._counting = _CountingHeaders(base.fget(self))
        self._changes = -1

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

    def resource_url(self, resource: str) -> ResourceURL:
        """Return the address of a resource, which is a path below ``base_url`` or a whole URL.

        :raises httpx.UnsupportedProtocol: the URL isn't one of ``http`` or ``https``.
        :raises ApplicationError: ``base_url`` has a query or a fragment.
        """
        check_base_url(self.base_url)
        url = httpx.AsyncClient.build_request(self, "GET", f"{resource}/").url
        if url.scheme not in {"http", "https"} or not url.host:
            raise httpx.UnsupportedProtocol(f"'{url}' is no URL of http:// or https://")
        return ResourceURL.of(resource, url)

    async def call(
        self,
        method: str,
        resource: ResourceURL,
        path: str = "",
        query: str = "",
        *,
        headers: Headers | None = None,
        body: bytes = b"",
        limit: int | None = None,
    ) -> RawResponse:
        """Return the whole response to a request: that of :meth:`request`, for a tenth of the work.

        ``path`` is appended to the address's path. It and ``query`` are percent-encoded, header names are lower-case.

        The same request is sent again for redirects on the server that demand this (307, 308), or that only correct
        the slash at the path's end. With ``follow_redirects``, requests that read follow every redirect on the server.
        Any other redirect is the response. An error response whose body can't be decompressed has an empty body.

        :raises ResponseTooLarge: the response's body is longer than ``limit`` bytes, compressed or not.
        :raises httpx.TooManyRedirects: the redirects don't end.
        :raises httpx.HTTPError: there is no response, or none that can be read.
        """
        own = headers or []
        for _ in range(self.max_redirects + 1):
            direct, plain = self.direct, None
            if direct is not None and (plain := self._direct_headers(method, resource, own, body)) is not None:
                request = RawRequest(method, resource, path, query, plain, body)
                response = await direct.handle(request, timeout=self.timeout, limit=limit)
                _check_size(len(response.body), limit)
                names = dict(response.headers)  # one dict is faster than two searches of the list
                if b"content-encoding" in names:
                    response = decompress(response, limit)
                if b"set-cookie" in names:
                    self.cookies.extract_cookies(_response(request, response))
            else:
                response = await self._call_through_httpx(RawRequest(method, resource, path, query, own, body), limit)
            if not is_redirect(response.status):
                return response
            url = self._build(method, _url(resource, path, query)).url
            following = self._find_next(method, url, response.status, httpx.Headers(response.headers))
            if following is None:
                return response
            resource, path, query = _split_url(resource, following)
        raise _too_many_redirects(method, resource.url)

    @contextlib.asynccontextmanager
    async def stream_response(
        self, method: str, resource: ResourceURL, path: str = "", query: str = "", *, headers: Headers | None = None
    ) -> collections.abc.AsyncGenerator[httpx.Response]:
        """Open the response to a request while it arrives, as :meth:`stream` does; redirects are those of :meth:`call`.

        :raises httpx.TooManyRedirects: the redirects don't end.
        :raises httpx.HTTPError: there is no response, or none that can be read.
        """
        url: httpx.URL | str = _url(resource, path, query)
        for _ in range(self.max_redirects + 1):
            request = self._build(method, url, headers=headers)
            response = await self.send(request, stream=True, follow_redirects=False)
            async with contextlib.aclosing(response):
                following = self._find_next(method, request.url, response.status_code, response.headers)
                if following is None:
                    yield response
                    return
            url = following
        raise _too_many_redirects(method, resource.url)

    def build_request(
        self, method: str, url: httpx.URL | str, *, content: t.Any = None, **kwargs: t.Any
    ) -> httpx.Request:
        """Return a request; if its content is an asynchronous generator, sending closes it, also when that fails."""
        request = super().build_request(method, url, content=content, **kwargs)
        if inspect.isasyncgen(content):
            request.stream = GeneratedContent(t.cast("collections.abc.AsyncGenerator[bytes]", content))
        return request

    async def send(self, request: httpx.Request, *, stream: bool = False, **kwargs: t.Any) -> httpx.Response:
        """Send a built request."""
        request.extensions[READ_BODY] = not stream
        return await super().send(request, stream=stream, **kwargs)

    def _direct_headers(self, method: str, resource: ResourceURL, own: Headers, body: bytes) -> Headers | None:
        """Return the headers that httpx would send; None if httpx would do anything else."""
        if self.ended or self.auth is not None or self.params or resource.has_user or self._is_patched():
            return None
        hooks, headers = self.event_hooks, self.headers
        if hooks["request"] or hooks["response"] or any(self.cookies.jar):
            return None
        if headers.changes != self._changes:
            self._changes, self._bare_headers = headers.changes, {}
            self._default_headers = _lower_defaults(headers.raw)
        shared, authority = self._default_headers, resource.authority
        if shared is None:
            return None
        if not (own or body or method in _SENDS_LENGTH):
            bare = self._bare_headers
            return bare.get(authority) or bare.setdefault(authority, [(b"host", authority), *shared])
        if own:
            names = [name for name, _ in own]
            shared = [header for header in shared if header[0] not in names]
        length = [(b"content-length", b"%d" % len(body))] if body or method in _SENDS_LENGTH else []
        return [(b"host", authority), *shared, *own, *length]

    def _is_patched(self) -> bool:
        own, base = vars(self), httpx.AsyncClient
        if self._is_overridden or "send" in own or "request" in own or "build_request" in own:
            return True
        return base.send is not _SEND or base.request is not _REQUEST or base.build_request is not _BUILD_REQUEST

    async def _call_through_httpx(self, call: RawRequest, limit: int | None) -> RawResponse:
        url = _url(call.resource, call.path, call.query)
        request = self._build(call.method, url, headers=call.headers, content=call.body)
        response = await self.send(request, stream=True, follow_redirects=False)
        async with contextlib.aclosing(response):
            if response.is_stream_consumed:  # by an event hook, decompressed by httpx
                body = response.content
                _check_size(max(len(body), response.num_bytes_downloaded), limit)
                return RawResponse(response.status_code, lower_names(response.headers.raw), body)
            body = await _read_body(response, limit)
        return decompress(RawResponse(response.status_code, lower_names(response.headers.raw), body), limit)

    def _build(self, method: str, url: httpx.URL | str, **options: t.Any) -> httpx.Request:
        if not self.params:
            return self.build_request(method, url, **options)
        # httpx replaces a URL's query by the client's parameters, but adds them to the parameters of a request.
        full = httpx.URL(url)
        bare, parameters = full.copy_with(query=None), full.query.decode("ascii")
        return self.build_request(method, bare, params=parameters, **options)

    def _find_next(self, method: str, url: httpx.URL, status: int, headers: httpx.Headers) -> httpx.URL | None:
        return find_next(method, url, status, headers.get("location"), follows_reads=self.follow_redirects)


class _CountingHeaders(httpx.Headers):
    """Headers that count their changes, which is faster than comparing them for each call."""

    changes = 0

    def __setitem__(self, key: str, value: str) -> None:
        self.changes += 1
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.changes += 1
        super().__delitem__(key)

    def update(self, *headers: t.Any, **values: t.Any) -> None:
        self.changes += 1
        super().update(*headers, **values)


def _lower_defaults(raw: Headers) -> Headers | None:
    """Return the client's headers with lower-case names; None if httpx has to adapt them to each request."""
    shared = lower_names(raw)
    return shared if _PER_REQUEST.isdisjoint([name for name, _ in shared]) else None


def check_base_url(url: httpx.URL | str) -> None:
    """Check that paths can be appended to a client's ``base_url``.

    :raises ApplicationError: it has a query or a fragment.
    """
    text = str(url)
    if "?" not in text and "#" not in text:
        return
    base = httpx.URL(url)
    shown = base.copy_with(userinfo=b"", query=None, fragment=None)  # leaves out what may be secret
    part, cure = "a fragment", "leave it out"
    if b"?" in base.raw_path:
        parameters = ", ".join(f"{name!r}: …" for name in base.params)
        part, cure = "a query", f"give the client its parameters as params={{{parameters}}}"
    raise exceptions.ApplicationError(f"The base URL '{shown}' has {part}, which no path can follow: {cure}")


async def _read_body(response: httpx.Response, limit: int | None) -> bytes:
    parts = list[bytes]()
    async with contextlib.aclosing(iter_raw(response)) as chunks:
        async for part in chunks:
            _check_size(response.num_bytes_downloaded, limit)
            parts.append(part)
    return b"".join(parts)


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise ResponseTooLarge(limit)


def _url(resource: ResourceURL, path: str, query: str) -> str:
    return f"{resource.url}{path}?{query}" if query else resource.url + path


def _split_url(resource: ResourceURL, url: httpx.URL) -> tuple[ResourceURL, str, str]:
    """Return the address, path and query of another URL of the same server."""
    path, _, query = url.raw_path.decode("ascii").partition("?")
    server = str(url.copy_with(raw_path=b"/")).removesuffix("/")
    return dataclasses.replace(resource, url=server, path=b""), path, query


def _too_many_redirects(method: str, url: str) -> httpx.TooManyRedirects:
    return httpx.TooManyRedirects("Exceeded maximum allowed redirects.", request=httpx.Request(method, url))


def _response(request: RawRequest, response: RawResponse) -> httpx.Response:
    resource = request.resource
    url = f"{resource.scheme}://{resource.authority.decode('ascii')}{request.target.decode('ascii')}"
    return httpx.Response(response.status, headers=response.headers, request=httpx.Request(request.method, url))
