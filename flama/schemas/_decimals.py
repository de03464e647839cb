"""Decimals read from the digits that a body of JSON has, of which a float would keep only the first 15 or so."""

import collections.abc
import decimal
import re
import typing as t

import msgspec

__all__ = ["Shape", "quote_decimals", "shape"]

Shape: t.TypeAlias = dict[t.Any, t.Any] | None
"""Where decimals are in a value: under which keys; those of :data:`EACH` are of each item. None for a decimal itself."""

_EACH: t.Final = object()
_LONG: t.Final = re.compile(rb"[0-9][0-9.]{15}")
_OBJECT: t.Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: t.Final = msgspec.json.Decoder(list[msgspec.Raw])
_COLLECTIONS: t.Final = (list, set, frozenset, tuple, collections.abc.Sequence, collections.abc.Iterable)
_MAPPINGS: t.Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

_Fields: t.TypeAlias = collections.abc.Callable[[t.Any], collections.abc.Mapping[str, t.Any] | None]


def shape(annotation: t.Any, fields: _Fields) -> Shape:
    """Return where decimals are in values of a type, ``{}`` if nowhere.

    ``fields`` returns the annotations of a model's fields, by each name under which they are sent; None of another type.
    """
    return _shape(annotation, fields, {})


def quote_decimals(body: bytes, where: Shape) -> bytes:
    """Return a body of JSON with its long decimals as texts, which a schema reads with all their digits.

    What isn't JSON, or has another shape, is returned as it is.
    """
    if not _LONG.search(body):
        return body
    try:
        return _quote(body, where)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


def _shape(annotation: t.Any, fields: _Fields, known: dict[t.Any, dict[t.Any, t.Any]]) -> Shape:
    if hasattr(annotation, "__metadata__"):
        return _shape(t.get_args(annotation)[0], fields, known)
    if hasattr(annotation, "__value__"):  # of an alias of PEP 695
        return _shape(annotation.__value__, fields, known)
    if annotation is decimal.Decimal:
        return None
    origin = t.get_origin(annotation)
    arguments = [each for each in t.get_args(annotation) if each not in (type(None), ...)]
    if origin in _MAPPINGS and len(arguments) == 2:
        return _each(_shape(arguments[1], fields, known))
    if origin in _COLLECTIONS:
        return _each(_shape(arguments[0], fields, known)) if len(arguments) == 1 else {}
    if origin is not None:
        # of several types, which is meant is told by the value: a text may mean another than the number
        return _shape(arguments[0], fields, known) if len(arguments) == 1 else {}
    if annotation in known:
        return known[annotation]
    if (named := fields(annotation)) is None:
        return {}
    found = known[annotation] = {}
    for name, inner in named.items():
        if (where := _shape(inner, fields, known)) != {} or where is found:
            found[name] = where
    return found


def _each(inner: Shape) -> Shape:
    return {} if inner == {} else {_EACH: inner}


def _quote(raw: bytes, where: Shape) -> bytes:
    first = raw.lstrip()[:1]
    if where is None:
        return b'"%b"' % raw.strip() if first and first in b"-0123456789" else raw
    if first == b"[" and _EACH in where:
        return msgspec.json.encode([msgspec.Raw(_quote(bytes(item), where[_EACH])) for item in _ARRAY.decode(raw)])
    if first != b"{":
        return raw
    found = _OBJECT.decode(raw)
    for name in found if _EACH in where else where.keys() & found.keys():
        inner = where[_EACH] if _EACH in where else where[name]
        found[name] = msgspec.Raw(_quote(bytes(found[name]), inner))
    return msgspec.json.encode(found)
