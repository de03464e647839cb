"""Repositories of remote collections: what a REST resource holds, over HTTP."""

import builtins
import collections.abc
import typing as t
import urllib.parse

from flama.client import Client
from flama.ddd.repositories.base import BaseRepository
from flama.ddd.repositories.resources import HTTPResourceManager
from flama.ddd.repositories.typed import Record, TypedRepository, records
from flama.ddd.workers.http import HTTPWorker
from flama.rest import pages

__all__ = ["HTTPRepository", "HTTPResourceManager", "HTTPResourceRepository"]

_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]


class HTTPRepository(BaseRepository):
    """A repository that asks a remote service, through ``self._client``."""

    _backend = HTTPWorker

    def __init__(self, client: Client) -> None:
        self._client = client


class HTTPResourceRepository(HTTPRepository, TypedRepository[Record]):
    """The records of one remote resource.

    A subclass says which: ``_resource``, a path or a whole URL. Ids may hold anything that a string can, but be
    empty, ``.`` or ``..``, which raise ``ValueError``. The service's refusals are raised as the errors that a
    repository on its side would raise. No request is undone when the unit of work fails: HTTP has no transaction.

    Records are dictionaries, or of the type that is named in brackets: ``HTTPResourceRepository[User]``.

    :raises InvalidResponseError: what the service answers isn't a record of the type.
    """

    _resource: t.ClassVar[str]
    _page_size: t.ClassVar[int] = 100

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._records = records(cls._record, None)

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        if not hasattr(self, "_resource"):
            raise AttributeError(f"{type(self).__name__} has no '_resource': set it to the path of the collection")
        self._resource_manager = HTTPResourceManager(self._resource, client)
        self._resource_name = self._resource_manager.resource

    async def create(self, data: Record | _Data) -> Record:
        """Create a record, and give it as it was stored."""
        return await self._one("create", json=self._data(data))

    async def retrieve(self, id: t.Any) -> Record:
        """Give the record of this id."""
        return await self._one("retrieve", id)

    async def update(self, id: t.Any, data: Record | _Data) -> Record:
        """Replace the record of this id, and give it as it is now."""
        return await self._one("update", id, json=self._data(data))

    async def partial_update(self, id: t.Any, data: Record | _Data) -> Record:
        """Change some fields of the record of this id, and give it as it is now.

        Of a pydantic model, these are the fields that were set; of a value of another type, all.
        """
        return await self._one("partial_update", id, json=self._data(data, changes=True))

    async def delete(self, id: t.Any) -> None:
        """Delete the record of this id."""
        await self._resource_manager.call("delete", id)

    def list(self, *, pagination: pages.Style = "page_number") -> collections.abc.AsyncIterator[Record]:
        """Give all records, asking for a page at a time, when it is needed.

        No record comes twice and none is lost while the collection doesn't change. ``pagination`` is the service's.

        :raises ValueError: there is no such pagination.
        :raises InvalidResponseError: the service repeats a page, skips one, or ends before its own count.
        """
        if pagination not in pages.STYLES:
            raise ValueError(f"There is no pagination '{pagination}': it is one of {', '.join(pages.STYLES)}")
        return self._pages(pages.Walk(pagination, self._page_size, resource=self._resource_manager.resource))

    async def replace(self, data: collections.abc.Iterable[Record | _Data]) -> builtins.list[Record]:
        """Make these records the whole collection, and give them as they were stored."""
        return await self._many("replace", [self._data(record) for record in data])

    async def partial_replace(self, data: collections.abc.Iterable[Record | _Data]) -> builtins.list[Record]:
        """Replace the records that have these ids, add those that are new, and give them as they were stored."""
        return await self._many("partial_replace", [self._data(record, changes=True) for record in data])

    async def drop(self) -> int:
        """Delete all records, and return how many they were."""
        return t.cast("int", (await self._resource_manager.call("drop")).deleted)

    async def _one(self, operation: str, id: t.Any = None, **request: t.Any) -> Record:
        (record,) = self._read([await self._resource_manager.call(operation, id, **request)])
        return record

    async def _many(self, operation: str, data: builtins.list[t.Any]) -> builtins.list[Record]:
        return self._read(await self._resource_manager.call(operation, json=data))

    async def _pages(self, walk: pages.Walk) -> collections.abc.AsyncIterator[Record]:
        while not walk.ended:
            answer = await self._resource_manager.call("list", query=urllib.parse.urlencode(walk.parameters()))
            for record in self._read(walk.take(answer)):
                yield record
