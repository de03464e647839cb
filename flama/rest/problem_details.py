"""Problem details (RFC 9457): the body of an error for clients that prefer this media type."""

import collections.abc
import http
import typing as t

from flama.rest.accept import is_preferred

__all__ = ["MEDIA_TYPE", "decode", "encode", "is_problem", "is_wanted"]

MEDIA_TYPE: t.Final = "application/problem+json"

_TYPE: t.Final = "urn:problem-type:flama:"
_NO_TYPE: t.Final = "about:blank"
_MEMBERS: t.Final = frozenset({"type", "title", "status", "detail", "instance", "errors"})
_PHRASES: t.Final = {status.value: status.phrase for status in http.HTTPStatus}


def encode(body: collections.abc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the problem details of an error's body.

    A ``detail`` by field becomes ``errors``, since the ``detail`` of a problem is a string.
    """
    status, detail, error = body["status_code"], body.get("detail"), body.get("error")
    rest = {name: value for name, value in body.items() if name not in {"status_code", "detail", "error"} | _MEMBERS}
    details = {} if detail is None else {"detail" if isinstance(detail, str) else "errors": detail}
    kind = _NO_TYPE if error is None else f"{_TYPE}{error}"
    return {"type": kind, "title": _PHRASES.get(status, "Error"), "status": status, **details, **rest}


def decode(problem: collections.abc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the error's body for problem details, the inverse of :func:`encode`."""
    kind = problem.get("type")
    error = kind.removeprefix(_TYPE) if isinstance(kind, str) and kind.startswith(_TYPE) else None
    detail = problem.get("detail", problem.get("errors"))
    rest = {name: value for name, value in problem.items() if name not in _MEMBERS}
    return {**rest, "status_code": problem.get("status"), "detail": detail, "error": error}


def is_problem(content: collections.abc.Mapping[str, t.Any]) -> bool:
    """Whether the body of an error consists of problem details."""
    return "status_code" not in content and "status" in content and ("type" in content or "title" in content)


def is_wanted(accept: str) -> bool:
    """Whether the value of ``Accept`` prefers problem details to other errors."""
    return is_preferred(accept, MEDIA_TYPE)
