"""Large bodies of JSON: how many records they may hold, and how they are read while others are served.

A decoder is one call that nothing interrupts. A large list is decoded in slices instead, with a turn of the event loop
between them, and one body at a time: the bodies that wait are bytes, a tenth of what they become.
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
from flama.schemas.adapter import ERROR_LIMIT, LARGE, Adapter, invalid, too_many

__all__ = ["RecordLimit", "decode_large", "names_of_large", "turn"]

_SLICE: t.Final = 64 * 1024  # bytes: a slice takes 1 to 3 ms
_FIELDS_AT_MOST: t.Final = 100_000  # of a struct: one of 10,000 takes 30 ms to make, and 4 MB
_IS_ARRAY: t.Final = re.compile(rb"\s*\[")
_ELEMENTS: t.Final = msgspec.json.Decoder(list[msgspec.Raw])
_MALFORMED: t.Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class RecordLimit:
    """How many records a body may hold: as a list, or in a list that is one of these ``fields`` of an object.

    None is no limit.
    """

    def __init__(self, most: int | None, fields: collections.abc.Sequence[str] = ()) -> None:
        self.most = most
        lists = [(f"field_{number}", msgspec.Raw, msgspec.Raw()) for number, _ in enumerate(fields)]
        names = dict(zip([name for name, *_ in lists], fields, strict=True))
        struct = msgspec.defstruct("Lists", lists, rename=names) if lists else None
        self._lists = None if struct is None else msgspec.json.Decoder(struct)

    def check_start(self, start: bytes | bytearray) -> None:
        """Raise TooManyRecords for the start of a body that is a list of more records than this."""
        if self.most is not None and _IS_ARRAY.match(start):
            with contextlib.suppress(*_MALFORMED):  # which it is, as it has no end
                _check_length(start, self.most)

    def check(self, body: bytes) -> None:
        """Raise TooManyRecords for a body of JSON with more records than this, after looking at no more of them."""
        if self.most is None or len(body) <= 2 * self.most:  # too few bytes for so many
            return
        if len(body) <= LARGE and body.count(b",") < self.most:  # of a large one, counting takes as long as looking
            return
        with contextlib.suppress(*_MALFORMED):  # which the decoder says
            if _IS_ARRAY.match(body):
                _check_length(body, self.most)
            elif self._lists is not None:
                for field in msgspec.structs.astuple(self._lists.decode(body)):
                    if _IS_ARRAY.match(field):
                        _check_length(field, self.most)


def _check_length(array: bytes | bytearray | msgspec.Raw, most: int) -> None:
    try:
        found = _bounded(most).decode(array)
    except msgspec.ValidationError as error:
        raise exceptions.TooManyRecords(most) from error
    if isinstance(found, list) and len(found) > most:
        raise exceptions.TooManyRecords(most)


@functools.lru_cache(16)
def _bounded(most: int) -> msgspec.json.Decoder[t.Any]:
    """Return a decoder of lists that stops behind so many elements.

    A ``max_length`` is looked at when the list is there: 3 million empty objects take 210 MB. A struct that is an array
    of optional fields is refused at the first element beyond them, in 1 ms.
    """
    if most > _FIELDS_AT_MOST:
        return _ELEMENTS
    fields = [(f"_{index}", msgspec.Raw, msgspec.Raw()) for index in range(most)]
    return msgspec.json.Decoder(msgspec.defstruct("Elements", fields, array_like=True, forbid_unknown_fields=True))


_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def turn() -> collections.abc.AsyncGenerator[None]:
    """Wait until no other large body is decoded on this event loop, which then is others' for as long as this takes."""
    loop = asyncio.get_running_loop()
    lock = _turns.setdefault(loop, asyncio.Lock())
    await lock.acquire()
    start = loop.time()
    try:
        yield
    finally:
        loop.call_later(loop.time() - start, lock.release)


async def decode_large(adapter: Adapter, body: bytes) -> t.Any:
    """Return what :meth:`Adapter.decode` returns of a large body, a list slice by slice.

    It raises what that raises, but for errors' inputs, and for a record that is large by itself: its lists and mappings
    have the first of their errors alone.

    :raises DecodeError: it isn't JSON.
    :raises ValidationError: the value doesn't fit the schema.
    """
    if not adapter.many or not _IS_ARRAY.match(body):
        return adapter.decode(body)
    found: list[t.Any] = []
    errors: list[dict[str, t.Any]] = []
    for start, piece in _slices(body):
        await asyncio.sleep(0)
        try:
            found += adapter.decode(piece)
        except exceptions.ValidationError as error:
            errors += _moved(error, start)
            if adapter.stops_at_first or len(errors) > ERROR_LIMIT or errors[-1]["type"] == too_many()["type"]:
                break
    if errors:
        is_told = len(errors) <= ERROR_LIMIT and errors[-1]["type"] != too_many()["type"]
        raise exceptions.ValidationError(invalid(errors if is_told else [too_many()]))
    return found


async def names_of_large(adapter: Adapter, body: bytes, most: int) -> list[str]:
    """Return what :meth:`Adapter.names` returns of a large body; if there are more than ``most``, more than these."""
    if not adapter.many or not _IS_ARRAY.match(body):
        return _keys(body, most)
    found: dict[str, None] = {}
    for _, piece in _slices(body):
        await asyncio.sleep(0)
        found |= dict.fromkeys(adapter.names(piece))
        if len(found) > most:
            break
    return list(found)


def _slices(body: bytes) -> collections.abc.Iterator[tuple[int, bytes]]:
    """Yield a list as several lists, each with the index that its first element has in the whole.

    An element that is larger than a slice is alone in one.

    :raises DecodeError: it isn't JSON.
    """
    try:
        elements = _ELEMENTS.decode(body)
    except _MALFORMED as error:
        raise exceptions.DecodeError(f"Invalid JSON: {error}") from error
    start = size = 0
    for index, element in enumerate(elements):
        length = len(memoryview(element))
        if size and size + length > _SLICE:
            yield start, _joined(elements[start:index])
            start, size = index, 0
        size += length
    yield start, _joined(elements[start:])


def _joined(elements: list[msgspec.Raw]) -> bytes:
    return b"[" + b",".join(elements) + b"]"


def _moved(error: exceptions.ValidationError, start: int) -> list[dict[str, t.Any]]:
    """Return the errors of a slice as those of the whole, in their order."""
    errors = reversed([*t.cast("dict[str, dict[str, t.Any]]", error.detail).values()])
    return [
        {name: value for name, value in each.items() if name != "input"} | {"loc": _from(each["loc"], start)}
        for each in errors
    ]


def _from(loc: list[t.Any], start: int) -> list[t.Any]:
    return [loc[0] + start, *loc[1:]] if loc and isinstance(loc[0], int) else loc


class _Key(str):
    """The name of a field, of which the decoder tells."""


class _TooManyKeys(Exception):
    """There are more names than anybody wants to know."""


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
