"""Types for annotations: those of handlers, components and schemas."""

import collections.abc
import dataclasses
import enum
import typing as t
import urllib.parse

from flama._annotations import unwrap

__all__ = [
    "ALL_METHODS",
    "App",
    "AppStatus",
    "Body",
    "Cookie",
    "Cookies",
    "Description",
    "Handler",
    "Header",
    "Message",
    "Method",
    "Path",
    "PathParam",
    "PathParams",
    "Principal",
    "QueryParam",
    "QueryString",
    "Receive",
    "RequestData",
    "Schema",
    "SchemaList",
    "SchemaMetadata",
    "Schemas",
    "Scheme",
    "Scope",
    "Send",
    "Server",
    "URL",
    "get_schema_metadata",
    "is_schema",
    "is_schema_partial",
]

Scope: t.TypeAlias = collections.abc.MutableMapping[str, t.Any]
Message: t.TypeAlias = collections.abc.MutableMapping[str, t.Any]
Receive: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[Message]]
Send: t.TypeAlias = collections.abc.Callable[[Message], collections.abc.Awaitable[None]]
Handler: t.TypeAlias = collections.abc.Callable[..., t.Any]

Method: t.TypeAlias = t.Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "QUERY"]
ALL_METHODS: t.Final[tuple[Method, ...]] = t.get_args(Method)


@t.runtime_checkable
class App(t.Protocol):
    """An ASGI application; those of flama have their modules as attributes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

    def __getattr__(self, name: str) -> t.Any:
        """Return the module of this name."""


class Schemas(t.Protocol):
    """The JSON Schemas of an OpenAPI document, which stores those that have names."""

    def schema(self, annotation: t.Any, *, output: bool = False) -> dict[str, t.Any]:
        """Return the schema of a type as it is received, or with ``output`` as it is sent."""
        ...

    def reference(self, name: str, schema: dict[str, t.Any]) -> dict[str, t.Any]:
        """Store a schema under the name or a similar one, and return a reference to it."""
        ...


Description: t.TypeAlias = collections.abc.Callable[[Schemas], dict[str, t.Any]]
"""Describes a route: returns the members of an OpenAPI operation that can't be read from its handler."""


class AppStatus(enum.Enum):
    """A state in the lifespan of an application."""

    NOT_STARTED = enum.auto()
    STARTING = enum.auto()
    READY = enum.auto()
    SHUTTING_DOWN = enum.auto()
    SHUT_DOWN = enum.auto()
    FAILED = enum.auto()


class URL(str):
    """The whole URL of a request."""

    @property
    def components(self) -> urllib.parse.SplitResult:
        """The scheme, netloc, path, query and fragment."""
        return urllib.parse.urlsplit(self)


Path = t.NewType("Path", str)
Scheme = t.NewType("Scheme", str)
QueryString = t.NewType("QueryString", str)
Body = t.NewType("Body", bytes)


class Server(t.NamedTuple):
    """The address that the server listens on."""

    host: str
    port: int | None


class PathParams(dict[str, t.Any]):
    """The path's parameters, converted."""


class Cookies(dict[str, str]):
    """The request's cookies by name."""


class RequestData(dict[str, t.Any]):
    """The request's body, decoded but not validated."""


@dataclasses.dataclass(frozen=True, slots=True)
class PathParam:
    """Take the parameter from the path, under ``name`` if that differs from the parameter's own."""

    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class QueryParam:
    """Take the parameter from the query, under ``name`` if that differs from the parameter's own."""

    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """Take the parameter from a header: ``name``, or the parameter's own name with dashes."""

    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cookie:
    """Take the parameter from a cookie, under ``name`` if that differs from the parameter's own."""

    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _PrincipalMarker:
    """Marks a parameter that receives the principal of a request."""


Principal: t.TypeAlias = t.Annotated[t.Any, _PrincipalMarker()]
"""The principal of a request, as ``Flama(principal=…)`` determines it; ``Principal | None`` if there may be none."""


Schema: t.TypeAlias = dict[str, t.Any]
SchemaList: t.TypeAlias = list[dict[str, t.Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class SchemaMetadata:
    """The model of a ``Schema``.

    With ``partial``, every field is optional, and the value has only those that were sent.
    """

    schema: t.Any
    partial: bool = False


def get_schema_metadata(annotation: t.Any) -> SchemaMetadata | None:
    """Return the schema metadata of an annotation, or of the elements of a list; None if there is none."""
    annotation = unwrap(annotation)
    for metadata in getattr(annotation, "__metadata__", ()):
        if isinstance(metadata, SchemaMetadata):
            return metadata
    if t.get_origin(annotation) is list:
        return get_schema_metadata(*t.get_args(annotation))
    return None


def is_schema(annotation: t.Any) -> bool:
    """Whether an annotation has schema metadata."""
    return get_schema_metadata(annotation) is not None


def is_schema_partial(annotation: t.Any) -> bool:
    """Whether an annotation has schema metadata in which every field is optional."""
    metadata = get_schema_metadata(annotation)
    return metadata is not None and metadata.partial
