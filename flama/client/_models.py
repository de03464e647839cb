"""The messages of a call, in bytes: the request, the response, and the address of the resource."""

import collections.abc
import dataclasses
import typing as t

import httpx

__all__ = [
    "Headers",
    "RawRequest",
    "RawResponse",
    "ResourceURL",
    "ResponseTooLarge",
    "ascii_host",
    "default_port",
    "lower_names",
]

Headers: t.TypeAlias = list[tuple[bytes, bytes]]

_PORTS: t.Final = {"http": 80, "https": 443}


class ResponseTooLarge(httpx.HTTPError):
    """The body is longer than the caller's limit; it was not read to its end."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is longer than {limit:,} bytes")
        self.limit = limit


@dataclasses.dataclass(frozen=True, slots=True)
class ResourceURL:
    """The address of a resource: its server, and the prefix of its paths there.

    ``url`` is the resource as the caller wrote it, ``path`` its percent-encoded path on the server. ``authority`` is
    the value of the ``Host`` header. ``has_user`` is true if the URL has credentials, which httpx sends.
    """

    url: str
    scheme: str
    host: str
    port: int
    authority: bytes
    path: bytes
    has_user: bool

    @property
    def origin(self) -> tuple[str, str, int]:
        """The scheme, host and port to connect to."""
        return self.scheme, self.host, self.port

    @classmethod
    def of(cls, resource: str, url: httpx.URL) -> t.Self:
        """Return the address of a resource; ``url`` is its URL with a trailing slash."""
        path = url.raw_path.partition(b"?")[0].removesuffix(b"/")
        port = url.port or default_port(url.scheme)
        return cls(resource, url.scheme, ascii_host(url), port, url.netloc, path, bool(url.userinfo))


class RawRequest(t.NamedTuple):
    """A request; ``path`` is appended to the address's path, and percent-encoded like ``query``."""

    method: str
    resource: ResourceURL
    path: str
    query: str
    headers: Headers
    body: bytes

    @property
    def target(self) -> bytes:
        """The path on the server with the query, the request target of HTTP."""
        path = self.resource.path + self.path.encode("ascii")
        return path + b"?" + self.query.encode("ascii") if self.query else path


class RawResponse(t.NamedTuple):
    """A response with its whole body; header names are lower-case."""

    status: int
    headers: Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is one of success (2xx)."""
        return 200 <= self.status < 300

    def header(self, name: bytes) -> bytes | None:
        """Return the value of the first header of this lower-case name; None if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


def lower_names(headers: collections.abc.Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers with their names in lower case."""
    return [(name.lower(), value) for name, value in headers]


def default_port(scheme: str) -> int:
    """Return the port of a URL that names none."""
    return _PORTS.get(scheme, 80)


def ascii_host(url: httpx.URL) -> str:
    """Return the host to connect to, an international name in its ASCII form (RFC 5891).

    ``url.host`` is decoded: encoding it again by Python's older standard may result in the name of another host.
    """
    return url.raw_host.decode("ascii")
