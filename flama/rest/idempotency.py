"""Idempotency keys on the wire: the header that identifies repetitions of a request."""

import hashlib
import typing as t

__all__ = ["HEADER", "REPLAYED", "SCHEMA", "decode", "encode", "fingerprint"]

HEADER: t.Final = "idempotency-key"
REPLAYED: t.Final = "idempotency-replayed"
"""The header of a replayed response, which is ``true`` then."""

_MAX_LENGTH: t.Final = 255

SCHEMA: t.Final[dict[str, t.Any]] = {"type": "string", "pattern": r"^[0-9A-Za-z-]+$", "maxLength": _MAX_LENGTH}
"""The usual form of a key, as JSON Schema."""


def encode(key: str) -> str:
    r"""Return the header's value for a key: a string of RFC 8941, in double quotes.

    :raises ValueError: the key is empty, longer than 255 characters, or not of printable ASCII.
    """
    escaped = _check_key(key).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def decode(value: str) -> str:
    r"""Return the key in a header's value, the inverse of :func:`encode`; the quotes are optional.

    :raises ValueError: as for :func:`encode`.
    """
    value = value.strip()
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return _check_key(value)
    characters = iter(value[1:-1])
    return _check_key("".join(next(characters, "") if each == "\\" else each for each in characters))


def fingerprint(method: str, path: str, query: bytes, body: bytes) -> str:
    """Return a hash that distinguishes requests with the same key."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (method.encode(), path.encode("utf-8", "backslashreplace"), query, body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _check_key(key: str) -> str:
    if not 0 < len(key) <= _MAX_LENGTH or not key.isascii() or not key.isprintable():
        raise ValueError(f"a key has 1 to {_MAX_LENGTH} characters of printable ASCII, not as in {key[:40]!r}")
    return key
