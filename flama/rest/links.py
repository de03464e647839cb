"""Links on the wire: the header ``Link`` of RFC 8288, built from what it refers to, and parsed."""

import collections.abc
import re

__all__ = ["decode", "encode"]

_LINK = re.compile(r"\s*<([^>]*)>\s*((?:;\s*[^\s=;,]+\s*(?:=\s*(?:\"(?:[^\"\\]|\\.)*\"|[^\s\";,]*)\s*)?)*)(?:,|$)")
_PARAMETER = re.compile(r";\s*([^\s=;,]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\";,]*)))?")
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
    while match := _LINK.match(value, position):
        position = match.end()
        for relation in _relations(match[2]):
            found.setdefault(relation, match[1])
        if position == len(value):
            break
    return found


def _relations(parameters: str) -> list[str]:
    for name, quoted, token in _PARAMETER.findall(parameters):
        if name.lower() == "rel":
            text: str = quoted or token
            return text.lower().split()
    return []
