"""Repositories of remote collections: the records of a REST resource, over HTTP."""

import builtins
import collections.abc
import functools
import types
import typing as t

from flama import query
from flama._numbers import read_infinite
from flama.client import Client
from flama.ddd.repositories._deferred import RecordIterator
from flama.ddd.repositories._typed import Record, required_fields, row_adapter
from flama.ddd.repositories.base import BaseRepository, CRUDRepository, Data, Names, OrderBy, field_names
from flama.ddd.repositories.http._iteration import ArrivingRecords, RemoteQuery, iter_pages, iter_stream, reverse
from flama.ddd.repositories.http._manager import HTTPResourceManager, check_resource, last_segment
from flama.ddd.repositories.http._query_builder import PLAIN_IDS, QueryBuilder
from flama.ddd.repositories.http._wire_format import WireFormat
from flama.ddd.workers.http import HTTPWorker
from flama.exceptions import InvalidDataError, InvalidResponseError, NotFoundError
from flama.query import CursorPage, Lock, Select
from flama.query.select import check_non_negative_int
from flama.rest import ordering, paging, query_parameters

__all__ = ["HTTPRepository", "HTTPResourceManager", "HTTPResourceRepository"]

_Rows: t.TypeAlias = collections.abc.Sequence[Data]
_Pairs: t.TypeAlias = list[tuple[str, str]]


class HTTPRepository(BaseRepository):
    """A repository that calls a remote service through ``self._client``."""

    _backend = HTTPWorker

    def __init__(self, client: Client) -> None:
        self._client = client


