"""Preconditions on the wire: entity tags, ``If-Match`` and ``If-None-Match`` (RFC 9110, section 13)."""

import collections.abc
import hashlib
import re
import typing as t

from flama.rest.value_codecs import encode_value

__all__ = [
    "ANY",
    "IF_MATCH",
    "IF_NONE_MATCH",
    "SCHEMA",
    "decode",
    "encode",
    "etag",
    "etag_from_version",
    "matches",
    "version",
]

ANY: t.Final = ("*",)
"""The tags that match any existing record."""

IF_MATCH: t.Final = "if-match"
IF_NONE_MATCH: t.Final = "if-none-match"

SCHEMA: t.Final[dict[str, t.Any]] = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*")$'}
"""The JSON Schema of the usual form of these headers."""

_TAG = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_VERSION_PREFIX: t.Final = '"v'
_WEAK_PREFIX: t.Final = "W/"
_MAX_LENGTH: t.Final = 8_192


def etag(body: bytes) -> str:
    """Return the tag of a record that is sent as this body."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def etag_from_version(number: t.Any) -> str:
    """Return the tag of a record's version; :func:`version` is the inverse."""
    return f'{_VERSION_PREFIX}{encode_value(number)}"'


def version(tag: str) -> str | None:
    """Return the version in a tag, as a string; None if the tag isn't one of a version."""
    return tag[len(_VERSION_PREFIX) : -1] if tag.startswith(_VERSION_PREFIX) else None


def encode(tags: collections.abc.Iterable[str]) -> str:
    """Return the header's value for tags, or for :data:`ANY`."""
    return ", ".join(tags)


def decode(value: str) -> tuple[str, ...]:
    """Return the tags in the value of ``If-Match`` or ``If-None-Match``, or :data:`ANY`.

    :raises ValueError: the value is empty or malformed.
    """
    if value.strip() == "*":
        return ANY
    tags, position = list[str](), 0
    while position < len(value) <= _MAX_LENGTH:
        match = _TAG.match(value, position)
        if match is None:
            break
        tags.append(match[1])
        position = match.end()
    if not tags or position < len(value):
        raise ValueError(f"an entity tag stands in double quotes, not as in {value[:40]!r}")
    return tuple(tags)


def matches(tags: collections.abc.Collection[str], tag: str | None, *, weak: bool = False) -> bool:
    """Whether a record's tag is one of these; ``tag`` is None if there is no record.

    The comparison is ``weak`` for ``If-None-Match``, and strong for ``If-Match``.
    """
    if tag is None or tuple(tags) == ANY:
        return tag is not None
    if weak:
        return tag.removeprefix(_WEAK_PREFIX) in {each.removeprefix(_WEAK_PREFIX) for each in tags}
    return not tag.startswith(_WEAK_PREFIX) and tag in tags
