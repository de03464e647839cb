"""Exact decimals from JSON bodies, whose digits a float would truncate after about 15."""

import collections.abc
import decimal
import re
import typing as t

import msgspec

__all__ = ["DecimalPaths", "find_decimals", "quote_decimals"]

DecimalPaths: t.TypeAlias = dict[t.Any, t.Any] | None
"""The places of decimals in a value, by key, with ``_EACH`` for all items; None stands for a decimal itself."""

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


def find_decimals(annotation: t.Any, fields: _Fields) -> DecimalPaths:
    """Return the places of decimals in values of a type, ``{}`` if it contains none.

    ``fields`` returns the annotations of a model's fields by each input name, None for a type that isn't a model.
    """
    return _find(annotation, fields, {})


def quote_decimals(body: bytes, where: DecimalPaths) -> bytes:
    """Return a JSON body with its long decimals as strings, which a schema reads with all their digits.

    A body that isn't JSON, or has another structure, is returned unchanged.
    """
    if not _LONG.search(body):
        return body
    try:
        return _quote(body, where)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


def _find(annotation: t.Any, fields: _Fields, known: dict[t.Any, dict[t.Any, t.Any]]) -> DecimalPaths:
    if annotation is decimal.Decimal:
        return None
    if hasattr(annotation, "__value__"):  # an alias of PEP 695
        return _find(annotation.__value__, fields, known)
    if (origin := t.get_origin(annotation)) is None:
        return _find_in_model(annotation, fields, known)
    arguments = _types_in(annotation)
    if origin in _MAPPINGS:
        del arguments[:1]
    if len(arguments) != 1:  # the value decides between several types, and a string might select another one
        return {}
    inner = _find(arguments[0], fields, known)
    return inner if inner == {} or origin not in _CONTAINERS else {_EACH: inner}


def _types_in(annotation: t.Any) -> list[t.Any]:
    """Return the type arguments of a generic type, without metadata and None."""
    arguments = t.get_args(annotation)
    several = arguments[:1] if hasattr(annotation, "__metadata__") else arguments
    return [each for each in several if each not in (type(None), ...)]


def _find_in_model(model: t.Any, fields: _Fields, known: dict[t.Any, dict[t.Any, t.Any]]) -> dict[t.Any, t.Any]:
    if model in known:
        return known[model]
    found = known[model] = {}  # the model may be recursive
    for name, inner in (fields(model) or {}).items():
        if (where := _find(inner, fields, known)) != {} or where is found:
            found[name] = where
    return found


def _quote(raw: bytes, where: DecimalPaths) -> bytes:
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
