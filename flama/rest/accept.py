"""Content negotiation: which of two media types a request's ``Accept`` prefers (RFC 9110, section 12.5.1)."""

import functools
import re
import typing as t

__all__ = ["is_preferred"]

_RANGES: t.Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PARAMETERS: t.Final = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
_WEIGHT: t.Final = re.compile(r"[qQ]\s*=\s*(0(?:\.\d*)?|1(?:\.0*)?)")
_ANYTHING: t.Final = "*/*"


_MAX_CACHED: t.Final = 1_000  # characters of a header whose result is cached


def is_preferred(accept: str | None, media_type: str, default: str = "application/json") -> bool:
    """Whether a response should have this media type rather than the default.

    That is so if its weight is greater, or if the weights are equal and the header names it: a wildcard expresses no
    preference. If neither is acceptable, the default is sent.
    """
    if not accept:
        return False
    compare = _is_preferred if len(accept) <= _MAX_CACHED else _is_preferred.__wrapped__
    return compare(accept, media_type, default)


@functools.lru_cache(64)
def _is_preferred(accept: str, media_type: str, default: str) -> bool:
    weights = _weights(accept)
    weight = _weight(weights, media_type)
    other = _weight(weights, default)
    return weight > other or (weight == other > 0 and media_type in weights)


def _weights(accept: str) -> dict[str, float]:
    """Return the weight of each media range; the greater one if a range occurs twice."""
    weights: dict[str, float] = {}
    for media_range in _RANGES.findall(accept):
        name, *parameters = [part.strip() for part in _PARAMETERS.findall(media_range)] or [""]
        name, weight = name.lower(), _parse_weight(parameters)
        if "/" in name and weight is not None:
            weights[name] = max(weight, weights.get(name, 0.0))
    return weights


def _parse_weight(parameters: list[str]) -> float | None:
    """Return the weight among a range's parameters: 1 if there is none, None if it is malformed."""
    weight = next((each for each in parameters if re.match(r"[qQ]\s*=", each)), "q=1")
    found = _WEIGHT.fullmatch(weight)
    return float(found[1]) if found else None


def _weight(weights: dict[str, float], media_type: str) -> float:
    """Return the weight of a media type, which is that of the most specific range that matches."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", _ANYTHING)
    return next((weights[each] for each in ranges if each in weights), 0.0)
