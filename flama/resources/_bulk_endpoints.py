"""Operations on all records of a resource, or on those that match filters."""

import typing as t

import msgspec

from flama import http
from flama.resources._preconditions import check_collection
from flama.resources._request import ResourceRequest
from flama.rest import query_parameters
from flama.rest.operations import Deleted

__all__ = ["drop", "partial_replace", "replace", "update_where", "upsert"]

# not those of pages, which are refused as unknown filters: a write applies to all matching records
_RESERVED: t.Final = frozenset({query_parameters.MAX_AFFECTED, query_parameters.FILTER})


async def replace(request: ResourceRequest) -> http.Response:
    """Replace all records by these."""
    check_collection(request)
    schema, stamped = request.spec.input, request.stamped
    sent = await schema.read_many(request.scope, request.body, request.limit)
    rows = [schema.fill_missing(row, stamped) for row in schema.require_keys(sent)]
    return await _replace(request, rows, partial=False)


async def partial_replace(request: ResourceRequest) -> http.Response:
    """Update the records that exist, and create the others."""
    check_collection(request)
    schema = request.spec.input
    rows = schema.require_keys(await schema.read_many(request.scope, request.body, request.limit, partial=True))
    return await _replace(request, rows, partial=True)


async def drop(request: ResourceRequest) -> http.Response:
    """Delete all records, or those that match the filters."""
    check_collection(request)
    conditions, most = request.conditions(_RESERVED), request.number(query_parameters.MAX_AFFECTED)
    async with request.open_unit() as records:
        deleted = await records.drop(conditions, most)
        return request.respond(msgspec.json.encode(Deleted(deleted)))


async def update_where(request: ResourceRequest) -> http.Response:
    """Update the records that match the filters."""
    check_collection(request)
    data = await request.spec.input.read(request.scope, request.body, partial=True)
    conditions, most = request.conditions(_RESERVED), request.number(query_parameters.MAX_AFFECTED)
    request.check_ids([data])
    async with request.open_unit() as records:
        return request.respond(request.spec.output.many(await records.update_where(data, conditions, most)))


async def upsert(request: ResourceRequest) -> http.Response:
    """Create records, or update those that exist."""
    check_collection(request)
    schema = request.spec.input
    rows = schema.require_keys(await schema.read_sent(request.scope, request.body, request.limit))
    options = request.field_options(query_parameters.ON, query_parameters.SET)
    request.check_ids(rows)
    async with request.open_unit() as records:
        return request.respond(request.spec.output.many(await records.upsert(rows, **options)))


async def _replace(request: ResourceRequest, rows: t.Any, *, partial: bool) -> http.Response:
    request.check_ids(rows)
    async with request.open_unit() as records:
        return request.respond(request.spec.output.many(await records.replace(rows, partial=partial)))
