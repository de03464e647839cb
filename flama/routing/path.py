"""Path templates such as ``/user/{id:int}/``: parsed once, matched by the router, formatted for URLs."""

import collections.abc
import dataclasses
import decimal
import re
import typing as t
import urllib.parse
import uuid

__all__ = ["CONVERTERS", "Converter", "Path", "Reader", "Segment"]

Reader: t.TypeAlias = collections.abc.Callable[[collections.abc.Sequence[str]], dict[str, t.Any]]

_MAX_SEGMENT_LENGTH: t.Final = 1_000
"""The maximum length of a segment with several parameters: matching it takes quadratic time."""

_PARAMETER = re.compile(r"{([a-zA-Z_]\w*)(?::(\w+))?}")


@dataclasses.dataclass(frozen=True, slots=True)
class Converter:
    """The pattern of a path parameter, with the conversions from and to its type."""

    pattern: str
    type: collections.abc.Callable[[str], t.Any]
    write: collections.abc.Callable[[t.Any], str] = str

    @property
    def read(self) -> collections.abc.Callable[[str], t.Any]:
        """The function that converts text to a value; it raises :class:`ValueError` if the text doesn't match."""
        match, convert = re.compile(self.pattern, re.DOTALL).fullmatch, self.type

        def read(text: str) -> t.Any:
            if match(text) is None:
                raise ValueError(text)
            return convert(text)

        return {str: _parse_str, int: _parse_int}.get(t.cast(type, convert), read) if self.pattern != ".*" else read


def _parse_str(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _parse_int(text: str) -> int:
    if (text.isdecimal() and text.isascii()) or (text[:1] == "-" and _parse_int(text[1:]) >= 0):
        return int(text)
    raise ValueError(text)


def _format_decimal(number: t.Any) -> str:
    return format(decimal.Decimal(str(number)), "f")  # without an exponent


CONVERTERS: t.Final[dict[str, Converter]] = {
    "str": Converter(r".+", str),
    "int": Converter(r"-?[0-9]+", int),
    "float": Converter(r"-?[0-9]+(?:\.[0-9]+)?", float, _format_decimal),
    "decimal": Converter(r"-?[0-9]+(?:\.[0-9]+)?", decimal.Decimal, _format_decimal),
    "uuid": Converter(r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}", uuid.UUID),
    "path": Converter(r".*", str),
}


@dataclasses.dataclass(frozen=True)
class Segment:
    """The text between two slashes of a template: literal, or with parameters."""

    text: str

    @property
    def parameters(self) -> dict[str, Converter]:
        """The parameters, in order."""
        return {name: _converter(kind, self.text) for name, kind in _PARAMETER.findall(self.text)}

    def reader(self, index: int) -> Reader:
        """Return the function that reads the parameters from this segment, the one at ``index`` in a request's path.

        The function raises :class:`ValueError` if the segment doesn't match.
        """
        if _PARAMETER.fullmatch(self.text):
            [(name, converter)] = self.parameters.items()
            return _single_parameter_reader(index, name, converter.read)
        match = re.compile(self._pattern, re.DOTALL).fullmatch
        converters = tuple((name, converter.type) for name, converter in self.parameters.items())

        def read(segments: collections.abc.Sequence[str]) -> dict[str, t.Any]:
            segment = segments[index]
            if len(segment) > _MAX_SEGMENT_LENGTH or (found := match(segment)) is None:
                raise ValueError(segment)
            return {name: convert(found[name]) for name, convert in converters}

        return read

    @property
    def _pattern(self) -> str:
        literals = _PARAMETER.split(self.text)[::3]
        named = [f"(?P<{name}>{converter.pattern})" for name, converter in self.parameters.items()]
        return "".join(re.escape(text) + group for text, group in zip(literals, [*named, ""], strict=True))


class Path:
    """A path template.

    :raises ValueError: the template doesn't start with a slash, a converter is unknown, a parameter is repeated, or
        a ``path`` parameter isn't at the end.
    """

    def __init__(self, template: str) -> None:
        if not template.startswith("/"):
            raise ValueError(f"Path '{template}' must start with '/'")
        self.template = template
        self.segments = tuple(Segment(text) for text in template.split("/"))  # the first is empty
        self.parameters: dict[str, Converter] = {}
        for segment in self.segments:
            self._add(segment)

    def _add(self, segment: Segment) -> None:
        if self.is_open or ":path}" in segment.text.removesuffix(":path}"):
            raise ValueError(f"Path '{self.template}' goes on after a 'path' parameter")
        names = _PARAMETER.findall(segment.text)
        if len(segment.parameters) != len(names) or self.parameters.keys() & segment.parameters:
            raise ValueError(f"Path '{self.template}' has a parameter twice")
        self.parameters |= segment.parameters

    @property
    def is_open(self) -> bool:
        """Whether the last parameter matches the rest of a path, slashes included."""
        return CONVERTERS["path"] in self.parameters.values()

    def build(self, **parameters: t.Any) -> str:
        """Return the percent-encoded path for the parameters' values; the inverse of matching."""
        literal, *rest = _PARAMETER.split(self.template)
        built = [urllib.parse.quote(literal)]
        for name, kind, literal in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            value = self.parameters[name].write(parameters[name])
            built += [urllib.parse.quote(value, safe="/" if kind == "path" else ""), urllib.parse.quote(literal)]
        return "".join(built)


def _converter(kind: str, text: str) -> Converter:
    try:
        return CONVERTERS[kind or "str"]
    except KeyError:
        raise ValueError(f"Unknown converter '{kind}' in '{text}': there are {', '.join(CONVERTERS)}") from None


def _single_parameter_reader(index: int, name: str, read: collections.abc.Callable[[str], t.Any]) -> Reader:
    """Return the reader of a segment that is a single parameter."""
    return lambda segments: {name: read(segments[index])}
