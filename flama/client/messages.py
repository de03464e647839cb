"""A call of a service with its response, in bytes."""

import collections.abc
import dataclasses
import typing as t

import httpx

__all__ = ["Address", "Answer", "Call", "Headers", "ResponseTooLarge", "ascii_host", "default_port", "lowered"]

Headers: t.TypeAlias = list[tuple[bytes, bytes]]

_PORTS: t.Final = {"http": 80, "https": 443}


class ResponseTooLarge(httpx.HTTPError):
    """The body is longer than the caller takes; it was not read to its end."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is longer than {limit:,} bytes")
        self.limit = limit


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where a resource is: the server, and what its paths begin with there.

    ``url`` is the resource as the caller wrote it, ``path`` the path that this is on the server, percent-encoded,
    ``authority`` the server as requests name it; ``has_user`` tells that the URL has a user, which httpx logs in.
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
        """Scheme, host and port that a connection is made to."""
        return self.scheme, self.host, self.port

    @classmethod
    def of(cls, resource: str, url: httpx.URL) -> t.Self:
        """Return the address of a resource, of which this is the URL with a slash."""
        path = url.raw_path.partition(b"?")[0].removesuffix(b"/")
        port = url.port or default_port(url.scheme)
        return cls(resource, url.scheme, ascii_host(url), port, url.netloc, path, bool(url.userinfo))


class Call(t.NamedTuple):
    """A request: ``path`` is what follows the address's, percent-encoded as the query is."""

    method: str
    address: Address
    path: str
    query: str
    headers: Headers
    body: bytes

    @property
    def target(self) -> bytes:
        """The path on the server, with the query."""
        path = self.address.path + self.path.encode("ascii")
        return path + b"?" + self.query.encode("ascii") if self.query else path


class Answer(t.NamedTuple):
    """A response, whole, its headers by lower-case names."""

    status: int
    headers: Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the request was understood and done."""
        return 200 <= self.status < 300

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of this lower-case name; None if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


def lowered(headers: collections.abc.Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers by lower-case names."""
    return [(name.lower(), value) for name, value in headers]


def default_port(scheme: str) -> int:
    """Return the port of a URL without one."""
    return _PORTS.get(scheme, 80)


def ascii_host(url: httpx.URL) -> str:
    """Return the host to connect to, an international name in its ASCII form (RFC 5891).

    That is not what ``url.host`` is: encoding it again, by the older standard that Python has, may give the name of
    another host.
    """
    return url.raw_host.decode("ascii")
