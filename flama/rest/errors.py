"""Errors on the wire: a repository's error as status, body and headers."""

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
from flama.rest import problems

__all__ = ["STATUS", "decode", "encode", "is_page"]

#: The status of each error. Of those that share one, the first is what a status alone is taken for.
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

#: What of an error travels, and as what.
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

# The body's "detail" is the whole sentence, as in every other answer that is an error.
_KEYS = {"detail": "reason"}

# Answers of 400 that tell of a request which couldn't be understood, rather than of a constraint.
_NO_CONSTRAINT = {exceptions.ValidationError.__name__, exceptions.DecodeError.__name__}

_PAGE: t.Final = re.compile(rb"[ \t\r\n\xef\xbb\xbf]*<")

_STATUSES = {status.value for status in http.HTTPStatus}
_MAX_DETAIL = 1_000
_MAX_NAMES = 100
_MAX_NAME = 200
_FOREVER = 1e9
_LONGEST_DATE = 64


def encode(error: BaseException) -> tuple[int, dict[str, t.Any], dict[str, str]] | None:
    """Give the status, the JSON body and the headers that answer a resource's error; None for any other.

    ``detail`` is the sentence for people; the error's own detail travels as ``reason``. An id that JSON has no type
    for travels as a string.
    """
    if not isinstance(error, ResourceException):
        return None
    known = next(cls for cls in type(error).__mro__ if issubclass(cls, ResourceException) and cls in STATUS)
    status = STATUS[known]
    body: dict[str, t.Any] = {"status_code": status, "detail": _unicode(str(error)), "error": known.__name__}
    for name, value in vars(error).items():
        if name in _FIELDS:
            body[_KEYS.get(name, name)] = [_plain(item) for item in value] if name in _SEQUENCES else _plain(value)
    return status, body, _headers(error, body.get("retry_after"))


def _headers(error: ResourceException, retry_after: float | None) -> dict[str, str]:
    if isinstance(error, exceptions.UnauthenticatedError):
        return {"www-authenticate": "Bearer"}  # without one, it is no 401 (RFC 9110, section 15.5.2)
    return {} if retry_after is None else {"retry-after": str(math.ceil(retry_after))}


def is_page(body: bytes) -> bool:
    """Whether a body is a page of HTML or XML, which something that stands before a service answered."""
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
    """Return the error that a response means which isn't a success, or is a page instead of one.

    The inverse of :func:`encode`, where the body is ours; else what the status says, for this ``resource`` and
    ``id``. ``write`` tells that the request may have changed something. The body is not trusted: what isn't of its
    field's type is left out. Header names are lower-case, or their mapping doesn't care.
    """
    content = _content(body)
    error = _class(status, content, write=write)
    fields: dict[str, t.Any]
    if content.get("error") == error.__name__ and "resource" in content:
        decoded = error(resource=resource)
        fields = {name: content[key] for name in vars(decoded) if (key := _KEYS.get(name, name)) in content}
    else:
        decoded = error(resource=resource, id=id, detail=_detail(status, content))
        if 300 <= status < 400 and "location" in headers:
            decoded.add_note(f"It redirects to {headers['location'][:_MAX_DETAIL]}")  # which isn't for every caller
        fields = {"maybe_applied": write and (status >= 500 or _is_success(status))}
    fields.setdefault("retry_after", _retry_after(headers))
    vars(decoded).update(_checked(fields, vars(decoded).keys()))
    return decoded


def _checked(fields: dict[str, t.Any], names: collections.abc.Collection[str]) -> dict[str, t.Any]:
    checked = {}
    for name in fields.keys() & names:
        with contextlib.suppress(msgspec.ValidationError):
            checked[name] = _cut(msgspec.convert(fields[name], _FIELDS[name]))
    return checked


def _cut(value: t.Any) -> t.Any:
    """Return a field's value no longer than a detail may be: a service of somebody else's may send megabytes."""
    match value:
        case str():
            return value[:_MAX_DETAIL]
        case tuple():
            return tuple(name[:_MAX_NAME] for name in value[:_MAX_NAMES])
    return value


def _class(status: int, content: dict[str, t.Any], *, write: bool) -> type[ResourceException]:
    said = content.get("error")
    name = said if isinstance(said, str) else ""
    named = _BY_NAME.get(name)
    if named is not None and STATUS[named] == status:
        return named
    if _is_success(status):
        return exceptions.UnavailableError
    if status == 400 and (not write or name in _NO_CONSTRAINT):
        return exceptions.InvalidDataError
    return _BY_STATUS.get(status, ResourceException if 400 <= status < 500 else exceptions.InvalidResponseError)


def _content(body: bytes) -> dict[str, t.Any]:
    try:
        content = msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return problems.decode(content) if problems.is_problem(content) else content


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


def _retry_after(headers: collections.abc.Mapping[str, str]) -> float | None:
    """Give the seconds of a ``Retry-After`` (RFC 9110, section 10.2.3), which may also be a date."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:_LONGEST_DATE]), _FOREVER)
    try:
        moment = email.utils.parsedate_to_datetime(value[:_LONGEST_DATE])
        wait = (
            moment.replace(tzinfo=moment.tzinfo or datetime.UTC) - datetime.datetime.now(datetime.UTC)
        ).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return min(max(0.0, wait), _FOREVER)


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else _unicode(str(value))


def _unicode(text: str) -> str:
    """Give the text with what UTF-8 can't hold, lone surrogates, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
