"""Links on the wire: the header ``Link`` of RFC 8288, built from what it refers to, and parsed."""

import collections.abc
import re

__all__ = ["decode", "encode"]

# Nothing is tried twice: the header comes from somebody else, and may be made to take long.
_VALUE = r"(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s\";,]*+))"
_PARAMETER = re.compile(rf";\s*+([^\s=;,]++)\s*+(?:=\s*+{_VALUE}\s*+)?+")
_TARGET = re.compile(r"\s*+<([^>]*+)>\s*+")
_END = re.compile(r",|$")
_LONGEST = 16_384


def encode(links: collections.abc.Mapping[str, str]) -> str:
    """Give the header's value for targets by relation; a target is a URI reference, all in ASCII."""
    return ", ".join(f'<{target}>; rel="{relation}"' for relation, target in links.items())


def decode(value: str) -> dict[str, str]:
    """Give the targets by relation, in lower case; of several with one relation, the first.

    What can't be read ends it: the header comes from somebody else.
    """
    found: dict[str, str] = {}
    position, value = 0, value[:_LONGEST]
    while position < len(value) and (target := _TARGET.match(value, position)):
        relations, position = _relations(value, target.end())
        if not (end := _END.match(value, position)):
            break
        position = end.end()
        for relation in relations:
            found.setdefault(relation, target[1])
    return found


def _relations(value: str, position: int) -> tuple[list[str], int]:
    """Give the relations that the parameters from a position on tell, and where these end."""
    relations: list[str] | None = None
    while parameter := _PARAMETER.match(value, position):
        position = parameter.end()
        if relations is None and parameter[1].lower() == "rel":
            relations = (parameter[2] or parameter[3] or "").lower().split()
    return relations or [], position
