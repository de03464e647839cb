"""Operations on a single record of a resource."""

import typing as t

from flama import http
from flama.query.conditions import as_mapping
from flama.resources._preconditions import etag, parse_preconditions
from flama.resources._request import ResourceRequest
from flama.rest import conditional_requests, query_parameters

__all__ = ["create", "delete", "get_or_create", "partial_update", "retrieve", "update"]


async def create(request: ResourceRequest) -> http.Response:
    """Create a record, or a list of records."""
    spec, key = request.spec, request.spec.key
    is_many = request.body.lstrip()[:1] == b"["
    if is_many:
        sent = await spec.input.read_many(request.scope, request.body, request.limit)
    else:
        sent = [await spec.input.read(request.scope, request.body)]
    rows = [_drop_empty_key(row, key) for row in spec.input.require_keys(sent)]
    request.check_ids(rows)
    async with request.open_unit() as records:  # the response is encoded inside: if that fails, nothing is stored
        stored = await records.create(rows)
        if is_many:
            return request.respond(spec.output.many(stored))
        body = spec.output.one(stored[0])
        id = as_mapping(stored[0])[key]
        return request.respond(body, {"location": request.location(id), "etag": etag(spec, stored[0], body)})


async def get_or_create(request: ResourceRequest) -> http.Response:
    """Return the existing record, or create it."""
    spec, key = request.spec, request.spec.key
    row = _drop_empty_key(await spec.input.read(request.scope, request.body), key)
    options = request.field_options(query_parameters.ON)
    request.check_ids([row])
    async with request.open_unit() as records:
        record, created = await records.get_or_create(row, **options)
        body = spec.output.one(record)
        headers = {"etag": etag(spec, record, body)}
        if not created:
            return request.respond(body, headers, request.operation.found)
        return request.respond(body, {"location": request.location(as_mapping(record)[key]), **headers})


async def retrieve(request: ResourceRequest) -> http.Response:
    """Retrieve a record."""
    known = parse_preconditions(request).none_match
    async with request.open_unit() as records:
        record = await records.retrieve(request.id)
    body = request.spec.output.one(record)
    headers = {"etag": etag(request.spec, record, body)}
    if known is not None and conditional_requests.matches(known, headers["etag"], weak=True):
        return http.Response(None, 304, headers)
    return request.respond(body, headers)


async def update(request: ResourceRequest) -> http.Response:
    """Replace a record."""
    schema = request.spec.input
    row = await schema.read(request.scope, request.body)
    return await _update(request, schema.fill_missing(row, request.stamped), partial=False)


async def partial_update(request: ResourceRequest) -> http.Response:
    """Update some fields of a record."""
    data = await request.spec.input.read(request.scope, request.body, partial=True)
    return await _update(request, data, partial=True)


async def delete(request: ResourceRequest) -> http.Response:
    """Delete a record."""
    state = parse_preconditions(request)
    async with request.open_unit() as records:
        with state.translate_conflicts(request):
            await records.delete(request.id, **await state.filters(request, records))
    return http.Response(None, request.operation.status)


async def _update(request: ResourceRequest, data: dict[str, t.Any], *, partial: bool) -> http.Response:
    state = parse_preconditions(request)
    data.pop(request.spec.key, None)  # the path identifies the record
    async with request.open_unit() as records:
        with state.translate_conflicts(request):
            filters = await state.filters(request, records)
            record = await records.update(request.id, data, partial=partial, **filters)
        body = request.spec.output.one(record)
        return request.respond(body, {"etag": etag(request.spec, record, body)})


def _drop_empty_key(row: dict[str, t.Any], key: str) -> dict[str, t.Any]:
    return {name: value for name, value in row.items() if name != key} if row.get(key, ...) is None else row
