"""Problem details (RFC 9457): the body of an error for who asks for that form of it."""

import collections.abc
import http
import typing as t

from flama.rest.accept import is_preferred

__all__ = ["MEDIA_TYPE", "decode", "encode", "is_problem", "is_wanted"]

MEDIA_TYPE: t.Final = "application/problem+json"

_TYPE: t.Final = "urn:problem-type:flama:"
_NO_TYPE: t.Final = "about:blank"
_OWN: t.Final = frozenset({"type", "title", "status", "detail", "instance", "errors"})
_PHRASES: t.Final = {status.value: status.phrase for status in http.HTTPStatus}


def encode(body: collections.abc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Give the problem that the body of an error tells of.

    What is said by field, where the problem's own ``detail`` is a sentence, becomes its ``errors``.
    """
    status, detail, error = body["status_code"], body.get("detail"), body.get("error")
    rest = {name: value for name, value in body.items() if name not in {"status_code", "detail", "error"} | _OWN}
    said = {} if detail is None else {"detail" if isinstance(detail, str) else "errors": detail}
    kind = _NO_TYPE if error is None else f"{_TYPE}{error}"
    return {"type": kind, "title": _PHRASES.get(status, "Error"), "status": status, **said, **rest}


def decode(problem: collections.abc.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Give the body of an error that a problem tells of, the inverse of :func:`encode`."""
    kind = problem.get("type")
    error = kind.removeprefix(_TYPE) if isinstance(kind, str) and kind.startswith(_TYPE) else None
    detail = problem.get("detail", problem.get("errors"))
    rest = {name: value for name, value in problem.items() if name not in _OWN}
    return {**rest, "status_code": problem.get("status"), "detail": detail, "error": error}


def is_problem(content: collections.abc.Mapping[str, t.Any]) -> bool:
    """Tell whether the body of an error is a problem."""
    return "status_code" not in content and "status" in content and ("type" in content or "title" in content)


def is_wanted(accept: str) -> bool:
    """Whether the value of ``Accept`` prefers problems to other errors."""
    return is_preferred(accept, MEDIA_TYPE)
