"""The matcher: finds the target for a path, at a cost independent of the number of routes.

Paths without parameters are found in a dictionary. The others are grouped by pattern: how many segments they have, and
which of those are literal. All routes with the same pattern share one dictionary, keyed by their literal segments. A
lookup takes one probe per pattern, and an application has only a few patterns.

If several routes match, precedence is decided segment by segment: a literal comes before a parameter, and a parameter
before one that matches the rest of the path. Among equal routes, the one declared first is taken.
"""

import collections.abc
import dataclasses
import operator
import typing as t
import urllib.parse

from flama import types
from flama.routing.path import Path, Reader

__all__ = ["Matcher", "PERCENT", "WEBSOCKET", "split_path"]

WEBSOCKET: t.Final = "WEBSOCKET"
"""The method under which the target for web sockets is stored."""

PERCENT: t.Final = ord("%")  # as a number: CPython finds one in bytes eight times faster than b"%"

T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class _SegmentPattern:
    """Which segments of a template are literal, and whether the last one matches the rest of a path."""

    literals: tuple[bool, ...]
    is_open: bool

    @property
    def order(self) -> tuple[int, ...]:
        """The sort key: patterns with precedence come first."""
        *before, last = (int(not literal) for literal in self.literals)
        return *before, 2 if self.is_open else last

    def can_match(self, length: int) -> bool:
        """Whether a path of ``length`` segments can match."""
        return len(self.literals) <= length if self.is_open else len(self.literals) == length

    def key(self) -> collections.abc.Callable[[t.Any], t.Any]:
        """Return the function that selects the literal segments of a path."""
        indexes = [index for index, literal in enumerate(self.literals) if literal and index]
        return operator.itemgetter(*indexes) if indexes else lambda _: ()


class _Entry(t.NamedTuple, t.Generic[T]):
    """The targets of one template, by method."""

    read: Reader
    targets: dict[str, T]


class _Table(t.NamedTuple, t.Generic[T]):
    """The entries of one pattern, by their literal segments."""

    key: collections.abc.Callable[[t.Any], t.Any]
    entries: dict[t.Any, list[_Entry[T]]]

    def add(self, path: Path, targets: dict[str, T]) -> None:
        """Add the targets of a template."""
        key = self.key([segment.text for segment in path.segments])
        self.entries.setdefault(key, []).append(_Entry(_path_reader(path), targets))


class Matcher(t.Generic[T]):
    """A mapping from a path and a method to a target.

    ``static`` holds the targets of paths without parameters. A caller may use it directly if the path has no
    percent-encoded characters and the application isn't mounted.
    """

    def __init__(self) -> None:
        self.static: dict[str, dict[str, T]] = {}
        self._tables: dict[_SegmentPattern, _Table[T]] = {}
        self._by_length: dict[int, list[_Table[T]]] = {}
        self._open_tables: list[_Table[T]] = []

    def add(self, path: Path, targets: dict[str, T]) -> None:
        """Add the targets of a template, by method; of equal templates, the first takes precedence."""
        if not path.parameters:
            self.static[path.template] = {**targets, **self.static.get(path.template, {})}
            return
        pattern = _SegmentPattern(tuple(not segment.parameters for segment in path.segments), path.is_open)
        if pattern not in self._tables:
            self._tables[pattern] = _Table(pattern.key(), {})
            self._sort_tables()
        self._tables[pattern].add(path, targets)

    def find(self, scope: types.Scope) -> T:
        """Return the target for a connection, and store the path parameters in its scope.

        A slash that is percent-encoded in ``raw_path`` belongs to its segment.
        """
        if scope.get("root_path") or PERCENT in (scope.get("raw_path") or b""):
            path, segments = split_path(scope)
        else:
            path = scope["path"]
            segments = path.split("/")
        method: str = scope.get("method", WEBSOCKET)
        if (targets := self.static.get(path)) is not None and method in targets:
            return targets[method]
        for key, entries in self._by_length.get(len(segments), self._open_tables):
            for read, found in entries.get(key(segments), ()):
                if method in found:
                    try:
                        scope["path_params"] = read(segments)
                    except ValueError:
                        continue
                    return found[method]
        return self.not_found(scope)

    def not_found(self, scope: types.Scope) -> T:
        """Return the target for a connection that no template matches.

        :raises LookupError: always; subclasses override it.
        """
        raise LookupError(scope["path"])

    def methods(self, scope: types.Scope) -> set[str]:
        """Return the methods for which the path of a connection has a target."""
        path, segments = split_path(scope)
        methods = set(self.static.get(path, ()))
        for key, entries in self._by_length.get(len(segments), self._open_tables):
            methods.update(*(targets for read, targets in entries.get(key(segments), ()) if _can_read(read, segments)))
        return methods

    def _sort_tables(self) -> None:
        """Compute the tables to try, in order, for each number of segments up to the longest template's."""
        patterns = sorted(self._tables, key=operator.attrgetter("order"))
        longest = max(len(pattern.literals) for pattern in patterns)
        self._by_length = {
            length: [self._tables[pattern] for pattern in patterns if pattern.can_match(length)]
            for length in range(longest + 1)
        }
        self._open_tables = [self._tables[pattern] for pattern in patterns if pattern.is_open]


def split_path(scope: types.Scope) -> tuple[str, list[str]]:
    """Return the path of a connection without the application's ``root_path``, and its segments.

    A slash that is percent-encoded in ``raw_path`` belongs to its segment; the returned path is then empty, since no
    literal path can equal it. A ``raw_path`` that differs from a rewritten path is ignored.
    """
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    root: str = scope.get("root_path", "").rstrip("/")
    mounted = len(root) if path.startswith(root + "/") else 0
    sent = [urllib.parse.unquote_to_bytes(segment).decode(errors="replace") for segment in raw.split(b"/")]
    if b"%2f" not in raw.lower() or "/".join(sent) != path:
        return path[mounted:], path[mounted:].split("/")
    return "", ["", *sent[root.count("/") + 1 if mounted else 1 :]]


def _can_read(read: Reader, segments: list[str]) -> bool:
    try:
        read(segments)
    except ValueError:
        return False
    return True


def _path_reader(path: Path) -> Reader:
    readers = [segment.reader(index) for index, segment in enumerate(path.segments) if segment.parameters]
    if path.is_open:
        readers[-1] = _rest_reader(path.segments[-1].reader(0), len(path.segments) - 1)
    if len(readers) == 1:
        return readers[0]
    return lambda segments: {name: value for read in readers for name, value in read(segments).items()}


def _rest_reader(read: Reader, start: int) -> Reader:
    """Return a reader of all segments from ``start`` on, joined."""
    return lambda segments: read(["/".join(segments[start:])])
