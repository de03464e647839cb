"""The verbs of a REST resource: method, path, status, and the shapes of what is sent and answered."""

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
"""A header that a POST without a body may have instead of a content type: no other site's form can send either."""


class Deleted(msgspec.Struct, frozen=True):
    """How many records were deleted."""

    deleted: int


class Envelope(msgspec.Struct, frozen=True):
    """One page of a collection; ``meta`` tells which, in the terms of its pagination."""

    data: Records
    meta: t.Any = None


_CREATED: t.Final = 201


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One verb on a path of a resource.

    ``request`` and ``response`` are the types of the JSON bodies, None where there is no body. ``partial`` tells that
    a record may be sent without some of its fields. What not every service knows has a ``verb`` of its own behind the
    collection's path, so that one which doesn't know it refuses rather than does something else. ``found`` is the
    status instead of ``status`` where the record was there already, and nothing was done.
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
        """Whether browsers send it for the pages of any site, with cookies: a POST without a body has no preflight."""
        return self.method == "POST" and self.request is None

    @property
    def changes(self) -> bool:
        """Whether it may change records that are there."""
        return self.writes and self.status != _CREATED


#: Every operation by its name. The first nine are the repository's methods and the resource's as well; the others are
#: what these do with many records at once, all that are sent, or all that a query asks for, as lists are; and with one
#: that may be there.
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
    """Give the operation's path, relative to its resource's.

    :raises ValueError: no segment of a path can hold the id.
    """
    if operation.kind == "element":
        return f"/{segment(id)}/"
    return f"/:{operation.verb}/" if operation.verb else "/"


def segment(id: t.Any) -> str:
    """Give an id as one percent-encoded segment of a path, whatever it holds.

    :raises ValueError: it is None, empty, ``.`` or ``..``, which would name another path, or not valid Unicode.
    """
    text = "" if id is None else str(id)
    if text.isalnum() and text.isascii():  # as most are
        return text
    if text in {"", ".", ".."}:
        raise ValueError(f"{id!r} cannot be the id of a record: its path would be another one")
    return urllib.parse.quote(text, safe="")
