"""The vocabulary of annotations: what handlers, components and schemas are written in."""

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
    """An ASGI application; one of ours gives its modules as attributes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

    def __getattr__(self, name: str) -> t.Any:
        """Give the module of this name."""


class Schemas(t.Protocol):
    """Gives the JSON Schemas of a document, which keeps those that have names."""

    def schema(self, annotation: t.Any, *, output: bool = False) -> dict[str, t.Any]:
        """Give the schema of what is taken as a type, or with ``output`` of what is sent as it."""
        ...

    def reference(self, name: str, schema: dict[str, t.Any]) -> dict[str, t.Any]:
        """Keep a schema under a name, or one like it, and give what refers to it."""
        ...


Description: t.TypeAlias = collections.abc.Callable[[Schemas], dict[str, t.Any]]
"""Says of a route what its handler doesn't: the members of an OpenAPI operation that are not to be read from that."""


class AppStatus(enum.Enum):
    """Where an application stands in its life."""

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
        """Its scheme, netloc, path, query and fragment."""
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
    """Take the parameter from the path, under ``name`` if it is another than the parameter's own."""

    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class QueryParam:
    """Take the parameter from the query, under ``name`` if it is another than the parameter's own."""

    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """Take the parameter from a header: ``name``, or the parameter's own name with dashes."""

    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cookie:
    """Take the parameter from a cookie, under ``name`` if it is another than the parameter's own."""

    name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _OfPrincipal:
    """Marks a parameter that receives whom a request is from."""


Principal: t.TypeAlias = t.Annotated[t.Any, _OfPrincipal()]
"""Whom a request is from, as ``Flama(principal=…)`` says; ``Principal | None`` where it may be nobody."""


Schema: t.TypeAlias = dict[str, t.Any]
SchemaList: t.TypeAlias = list[dict[str, t.Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class SchemaMetadata:
    """Say which model a ``Schema`` is of.

    With ``partial``, every field may be missing, and only those that were sent are there.
    """

    schema: t.Any
    partial: bool = False


def get_schema_metadata(annotation: t.Any) -> SchemaMetadata | None:
    """Return the schema metadata of an annotation, also of a list's element; None when it has none."""
    annotation = unwrap(annotation)
    for metadata in getattr(annotation, "__metadata__", ()):
        if isinstance(metadata, SchemaMetadata):
            return metadata
    if t.get_origin(annotation) is list:
        return get_schema_metadata(*t.get_args(annotation))
    return None


def is_schema(annotation: t.Any) -> bool:
    """Tell whether an annotation carries schema metadata."""
    return get_schema_metadata(annotation) is not None


def is_schema_partial(annotation: t.Any) -> bool:
    """Tell whether an annotation carries schema metadata that lets fields be missing."""
    metadata = get_schema_metadata(annotation)
    return metadata is not None and metadata.partial
