"""Large JSON bodies: a limit on their records, and decoding that doesn't block the event loop.

A decoder is one uninterruptible call. A large list is therefore decoded in slices, and the event loop runs between
them. One body is decoded at a time: waiting bodies are bytes, a tenth of the size of their values.
"""

import asyncio
import collections.abc
import contextlib
import functools
import re
import typing as t
import weakref

import msgspec

from flama import exceptions
from flama.schemas.adapter import ERROR_LIMIT, LARGE, Adapter, error_detail, too_many_errors

__all__ = ["RecordLimit", "decode_large", "decoding_slot", "names_of_large"]

_SLICE_SIZE: t.Final = 64 * 1024  # bytes: a slice takes 1 to 3 ms
_FIELDS_AT_MOST: t.Final = 100_000  # of a struct: creating one of 10,000 takes 30 ms and 4 MB
_IS_ARRAY: t.Final = re.compile(rb"\s*\[")
_ELEMENTS: t.Final = msgspec.json.Decoder(list[msgspec.Raw])
_MALFORMED: t.Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class RecordLimit:
    """A limit on the records of a body: of a list, or of each list in one of an object's ``fields``.

    None is no limit.
    """

    def __init__(self, most: int | None, fields: collections.abc.Sequence[str] = ()) -> None:
        self.most = most
        lists = [(f"field_{number}", msgspec.Raw, msgspec.Raw()) for number, _ in enumerate(fields)]
        names = dict(zip([name for name, *_ in lists], fields, strict=True))
        struct = msgspec.defstruct("Lists", lists, rename=names) if lists else None
        self._lists = None if struct is None else msgspec.json.Decoder(struct)

    def check_start(self, start: bytes | bytearray) -> None:
        """Raise TooManyRecords if the start of a body is a list of more records than the limit."""
        if self.most is not None and _IS_ARRAY.match(start):
            with contextlib.suppress(*_MALFORMED):  # incomplete JSON is malformed
                _check_length(start, self.most)

    def check(self, body: bytes) -> None:
        """Raise TooManyRecords if a JSON body has more records than the limit; those beyond it aren't decoded."""
        if self.most is None or len(body) <= 2 * self.most:  # too few bytes for more
            return
        if len(body) <= LARGE and body.count(b",") < self.most:  # for a large body, counting takes as long as decoding
            return
        with contextlib.suppress(*_MALFORMED):  # the decoder reports it
            if _IS_ARRAY.match(body):
                _check_length(body, self.most)
            elif self._lists is not None:
                for field in msgspec.structs.astuple(self._lists.decode(body)):
                    if _IS_ARRAY.match(field):
                        _check_length(field, self.most)


def _check_length(array: bytes | bytearray | msgspec.Raw, most: int) -> None:
    try:
        found = _bounded_decoder(most).decode(array)
    except msgspec.ValidationError as error:
        raise exceptions.TooManyRecords(most) from error
    if isinstance(found, list) and len(found) > most:
        raise exceptions.TooManyRecords(most)


@functools.lru_cache(16)
def _bounded_decoder(most: int) -> msgspec.json.Decoder[t.Any]:
    """Return a decoder of lists that fails after ``most`` elements.

    A ``max_length`` is checked after the whole list is decoded: 3 million empty objects take 210 MB. An array-like
    struct of optional fields fails at the first element beyond them, in 1 ms.
    """
    if most > _FIELDS_AT_MOST:
        return _ELEMENTS
    fields = [(f"_{index}", msgspec.Raw, msgspec.Raw()) for index in range(most)]
    return msgspec.json.Decoder(msgspec.defstruct("Elements", fields, array_like=True, forbid_unknown_fields=True))


_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def decoding_slot() -> collections.abc.AsyncGenerator[None]:
    """Wait until no other large body is being decoded on this event loop.

    The next one waits for as long again as this one took, so that the loop serves other requests.
    """
    loop = asyncio.get_running_loop()
    lock = _locks.setdefault(loop, asyncio.Lock())
    await lock.acquire()
    start = loop.time()
    try:
        yield
    finally:
        loop.call_later(loop.time() - start, lock.release)


