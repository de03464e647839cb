"""Errors on the wire: a repository's error as a status, a body and headers."""

import codecs
import collections.abc
import contextlib
import datetime
import email.utils
import http
import math
import re
import typing as t

import msgspec

from flama import exceptions
from flama.exceptions import ResourceException
from flama.rest import problem_details

__all__ = ["STATUS", "decode", "encode", "is_page"]

#: The status of each error. A status without an error's name is decoded to the first error that has it.
STATUS: t.Final[collections.abc.Mapping[type[ResourceException], int]] = {
    exceptions.IntegrityError: 400,
    exceptions.UnauthenticatedError: 401,
    exceptions.PermissionDeniedError: 403,
    exceptions.NotFoundError: 404,
    exceptions.ConflictError: 409,
    exceptions.AlreadyExistsError: 409,
    exceptions.MultipleRecordsError: 409,
    exceptions.PreconditionFailedError: 412,
    exceptions.InvalidDataError: 422,
    exceptions.UnknownColumnError: 422,
    exceptions.TooManyRequestsError: 429,
    exceptions.ResourceException: 500,
    exceptions.InvalidResponseError: 502,
    exceptions.UnavailableError: 503,
}

_BY_NAME = {error.__name__: error for error in STATUS}

_BY_STATUS: dict[int, type[ResourceException]] = {
    **{status: error for error, status in reversed(list(STATUS.items()))},
    405: exceptions.ResourceException,
    408: exceptions.UnavailableError,
    410: exceptions.NotFoundError,
    413: exceptions.InvalidDataError,
    414: exceptions.InvalidDataError,
    428: exceptions.PreconditionFailedError,
    500: exceptions.UnavailableError,
    **dict.fromkeys((502, 504, *range(520, 531)), exceptions.UnavailableError),  # a proxy's
}

_Seconds: t.Any = t.Annotated[float, msgspec.Meta(ge=0)]

#: The attributes of errors that are sent, with their types.
_FIELDS: dict[str, t.Any] = {
    "resource": str,
    "id": str | int | float | bool | None,
    "detail": str,
    "kind": exceptions.IntegrityKind | None,
    "constraint": str | None,
    "fields": tuple[str, ...],
    "names": tuple[str, ...],
    "columns": tuple[str, ...],
    "retryable": bool,
    "retry_after": _Seconds | None,
    "maybe_applied": bool,
}

_SEQUENCES = {"fields", "names", "columns"}

# The body's "detail" is the whole message, as in every other error response.
_KEYS = {"detail": "reason"}

# Errors of status 400 that mean a malformed request, rather than a violated constraint.
_NO_CONSTRAINT = {exceptions.ValidationError.__name__, exceptions.DecodeError.__name__}

_PAGE: t.Final = re.compile(rb"[ \t\r\n\xef\xbb\xbf]*<")

_STATUSES = {status.value for status in http.HTTPStatus}
_MAX_DETAIL = 1_000
_MAX_NAMES = 100
_MAX_NAME = 200
_MAX_WAIT = 1e9
_MAX_DATE = 64


def encode(error: BaseException) -> tuple[int, dict[str, t.Any], dict[str, str]] | None:
    """Return the status, the JSON body and the headers of the response to a resource's error; None for any other.

    The body's ``detail`` is the message for people; the error's own detail is sent as ``reason``. An id of a type that
    JSON doesn't have is sent as a string.
    """
    if not isinstance(error, ResourceException):
        return None
    base = next(cls for cls in type(error).__mro__ if issubclass(cls, ResourceException) and cls in STATUS)
    status = STATUS[base]
    body: dict[str, t.Any] = {"status_code": status, "detail": _escape_surrogates(str(error)), "error": base.__name__}
    for name, value in vars(error).items():
        if name in _FIELDS:
            body[_KEYS.get(name, name)] = [_to_json(item) for item in value] if name in _SEQUENCES else _to_json(value)
    return status, body, _headers(error, body.get("retry_after"))


def _headers(error: ResourceException, retry_after: float | None) -> dict[str, str]:
    if isinstance(error, exceptions.UnauthenticatedError):
        return {"www-authenticate": "Bearer"}  # required for status 401 (RFC 9110, section 15.5.2)
    return {} if retry_after is None else {"retry-after": str(math.ceil(retry_after))}


