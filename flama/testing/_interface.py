"""The interface that the contracts call."""

import collections.abc
import types
import typing as t

__all__ = ["Record", "RecordIterator", "Records", "Repository", "Worker"]

_T = t.TypeVar("_T")

Record: t.TypeAlias = dict[str, t.Any]
Records: t.TypeAlias = list[Record]
_Verb: t.TypeAlias = collections.abc.Callable[..., collections.abc.Awaitable[_T]]


class RecordIterator(collections.abc.AsyncIterable[Record], t.Protocol):
    """The iterator that ``list`` returns; ``all`` need only exist where portable verbs are declared."""

    def __aiter__(self) -> collections.abc.AsyncIterator[Record]: ...

    def __anext__(self) -> collections.abc.Awaitable[Record]: ...

    async def aclose(self) -> None:
        """Close it before its end."""

    async def all(self) -> Records:
        """Return all records."""
        ...


class Repository(t.Protocol):
    """The verbs of a repository; those of a capability need only exist where it is declared.

    Tests call them with wrong arguments, too, so that their parameters are not typed.
    """

    create: _Verb[Records]
    create_one: _Verb[Record]
    create_many: _Verb[Records]
    retrieve: _Verb[Record]
    update: _Verb[Records]
    delete: _Verb[object]
    list: collections.abc.Callable[..., "RecordIterator"]
    drop: _Verb[int]
    get: _Verb[Record | None]
    first: _Verb[Record | None]
    count: _Verb[int]
    exists: _Verb[bool]
    upsert: _Verb[Records]
    get_or_create: _Verb[tuple[Record, bool]]


class Worker(t.Protocol):
    """A unit of work, and the repositories that take part in it."""

    members: Repository
    clubs: Repository
    commit: _Verb[None]
    rollback: _Verb[None]

    async def __aenter__(self) -> t.Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> bool | None: ...
