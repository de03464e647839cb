"""Non-finite numbers as strings: JSON has no form for infinity and NaN."""

import collections.abc
import dataclasses
import math
import typing as t

__all__ = ["SPELLED", "find_infinite", "read_infinite", "spell_infinite"]

SPELLED: t.Final = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
"""The strings that represent these numbers in responses."""


def find_infinite(value: t.Any) -> tuple[str | int, ...] | None:
    """Return the path of the first number in a value that isn't finite, as keys and indexes; None if there is none."""
    if type(value) is float:
        return None if math.isfinite(value) else ()
    for key, item in _items(value):
        if (inner := find_infinite(item)) is not None:
            return (key, *inner)
    return None


def spell_infinite(value: t.Any, source: t.Any = ...) -> t.Any:
    """Return a value of JSON's types with strings for numbers that aren't finite; the value itself if it has none.

    ``source`` is the value before its conversion to JSON's types, if that may have lost such numbers.
    """
    source = value if source is ... else source
    match value, source:
        case _, float() if not math.isfinite(source):
            return "NaN" if math.isnan(source) else "Infinity" if source > 0 else "-Infinity"
        case dict(), dict():
            pairs = zip(value.items(), source.values(), strict=True)
            spelled = {key: spell_infinite(item, of) for (key, item), of in pairs}
            return value if all(spelled[key] is item for key, item in value.items()) else spelled
        case list(), list() | tuple() | set() | frozenset():
            items = [spell_infinite(item, of) for item, of in zip(value, source, strict=True)]
            return value if all(new is item for new, item in zip(items, value, strict=True)) else items
    return value


def read_infinite(records: list[dict[str, t.Any]], names: collections.abc.Iterable[str]) -> list[dict[str, t.Any]]:
    """Return records with the strings of :func:`spell_infinite` converted to numbers, in the fields of these names."""
    return [
        {
            **record,
            **{name: SPELLED[text] for name in names if isinstance(text := record.get(name), str) and text in SPELLED},
        }
        for record in records
    ]


def _items(value: t.Any) -> collections.abc.Iterable[tuple[t.Any, t.Any]]:
    match value:
        case str() | bytes() | int() | None:
            return ()
        case dict():
            return value.items()
        case list() | tuple() | set() | frozenset():
            return enumerate(value)
    if hasattr(value, "__pydantic_fields__") or dataclasses.is_dataclass(value):
        extra: dict[str, t.Any] | None = getattr(value, "__pydantic_extra__", None)
        return [*getattr(value, "__dict__", {}).items(), *(extra or {}).items()]
    return ()