def is_page(body: bytes) -> bool:
    """Whether a body is a page of HTML or XML, such as a proxy sends in place of the service."""
    return _PAGE.match(body) is not None


def decode(
    status: int,
    body: bytes,
    headers: collections.abc.Mapping[str, str],
    *,
    resource: str,
    id: t.Any = None,
    write: bool,
) -> ResourceException:
    """Return the error of a response that isn't a success, or that is a page of HTML or XML.

    It is the inverse of :func:`encode` for bodies that :func:`encode` made. For others, the status determines the
    error, which is about this ``resource`` and ``id``. ``write`` is true if the request may have changed records. The
    body isn't trusted: values of a wrong type are left out. Header names are lower-case, or the mapping ignores case.
    """
    content = _decode_body(body)
    error = _find_class(status, content, write=write)
    fields: dict[str, t.Any]
    if content.get("error") == error.__name__ and "resource" in content:
        decoded = error(resource=resource)
        fields = {name: content[key] for name in vars(decoded) if (key := _KEYS.get(name, name)) in content}
    else:
        decoded = error(resource=resource, id=id, detail=_detail(status, content))
        if 300 <= status < 400 and "location" in headers:
            decoded.add_note(f"It redirects to {headers['location'][:_MAX_DETAIL]}")  # a note isn't sent to callers
        fields = {"maybe_applied": write and (status >= 500 or _is_success(status))}
    fields.setdefault("retry_after", _parse_retry_after(headers))
    vars(decoded).update(_convert_fields(fields, vars(decoded).keys()))
    return decoded


def _convert_fields(fields: dict[str, t.Any], names: collections.abc.Collection[str]) -> dict[str, t.Any]:
    checked = {}
    for name in fields.keys() & names:
        with contextlib.suppress(msgspec.ValidationError):
            checked[name] = _truncate(msgspec.convert(fields[name], _FIELDS[name]))
    return checked


def _truncate(value: t.Any) -> t.Any:
    """Return a field's value, truncated: a foreign service may send megabytes."""
    match value:
        case str():
            return value[:_MAX_DETAIL]
        case tuple():
            return tuple(name[:_MAX_NAME] for name in value[:_MAX_NAMES])
    return value


def _find_class(status: int, content: dict[str, t.Any], *, write: bool) -> type[ResourceException]:
    reported = content.get("error")
    name = reported if isinstance(reported, str) else ""
    named = _BY_NAME.get(name)
    if named is not None and STATUS[named] == status:
        return named
    if _is_success(status):
        return exceptions.UnavailableError
    if status == 400 and (not write or name in _NO_CONSTRAINT):
        return exceptions.InvalidDataError
    return _BY_STATUS.get(status, ResourceException if 400 <= status < 500 else exceptions.InvalidResponseError)


def _decode_body(body: bytes) -> dict[str, t.Any]:
    try:
        content = msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return problem_details.decode(content) if problem_details.is_problem(content) else content


def _detail(status: int, content: dict[str, t.Any]) -> str:
    match content.get("detail"):
        case None | "":
            pass
        case str(detail):
            return detail[:_MAX_DETAIL]
        case detail:
            return msgspec.json.encode(detail).decode()[:_MAX_DETAIL]
    phrase = http.HTTPStatus(status).phrase if status in _STATUSES else ""
    rest = ""
    if 300 <= status < 400:
        rest = "to another place, which is not followed"
    elif _is_success(status):
        rest = "with a page of HTML or XML instead of JSON"
    return " ".join(filter(None, (str(status), phrase, rest)))[:_MAX_DETAIL]


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def _parse_retry_after(headers: collections.abc.Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After`` (RFC 9110, section 10.2.3), which may also be a date."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:_MAX_DATE]), _MAX_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(value[:_MAX_DATE])
        wait = (
            moment.replace(tzinfo=moment.tzinfo or datetime.UTC) - datetime.datetime.now(datetime.UTC)
        ).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return min(max(0.0, wait), _MAX_WAIT)


def _to_json(value: t.Any) -> t.Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else _escape_surrogates(str(value))


def _escape_surrogates(text: str) -> str:
    """Return the text with lone surrogates escaped, which UTF-8 can't encode."""
    return text.encode("utf-8", "backslashreplace").decode()
