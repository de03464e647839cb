"""Headers of a request that frame its body (RFC 9112, section 6): made of the body, whatever a caller gives.

A handler may forward its caller's headers. Where they disagree with the body, a server would take a part of the body
for another request.
"""

import collections.abc
import re

import httpx

from flama.client.messages import Headers

__all__ = ["check_method", "frame", "measured"]

# RFC 9110, sections 5.1 (names) and 5.5 (values)
_NAMES = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?: [!#$%&'*+\-.^_`|~0-9A-Za-z]+)*")
_UNWRITABLE = re.compile(rb"[\0-\x08\n-\x1f\x7f]")

# A body isn't held back until the server wants it.
_FRAMING = {b"content-length", b"transfer-encoding", b"expect"}


def frame(headers: Headers, length: int | None) -> tuple[Headers, int | None]:
    """Return the headers without those that frame the body, and the length of the body in bytes.

    ``length`` is that of a body which is there. None stands for one that is made while it is sent: its length is the
    one that the headers have, or None.

    :raises httpx.LocalProtocolError: the headers disagree with the body, or can't be written.
    """
    names = [name for name, _ in headers]
    if (names and not _are_tokens(names)) or _UNWRITABLE.search(b"".join([value for _, value in headers])):
        raise httpx.LocalProtocolError("a header has a character in its name or value that can't be sent")
    lowered = [name.lower() for name in names]
    if lowered.count(b"host") > 1:
        raise httpx.LocalProtocolError("a request has one Host header")
    if _FRAMING.isdisjoint(lowered):
        return headers, length
    for name, value in headers:
        length = _length(name.lower(), value, length)
    return [header for header in headers if header[0].lower() not in _FRAMING], length


def check_method(method: str) -> None:
    """Check that it is a token (RFC 9110, section 9.1).

    :raises httpx.LocalProtocolError: it isn't.
    """
    if not _are_tokens([method.encode("ascii", "backslashreplace")]):
        raise httpx.LocalProtocolError(f"{method!r} is no method")


async def measured(
    chunks: collections.abc.AsyncIterable[bytes], length: int | None
) -> collections.abc.AsyncGenerator[bytes]:
    """Yield the chunks of a body of this length.

    :raises httpx.LocalProtocolError: they are longer or shorter.
    """
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if length is not None and size > length:
            raise _disagreement(length, f"at least {size}")
        yield chunk
    if length is not None and size != length:
        raise _disagreement(length, size)


def _are_tokens(names: list[bytes]) -> bool:
    joined = b" ".join(names)
    return joined.count(b" ") == len(names) - 1 and _NAMES.fullmatch(joined) is not None


def _length(name: bytes, value: bytes, length: int | None) -> int | None:
    """Return the length of a body after one more header."""
    if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
        raise httpx.LocalProtocolError(f"the transfer coding {value!r} can't be sent: leave the header out")
    if name != b"content-length":
        return length
    given = int(value) if value.isdigit() and len(value) < 20 else None
    if given is None or (length is not None and given != length):
        raise _disagreement(value.decode("latin-1"), "another number of" if length is None else length)
    return given


def _disagreement(given: object, found: object) -> httpx.LocalProtocolError:
    return httpx.LocalProtocolError(
        f"Content-Length is {given} and the body has {found} bytes: leave out the header, which is made of the body"
    )
