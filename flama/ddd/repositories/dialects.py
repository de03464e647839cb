"""How the service of a resource differs from our own."""

import collections.abc
import dataclasses
import typing as t
import urllib.parse

import msgspec

from flama.rest import links, names, operations
from flama.rest.operations import OPERATIONS, Envelope, Operation

__all__ = ["Dialect"]

_BESIDE: t.Final = ("next", "previous")
_DECODERS: t.Final[dict[str, msgspec.json.Decoder[t.Any]]] = {
    operation.name: msgspec.json.Decoder(operation.response)
    for operation in OPERATIONS.values()
    if operation.response is not None
}


@dataclasses.dataclass(frozen=True, slots=True)
class Dialect:
    """What a service calls things, where ours calls them otherwise.

    ``envelope`` is the field of a page that has its records, None where the page is the list itself; ``record`` that
    of an answer which has the record, None where the answer is the record. ``slash`` tells that paths end with one.
    ``names`` are the service's names of our parameters, in queries and in what tells about a page.
    """

    envelope: str | None = "data"
    record: str | None = None
    slash: bool = True
    names: collections.abc.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def path(self, operation: Operation, id: t.Any = None) -> str:
        """Give the operation's path, relative to its resource's.

        :raises ValueError: no segment of a path can hold the id.
        """
        path = operations.path(operation, id)
        return path if self.slash else path[:-1]

    def query(self, pairs: collections.abc.Iterable[tuple[str, str]]) -> str:
        """Give the query with these parameters, percent-encoded."""
        return urllib.parse.urlencode([(self.names.get(name, name), value) for name, value in pairs])

    def body(self, operation: Operation, body: bytes, link: str | None = None) -> t.Any:
        """Give what an answer's body holds; ``link`` is its header ``Link``.

        :raises ValueError: it holds something else.
        """
        try:
            if operation.response is Envelope:
                return self._page(body, link)
            if self.record is None or operation.response is not operations.Record:
                return _DECODERS[operation.name].decode(body)
            return msgspec.convert(_field(msgspec.json.decode(body), self.record), operation.response)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(str(error)) from error

    def _page(self, body: bytes, link: str | None) -> Envelope:
        if self.envelope == "data" and not self.names:
            page = t.cast(Envelope, _DECODERS["list"].decode(body))
        else:
            content = msgspec.json.decode(body)
            found = content if self.envelope is None else _field(content, self.envelope)
            page = Envelope(msgspec.convert(found, operations.Records), self._meta(content))
        meta = page.meta if isinstance(page.meta, dict) else {}
        if "next" not in meta and link is not None:
            found = links.decode(link)
            meta = {"previous": found.get("prev"), **meta, "next": found.get("next")}
        told = {name: self._cursor(url) for name in _BESIDE if isinstance(url := meta.get(name), str)}
        return Envelope(page.data, {**meta, **told})

    def _meta(self, content: t.Any) -> dict[str, t.Any]:
        """Give what is told about a page, by our names: in ``meta``, or beside the records."""
        ours = {theirs: name for name, theirs in self.names.items()}
        said: dict[str, t.Any] = content if isinstance(content, dict) else {}
        said = meta if isinstance(meta := said.get("meta"), dict) else said
        return {ours.get(name, name): value for name, value in said.items() if name != self.envelope}

    def _cursor(self, beside: str) -> str:
        """Give the cursor of what may be the URL of a page beside."""
        cursor = self.names.get(names.CURSOR, names.CURSOR)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(beside).query)
        return query.get(cursor, [beside])[0]


def _field(content: t.Any, name: str) -> t.Any:
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"it has no '{name}'")
    return content[name]
