"""The operations of a REST resource: their methods, paths, statuses, and types of request and response bodies."""

import collections.abc
import dataclasses
import types
import typing as t
import urllib.parse

import msgspec

__all__ = ["Deleted", "Envelope", "OPERATIONS", "Operation", "REQUESTED_WITH", "Record", "Records", "path", "segment"]

Record: t.TypeAlias = dict[str, t.Any]
Records: t.TypeAlias = list[dict[str, t.Any]]


REQUESTED_WITH: t.Final = "x-requested-with"
"""A header that a POST without a body may have instead of a content type: another site's form can send neither."""


class Deleted(msgspec.Struct, frozen=True):
    """The number of deleted records."""

    deleted: int


class Envelope(msgspec.Struct, frozen=True):
    """One page of a collection; ``meta`` describes the page in the terms of its pagination style."""

    data: Records
    meta: t.Any = None


_CREATED: t.Final = 201


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One operation on a path of a resource.

    ``request`` and ``response`` are the types of the JSON bodies, None if there is no body. With ``partial``, records
    may be sent without some of their fields. Operations that not every service supports have a ``verb`` after the
    collection's path, so that other services refuse them rather than do something else. ``found`` is the status in
    place of ``status`` if the record existed already and nothing was done.
    """

    name: str
    method: t.Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    kind: t.Literal["collection", "element"]
    status: int
    request: t.Any = None
    response: t.Any = None
    partial: bool = False
    verb: str = ""
    found: int | None = None
    writes: bool = dataclasses.field(init=False)  # whether it may change the resource

    def __post_init__(self) -> None:
        object.__setattr__(self, "writes", self.method != "GET")

    @property
    def is_forgeable(self) -> bool:
        """Whether browsers send it with cookies for the pages of any site: a POST without a body needs no preflight."""
        return self.method == "POST" and self.request is None

    @property
    def changes(self) -> bool:
        """Whether it may change existing records."""
        return self.writes and self.status != _CREATED


#: Every operation by its name. The first nine are methods of both the repository and the resource. The others process
#: many records at once, those that are sent or those that a query selects, or a record that may exist already.
OPERATIONS: t.Final[collections.abc.Mapping[str, Operation]] = types.MappingProxyType(
    {
        operation.name: operation
        for operation in (
            Operation("create", "POST", "collection", _CREATED, Record, Record),
            Operation("list", "GET", "collection", 200, None, Envelope),
            Operation("retrieve", "GET", "element", 200, None, Record),
            Operation("update", "PUT", "element", 200, Record, Record),
            Operation("partial_update", "PATCH", "element", 200, Record, Record, partial=True),
            Operation("delete", "DELETE", "element", 204),
            Operation("replace", "PUT", "collection", 200, Records, Records),
            Operation("partial_replace", "PATCH", "collection", 200, Records, Records, partial=True),
            Operation("drop", "DELETE", "collection", 200, None, Deleted),
            Operation("create_many", "POST", "collection", _CREATED, Records, Records),
            Operation("get_or_create", "POST", "collection", _CREATED, Record, Record, verb="get_or_create", found=200),
            Operation("upsert", "POST", "collection", 200, Records, Records, verb="upsert"),
            Operation("update_where", "POST", "collection", 200, Record, Records, partial=True, verb="update"),
            Operation("drop_where", "POST", "collection", 200, None, Deleted, verb="drop"),
        )
    }
)


def path(operation: Operation, id: t.Any = None) -> str:
    """Return the operation's path, relative to its resource's.

    :raises ValueError: the id can't be a segment of a path.
    """
    if operation.kind == "element":
        return f"/{segment(id)}/"
    return f"/:{operation.verb}/" if operation.verb else "/"


def segment(id: t.Any) -> str:
    """Return an id as one percent-encoded segment of a path.

    :raises ValueError: it is None, empty, ``.`` or ``..``, which would name another path, or not valid Unicode.
    """
    text = "" if id is None else str(id)
    if text.isalnum() and text.isascii():  # as most are
        return text
    if text in {"", ".", ".."}:
        raise ValueError(f"{id!r} cannot be the id of a record: its path would be another one")
    return urllib.parse.quote(text, safe="")
