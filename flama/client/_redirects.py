"""Redirects that a call follows: the same request at another path of the same server."""

import collections
import typing as t
import urllib.parse

import httpx

__all__ = ["find_next", "is_redirect"]

_STATUSES: t.Final = {301, 302, 303, 307, 308}
_METHOD_PRESERVING: t.Final = {307, 308}  # the same request at another URL (RFC 9110, section 15.4)
_SEE_OTHER: t.Final = 303  # another resource, never the same
_SAFE: t.Final = {"GET", "HEAD", "OPTIONS"}


def is_redirect(status: int) -> bool:
    """Whether a response of this status may name another URL for the request."""
    return status in _STATUSES


def find_next(
    method: str, url: httpx.URL, status: int, location: str | None, *, follows_reads: bool
) -> httpx.URL | None:
    """Return the URL to which a redirected request is sent again unchanged; None if it isn't sent again.

    Redirects of 307 and 308 are followed, and those that only add or remove a slash at the path's end. With
    ``follows_reads``, a request that only reads follows the other redirects as well. One that writes never does,
    since it would become a GET. A redirect to another server is never followed. Nor is one that loses a parameter of
    the query: it would select more than was requested.

    :raises httpx.RemoteProtocolError: the location is no URL.
    """
    if status not in _STATUSES or location is None:
        return None
    target = _resolve(url, location)
    if not _is_same_server(url, target) or not _has_whole_query(url, target):
        return None
    reads = method in _SAFE
    is_repeated = status in _METHOD_PRESERVING or (reads and follows_reads)
    if is_repeated or (_differs_by_slash(url, target) and (reads or status != _SEE_OTHER)):
        return url.copy_with(raw_path=target.raw_path)
    return None


def _is_same_server(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.raw_host, one.port) == (other.scheme, other.raw_host, other.port)


def _resolve(url: httpx.URL, location: str) -> httpx.URL:
    try:
        target = httpx.URL(location)
        return target if target.is_absolute_url else url.join(target)
    except httpx.InvalidURL as error:
        raise httpx.RemoteProtocolError(f"it redirects to '{location}', which is no URL: {error}") from error


def _has_whole_query(url: httpx.URL, target: httpx.URL) -> bool:
    return url.query == target.query or not _parameters(url) - _parameters(target)


def _parameters(url: httpx.URL) -> collections.Counter[tuple[str, str]]:
    return collections.Counter(urllib.parse.parse_qsl(url.query.decode("ascii"), keep_blank_values=True))


def _differs_by_slash(url: httpx.URL, target: httpx.URL) -> bool:
    one, other = _segments(url), _segments(target)
    return one != other and _without_slash(one) == _without_slash(other)


def _without_slash(segments: list[str]) -> list[str]:
    return segments if segments[-1] else segments[:-1]


def _segments(url: httpx.URL) -> list[str]:
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    return [urllib.parse.unquote(segment, errors="surrogateescape") for segment in path.split("/")]
