"""Every error that flama raises, as one tree.

::

    FlamaError
    ├─ ApplicationError                  the program has a mistake, or isn't in the state to do this
    │  ├─ DependencyNotInstalled
    │  ├─ SQLAlchemyError                a connection or transaction was misused
    │  ├─ ComponentError                 a component is declared wrongly
    │  │  └─ ComponentNotFound           nothing provides a handler's parameter
    │  ├─ NotFoundException              no route of that name and those parameters
    │  ├─ ResourceError                  a REST resource is declared wrongly
    │  │  ├─ ResourceAttributeNotFound   an attribute is missing or unknown
    │  │  ├─ ResourceFilterInvalid       records can't be filtered by a field or operator that it names
    │  │  ├─ ResourceModelInvalid        its model isn't a table
    │  │  ├─ ResourceNameInvalid         its name isn't valid
    │  │  ├─ ResourcePrimaryKeyInvalid   its table's key has several columns, or can't be part of a path
    │  │  ├─ ResourcePrimaryKeyNotFound  its table has no key
    │  │  └─ ResourceSchemaNotFound      it has neither a schema nor a table
    │  └─ SessionClosedError             a repository or iterator outlived its unit of work
    ├─ HTTPException                     the response has its status
    │  ├─ ValidationError         400    the request does not fit the handler's schema
    │  ├─ DecodeError             400    the body doesn't match its content type
    │  ├─ MethodNotAllowedException 405
    │  ├─ BodyTooLarge            413
    │  ├─ TooManyRecords          413
    │  ├─ NoCodecAvailable        415
    │  ├─ UnsupportedCodingError  415    the body is compressed
    │  └─ SerializationError      500    the handler's value does not fit its own schema
    ├─ WebSocketException                closes the socket with its code
    └─ RepositoryException               an operation on a collection of records failed
       └─ ResourceException              … of one resource
          ├─ IntegrityError              a constraint refused the write
          ├─ NotFoundError
          ├─ AlreadyExistsError
          ├─ MultipleRecordsError
          ├─ ConflictError               a concurrent write interfered
          │  └─ PreconditionFailedError
          ├─ InvalidDataError            a value or a name that cannot be stored or queried
          │  └─ UnknownColumnError
          ├─ PermissionDeniedError
          │  └─ UnauthenticatedError
          ├─ UnavailableError            the backend did not respond
          │  └─ TooManyRequestsError
          └─ InvalidResponseError        the backend's response was invalid

:mod:`flama.rest.errors` has the table of their HTTP statuses.
"""

import collections.abc
import http
import typing as t

__all__ = [
    "AlreadyExistsError",
    "ApplicationError",
    "BodyTooLarge",
    "ComponentError",
    "ComponentNotFound",
    "ConflictError",
    "DecodeError",
    "DependencyNotInstalled",
    "Empty",
    "FlamaError",
    "HTTPException",
    "IntegrityError",
    "IntegrityKind",
    "InvalidDataError",
    "InvalidResponseError",
    "MethodNotAllowedException",
    "MultipleRecordsError",
    "NoCodecAvailable",
    "NotFoundError",
    "NotFoundException",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "RepositoryException",
    "ResourceAttributeNotFound",
    "ResourceError",
    "ResourceException",
    "ResourceFilterInvalid",
    "ResourceModelInvalid",
    "ResourceNameInvalid",
    "ResourcePrimaryKeyInvalid",
    "ResourcePrimaryKeyNotFound",
    "ResourceSchemaNotFound",
    "SQLAlchemyError",
    "SerializationError",
    "SessionClosedError",
    "TooManyRecords",
    "TooManyRequestsError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnknownColumnError",
    "UnsupportedCodingError",
    "ValidationError",
    "WebSocketException",
]


class FlamaError(Exception):
    """The root of every error that flama raises."""


class ApplicationError(FlamaError):
    """The program has a mistake, or is not in the state to do this."""


class DependencyNotInstalled(ApplicationError):
    """A feature was used whose optional dependency is not installed; ``extra`` of this package installs it."""

    def __init__(self, *, dependency: str, dependant: str = "", extra: str = "") -> None:
        how = f": pip install 'flama-data[{extra}]'" if extra else ""
        super().__init__(f"{dependant or 'This'} needs the package '{dependency}', which is not installed{how}")
        self.dependency = dependency
        self.dependant = dependant


class SQLAlchemyError(ApplicationError):
    """A connection or a transaction of the SQL module was misused."""


class ComponentError(ApplicationError):
    """A component is declared in a way that can never work."""


class ComponentNotFound(ComponentError):
    """Nothing provides a parameter of a handler."""


