"""Decimals read from the digits that a body of JSON has, of which a float would keep only the first 15 or so."""

import collections.abc
import decimal
import re
import typing as t

import msgspec

__all__ = ["Shape", "quote_decimals", "shape"]

Shape: t.TypeAlias = dict[t.Any, t.Any] | None
"""Where decimals are in a value: under which keys, or with ``_EACH`` in each item. None for a decimal itself."""

_EACH: t.Final = object()
_LONG: t.Final = re.compile(rb"[0-9][0-9.]{15}")
_OBJECT: t.Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: t.Final = msgspec.json.Decoder(list[msgspec.Raw])
_MAPPINGS: t.Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_CONTAINERS: t.Final = (
    *(list, set, frozenset, tuple, collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable),
    *_MAPPINGS,
)

_Fields: t.TypeAlias = collections.abc.Callable[[t.Any], collections.abc.Mapping[str, t.Any] | None]


def shape(annotation: t.Any, fields: _Fields) -> Shape:
    """Return where decimals are in values of a type, ``{}`` if nowhere.

    ``fields`` returns the annotations of a model's fields by each name under which they are sent, None of no model.
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
    if annotation is decimal.Decimal:
        return None
    if hasattr(annotation, "__value__"):  # an alias of PEP 695
        return _shape(annotation.__value__, fields, known)
    if (origin := t.get_origin(annotation)) is None:
        return _shape_of_model(annotation, fields, known)
    arguments = _types_in(annotation)
    if origin in _MAPPINGS:
        del arguments[:1]
    if len(arguments) != 1:  # which of several is meant is told by the value, and a text may mean another
        return {}
    inner = _shape(arguments[0], fields, known)
    return inner if inner == {} or origin not in _CONTAINERS else {_EACH: inner}


def _types_in(annotation: t.Any) -> list[t.Any]:
    """Return the arguments of a generic type that are types of values: not what annotates them, not None."""
    arguments = t.get_args(annotation)
    several = arguments[:1] if hasattr(annotation, "__metadata__") else arguments
    return [each for each in several if each not in (type(None), ...)]


def _shape_of_model(model: t.Any, fields: _Fields, known: dict[t.Any, dict[t.Any, t.Any]]) -> dict[t.Any, t.Any]:
    if model in known:
        return known[model]
    found = known[model] = {}  # it may be in itself
    for name, inner in (fields(model) or {}).items():
        if (where := _shape(inner, fields, known)) != {} or where is found:
            found[name] = where
    return found


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
