"""Headers that frame a request's body (RFC 9112, section 6), always computed from the body itself.

A handler may forward its caller's headers. If they disagree with the body, a server would take a part of the body for
another request.
"""

import collections.abc
import re

import httpx

from flama.client._models import Headers

__all__ = ["check_length", "check_method", "frame"]

# RFC 9110, sections 5.1 (names) and 5.5 (values)
_NAMES = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?: [!#$%&'*+\-.^_`|~0-9A-Za-z]+)*")
_FORBIDDEN = re.compile(rb"[\0-\x08\n-\x1f\x7f]")

# "Expect" is dropped: a body is sent without waiting for "100 Continue".
_FRAMING = {b"content-length", b"transfer-encoding", b"expect"}


def frame(headers: Headers, length: int | None) -> tuple[Headers, int | None]:
    """Return the headers without those that frame the body, and the length of the body in bytes.

    ``length`` is None if the body is generated while it is sent. The length is then the ``Content-Length`` of the
    headers, or None.

    :raises httpx.LocalProtocolError: the headers disagree with the body, or can't be written.
    """
    names = [name for name, _ in headers]
    if (names and not _are_tokens(names)) or _FORBIDDEN.search(b"".join([value for _, value in headers])):
        raise httpx.LocalProtocolError("a header has a character in its name or value that can't be sent")
    lowered = [name.lower() for name in names]
    if lowered.count(b"host") > 1:
        raise httpx.LocalProtocolError("a request has one Host header")
    if _FRAMING.isdisjoint(lowered):
        return headers, length
    for name, value in headers:
        length = _parse_length(name.lower(), value, length)
    return [header for header in headers if header[0].lower() not in _FRAMING], length


def check_method(method: str) -> None:
    """Check that a method is a token (RFC 9110, section 9.1).

    :raises httpx.LocalProtocolError: it isn't.
    """
    if not _are_tokens([method.encode("ascii", "backslashreplace")]):
        raise httpx.LocalProtocolError(f"{method!r} is no method")


async def check_length(
    chunks: collections.abc.AsyncIterable[bytes], length: int | None
) -> collections.abc.AsyncGenerator[bytes]:
    """Yield the chunks of a body, and check that they add up to its length.

    :raises httpx.LocalProtocolError: they are longer or shorter.
    """
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if length is not None and size > length:
            raise _mismatch_error(length, f"at least {size}")
        yield chunk
    if length is not None and size != length:
        raise _mismatch_error(length, size)


def _are_tokens(names: list[bytes]) -> bool:
    joined = b" ".join(names)
    return joined.count(b" ") == len(names) - 1 and _NAMES.fullmatch(joined) is not None


def _parse_length(name: bytes, value: bytes, length: int | None) -> int | None:
    """Return the length of a body after one more of its headers."""
    if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
        raise httpx.LocalProtocolError(f"the transfer coding {value!r} can't be sent: leave the header out")
    if name != b"content-length":
        return length
    declared = int(value) if value.isdigit() and len(value) < 20 else None
    if declared is None or (length is not None and declared != length):
        raise _mismatch_error(value.decode("latin-1"), "another number of" if length is None else length)
    return declared


def _mismatch_error(declared: object, actual: object) -> httpx.LocalProtocolError:
    return httpx.LocalProtocolError(
        f"Content-Length is {declared} and the body has {actual} bytes: leave out the header, which is made of the body"
    )
