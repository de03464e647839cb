"""Cursors: places in an ordered collection, as texts that mean nothing to who keeps them.

One is bound to the query that it came with, and tells when it was cut, changed or used with another. It is no secret:
who makes one up finds nothing that an honest query wouldn't.
"""

import base64
import collections.abc
import hashlib
import typing as t

import msgspec

from flama.rest.names import CURSOR
from flama.rest.values import Reader, text

__all__ = ["InvalidCursorError", "Place", "decode", "encode"]


class InvalidCursorError(ValueError):
    """A request's cursor is malformed, or belongs to another query."""


class Place(t.NamedTuple):
    """What the fields of an order are at a place, and whether one goes ``backward`` from there."""

    position: tuple[t.Any, ...]
    backward: bool = False


_DIGEST: t.Final = 8
_CONTENT: t.Final = msgspec.json.Decoder(tuple[bool, list[str | None]])


def encode(place: Place, binding: str) -> str:
    """Give the cursor of a place among the records that a query asks for, of which ``binding`` tells it from others.

    :raises TypeError: what a field holds has no form in a query.
    """
    texts = [None if value is None else text(value) for value in place.position]
    content = msgspec.json.encode((place.backward, texts))
    return base64.urlsafe_b64encode(_digest(content, binding) + content).decode().rstrip("=")


def decode(cursor: str, readers: collections.abc.Sequence[Reader], binding: str) -> Place:
    """Give the place that a cursor means, the inverse of :func:`encode`; one reader for each field of the order.

    :raises InvalidCursorError: it is none, or one of another query.
    """
    try:
        whole = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        backward, texts = _CONTENT.decode(whole[_DIGEST:])
        if whole[:_DIGEST] == _digest(whole[_DIGEST:], binding):
            return Place(tuple(_value(*each) for each in zip(readers, texts, strict=True)), backward)
    except (ValueError, msgspec.DecodeError, RecursionError):
        pass
    raise InvalidCursorError(f"{CURSOR} is none that this query was answered with: leave it empty to begin anew")


def _value(read: Reader, given: str | None) -> t.Any:
    return None if given is None else read(given)


def _digest(content: bytes, binding: str) -> bytes:
    key = hashlib.blake2b(binding.encode("utf-8", "backslashreplace"), digest_size=32).digest()
    return hashlib.blake2b(content, digest_size=_DIGEST, key=key).digest()
