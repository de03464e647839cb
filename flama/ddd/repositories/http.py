"""Repositories of remote collections: what a REST resource holds, over HTTP."""

import builtins
import collections.abc
import functools
import types
import typing as t

from flama import query
from flama._numbers import read_infinite
from flama.client import Client
from flama.ddd.repositories.base import BaseRepository
from flama.ddd.repositories.dialects import Dialect
from flama.ddd.repositories.questions import PLAIN_IDS, Question, natural
from flama.ddd.repositories.remote_lists import Records, RemoteListing, backwards, paged, streamed
from flama.ddd.repositories.resources import HTTPResourceManager, check_resource, last_segment
from flama.ddd.repositories.typed import Record, TypedRepository, records, required
from flama.ddd.workers.http import HTTPWorker
from flama.exceptions import InvalidDataError, InvalidResponseError, MultipleRecordsError, NotFoundError
from flama.query import Stretch
from flama.rest import names, orders, pages

__all__ = ["HTTPRepository", "HTTPResourceManager", "HTTPResourceRepository"]

_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_OrderBy: t.TypeAlias = str | query.Field | query.Order | collections.abc.Sequence[t.Any] | None
_Names: t.TypeAlias = str | collections.abc.Collection[str]
_Pairs: t.TypeAlias = list[tuple[str, str]]


class HTTPRepository(BaseRepository):
    """A repository that asks a remote service, through ``self._client``."""

    _backend = HTTPWorker

    def __init__(self, client: Client) -> None:
        self._client = client