class SessionClosedError(ApplicationError):
    """A repository, or an iterator of one, was used after its unit of work had ended."""


class NotFoundException(ApplicationError):
    """No route has this name and takes these parameters."""

    def __init__(self, name: str, params: collections.abc.Iterable[str] = ()) -> None:
        super().__init__(f"No route '{name}' takes the parameters ({', '.join(sorted(params))})")
        self.name = name


class ResourceError(ApplicationError):
    """A REST resource is declared wrongly."""


class ResourceAttributeNotFound(ResourceError):
    """A resource's class lacks a required attribute, or has an unknown one."""


class ResourceFilterInvalid(ResourceError):
    """A resource's class names fields or operators by which its records can't be filtered."""


class ResourceModelInvalid(ResourceError):
    """The model of a resource isn't a table."""


class ResourceNameInvalid(ResourceError):
    """The name of a resource can't be part of its routes' names."""


class ResourcePrimaryKeyInvalid(ResourceError):
    """The primary key of a resource's table has several columns, or a type that can't be part of a path."""


class ResourcePrimaryKeyNotFound(ResourceError):
    """The table of a resource has no primary key."""


class ResourceSchemaNotFound(ResourceError):
    """A resource's class has neither a schema of its records nor a table to derive one from."""


class HTTPException(FlamaError):
    """End the request with a response of this status.

    ``detail`` is the explanation sent to the client, a string or any other JSON value; by default the status's own
    phrase. ``headers`` are added to the response.
    """

    def __init__(
        self,
        status_code: int,
        detail: t.Any = None,
        headers: collections.abc.Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code, detail)
        self.status_code = status_code
        self.detail = http.HTTPStatus(status_code).phrase if detail is None else detail
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status_code}: {self.detail}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(status_code={self.status_code!r}, detail={self.detail!r})"


class ValidationError(HTTPException):
    """The request does not fit the schema; ``detail`` has the errors by field."""

    def __init__(self, detail: t.Any = None, status_code: int = 400) -> None:
        super().__init__(status_code, detail)


class DecodeError(HTTPException):
    """The body doesn't match its content type."""

    def __init__(self, detail: t.Any = None) -> None:
        super().__init__(400, detail)


class MethodNotAllowedException(HTTPException):
    """The path exists, but not for this method; the response's ``Allow`` lists the path's methods."""

    def __init__(self, method: str, allowed: collections.abc.Iterable[str]) -> None:
        super().__init__(405, headers={"allow": ", ".join(sorted(allowed))})
        self.method = method


class BodyTooLarge(HTTPException):
    """The body is larger than the application's limit; it was not read to its end."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The body is larger than {limit} bytes")
        self.limit = limit


class TooManyRecords(HTTPException):
    """The body has more records than the limit of the application or the resource; none was processed."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The body holds more than {limit} records: send them in several requests")
        self.limit = limit


class NoCodecAvailable(HTTPException):
    """The application can't decode this content type; ``content_type`` is None if the request has no such header."""

    def __init__(self, content_type: str | None, supported: collections.abc.Iterable[str]) -> None:
        found = "The body has no Content-Type, which" if content_type is None else f"Content type '{content_type}'"
        super().__init__(415, f"{found} is not one of {', '.join(supported)}")
        self.content_type = content_type


class UnsupportedCodingError(HTTPException):
    """The body of a request is in a content coding."""

    def __init__(self, coding: str) -> None:
        detail = f"Content-Encoding '{coding[:40]}' is not supported: send the body as it is"
        super().__init__(415, detail, {"accept-encoding": "identity"})


class SerializationError(HTTPException):
    """The value that a handler returned does not fit the schema that it declares."""

    def __init__(self, detail: t.Any = None) -> None:
        super().__init__(500, detail)


class WebSocketException(FlamaError):
    """Close the socket with this code (RFC 6455, section 7.4) and reason."""

    def __init__(self, code: int, reason: str | None = None) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason or ""


class Empty(FlamaError):
    """A page has no elements; it exists for code written for the reference."""


class RepositoryException(FlamaError):
    """The root of the errors of collections of records."""


class ResourceException(RepositoryException):
    """An operation of a repository failed.

    ``resource`` is the collection's name, ``id`` the record's key if the error is about one record, ``detail`` an
    explanation. Every attribute is sent over HTTP, so that clients raise the same error.
    """

    phrase: t.ClassVar[str] = "failed"

    def __init__(self, *, resource: str, id: t.Any = None, detail: str = "") -> None:
        super().__init__()
        self.resource = resource
        self.id = id
        self.detail = detail

    def __str__(self) -> str:
        id = f" ({self.id})" if self.id else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"Resource '{self.resource}'{id} {self.phrase}{detail}"

    def __repr__(self) -> str:
        return f'{type(self).__name__}("{self}")'

    def __reduce__(self) -> tuple[t.Any, ...]:
        return type(self).__new__, (type(self),), vars(self)