async def decode_large(adapter: Adapter, body: bytes, *, slice_size: int = _SLICE_SIZE) -> t.Any:
    """Decode a large body as :meth:`Adapter.decode` does, a list slice by slice.

    Errors are those of that method, but without inputs. Of a record that is large itself, each list or mapping reports
    only its first error.

    :raises DecodeError: the body isn't valid JSON.
    :raises ValidationError: the value doesn't match the schema.
    """
    if not adapter.many or not _IS_ARRAY.match(body):
        return adapter.decode(body)
    found: list[t.Any] = []
    errors: list[dict[str, t.Any]] = []
    for start, piece in _slices(body, slice_size):
        await asyncio.sleep(0)
        try:
            found += adapter.decode(piece)
        except exceptions.ValidationError as error:
            errors += _shift_errors(error, start)
            if adapter.stops_at_first or len(errors) > ERROR_LIMIT or errors[-1]["type"] == too_many_errors()["type"]:
                break
    if errors:
        is_listed = len(errors) <= ERROR_LIMIT and errors[-1]["type"] != too_many_errors()["type"]
        raise exceptions.ValidationError(error_detail(errors if is_listed else [too_many_errors()]))
    return found


async def names_of_large(adapter: Adapter, body: bytes, most: int, *, slice_size: int = _SLICE_SIZE) -> list[str]:
    """Return the names in a large body, as :meth:`Adapter.names` does; not all if there are more than ``most``."""
    if not adapter.many or not _IS_ARRAY.match(body):
        return _keys(body, most)
    found: dict[str, None] = {}
    for _, piece in _slices(body, slice_size):
        await asyncio.sleep(0)
        found |= dict.fromkeys(adapter.names(piece))
        if len(found) > most:
            break
    return list(found)


def _slices(body: bytes, slice_size: int) -> collections.abc.Iterator[tuple[int, bytes]]:
    """Yield a JSON list as slices, each with the index of its first element in the whole.

    An element larger than a slice is a slice by itself.

    :raises DecodeError: the body isn't valid JSON.
    """
    try:
        elements = _ELEMENTS.decode(body)
    except _MALFORMED as error:
        raise exceptions.DecodeError(f"Invalid JSON: {error}") from error
    start = size = 0
    for index, element in enumerate(elements):
        length = len(memoryview(element))
        if size and size + length > slice_size:
            yield start, _join(elements[start:index])
            start, size = index, 0
        size += length
    yield start, _join(elements[start:])


def _join(elements: list[msgspec.Raw]) -> bytes:
    return b"[" + b",".join(elements) + b"]"


def _shift_errors(error: exceptions.ValidationError, start: int) -> list[dict[str, t.Any]]:
    """Return the errors of a slice with locations in the whole list, in order."""
    errors = reversed([*t.cast("dict[str, dict[str, t.Any]]", error.detail).values()])
    return [
        {name: value for name, value in each.items() if name != "input"} | {"loc": _shift_location(each["loc"], start)}
        for each in errors
    ]


def _shift_location(loc: list[t.Any], start: int) -> list[t.Any]:
    return [loc[0] + start, *loc[1:]] if loc and isinstance(loc[0], int) else loc


class _Key(str):
    """A field name, for which the decoder calls its hook."""


class _TooManyKeys(Exception):
    """Stops the decoder after enough names."""


def _keys(body: bytes, most: int) -> list[str]:
    found: dict[str, None] = {}

    def note(_: t.Any, name: str) -> _Key:
        found[name] = None
        if len(found) > most:
            raise _TooManyKeys
        return _Key()

    with contextlib.suppress(_TooManyKeys, *_MALFORMED):
        msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=note).decode(body)
    return list(found)
