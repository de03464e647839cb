"""Preconditions on the wire: which state of a record a request is meant for, by entity tags (RFC 9110, section 13)."""

import collections.abc
import hashlib
import re
import typing as t

from flama.rest.values import text

__all__ = ["ANY", "IF_MATCH", "IF_NONE_MATCH", "SCHEMA", "decode", "encode", "etag", "matches", "of_version", "version"]

ANY: t.Final = ("*",)
"""What stands for whatever state, as long as there is a record."""

IF_MATCH: t.Final = "if-match"
IF_NONE_MATCH: t.Final = "if-none-match"

SCHEMA: t.Final[dict[str, t.Any]] = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*")$'}
"""The usual form of such a header, as JSON Schema."""

_TAG = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_VERSION: t.Final = '"v'
_WEAK: t.Final = "W/"
_LONGEST: t.Final = 8_192


def etag(body: bytes) -> str:
    """Give the tag of a record that is sent as this body."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def of_version(number: t.Any) -> str:
    """Give the tag of a record that counts its versions; :func:`version` is the inverse."""
    return f'{_VERSION}{text(number)}"'


def version(tag: str) -> str | None:
    """Give the text of the version that a tag stands for; None when it stands for none."""
    return tag[len(_VERSION) : -1] if tag.startswith(_VERSION) else None


def encode(tags: collections.abc.Iterable[str]) -> str:
    """Give the header's value for tags, or for :data:`ANY`."""
    return ", ".join(tags)


def decode(value: str) -> tuple[str, ...]:
    """Give the tags that the value of ``If-Match`` or ``If-None-Match`` holds, or :data:`ANY`.

    :raises ValueError: it holds none, or something else.
    """
    if value.strip() == "*":
        return ANY
    tags, position = list[str](), 0
    while position < len(value) <= _LONGEST:
        match = _TAG.match(value, position)
        if match is None:
            break
        tags.append(match[1])
        position = match.end()
    if not tags or position < len(value):
        raise ValueError(f"an entity tag stands in double quotes, not as in {value[:40]!r}")
    return tuple(tags)


def matches(tags: collections.abc.Collection[str], tag: str | None, *, weak: bool = False) -> bool:
    """Tell whether a record's tag is one of these; None is the tag of no record.

    ``weak`` tags are alike when the records mean the same, as ``If-None-Match`` has it.
    """
    if tag is None or tuple(tags) == ANY:
        return tag is not None
    if weak:
        return tag.removeprefix(_WEAK) in {each.removeprefix(_WEAK) for each in tags}
    return not tag.startswith(_WEAK) and tag in tags
