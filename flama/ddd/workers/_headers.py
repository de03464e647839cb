"""Headers that one request adds to its unit's calls of remote services."""

import collections.abc
import re
import typing as t

from flama import exceptions

__all__ = ["check_headers"]

_NAME: t.Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token (RFC 9110, section 5.6.2)
_VALUE: t.Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# headers of one message or hop (RFC 9110, section 7.6.1), and those that each call sets itself
_OWN: t.Final = frozenset(
    {
        "accept", "accept-encoding", "connection", "expect", "host", "http2-settings", "idempotency-key", "keep-alive",
        "range", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_OWN_PREFIXES: t.Final = ("content-", "if-", "proxy-")


def check_headers(headers: t.Any, function: t.Any) -> collections.abc.Mapping[str, str]:
    """Return what a function returned as the headers of calls.

    :raises ApplicationError: it is no mapping of strings; or it has headers that a call sets itself, as those of its
        body and its connection. Forwarded, these would let the caller inject requests into the connection.
    """
    name = getattr(function, "__name__", repr(function))
    if not isinstance(headers, collections.abc.Mapping):
        raise exceptions.ApplicationError(f"{name}() returned {headers!r}: headers are a mapping of strings")
    if own := sorted(
        each for each in headers if str(each).lower().startswith(_OWN_PREFIXES) or str(each).lower() in _OWN
    ):
        raise exceptions.ApplicationError(
            f"{name}() returned {', '.join(own)}, which a call sets itself: return the headers by name that are to be "
            "sent on, such as authorization and traceparent"
        )
    if wrong := [each for each, value in headers.items() if not _is_header(each, value)]:
        raise exceptions.ApplicationError(f"{name}() returned {wrong[0]!r}, whose name or value no header can have")
    return headers


def _is_header(name: t.Any, value: t.Any) -> bool:
    is_text = isinstance(name, str) and isinstance(value, str)
    return is_text and bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value) and value == value.strip(" \t"))
