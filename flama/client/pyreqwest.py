"""The way of a request to a server by pyreqwest, which has HTTP/2."""

import collections.abc
import contextlib
import typing as t

import httpx
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport
from pyreqwest.exceptions import PyreqwestError

__all__ = ["PyreqwestTransport"]


class PyreqwestTransport(HttpxTransport):
    """Carry requests by a client of pyreqwest, which is built here from a builder.

    It leaves redirects and compressed bodies to :class:`~flama.client.Client`: by itself, pyreqwest would make a write
    that is redirected a GET, on any server, and report that as the response.
    """

    def __init__(self, builder: ClientBuilder | None = None) -> None:
        bare = (builder or ClientBuilder()).follow_redirects(False).referer(False)
        super().__init__(bare.gzip(False).brotli(False).zstd(False).deflate(False).build())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return a server's response to a request."""
        with _translated(request):
            try:
                response = await super().handle_async_request(request)
            except ValueError as error:  # of headers that are no text
                raise httpx.RemoteProtocolError(str(error), request=request) from error
        response.stream = _Stream(t.cast("httpx.AsyncByteStream", response.stream), request)
        return response


class _Stream(httpx.AsyncByteStream):
    """The body of a response, whose errors are httpx's as those of its head are."""

    def __init__(self, stream: httpx.AsyncByteStream, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> collections.abc.AsyncGenerator[bytes]:
        with _translated(self._request):
            async for chunk in self._stream:
                yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextlib.contextmanager
def _translated(request: httpx.Request) -> collections.abc.Generator[None]:
    # It calls a body that is cut a decoding error, also where it decodes nothing, as here.
    try:
        yield
    except (PyreqwestError, httpx.DecodingError) as error:
        raise httpx.ReadError(str(error), request=request) from error
