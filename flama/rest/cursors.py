"""Cursors: positions in an ordered collection, as opaque strings that clients send back.

A cursor is bound to the query whose response contained it. With a secret of the application it is encrypted and
authenticated. Without one, anybody can read and forge it: it may only contain values that the page's records contain.
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
from flama.rest.query_parameters import CURSOR
from flama.rest.value_codecs import Decoder, encode_value

__all__ = ["Codec", "CursorPosition", "InvalidCursorError", "QueryCursors", "Secret", "codec"]

Secret: t.TypeAlias = str | bytes | collections.abc.Sequence[str | bytes]
"""One or several secrets of an application: the first encrypts, all decrypt."""

_Readers: t.TypeAlias = collections.abc.Sequence[Decoder]


class InvalidCursorError(ValueError):
    """A request's cursor is malformed, or belongs to another query."""


class CursorPosition(t.NamedTuple):
    """The values of an order's fields at a position, and whether the page goes ``backward`` from there."""

    values: tuple[t.Any, ...]
    backward: bool = False


class Codec:
    """A codec of cursors that anybody can read and forge: their checksum detects mistakes, not attacks."""

    is_secret: bool = False

    def encode(self, position: CursorPosition, binding: str) -> str:
        """Return the cursor of a position in a query's records; ``binding`` identifies the query.

        :raises TypeError: a value has no form in a query.
        """
        texts = [None if value is None else encode_value(value) for value in position.values]
        content = msgspec.json.encode((position.backward, texts))
        return base64.urlsafe_b64encode(self._seal(content, _encode_binding(binding))).decode().rstrip("=")

    def decode(self, cursor: str, readers: _Readers, binding: str) -> CursorPosition:
        """Return the position of a cursor, the inverse of :meth:`encode`.

        ``readers`` decode the values, one for each field of the order.

        :raises InvalidCursorError: the cursor isn't one that :meth:`encode` returned for this binding.
        """
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            content = self._open(sealed, _encode_binding(binding))
            if content is not None:
                return _decode_content(content, readers)
        except (binascii.Error, ValueError, OverflowError, msgspec.DecodeError, RecursionError):
            pass
        raise InvalidCursorError(f"{CURSOR} is none that this query was answered with: leave it empty to begin anew")

    def _seal(self, content: bytes, binding: bytes) -> bytes:
        return _digest(content, binding) + content

    def _open(self, sealed: bytes, binding: bytes) -> bytes | None:
        content = sealed[_DIGEST_SIZE:]
        return content if sealed[:_DIGEST_SIZE] == _digest(content, binding) else None


class _Cipher(t.Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class _EncryptingCodec(Codec):
    """A codec of cursors encrypted by AES-GCM-SIV (RFC 8452); a binding is the associated data."""

    is_secret = True

    def __init__(self, ciphers: collections.abc.Sequence[_Cipher], invalid: type[Exception]) -> None:
        self._ciphers = ciphers
        self._invalid = invalid

    def _seal(self, content: bytes, binding: bytes) -> bytes:
        nonce = os.urandom(_NONCE_SIZE)
        # padded with spaces, which JSON permits, so that the length reveals little about the content
        padded = content.ljust(-(-len(content) // _BLOCK_SIZE) * _BLOCK_SIZE)
        return nonce + self._ciphers[0].encrypt(nonce, padded, binding)

    def _open(self, sealed: bytes, binding: bytes) -> bytes | None:
        for cipher in self._ciphers:
            with contextlib.suppress(self._invalid):
                return cipher.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], binding)
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class QueryCursors:
    """The cursors of one query.

    They are bound to its ``path``, to the caller's ``scope``, and to ``others``, its parameters apart from the page's.
    """

    codec: Codec
    path: str
    scope: str
    others: collections.abc.Sequence[tuple[str, str]]

    def encode(self, position: CursorPosition, order: str = "") -> str:
        """Return the cursor of a position in an order.

        :raises TypeError: a value has no form in a query.
        """
        return self.codec.encode(position, self._binding(order))

    def decode(self, cursor: str, readers: _Readers, order: str = "") -> CursorPosition:
        """Return the position of a cursor, the inverse of :meth:`encode`.

        :raises InvalidCursorError: the cursor isn't one of this query in this order.
        """
        return self.codec.decode(cursor, readers, self._binding(order))

    def _binding(self, order: str) -> str:
        return repr((self.path.rstrip("/"), self.scope, sorted(self.others), order))


def codec(secret: Secret | None) -> Codec:
    """Return the codec of an application's cursors, which encrypts if there is a secret.

    :raises ApplicationError: the secret isn't a string or bytes of at least 32 bytes, or a sequence of these.
    :raises DependencyNotInstalled: there is a secret, but ``cryptography`` is not installed.
    """
    if secret is None:
        return Codec()
    secrets = [_check_secret(each) for each in _as_list(secret)]
    try:
        aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
        invalid = importlib.import_module("cryptography.exceptions").InvalidTag
    except ImportError as error:
        raise DependencyNotInstalled(dependency="cryptography", dependant="Flama(secret=…)", extra="secrets") from error
    return _EncryptingCodec([aead.AESGCMSIV(_derive_key(each)) for each in secrets], invalid)


def _as_list(secret: t.Any) -> list[t.Any]:
    """Return one or several secrets as a list, which isn't empty."""
    is_list = isinstance(secret, collections.abc.Sequence) and not isinstance(secret, str | bytes)
    return [*secret] if is_list and secret else [secret]


def _check_secret(secret: t.Any) -> bytes:
    found = secret.encode() if isinstance(secret, str) else secret
    if isinstance(found, bytes) and len(found) >= _MIN_SECRET:
        return found
    kind = f"{len(found)} bytes" if isinstance(found, bytes) else type(found).__name__
    raise ApplicationError(
        f"A secret of the application is text or bytes, of {_MIN_SECRET} bytes at least, not {kind}: "
        "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
    )


_MIN_SECRET: t.Final = 32  # bytes
_DIGEST_SIZE: t.Final = 8
_NONCE_SIZE: t.Final = 12
_BLOCK_SIZE: t.Final = 64
_CONTENT: t.Final = msgspec.json.Decoder(tuple[bool, list[str | None]])


def _derive_key(secret: bytes) -> bytes:
    """Derive the key of cursors, which reveals neither the secret nor keys derived from it for other purposes."""
    return hashlib.blake2b(secret, digest_size=32, person=b"flama.cursors").digest()


def _decode_content(content: bytes, readers: _Readers) -> CursorPosition:
    backward, texts = _CONTENT.decode(content)
    values = (None if each is None else read(each) for read, each in zip(readers, texts, strict=True))
    return CursorPosition(tuple(values), backward)


def _encode_binding(binding: str) -> bytes:
    return binding.encode("utf-8", "backslashreplace")


def _digest(content: bytes, binding: bytes) -> bytes:
    key = hashlib.blake2b(binding, digest_size=32).digest()
    return hashlib.blake2b(content, digest_size=_DIGEST_SIZE, key=key).digest()
