"""The wire format of a service that differs from Flama's own."""

import collections.abc
import dataclasses
import typing as t
import urllib.parse

import msgspec

from flama.rest import link_header, operations, query_parameters
from flama.rest.operations import OPERATIONS, Envelope, Operation

__all__ = ["WireFormat"]

_SIBLING_PAGES: t.Final = ("next", "previous")
_DECODERS: t.Final[dict[str, msgspec.json.Decoder[t.Any]]] = {
    operation.name: msgspec.json.Decoder(operation.response)
    for operation in OPERATIONS.values()
    if operation.response is not None
}


@dataclasses.dataclass(frozen=True, slots=True)
class WireFormat:
    """The names and structure that a service uses where they differ from Flama's own.

    ``envelope`` is the field of a page that contains its records; None if the page is the list itself. ``record`` is
    the field of a response that contains the record; None if the response is the record. ``slash`` is whether paths end
    with a slash. ``names`` maps Flama's parameters to the service's names, in queries and in page metadata.
    """

    envelope: str | None = "data"
    record: str | None = None
    slash: bool = True
    names: collections.abc.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def path(self, operation: Operation, id: t.Any = None) -> str:
        """Return the operation's path, relative to its resource's path.

        :raises ValueError: the id can't be a path segment.
        """
        path = operations.path(operation, id)
        return path if self.slash else path[:-1]

    def query(self, pairs: collections.abc.Iterable[tuple[str, str]]) -> str:
        """Return the query string with these parameters, percent-encoded."""
        return urllib.parse.urlencode([(self.names.get(name, name), value) for name, value in pairs])

    def body(self, operation: Operation, body: bytes, link: str | None = None) -> t.Any:
        """Decode a response body; ``link`` is the value of its ``Link`` header.

        :raises ValueError: the body has another structure.
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
            found = link_header.decode(link)
            meta = {"previous": found.get("prev"), **meta, "next": found.get("next")}
        told = {name: self._cursor(url) for name in _SIBLING_PAGES if isinstance(url := meta.get(name), str)}
        return Envelope(page.data, {**meta, **told})

    def _meta(self, content: t.Any) -> dict[str, t.Any]:
        """Return the page metadata under Flama's names, from ``meta`` or the fields beside the records."""
        ours = {theirs: name for name, theirs in self.names.items()}
        said: dict[str, t.Any] = content if isinstance(content, dict) else {}
        said = meta if isinstance(meta := said.get("meta"), dict) else said
        return {ours.get(name, name): value for name, value in said.items() if name != self.envelope}

    def _cursor(self, beside: str) -> str:
        """Return the cursor of a sibling page, which may be the page's URL or the cursor itself."""
        cursor = self.names.get(query_parameters.CURSOR, query_parameters.CURSOR)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(beside).query)
        return query.get(cursor, [beside])[0]


def _field(content: t.Any, name: str) -> t.Any:
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"it has no '{name}'")
    return content[name]
