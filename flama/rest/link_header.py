"""Links on the wire: encoding and decoding of the header ``Link`` (RFC 8288)."""

import collections.abc
import re

__all__ = ["decode", "encode"]

# The quantifiers are possessive: the header isn't trusted, and backtracking could take long.
_VALUE = r"(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s\";,]*+))"
_PARAMETER = re.compile(rf";\s*+([^\s=;,]++)\s*+(?:=\s*+{_VALUE}\s*+)?+")
_TARGET = re.compile(r"\s*+<([^>]*+)>\s*+")
_END = re.compile(r",|$")
_MAX_LENGTH = 16_384


def encode(links: collections.abc.Mapping[str, str]) -> str:
    """Return the header's value for targets by relation; a target is a URI reference in ASCII."""
    return ", ".join(f'<{target}>; rel="{relation}"' for relation, target in links.items())


def decode(value: str) -> dict[str, str]:
    """Return the targets by relation in lower case, the first one for each relation.

    Decoding stops at the first malformed link, since the header isn't trusted.
    """
    found: dict[str, str] = {}
    position, value = 0, value[:_MAX_LENGTH]
    while position < len(value) and (target := _TARGET.match(value, position)):
        relations, position = _parse_relations(value, target.end())
        if not (end := _END.match(value, position)):
            break
        position = end.end()
        for relation in relations:
            found.setdefault(relation, target[1])
    return found


def _parse_relations(value: str, position: int) -> tuple[list[str], int]:
    """Return the relations in the parameters that start at a position, and the position of their end."""
    relations: list[str] | None = None
    while parameter := _PARAMETER.match(value, position):
        position = parameter.end()
        if relations is None and parameter[1].lower() == "rel":
            relations = (parameter[2] or parameter[3] or "").lower().split()
    return relations or [], position
