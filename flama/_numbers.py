"""Numbers that JSON has no form for: infinity, and what is no number."""

import collections.abc
import dataclasses
import math
import typing as t

__all__ = ["SPELLED", "find_infinite", "read_infinite", "spell_infinite"]

SPELLED: t.Final = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
"""The texts that stand in responses for numbers which JSON doesn't have."""


def find_infinite(value: t.Any) -> tuple[str | int, ...] | None:
    """Return where a number that JSON has no form for is in a validated value: by keys and indexes; None if nowhere."""
    if type(value) is float:
        return None if math.isfinite(value) else ()
    for key, item in _items(value):
        if (inner := find_infinite(item)) is not None:
            return (key, *inner)
    return None


def spell_infinite(value: t.Any, source: t.Any = ...) -> t.Any:
    """Return a value of JSON's types with texts for the numbers that JSON has no form for; itself if it has none.

    ``source`` is what the value was made of, where that may have lost them.
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
    """Return records with the numbers that :func:`spell_infinite` spelled, in the fields of these names."""
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
