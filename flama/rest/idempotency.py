"""Idempotency keys on the wire: the header by which a request says that it may be the same as one before."""

import hashlib
import typing as t

__all__ = ["HEADER", "REPLAYED", "SCHEMA", "decode", "encode", "fingerprint"]

HEADER: t.Final = "idempotency-key"
REPLAYED: t.Final = "idempotency-replayed"
"""The header of an answer that was given before, ``true`` then."""

_LONGEST: t.Final = 255

SCHEMA: t.Final[dict[str, t.Any]] = {"type": "string", "pattern": r"^[0-9A-Za-z-]+$", "maxLength": _LONGEST}
"""The usual form of a key, as JSON Schema."""


def encode(key: str) -> str:
    r"""Give the header's value for a key: a string of RFC 8941, in double quotes.

    :raises ValueError: it is empty, longer than 255 characters, or not of printable ASCII.
    """
    escaped = _checked(key).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def decode(value: str) -> str:
    r"""Give the key that a header's value holds, the inverse of :func:`encode`; it may stand without quotes.

    :raises ValueError: as :func:`encode` has it.
    """
    value = value.strip()
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return _checked(value)
    characters = iter(value[1:-1])
    return _checked("".join(next(characters, "") if each == "\\" else each for each in characters))


def fingerprint(method: str, path: str, query: bytes, body: bytes) -> str:
    """Give what tells one request from another of the same key."""
    whole = hashlib.blake2b(digest_size=16)
    for part in (method.encode(), path.encode("utf-8", "backslashreplace"), query, body):
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def _checked(key: str) -> str:
    if not 0 < len(key) <= _LONGEST or not key.isascii() or not key.isprintable():
        raise ValueError(f"a key has 1 to {_LONGEST} characters of printable ASCII, not as in {key[:40]!r}")
    return key
