"""Patterns of texts: literal parts with wildcards between them."""

import enum
import re
import typing as t

__all__ = ["Pattern", "Wildcard", "contains", "endswith", "lower_ascii", "parse_like", "startswith", "to_regex"]


class Wildcard(enum.Enum):
    """A part of a pattern that matches any text, or any one character."""

    ANY = "%"
    ONE = "_"


Pattern: t.TypeAlias = tuple[str | Wildcard, ...]

_ESCAPE: t.Final = "\\"
_LOWER: t.Final = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})
_LETTER: t.Final = re.compile(r"[A-Za-z]")


def parse_like(pattern: str) -> Pattern:
    r"""Parse a pattern of LIKE: ``%`` is any text, ``_`` any character, ``\`` makes the next one literal.

    :raises ValueError: it ends with an escape.
    """
    parts: list[str | Wildcard] = []
    characters = iter(pattern)
    for character in characters:
        literal = character if character != _ESCAPE else next(characters, None)
        if literal is None:
            raise ValueError(f"the pattern {pattern!r} ends with an escape, of nothing")
        wildcard = Wildcard(character) if character in ("%", "_") else None
        _append(parts, wildcard or literal)
    return tuple(parts)


def contains(text: str) -> Pattern:
    """Return the pattern of texts that contain this one."""
    return (Wildcard.ANY, text, Wildcard.ANY)


def startswith(text: str) -> Pattern:
    """Return the pattern of texts that begin with this one."""
    return (text, Wildcard.ANY)


def endswith(text: str) -> Pattern:
    """Return the pattern of texts that end with this one."""
    return (Wildcard.ANY, text)


def lower_ascii(text: str) -> str:
    """Return a text with A to Z in lower case and all other letters unchanged, which every database can do."""
    return text.translate(_LOWER)


def to_regex(pattern: Pattern, *, ignore_case: bool) -> str:
    """Return the regular expression of whole texts that match a pattern, as Python, PCRE and ICU all read it.

    With ``ignore_case``, it ignores the case of A to Z. It never backtracks into what it has matched, so that its time
    is at most proportional to the product of the text's length and the pattern's.
    """
    segments = _segments(pattern)
    texts = ["".join(_literal(part, ignore_case) for part in segment) for segment in segments]
    if len(texts) == 1:
        return rf"(?s)\A{texts[0]}(?!.)"
    between = "".join(f"(?>.*?{text})" for text in texts[1:-1] if text)
    return rf"(?s)\A{texts[0]}{between}.*{texts[-1]}(?!.)"


def _append(parts: list[str | Wildcard], part: str | Wildcard) -> None:
    match parts[-1:], part:
        case [str(last)], str():
            parts[-1] = last + part
        case [Wildcard.ANY], Wildcard.ANY:
            pass
        case _:
            parts.append(part)


def _segments(pattern: Pattern) -> list[list[str | Wildcard]]:
    segments: list[list[str | Wildcard]] = [[]]
    for part in pattern:
        if part is Wildcard.ANY:
            segments.append([])
        else:
            segments[-1].append(part)
    return segments


def _literal(part: str | Wildcard, ignore_case: bool) -> str:
    if isinstance(part, Wildcard):
        return "."
    if not ignore_case:
        return re.escape(part)
    return "".join(_match_either_case(character) for character in part)


def _match_either_case(character: str) -> str:
    # PCRE needs a third of the space that it needs for a set
    return f"(?:{character.lower()}|{character.upper()})" if _LETTER.fullmatch(character) else re.escape(character)
