"""Repositories of remote collections: the records of a REST resource, over HTTP."""

import builtins
import collections.abc
import functools
import types
import typing as t

from flama import query
from flama._numbers import read_infinite
from flama.client import Client
from flama.ddd.repositories._typed import Record, TypedRepository, required_fields, row_adapter
from flama.ddd.repositories.base import BaseRepository
from flama.ddd.repositories.http._iteration import RecordIterator, RemoteQuery, iter_pages, iter_stream, reverse
from flama.ddd.repositories.http._manager import HTTPResourceManager, check_resource, last_segment
from flama.ddd.repositories.http._query_builder import PLAIN_IDS, QueryBuilder, check_non_negative_int
from flama.ddd.repositories.http._wire_format import WireFormat
from flama.ddd.workers.http import HTTPWorker
from flama.exceptions import InvalidDataError, InvalidResponseError, MultipleRecordsError, NotFoundError
from flama.query import Stretch
from flama.rest import ordering, paging, query_parameters

__all__ = ["HTTPRepository", "HTTPResourceManager", "HTTPResourceRepository"]

_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_OrderBy: t.TypeAlias = str | query.Field | query.Order | collections.abc.Sequence[t.Any] | None
_Names: t.TypeAlias = str | collections.abc.Collection[str]
_Pairs: t.TypeAlias = list[tuple[str, str]]


class HTTPRepository(BaseRepository):
    """A repository that calls a remote service through ``self._client``."""

    _backend = HTTPWorker

    def __init__(self, client: Client) -> None:
        self._client = client