IntegrityKind: t.TypeAlias = t.Literal["unique", "foreign_key", "not_null", "check"]


class IntegrityError(ResourceException):
    """A constraint refused the write.

    ``kind``, ``constraint`` and ``fields`` identify the constraint, as far as the database reports it.
    """

    phrase = "integrity failed"

    def __init__(
        self,
        *,
        resource: str,
        id: t.Any = None,
        detail: str = "",
        kind: IntegrityKind | None = None,
        constraint: str | None = None,
        fields: collections.abc.Iterable[str] = (),
    ) -> None:
        super().__init__(resource=resource, id=id, detail=detail)
        self.kind = kind
        self.constraint = constraint
        self.fields = tuple(fields)


class NotFoundError(ResourceException):
    """No record matches."""

    phrase = "not found"


class AlreadyExistsError(ResourceException):
    """A record of this key exists already."""

    phrase = "already exists"


class MultipleRecordsError(ResourceException):
    """More than one record matches."""

    phrase = "multiple records found"


class ConflictError(ResourceException):
    """A concurrent write interfered; ``retryable`` is true if the whole unit of work can be retried."""

    phrase = "conflict"

    def __init__(self, *, resource: str, id: t.Any = None, detail: str = "", retryable: bool = False) -> None:
        super().__init__(resource=resource, id=id, detail=detail)
        self.retryable = retryable


class PreconditionFailedError(ConflictError):
    """The record is no longer the version that the write was meant for."""

    phrase = "precondition failed"


class InvalidDataError(ResourceException):
    """A value cannot be stored or queried: out of range, too long, or of the wrong form."""

    phrase = "invalid data"


class UnknownColumnError(InvalidDataError):
    """Data, a filter or an order names columns that the resource does not have; ``columns`` are those that it has.

    ``names`` and ``columns`` have the first 20 of each, truncated to 40 characters. The message includes the number of
    further names, up to ``counted``.
    """

    phrase = "unknown column"
    counted: t.ClassVar[int] = 1_000

    def __init__(
        self,
        *,
        resource: str,
        id: t.Any = None,
        detail: str = "",
        names: collections.abc.Iterable[str] = (),
        columns: collections.abc.Iterable[str] = (),
    ) -> None:
        self.names, more_names = _truncate_names(names, self.counted)
        self.columns, more_columns = _truncate_names(columns, self.counted)
        named = f"{', '.join(map(repr, self.names))}{more_names}: it has {', '.join(self.columns)}{more_columns}"
        super().__init__(resource=resource, id=id, detail=detail or named)


_MAX_NAMES: t.Final = 20
_MAX_NAME_LENGTH: t.Final = 40


def _truncate_names(names: collections.abc.Iterable[str], counted: int) -> tuple[tuple[str, ...], str]:
    """Return the first names, truncated, and a phrase with the number of the others."""
    several = [*names]
    listed = tuple(
        name if len(name) <= _MAX_NAME_LENGTH else f"{name[:_MAX_NAME_LENGTH]}…" for name in several[:_MAX_NAMES]
    )
    more = len(several) - _MAX_NAMES
    if more <= 0:
        return listed, ""
    return listed, f" and {more} more" if len(several) <= counted else f" and more than {counted - _MAX_NAMES} more"


class PermissionDeniedError(ResourceException):
    """The caller may not do this."""

    phrase = "permission denied"


class UnauthenticatedError(PermissionDeniedError):
    """The caller is not authenticated."""

    phrase = "not authenticated"


class UnavailableError(ResourceException):
    """The backend did not respond.

    ``retry_after`` is the number of seconds to wait before a retry, if the backend sent one. ``maybe_applied`` is true
    for a write that may have been done.
    """

    phrase = "unavailable"

    def __init__(
        self,
        *,
        resource: str,
        id: t.Any = None,
        detail: str = "",
        retry_after: float | None = None,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(resource=resource, id=id, detail=detail)
        self.retry_after = retry_after
        self.maybe_applied = maybe_applied


class TooManyRequestsError(UnavailableError):
    """The backend's rate limit was exceeded."""

    phrase = "too many requests"


class InvalidResponseError(ResourceException):
    """The backend's response was invalid: not JSON, another envelope, or a page that does not advance."""

    phrase = "invalid response"
