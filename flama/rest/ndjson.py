"""Streams on the wire: NDJSON, one record a line, with an error as the last line of a stream that failed.

A record is an object, and an error is a list: ``["error", {...}]``, with the body of the error's response.
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
    """Return the line of a record, or of the error that ends the stream."""
    if not isinstance(item, ResourceException):
        return encoder(item) + _END
    encoded = errors.encode(item)
    return msgspec.json.encode((_ERROR, encoded[1] if encoded else {})) + _END


def decode(line: bytes, *, resource: str) -> dict[str, t.Any] | ResourceException:
    """Return the record or the error in a line, the inverse of :func:`encode`.

    :raises ValueError: the line is neither.
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
    """A splitter of a stream's chunks into lines.

    Blank lines are left out, and so is a byte order mark at the start.
    """

    def __init__(self) -> None:
        self._unfinished = bytearray()
        self._is_at_start = True

    @property
    def size(self) -> int:
        """The length in bytes of the unfinished line."""
        return len(self._unfinished)

    def read(self, chunk: bytes) -> list[bytes]:
        """Return the lines that end in the next chunk, in time linear in its length."""
        first, *others = chunk.split(_END)
        self._unfinished += first
        if not others:
            return []
        lines = [bytes(self._unfinished), *others[:-1]]
        self._unfinished = bytearray(others[-1])
        if self._is_at_start:
            lines[0], self._is_at_start = lines[0].removeprefix(codecs.BOM_UTF8), False
        return [line for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        """Return the last line of a complete stream, if it has no line feed."""
        return self.read(_END)