class HTTPResourceRepository(HTTPRepository, TypedRepository[Record]):
    """The records of one remote resource.

    A subclass sets ``_resource``, a path or a complete URL. An id may be any string except an empty one, ``.`` and
    ``..``, which raise ``ValueError``. An error from the service is raised as the exception that a repository on its
    side would raise, with the resource name it contains. Errors detected locally have the name ``_name``, by default
    the path's last segment. No request is undone if the unit of work fails: HTTP has no transactions.

    Records are dictionaries, or instances of the type in brackets: ``HTTPResourceRepository[User]``. As in other
    repositories, conditions of ``F`` and keyword filters select records, and all of them must hold.

    Class attributes describe a service that differs from Flama's own resources:

    ``_id``
        The field whose value identifies a record in its path.
    ``_pagination``, ``_page_size``
        The pagination style, and the number of records in a page.
    ``_envelope``
        The field of a page that contains its records; None if the page is a list.
    ``_record_envelope``
        The field of a response that contains the record; None if the response is the record.
    ``_slash``
        Whether paths end with a slash.
    ``_names``
        The service's names for Flama's parameters.
    ``_idempotent``
        Whether the service stores the responses of writes by ``Idempotency-Key``, so that writes may be retried.
    ``_max_records``
        The most records that the service accepts in one request; None for no limit.

    :raises InvalidDataError: there are more records to send than ``_max_records``; nothing was sent.
    :raises InvalidResponseError: the service's response isn't a record of the type.
    :raises ApplicationError: ``_resource`` has a query or a fragment.
    """

    _resource: t.ClassVar[str]
    _name: t.ClassVar[str | None] = None
    _id: t.ClassVar[str] = "id"
    _pagination: t.ClassVar[paging.Style] = "page_number"
    _has_all_styles: t.ClassVar[bool] = False
    _page_size: t.ClassVar[int] = 100
    _envelope: t.ClassVar[str | None] = "data"
    _record_envelope: t.ClassVar[str | None] = None
    _slash: t.ClassVar[bool] = True
    _names: t.ClassVar[collections.abc.Mapping[str, str]] = {}
    _idempotent: t.ClassVar[bool] = False
    _max_records: t.ClassVar[int | None] = 10_000
    _dialect: t.ClassVar[WireFormat] = WireFormat()
    _floats: t.ClassVar[tuple[str, ...]] = ()  # fields whose infinite numbers may be strings

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._records = row_adapter(cls._record, None)
        cls._dialect = WireFormat(cls._envelope, cls._record_envelope, cls._slash, cls._names)
        if isinstance(resource := getattr(cls, "_resource", None), str):
            check_resource(resource)
            cls._resource_name = last_segment(resource) if cls._name is None else cls._name

    @classmethod
    def of(cls, resource: t.Any, path: str | None = None) -> type["HTTPResourceRepository[t.Any]"]:
        """Return a repository class for a Flama resource, with its record type, key, idempotency and limits.

        ``path`` is where the resource is served, below the client's base: by default, its name.
        """
        record = resource.output_schema or resource.schema
        repository: t.Any = cls
        base = repository if record is None else repository[record]
        said = {
            "__module__": cls.__module__,
            "__doc__": f"The records of {resource.__name__}, over HTTP.",
            "_resource": f"/{resource.name}" if path is None else path,
            "_name": resource.spec.error_name,
            "_id": resource.spec.key,
            "_idempotent": resource.idempotency,
            **({} if resource.max_records is None else {"_max_records": resource.max_records}),
            "_floats": resource.spec.floats,
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
        """Create a record and return it as stored; or several, all or none, in one request."""
        match records if data is None else (*records, data):
            case [record]:
                return await self._request_record("create", json=self._data(record))
            case []:
                return []
            case several:
                return await self._request_records("create_many", [self._data(record) for record in several])

    async def upsert(
        self, *data: Record | _Data, on: _Names | None = None, set: _Names | None = None
    ) -> builtins.list[Record]:
        """Insert records or update the existing ones, all or none; return them as stored, in order.

        ``on`` are the fields that identify an existing record, ``set`` those that change in it. The service determines
        the defaults of both.
        """
        if not data:
            return []
        query = _field_params((query_parameters.ON, on), (query_parameters.SET, set))
        return await self._request_records("upsert", [self._data(record) for record in data], query)

    async def get_or_create(self, data: Record | _Data, *, on: _Names | None = None) -> tuple[Record, bool]:
        """Return ``(record, created)``: the existing match and False, or the newly stored record and True.

        ``on`` are the fields that identify an existing record, by default those that the service determines.
        """
        call = self._resource_manager.call(
            "get_or_create", json=self._data(data), query=_field_params((query_parameters.ON, on))
        )
        found, created = await call
        (record,) = self._read([found])
        return record, created

    async def retrieve(self, *clauses: t.Any, **filters: t.Any) -> Record:
        """Return the record with this id, ``retrieve(id)`` or ``retrieve(id=id)``, or the one that matches.

        :raises NotFoundError: there is none.
        :raises MultipleRecordsError: more than one matches.
        """
        if len(clauses) == 1 and not filters and type(clauses[0]) in PLAIN_IDS:  # the fast path of most calls
            return self._read([await self._resource_manager.call("retrieve", clauses[0])])[0]
        question = self._build_query(clauses, filters)
        if question.is_of_one:
            return await self._request_record("retrieve", question.id)
        record = await self._only(question)
        if record is None:
            raise NotFoundError(resource=self._resource_name, id=question.id)
        return record

    async def get(self, *clauses: t.Any, **filters: t.Any) -> Record | None:
        """Return the record with this id, or the one that matches; None if there is none.

        :raises MultipleRecordsError: more than one matches.
        """
        question = self._build_query(clauses, filters)
        if not question.is_of_one:
            return await self._only(question)
        try:
            return await self._request_record("retrieve", question.id)
        except NotFoundError:
            return None

    async def first(
        self, *clauses: t.Any, order_by: _OrderBy = None, order_direction: str = "asc", **filters: t.Any
    ) -> Record | None:
        """Return the first record that matches, ordered as in :meth:`list`; None if none does."""
        query = self._build_query(clauses, filters, by_id=False).ordered(order_by, order_direction)
        return next(iter(await self._page(query, 1)), None)

    async def count(self, *clauses: t.Any, **filters: t.Any) -> int:
        """Return the number of records that match."""
        page = paging.parameters(self._pagination, paging.Page(1, count=True))
        query = [*self._build_query(clauses, filters, by_id=False).to_params(), *page.items()]
        return paging.total(await self._resource_manager.call("list", query=query), resource=self._resource_name)

    async def exists(self, *clauses: t.Any, **filters: t.Any) -> bool:
        """Return whether any record matches."""
        return bool(await self._page(self._build_query(clauses, filters, by_id=False).to_params(), 1))

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
        """Replace the record with this id and return it; or change all that match and return them.

        ``update(id, data)`` or ``update(data, id=id)`` replaces one record. ``update(data, F.age > 17)`` changes all
        that match, or none, and leaves fields that aren't sent unchanged.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is changed.
        """
        data, clauses = _split_update_args(clauses, filters)
        max_affected = filters.pop("max_affected", None)
        question = self._build_query(clauses, filters)
        if question.is_of_one and max_affected is None:
            return await self._request_record("update", question.id, json=self._data(data))
        return await self._request_records(
            "update_where", self._data(data, changes=True), question.to_params(max_affected)
        )

    async def partial_update(self, id: t.Any, data: Record | _Data) -> Record:
        """Change some fields of the record with this id and return the changed record.

        Of a pydantic model, only the fields that were set are sent; of any other type, all fields.
        """
        return await self._request_record("partial_update", id, json=self._data(data, changes=True))

    async def delete(self, *clauses: t.Any, **filters: t.Any) -> None:
        """Delete the record with this id, or the one that matches.

        :raises NotFoundError: there is none.
        :raises MultipleRecordsError: more than one matches; nothing is deleted.
        """
        question = self._build_query(clauses, filters)
        if question.is_of_one:
            await self._resource_manager.call("delete", question.id)
        elif not (await self._resource_manager.call("drop_where", query=question.to_params(1))).deleted:
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
        pagination: paging.Style | None = None,
        stream: bool = False,
        **filters: t.Any,
    ) -> collections.abc.AsyncIterator[Record]:
        """Iterate over the records that match, reading them during the iteration.

        Records are read page by page, in the service's ``pagination`` style, and the next page is fetched while the
        current one is consumed. With ``stream``, they arrive as JSON lines in a single response. No record is repeated
        or missed while the collection doesn't change.

        ``after`` and ``before`` are records, which need not exist: only the records between them in the order are
        returned. A slice begins right after ``after`` or, with ``before`` alone, ends right before ``before``. Leaving
        the loop early releases its resources.

        :raises ValueError: there is no such pagination style.
        :raises InvalidResponseError: the service repeats a page, skips one, or ends before its own count.
        """
        style = self._style(pagination, offset)
        is_last = before is not None and after is None and limit is not None
        question = self._build_query(clauses, filters, by_id=False)
        query = question.ordered(order_by, order_direction, after=after, before=before, backwards=is_last)
        start, most = (
            check_non_negative_int(self._resource_name, *each) for each in (("offset", offset), ("limit", limit))
        )
        cut = slice(start or 0, most)
        arriving = self._iterate(query, cut, None if stream else style)
        options: t.Any = {"order_by": order_by, "order_direction": order_direction, "limit": limit, "offset": offset}
        listing = None
        if after is None and before is None:
            turned = functools.partial(self._turned, query) if style == "cursor" else None
            listing = RemoteQuery(t.cast("t.Any", self), clauses, filters, options, turned)
        return RecordIterator(reverse(arriving) if is_last else arriving, listing)

    async def replace(self, data: collections.abc.Iterable[Record | _Data]) -> builtins.list[Record]:
        """Replace the whole collection with these records and return them as stored."""
        return await self._request_records("replace", [self._data(record) for record in data])

    async def partial_replace(self, data: collections.abc.Iterable[Record | _Data]) -> builtins.list[Record]:
        """Replace the records that have these ids, add those that are new, and return them as stored."""
        return await self._request_records("partial_replace", [self._data(record, changes=True) for record in data])

    async def drop(self, *clauses: t.Any, max_affected: int | None = None, **filters: t.Any) -> int:
        """Delete all records that match, or none, and return their number.

        :raises MultipleRecordsError: more than ``max_affected`` match; none is deleted.
        """
        query = self._build_query(clauses, filters, by_id=False).to_params(max_affected)
        dropped = await self._resource_manager.call("drop_where" if query else "drop", query=query)
        return t.cast("int", dropped.deleted)

    async def check(self, *operations: str, schema: str = "/schema/") -> frozenset[str]:
        """Return the names of the service's operations, read from its OpenAPI document at ``schema``.

        Check that ``operations`` are among them, and that its records have all fields that the record type requires.

        :raises InvalidResponseError: the service lacks an operation or a field, which the error names.
        """
        described = await self._resource_manager.describe(schema)
        missing = sorted(set(operations) - described.operations)
        fields = described.fields
        lost = [] if fields is None else sorted(required_fields(self._record) - fields)
        if not described.operations:
            detail = f"its document tells of no resource at '{self._resource_manager.resource}'"
        elif missing:
            detail = f"it has no {', '.join(missing)}: it has {', '.join(sorted(described.operations))}"
        elif lost:
            detail = f"its records have no {', '.join(map(repr, lost))}"
        else:
            return described.operations
        raise InvalidResponseError(resource=self._resource_name, detail=detail)

    def _style(self, asked: paging.Style | None, offset: int | None) -> paging.Style:
        style = self._pagination if asked is None else asked
        if style not in paging.STYLES:
            raise ValueError(f"There is no pagination '{style}': it is one of {', '.join(paging.STYLES)}")
        # with a cursor, the records before the offset would be read in vain
        return "limit_offset" if offset and asked is None and self._has_all_styles else style

    async def _turned(self, query: _Pairs, cursor: str, limit: int) -> Stretch:
        walk = paging.Walk("cursor", limit, resource=self._resource_name, cursor=cursor)
        answer = await self._resource_manager.call("list", query=[*query, *walk.parameters().items()])
        found = self._seen(walk.take(answer))
        previous = (answer.meta if isinstance(answer.meta, dict) else {}).get("previous")
        next = None if walk.ended else walk.parameters()[query_parameters.CURSOR]
        return Stretch(found, next, previous if isinstance(previous, str) else None)

    def _iterate(self, query: _Pairs, cut: slice, style: paging.Style | None) -> collections.abc.AsyncGenerator[Record]:
        offset, limit = cut.start, cut.stop
        if style is None:
            said = [(query_parameters.LIMIT, limit), (query_parameters.OFFSET, offset or None)]
            query = query + [(name, str(number)) for name, number in said if number is not None]
            return iter_stream(self._resource_manager, query, self._seen)
        size = self._page_size if limit is None else max(1, min(limit, self._page_size))
        walk = paging.Walk(style, size, resource=self._resource_name, offset=offset)
        return iter_pages(self._resource_manager, walk, query, self._seen, limit)

    def _build_query(
        self, clauses: tuple[t.Any, ...], filters: dict[str, t.Any], *, by_id: bool = True
    ) -> QueryBuilder:
        return QueryBuilder(self._resource_name, self._id, clauses, filters, by_id=by_id)

    async def _only(self, question: QueryBuilder) -> Record | None:
        match await self._page(question.to_params(), 2):
            case []:
                return None
            case [record]:
                return record
        raise MultipleRecordsError(resource=self._resource_name, id=question.id)

    async def _page(self, query: _Pairs, limit: int) -> builtins.list[Record]:
        """Return the first records, read in one request."""
        page = paging.parameters(self._pagination, paging.Page(limit))
        answer = await self._resource_manager.call("list", query=[*query, *page.items()])
        return self._seen(answer.data[:limit])

    async def _request_record(self, operation: str, id: t.Any = None, **request: t.Any) -> Record:
        (record,) = self._read([await self._resource_manager.call(operation, id, **request)])
        return record

    async def _request_records(self, operation: str, data: t.Any, query: _Pairs | None = None) -> builtins.list[Record]:
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


def _field_params(*said: tuple[str, _Names | None]) -> _Pairs:
    """Return the parameters whose value is a list of fields, without those that are None."""
    several = ((name, [fields] if isinstance(fields, str) else fields) for name, fields in said)
    return [(name, ordering.names(fields)) for name, fields in several if fields is not None]


def _split_update_args(clauses: tuple[t.Any, ...], filters: dict[str, t.Any]) -> tuple[t.Any, tuple[t.Any, ...]]:
    """Return the data of an update, and the clauses that select its records."""
    if "data" in filters:
        return filters.pop("data"), clauses
    match clauses:
        case [collections.abc.Hashable() as id, data] if not isinstance(data, query.Condition) and "id" not in filters:
            return data, (id,)
        case [data, *rest]:
            return data, tuple(rest)
    raise TypeError("update() takes the data to write")
