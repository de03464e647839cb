"""Cursors: positions in an ordered collection, as texts that clients send back.

A cursor is bound to the query that it came with. With a secret of the application it is encrypted and authenticated.
Without one it is readable, and anybody can make one: it may only hold what the page's records hold as well.
"""

import base64
import binascii
import collections.abc
import contextlib
import dataclasses
import hashlib
import importlib
import os
import typing as t

import msgspec

from flama.exceptions import ApplicationError, DependencyNotInstalled
from flama.rest.names import CURSOR
from flama.rest.values import Reader, text

__all__ = ["Codec", "InvalidCursorError", "Place", "QueryCursors", "Secret", "codec"]

Secret: t.TypeAlias = str | bytes | collections.abc.Sequence[str | bytes]
"""A secret of an application, or several: the first encrypts, all decrypt."""

_Readers: t.TypeAlias = collections.abc.Sequence[Reader]


class InvalidCursorError(ValueError):
    """A request's cursor is malformed, or belongs to another query."""


class Place(t.NamedTuple):
    """What the fields of an order are at a place, and whether one goes ``backward`` from there."""

    position: tuple[t.Any, ...]
    backward: bool = False


class Codec:
    """Cursors that anybody can read and make: their checksum finds mistakes, not attacks."""

    is_secret: bool = False

    def encode(self, place: Place, binding: str) -> str:
        """Return the cursor of a place among the records of a query; ``binding`` tells it from other queries.

        :raises TypeError: what a field holds has no form in a query.
        """
        texts = [None if value is None else text(value) for value in place.position]
        content = msgspec.json.encode((place.backward, texts))
        return base64.urlsafe_b64encode(self._seal(content, _bytes(binding))).decode().rstrip("=")

    def decode(self, cursor: str, readers: _Readers, binding: str) -> Place:
        """Return the place of a cursor, the inverse of :meth:`encode`; ``readers`` has one for each field of the order.

        :raises InvalidCursorError: :meth:`encode` didn't make it for this binding.
        """
        try:
            whole = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            content = self._open(whole, _bytes(binding))
            if content is not None:
                return _read(content, readers)
        except (binascii.Error, ValueError, OverflowError, msgspec.DecodeError, RecursionError):
            pass
        raise InvalidCursorError(f"{CURSOR} is none that this query was answered with: leave it empty to begin anew")

    def _seal(self, content: bytes, binding: bytes) -> bytes:
        return _digest(content, binding) + content

    def _open(self, whole: bytes, binding: bytes) -> bytes | None:
        content = whole[_DIGEST:]
        return content if whole[:_DIGEST] == _digest(content, binding) else None


class _Cipher(t.Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class _EncryptingCodec(Codec):
    """Cursors by AES-GCM-SIV (RFC 8452), with a random nonce; a binding is the associated data."""

    is_secret = True

    def __init__(self, ciphers: collections.abc.Sequence[_Cipher], invalid: type[Exception]) -> None:
        self._ciphers = ciphers
        self._invalid = invalid

    def _seal(self, content: bytes, binding: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        # JSON may end with spaces, so that the length says little about what is in it
        padded = content.ljust(-(-len(content) // _BLOCK) * _BLOCK)
        return nonce + self._ciphers[0].encrypt(nonce, padded, binding)

    def _open(self, whole: bytes, binding: bytes) -> bytes | None:
        for cipher in self._ciphers:
            with contextlib.suppress(self._invalid):
                return cipher.decrypt(whole[:_NONCE], whole[_NONCE:], binding)
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class QueryCursors:
    """The cursors of one query: of the ``others`` of its parameters, on a ``path``, for a caller of a ``scope``."""

    codec: Codec
    path: str
    scope: str
    others: collections.abc.Sequence[tuple[str, str]]

    def encode(self, place: Place, order: str = "") -> str:
        """Return the cursor of a place in an order.

        :raises TypeError: what a field holds has no form in a query.
        """
        return self.codec.encode(place, self._binding(order))

    def decode(self, cursor: str, readers: _Readers, order: str = "") -> Place:
        """Return the place of a cursor, the inverse of :meth:`encode`.

        :raises InvalidCursorError: it is none of this query in this order.
        """
        return self.codec.decode(cursor, readers, self._binding(order))

    def _binding(self, order: str) -> str:
        return repr((self.path.rstrip("/"), self.scope, sorted(self.others), order))


def codec(secret: Secret | None) -> Codec:
    """Return what makes and reads the cursors of an application with this secret, or without any.

    :raises ApplicationError: it is neither text nor bytes, of 32 bytes at least, nor a sequence of such.
    :raises DependencyNotInstalled: there is a secret, and no ``cryptography``.
    """
    if secret is None:
        return Codec()
    secrets = [_check_secret(each) for each in _listed(secret)]
    try:
        aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
        invalid = importlib.import_module("cryptography.exceptions").InvalidTag
    except ImportError as error:
        raise DependencyNotInstalled(dependency="cryptography", dependant="Flama(secret=…)", extra="secrets") from error
    return _EncryptingCodec([aead.AESGCMSIV(_key(each)) for each in secrets], invalid)


def _listed(secret: t.Any) -> list[t.Any]:
    """Return the secrets that are given, of which there is one at least."""
    is_list = isinstance(secret, collections.abc.Sequence) and not isinstance(secret, str | bytes)
    return [*secret] if is_list and secret else [secret]


def _check_secret(secret: t.Any) -> bytes:
    found = secret.encode() if isinstance(secret, str) else secret
    if isinstance(found, bytes) and len(found) >= _SHORTEST:
        return found
    kind = f"{len(found)} bytes" if isinstance(found, bytes) else type(found).__name__
    raise ApplicationError(
        f"A secret of the application is text or bytes, of {_SHORTEST} bytes at least, not {kind}: "
        "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
    )


_SHORTEST: t.Final = 32  # bytes
_DIGEST: t.Final = 8
_NONCE: t.Final = 12
_BLOCK: t.Final = 64
_CONTENT: t.Final = msgspec.json.Decoder(tuple[bool, list[str | None]])


def _key(secret: bytes) -> bytes:
    """Return the key of cursors, which says nothing about the secret, nor about its keys for other purposes."""
    return hashlib.blake2b(secret, digest_size=32, person=b"flama.cursors").digest()


def _read(content: bytes, readers: _Readers) -> Place:
    backward, texts = _CONTENT.decode(content)
    values = (None if each is None else read(each) for read, each in zip(readers, texts, strict=True))
    return Place(tuple(values), backward)


def _bytes(binding: str) -> bytes:
    return binding.encode("utf-8", "backslashreplace")


def _digest(content: bytes, binding: bytes) -> bytes:
    key = hashlib.blake2b(binding, digest_size=32).digest()
    return hashlib.blake2b(content, digest_size=_DIGEST, key=key).digest()