class HTTPResourceRepository(HTTPRepository, TypedRepository[Record]):
    """The records of one remote resource.

    A subclass says which: ``_resource``, a path or a whole URL. Ids may hold anything that a string can, but be
    empty, ``.`` or ``..``, which raise ``ValueError``. The service's refusals are raised as the errors that a
    repository on its side would raise, of the resource that it names; what is found out here is of ``_name``, by
    default the path's last segment. No request is undone when the unit of work fails: HTTP has no transaction.

    Records are dictionaries, or of the type that is named in brackets: ``HTTPResourceRepository[User]``. Which
    records are meant is said as everywhere, by conditions of ``F`` and keyword filters, all of which must hold.

    What a service does otherwise than ours is said by attributes: ``_id``, the name of the field by which a record has
    its path; ``_pagination`` and ``_page_size``; ``_envelope``, the field of a page that has its records, None where
    the page is a list; ``_record_envelope``, that of an answer which has the record; ``_slash``, whether paths end with
    one; ``_names``, its names of our parameters. ``_idempotent`` says that the service keeps the answers of writes by
    their ``Idempotency-Key``, so that writes may be repeated. ``_max_records`` is how many records the service takes in
    one request, None for any number: more are refused before they are sent.

    :raises InvalidDataError: there are more records to send than ``_max_records``.
    :raises InvalidResponseError: what the service answers isn't a record of the type.
    :raises ApplicationError: ``_resource`` has a query.
    """

    _resource: t.ClassVar[str]
    _name: t.ClassVar[str | None] = None
    _id: t.ClassVar[str] = "id"
    _pagination: t.ClassVar[pages.Style] = "page_number"
    _has_all_styles: t.ClassVar[bool] = False
    _page_size: t.ClassVar[int] = 100
    _envelope: t.ClassVar[str | None] = "data"
    _record_envelope: t.ClassVar[str | None] = None
    _slash: t.ClassVar[bool] = True
    _names: t.ClassVar[collections.abc.Mapping[str, str]] = {}
    _idempotent: t.ClassVar[bool] = False
    _max_records: t.ClassVar[int | None] = 10_000
    _dialect: t.ClassVar[Dialect] = Dialect()
    _floats: t.ClassVar[tuple[str, ...]] = ()  # fields of dictionaries whose numbers may be spelled

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._records = records(cls._record, None)
        cls._dialect = Dialect(cls._envelope, cls._record_envelope, cls._slash, cls._names)
        if isinstance(resource := getattr(cls, "_resource", None), str):
            check_resource(resource)
            cls._resource_name = last_segment(resource) if cls._name is None else cls._name

    @classmethod
    def of(cls, resource: t.Any, path: str | None = None) -> type["HTTPResourceRepository[t.Any]"]:
        """Give the class of repositories of a resource of ours: of its records, with its key, keeping its promises.

        ``path`` is where it is served, below the client's base: by default, its name.
        """
        record = resource.output_schema or resource.schema
        repository: t.Any = cls
        base = repository if record is None else repository[record]
        said = {
            "__module__": cls.__module__,
            "__doc__": f"The records of {resource.__name__}, over HTTP.",
            "_resource": f"/{resource.name}" if path is None else path,
            "_name": resource._called,
            "_id": resource._id.name,
            "_idempotent": resource.idempotency,
            **({} if resource.max_records is None else {"_max_records": resource.max_records}),
            "_floats": resource._floats,
            **({} if hasattr(resource, "list") else {"_pagination": "cursor", "_has_all_styles": True}),
        }
        return types.new_class(f"{resource.__name__}Repository", (base,), exec_body=lambda space: space.update(said))

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        if not hasattr(self, "_resource"):
            raise AttributeError(f"{type(self).__name__} has no '_resource': set it to the path of the collection")
        self._resource_manager = HTTPResourceManager(
            self._resource, client, name=self._name, dialect=self._dialect, idempotent=self._idempotent
        )
        self._resource_name = self._resource_manager.name

    @t.overload
    async def create(self, data: Record | _Data, /) -> Record: ...
    @t.overload
    async def create(self, *, data: Record | _Data) -> Record: ...
    @t.overload
    async def create(self, *records: Record | _Data) -> builtins.list[Record]: ...
    async def create(self, *records: t.Any, data: t.Any = None) -> t.Any:
        """Create a record, and give it as it was stored; or several, all or none, by one request."""
        match records if data is None else (*records, data):
            case [record]:
                return await self._one("create", json=self._data(record))
            case []:
                return []
            case several:
                return await self._many("create_many", [self._data(record) for record in several])

    async def upsert(
        self, *data: Record | _Data, on: _Names | None = None, set: _Names | None = None
    ) -> builtins.list[Record]:
        """Store records or, of those that are there, change what is there, all or none; give them as stored, in order.

        ``on`` are the fields that tell which is there, ``set`` those that change in it: what the service takes them
        for when they aren't said.
        """
        if not data:
            return []
        query = _named((names.ON, on), (names.SET, set))
        return await self._many("upsert", [self._data(record) for record in data], query)

    async def get_or_create(self, data: Record | _Data, *, on: _Names | None = None) -> tuple[Record, bool]:
        """Give the record that is there, and False; or have this one stored, and give it as stored, and True.

        ``on`` are the fields that tell which is there: what the service takes them for when they aren't said.
        """
        call = self._resource_manager.call("get_or_create", json=self._data(data), query=_named((names.ON, on)))
        found, created = await call
        (record,) = self._read([found])
        return record, created

    async def retrieve(self, *clauses: t.Any, **filters: t.Any) -> Record:
        """Give the record of this id, ``retrieve(id)`` or ``retrieve(id=id)``, or the one that matches.

        :raises NotFoundError: there is none.
        :raises MultipleRecordsError: more than one matches.
        """
        if len(clauses) == 1 and not filters and type(clauses[0]) in PLAIN_IDS:  # as in most calls
            return self._read([await self._resource_manager.call("retrieve", clauses[0])])[0]
        question = self._question(clauses, filters)
        if question.is_of_one:
            return await self._one("retrieve", question.id)
        record = await self._only(question)
        if record is None:
            raise NotFoundError(resource=self._resource_name, id=question.id)
        return record

    async def get(self, *clauses: t.Any, **filters: t.Any) -> Record | None:
        """Give the record of this id, or the one that matches; None when there is none.

        :raises MultipleRecordsError: more than one matches.
        """
        question = self._question(clauses, filters)
        if not question.is_of_one:
            return await self._only(question)
        try:
            return await self._one("retrieve", question.id)
        except NotFoundError:
            return None

    async def first(
        self, *clauses: t.Any, order_by: _OrderBy = None, order_direction: str = "asc", **filters: t.Any
    ) -> Record | None:
        """Give the first record that matches, in an order as :meth:`list` takes it; None when none does."""
        query = self._question(clauses, filters, by_id=False).ordered(order_by, order_direction)
        return next(iter(await self._page(query, 1)), None)

    async def count(self, *clauses: t.Any, **filters: t.Any) -> int:
        """Give how many records match."""
        page = pages.parameters(self._pagination, pages.Page(1, count=True))
        query = [*self._question(clauses, filters, by_id=False).pairs(), *page.items()]
        return pages.total(await self._resource_manager.call("list", query=query), resource=self._resource_name)

    async def exists(self, *clauses: t.Any, **filters: t.Any) -> bool:
        """Tell whether any record matches."""
        return bool(await self._page(self._question(clauses, filters, by_id=False).pairs(), 1))

    @t.overload
    async def update(self, id: collections.abc.Hashable, data: Record | _Data, /) -> Record: ...
    @t.overload
    async def update(self, data: Record | _Data, /, *, id: t.Any) -> Record: ...
    @t.overload
    async def update(self, *, id: t.Any, data: Record | _Data) -> Record: ...
    @t.overload
    async def update(
        self, data: Record | _Data, *clauses: query.Condition, max_affected: int | None = None, **filters: t.Any
    ) -> builtins.list[Record]: ...
    async def update(self, *clauses: t.Any, **filters: t.Any) -> t.Any:
        """Replace the record of this id, and give it as it is now; or change all that match, and give these.

        The former is ``update(id, data)`` or ``update(data, id=id)``; the latter, ``update(data, F.age > 17)``, leaves
        the fields that aren't sent alone, and changes all that match or none.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is changed.
        """
        data, clauses = _data_of(clauses, filters)
        max_affected = filters.pop("max_affected", None)
        question = self._question(clauses, filters)
        if question.is_of_one and max_affected is None:
            return await self._one("update", question.id, json=self._data(data))
        return await self._many("update_where", self._data(data, changes=True), question.pairs(max_affected))

    async def partial_update(self, id: t.Any, data: Record | _Data) -> Record:
        """Change some fields of the record of this id, and give it as it is now.

        Of a pydantic model, these are the fields that were set; of a value of another type, all.
        """
        return await self._one("partial_update", id, json=self._data(data, changes=True))

    async def delete(self, *clauses: t.Any, **filters: t.Any) -> None:
        """Delete the record of this id, or the one that matches.

        :raises NotFoundError: there is none.
        :raises MultipleRecordsError: more than one matches; nothing is deleted.
        """
        question = self._question(clauses, filters)
        if question.is_of_one:
            await self._resource_manager.call("delete", question.id)
        elif not (await self._resource_manager.call("drop_where", query=question.pairs(1))).deleted:
            raise NotFoundError(resource=self._resource_name, id=question.id)

    def list(
        self,
        *clauses: t.Any,
        order_by: _OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        pagination: pages.Style | None = None,
        stream: bool = False,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[Record]:
        """Iterate over the records that match, reading them while it goes on.

        They come page by page, as the service's ``pagination`` is, the next one while this one is used; or, with
        ``stream``, as lines of JSON for as long as the one answer takes. No record comes twice and none is lost while
        the collection doesn't change. ``after`` and ``before`` are records, present or not: what comes next to them in
        the order is where the slice begins, or, with ``before`` alone, ends. Leaving the loop early frees what it took.

        :raises ValueError: there is no such pagination.
        :raises InvalidResponseError: the service repeats a page, skips one, or ends before its own count.
        """
        style = self._style(pagination, offset)
        is_last = before is not None and after is None and limit is not None
        question = self._question(clauses, filters, by_id=False)
        query = question.ordered(order_by, order_direction, after=after, before=before, backwards=is_last)
        start, most = (natural(self._resource_name, *each) for each in (("offset", offset), ("limit", limit)))
        cut = slice(start or 0, most)
        arriving = self._arriving(query, cut, None if stream else style)
        options: t.Any = {"order_by": order_by, "order_direction": order_direction, "limit": limit, "offset": offset}
        listing = None
        if after is None and before is None:
            turned = functools.partial(self._turned, query) if style == "cursor" else None
            listing = RemoteListing(t.cast("t.Any", self), clauses, filters, options, turned)
        return Records(backwards(arriving) if is_last else arriving, listing)

    async def replace(self, data: collections.abc.Iterable[Record | _Data]) -> builtins.list[Record]:
        """Make these records the whole collection, and give them as they were stored."""
        return await self._many("replace", [self._data(record) for record in data])

    async def partial_replace(self, data: collections.abc.Iterable[Record | _Data]) -> builtins.list[Record]:
        """Replace the records that have these ids, add those that are new, and give them as they were stored."""
        return await self._many("partial_replace", [self._data(record, changes=True) for record in data])

    async def drop(self, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any) -> int:
        """Delete all records that match, or none, and return how many they were.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is deleted.
        """
        query = self._question(clauses, filters, by_id=False).pairs(max_affected)
        dropped = await self._resource_manager.call("drop_where" if query else "drop", query=query)
        return t.cast("int", dropped.deleted)

    async def check(self, *operations: str, schema: str = "/schema/") -> frozenset[str]:
        """Give the names of the operations that the service has, as its OpenAPI document at ``schema`` tells.

        It makes sure that these are among them, and that its records have what the type of ours requires.

        :raises InvalidResponseError: it lacks something, which is named.
        """
        described = await self._resource_manager.describe(schema)
        missing = sorted(set(operations) - described.operations)
        fields = described.fields
        lost = [] if fields is None else sorted(required(self._record) - fields)
        if not described.operations:
            detail = f"its document tells of no resource at '{self._resource_manager.resource}'"
        elif missing:
            detail = f"it has no {', '.join(missing)}: it has {', '.join(sorted(described.operations))}"
        elif lost:
            detail = f"its records have no {', '.join(map(repr, lost))}"
        else:
            return described.operations
        raise InvalidResponseError(resource=self._resource_name, detail=detail)

    def _style(self, asked: pages.Style | None, offset: int | None) -> pages.Style:
        style = self._pagination if asked is None else asked
        if style not in pages.STYLES:
            raise ValueError(f"There is no pagination '{style}': it is one of {', '.join(pages.STYLES)}")
        # what a cursor would have to pass over is read for nothing
        return "limit_offset" if offset and asked is None and self._has_all_styles else style

    async def _turned(self, query: _Pairs, cursor: str, limit: int) -> Stretch:
        walk = pages.Walk("cursor", limit, resource=self._resource_name, cursor=cursor)
        answer = await self._resource_manager.call("list", query=[*query, *walk.parameters().items()])
        found = self._seen(walk.take(answer))
        previous = (answer.meta if isinstance(answer.meta, dict) else {}).get("previous")
        next = None if walk.ended else walk.parameters()[names.CURSOR]
        return Stretch(found, next, previous if isinstance(previous, str) else None)

    def _arriving(self, query: _Pairs, cut: slice, style: pages.Style | None) -> collections.abc.AsyncGenerator[Record]:
        offset, limit = cut.start, cut.stop
        if style is None:
            said = [(names.LIMIT, limit), (names.OFFSET, offset or None)]
            query = query + [(name, str(number)) for name, number in said if number is not None]
            return streamed(self._resource_manager, query, self._seen)
        size = self._page_size if limit is None else max(1, min(limit, self._page_size))
        walk = pages.Walk(style, size, resource=self._resource_name, offset=offset)
        return paged(self._resource_manager, walk, query, self._seen, limit)

    def _question(self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any], *, by_id: bool = True) -> Question:
        return Question(self._resource_name, self._id, clauses, filters, by_id=by_id)

    async def _only(self, question: Question) -> Record | None:
        match await self._page(question.pairs(), 2):
            case []:
                return None
            case [record]:
                return record
        raise MultipleRecordsError(resource=self._resource_name, id=question.id)

    async def _page(self, query: _Pairs, limit: int) -> builtins.list[Record]:
        """Give the first records, by one request."""
        page = pages.parameters(self._pagination, pages.Page(limit))
        answer = await self._resource_manager.call("list", query=[*query, *page.items()])
        return self._seen(answer.data[:limit])

    async def _one(self, operation: str, id: t.Any = None, **request: t.Any) -> Record:
        (record,) = self._read([await self._resource_manager.call(operation, id, **request)])
        return record

    async def _many(self, operation: str, data: t.Any, query: _Pairs | None = None) -> builtins.list[Record]:
        most = self._max_records
        if most is not None and isinstance(data, builtins.list) and len(data) > most:
            detail = f"{len(data)} records are more than the {most} that one request takes: send them in batches"
            raise InvalidDataError(resource=self._resource_name, detail=detail)
        return self._read(await self._resource_manager.call(operation, json=data, query=query or []))

    def _read(self, records: builtins.list[t.Any]) -> builtins.list[Record]:
        found: t.Any = read_infinite(records, self._floats) if self._floats else records
        return found if self._records is None else super()._read(found)

    def _seen(self, found: builtins.list[dict[str, t.Any]]) -> builtins.list[Record]:
        self._resource_manager.forget(record.get(self._id) for record in found)
        return self._read(found)


def _named(*said: tuple[str, _Names | None]) -> _Pairs:
    """Give the parameters that name fields, as far as they are said."""
    several = ((name, [fields] if isinstance(fields, str) else fields) for name, fields in said)
    return [(name, orders.names(fields)) for name, fields in several if fields is not None]


def _data_of(clauses: tuple[t.Any, ...], filters: dict[str, t.Any]) -> tuple[t.Any, tuple[t.Any, ...]]:
    """Give the data of an update, and what says which records."""
    if "data" in filters:
        return filters.pop("data"), clauses
    match clauses:
        case [collections.abc.Hashable() as id, data] if not isinstance(data, query.Condition) and "id" not in filters:
            return data, (id,)
        case [data, *rest]:
            return data, tuple(rest)
    raise TypeError("update() takes the data to write")
