"""Streams on the wire: records as lines of JSON, which may end with an error.

A record is an object, so that a line which is a list can be told from one: ``["error", {...}]`` is the last line of a
stream that failed, with the body that the error would have been answered with.
"""

import codecs
import collections.abc
import typing as t

import msgspec

from flama.exceptions import ResourceException
from flama.rest import errors

__all__ = ["LineReader", "MEDIA_TYPE", "decode", "encode"]

MEDIA_TYPE: t.Final = "application/x-ndjson"

_ERROR: t.Final = "error"
_END: t.Final = b"\n"


def encode(item: t.Any, encoder: collections.abc.Callable[[t.Any], bytes] = msgspec.json.encode) -> bytes:
    """Give the line of a record, or of the error that ends the stream."""
    if not isinstance(item, ResourceException):
        return encoder(item) + _END
    encoded = errors.encode(item)
    return msgspec.json.encode((_ERROR, encoded[1] if encoded else {})) + _END


def decode(line: bytes, *, resource: str) -> dict[str, t.Any] | ResourceException:
    """Give the record that a line holds, or the error, the inverse of :func:`encode`.

    :raises ValueError: it holds neither.
    """
    try:
        match msgspec.json.decode(line):
            case dict() as record:
                return t.cast(dict[str, t.Any], record)
            case ["error", {"status_code": int(status)} as body]:
                return errors.decode(status, msgspec.json.encode(body), {}, resource=resource, write=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"a line of the stream is no JSON: {error}") from error
    raise ValueError(f"a line of the stream is no record: {line[:40]!r}")


class LineReader:
    """The lines of a stream, out of chunks of it.

    Lines without anything in them mean nothing, and are left out, as is a byte order mark at the start.
    """

    def __init__(self) -> None:
        self._begun = bytearray()
        self._is_at_start = True

    @property
    def size(self) -> int:
        """The length in bytes of the line that has begun and not ended."""
        return len(self._begun)

    def read(self, chunk: bytes) -> list[bytes]:
        """Return the lines that end in the next chunk, in time linear in its length."""
        first, *others = chunk.split(_END)
        self._begun += first
        if not others:
            return []
        lines = [bytes(self._begun), *others[:-1]]
        self._begun = bytearray(others[-1])
        if self._is_at_start:
            lines[0], self._is_at_start = lines[0].removeprefix(codecs.BOM_UTF8), False
        return [line for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        """Return the last line of a stream that is whole, if no line feed ended it."""
        return self.read(_END)