class HTTPResourceRepository(HTTPRepository, CRUDRepository[Record]):
    """The records of one remote resource.

    A subclass sets ``_resource``, a path or a complete URL. An id may be any string except an empty one, ``.`` and
    ``..``, which raise ``ValueError``. An error from the service is raised as the exception that a repository on its
    side would raise, with the resource name it contains. Errors detected locally have the name ``_name``, by default
    the path's last segment. No request is undone if the unit of work fails: HTTP has no transactions.

    Records are dictionaries, or instances of the type in brackets: ``HTTPResourceRepository[User]``. As in other
    repositories, conditions of ``F`` and keyword filters select records, and all of them must hold. ``retrieve``,
    ``get``, ``update`` and ``delete`` also take an id as the only positional argument. A service neither locks records
    nor limits their fields: ``lock`` and ``fields`` are refused.

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
    _wire_format: t.ClassVar[WireFormat] = WireFormat()
    _floats: t.ClassVar[tuple[str, ...]] = ()  # fields whose infinite numbers may be strings

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._row_adapter = row_adapter(cls._record, None)
        cls._wire_format = WireFormat(cls._envelope, cls._record_envelope, cls._slash, cls._names)
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
            self._resource, client, name=self._name, wire_format=self._wire_format, idempotent=self._idempotent
        )
        self._resource_name = self._resource_manager.name

    @t.overload
    async def create(self, data: Record | Data, /) -> Record: ...
    @t.overload
    async def create(self, *, data: Record | Data) -> Record: ...
    @t.overload
    async def create(self, *records: Record | Data) -> builtins.list[Record]: ...
    async def create(self, *records: t.Any, data: t.Any = None) -> t.Any:
        """Create a record and return it as stored; or several, all or none, in one request."""
        rows = self._rows(records if data is None else (*records, data))
        stored = self._read(await self._insert(rows)) if rows else []
        return stored[0] if len(stored) == 1 else stored

    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: None = None, lock: Lock | None = None, **filters: t.Any
    ) -> Record: ...
    @t.overload
    async def retrieve(
        self, *clauses: t.Any, fields: Names, lock: Lock | None = None, **filters: t.Any
    ) -> dict[str, t.Any]: ...
    async def retrieve(
        self, *clauses: t.Any, fields: Names | None = None, lock: Lock | None = None, **filters: t.Any
    ) -> t.Any:
        """Return the record with this id, ``retrieve(id)`` or ``retrieve(id=id)``, or the one that matches.

        :raises NotFoundError: there is none.
        :raises MultipleRecordsError: more than one matches.
        """
        is_plain = fields is None and lock is None
        if is_plain and len(clauses) == 1 and not filters and type(clauses[0]) in PLAIN_IDS:  # most calls
            return self._read([await self._resource_manager.call("retrieve", clauses[0])])[0]
        question = self._build_query(clauses, filters)
        if question.is_by_id and is_plain:  # the error is the service's
            return await self._request_record("retrieve", question.id)
        return await super().retrieve(*clauses, fields=fields, lock=lock, **filters)

    @t.overload
    async def update(self, id: collections.abc.Hashable, data: Record | Data, /) -> Record: ...
    @t.overload
    async def update(self, data: Record | Data, /, *, id: t.Any) -> Record: ...
    @t.overload
    async def update(self, *, id: t.Any, data: Record | Data) -> Record: ...
    @t.overload
    async def update(
        self, data: Record | Data, *clauses: query.Condition, max_affected: int | None = None, **filters: t.Any
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
        if question.is_by_id and max_affected is None:
            return await self._request_record("update", question.id, json=self._data(data))
        changes = self._data(data, changes=True)
        return self._read(await self._update(Select("update", clauses, filters), changes, max_affected))

    async def partial_update(self, id: t.Any, data: Record | Data) -> Record:
        """Change some fields of the record with this id and return the changed record.

        Of a pydantic model, only the fields that were set are sent; of any other type, all fields.
        """
        return await self._request_record("partial_update", id, json=self._data(data, changes=True))

    def list(  # type: ignore[override]
        self,
        *clauses: t.Any,
        order_by: OrderBy = None,
        order_direction: str = "asc",
        limit: int | None = None,
        offset: int | None = None,
        after: t.Any = None,
        before: t.Any = None,
        pagination: paging.Style | None = None,
        stream: bool = False,
        **filters: t.Any,
    ) -> RecordIterator[Record]:
        """Iterate over the records that match, reading them during the iteration; or return all, ``list(…).all()``.

        Records are read page by page, in the service's ``pagination`` style, and the next page is fetched while the
        current one is consumed. With ``stream``, they arrive as JSON lines in a single response. No record is repeated
        or missed while the collection doesn't change.

        Order and slice are those of :meth:`CRUDRepository.list`. Leaving the loop early releases its resources.

        :raises ValueError: there is no such pagination style.
        :raises InvalidResponseError: the service repeats a page, skips one, or ends before its own count.
        """
        select = Select("list", clauses, filters, order_by, order_direction, limit, offset, after, before)
        style = None if stream else self._style(pagination, offset)
        return self._iterate_in(style, select)

    async def replace(self, data: collections.abc.Iterable[Record | Data]) -> builtins.list[Record]:
        """Replace the whole collection with these records and return them as stored."""
        return self._read(await self._send("replace", self._rows(data)))

    async def partial_replace(self, data: collections.abc.Iterable[Record | Data]) -> builtins.list[Record]:
        """Replace the records that have these ids, add those that are new, and return them as stored."""
        return self._read(await self._send("partial_replace", [self._data(record, changes=True) for record in data]))

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

    async def _fetch(self, select: Select) -> builtins.list[dict[str, t.Any]]:
        self._check_supported(select)
        query = self._build_query(select.clauses, select.filters, by_id=False)
        return await self._page(query.to_ordered_params(select.order_by, select.order_direction), select.limit or 0)

    async def _find(self, select: Select) -> builtins.list[dict[str, t.Any]]:
        self._check_supported(select)
        question = self._build_query(select.clauses, select.filters)
        if not question.is_by_id:
            return await self._page(question.to_params(), 2)
        try:
            return [await self._resource_manager.call("retrieve", question.id)]
        except NotFoundError:
            return []

    def _iterate(self, select: Select) -> RecordIterator[Record]:
        return self._iterate_in(self._style(None, select.offset), select)

    async def _count(self, select: Select) -> int:
        page = paging.encode(self._pagination, paging.Page(1, count=True))
        query = [*self._build_query(select.clauses, select.filters, by_id=False).to_params(), *page.items()]
        return paging.total(await self._resource_manager.call("list", query=query), resource=self._resource_name)

    async def _insert(self, rows: _Rows) -> builtins.list[dict[str, t.Any]]:
        if len(rows) == 1:
            return [await self._resource_manager.call("create", json=rows[0])]
        return await self._send("create_many", rows)

    async def _update(self, select: Select, changes: Data, max_affected: int | None) -> builtins.list[dict[str, t.Any]]:
        question = self._build_query(select.clauses, select.filters)
        return await self._send("update_where", changes, question.to_params(max_affected))

    async def _upsert(self, rows: _Rows, on: Names | None, set: Names | None) -> builtins.list[dict[str, t.Any]]:
        return await self._send("upsert", rows, _field_params((query_parameters.ON, on), (query_parameters.SET, set)))

    async def _get_or_create(self, row: Data, on: Names | None) -> tuple[dict[str, t.Any], bool]:
        query = _field_params((query_parameters.ON, on))
        found: tuple[dict[str, t.Any], bool] = await self._resource_manager.call("get_or_create", json=row, query=query)
        return found

    async def _delete(self, select: Select, max_affected: int | None) -> int:
        query = self._build_query(select.clauses, select.filters, by_id=False).to_params(max_affected)
        dropped = await self._resource_manager.call("drop_where" if query else "drop", query=query)
        return t.cast("int", dropped.deleted)

    async def _delete_one(self, select: Select) -> bool:
        question = self._build_query(select.clauses, select.filters)
        if question.is_by_id:
            await self._resource_manager.call("delete", question.id)
            return True
        return bool((await self._resource_manager.call("drop_where", query=question.to_params(1))).deleted)

    def _identity(self, select: Select) -> t.Any:
        return self._build_query(select.clauses, select.filters).id

    def _check_supported(self, select: Select) -> None:
        for name in ("fields", "lock"):
            if getattr(select, name) is not None:
                detail = f"there is no {name!r} over HTTP; a condition on a field of this name is F[{name!r}] == …"
                raise InvalidDataError(resource=self._resource_name, detail=detail)

    def _iterate_in(self, style: paging.Style | None, select: Select) -> RecordIterator[Record]:
        """Return an iterator over records that are read by pages in this style; None is a stream."""
        question = self._build_query(select.clauses, select.filters, by_id=False)
        is_last = select.is_last_slice
        query = question.to_ordered_params(
            select.order_by, select.order_direction, after=select.after, before=select.before, backwards=is_last
        )
        offset, limit = (
            check_non_negative_int(self._resource_name, *each)
            for each in (("offset", select.offset), ("limit", select.limit))
        )
        arriving = self._arriving(query, offset or 0, limit, style)
        deferred = None
        if select.is_whole:
            at_cursor = functools.partial(self._fetch_at_cursor, query) if style == "cursor" else None
            deferred = RemoteQuery(select, self._iterate, self._count, self._keyset_columns, at_cursor)
        return ArrivingRecords(reverse(arriving) if is_last else arriving, deferred)

    def _arriving(
        self, query: _Pairs, offset: int, limit: int | None, style: paging.Style | None
    ) -> collections.abc.AsyncGenerator[Record]:
        if style is None:
            cut = [(query_parameters.LIMIT, limit), (query_parameters.OFFSET, offset or None)]
            query = query + [(name, str(number)) for name, number in cut if number is not None]
            return iter_stream(self._resource_manager, query, self._read_listed)
        size = self._page_size if limit is None else max(1, min(limit, self._page_size))
        walk = paging.PageIterator(style, size, resource=self._resource_name, offset=offset)
        return iter_pages(self._resource_manager, walk, query, self._read_listed, limit)

    async def _fetch_at_cursor(self, query: _Pairs, cursor: str, limit: int) -> CursorPage:
        walk = paging.PageIterator("cursor", limit, resource=self._resource_name, cursor=cursor)
        answer = await self._resource_manager.call("list", query=[*query, *walk.next_parameters().items()])
        found = self._read_listed(walk.accept(answer))
        previous = (answer.meta if isinstance(answer.meta, dict) else {}).get("previous")
        next = None if walk.is_done else walk.next_parameters()[query_parameters.CURSOR]
        return CursorPage(found, next, previous if isinstance(previous, str) else None)

    def _build_query(
        self, clauses: tuple[t.Any, ...], filters: collections.abc.Mapping[str, t.Any], *, by_id: bool = True
    ) -> QueryBuilder:
        return QueryBuilder(self._resource_name, self._id, clauses, filters, by_id=by_id)

    async def _page(self, query: _Pairs, limit: int) -> builtins.list[dict[str, t.Any]]:
        """Return the first records, read in one request."""
        page = paging.encode(self._pagination, paging.Page(limit))
        answer = await self._resource_manager.call("list", query=[*query, *page.items()])
        return self._forget_tags(answer.data[:limit])

    async def _request_record(self, operation: str, id: t.Any = None, **request: t.Any) -> Record:
        (record,) = self._read([await self._resource_manager.call(operation, id, **request)])
        return record

    async def _send(self, operation: str, data: t.Any, query: _Pairs | None = None) -> builtins.list[dict[str, t.Any]]:
        most = self._max_records
        if most is not None and isinstance(data, builtins.list) and len(data) > most:
            detail = f"{len(data)} records are more than the {most} that one request takes: send them in batches"
            raise InvalidDataError(resource=self._resource_name, detail=detail)
        found: builtins.list[dict[str, t.Any]] = await self._resource_manager.call(
            operation, json=data, query=query or []
        )
        return found

    def _read(self, records: builtins.list[t.Any]) -> builtins.list[Record]:
        found: t.Any = read_infinite(records, self._floats) if self._floats else records
        return found if self._row_adapter is None else super()._read(found)

    def _read_listed(self, found: builtins.list[dict[str, t.Any]]) -> builtins.list[Record]:
        return self._read(self._forget_tags(found))

    def _forget_tags(self, found: builtins.list[dict[str, t.Any]]) -> builtins.list[dict[str, t.Any]]:
        # what was read again by another operation has another entity tag, perhaps
        self._resource_manager.drop_etags(record.get(self._id) for record in found)
        return found


def _field_params(*parameters: tuple[str, Names | None]) -> _Pairs:
    """Return the parameters whose value is a list of fields, without those that are None."""
    return [(name, ordering.encode_fields(field_names(fields))) for name, fields in parameters if fields is not None]


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
