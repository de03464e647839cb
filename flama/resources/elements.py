"""Operations on one record of a resource."""

import typing as t

from flama import http
from flama.query.conditions import as_mapping
from flama.resources.asked import Asked
from flama.resources.preconditions import etag, expected
from flama.rest import names, preconditions

__all__ = ["create", "delete", "get_or_create", "partial_update", "retrieve", "update"]


async def create(asked: Asked) -> http.Response:
    """Store a record, or a list of them."""
    resource, key = asked.resource, asked.resource._id.name
    is_many = asked.body.lstrip()[:1] == b"["
    rows = [_without_empty_key(row, key) for row in resource._input.new(await _sent(asked, is_many=is_many))]
    asked.check_ids(rows)
    async with asked.unit() as records:  # the response is made in it: if it can't be, nothing is stored
        stored = await records.create(rows)
        if is_many:
            return asked.answer(resource._output.many(stored))
        body = resource._output.one(stored[0])
        id = as_mapping(stored[0])[key]
        return asked.answer(body, {"location": asked.location(id), "etag": etag(resource, stored[0], body)})


async def get_or_create(asked: Asked) -> http.Response:
    """Give the record that is there, or store the one that is sent."""
    resource, key = asked.resource, asked.resource._id.name
    row = _without_empty_key(await resource._input.one(asked.scope, asked.body), key)
    options = asked.named(names.ON)
    asked.check_ids([row])
    async with asked.unit() as records:
        record, created = await records.get_or_create(row, **options)
        body = resource._output.one(record)
        headers = {"etag": etag(resource, record, body)}
        if not created:
            return asked.answer(body, headers, asked.operation.found)
        return asked.answer(body, {"location": asked.location(as_mapping(record)[key]), **headers})


async def retrieve(asked: Asked) -> http.Response:
    """Give a record."""
    known = expected(asked).none_match
    async with asked.unit() as records:
        record = await records.retrieve(asked.id)
    body = asked.resource._output.one(record)
    headers = {"etag": etag(asked.resource, record, body)}
    if known is not None and preconditions.matches(known, headers["etag"], weak=True):
        return http.Response(None, 304, headers)
    return asked.answer(body, headers)


async def update(asked: Asked) -> http.Response:
    """Replace a record."""
    given = await asked.resource._input.one(asked.scope, asked.body)
    return await _changed(asked, asked.resource._input.replacing(given, asked.stamped), partial=False)


async def partial_update(asked: Asked) -> http.Response:
    """Change some fields of a record."""
    return await _changed(asked, await asked.resource._input.part(asked.scope, asked.body), partial=True)


async def delete(asked: Asked) -> http.Response:
    """Delete a record."""
    state = expected(asked)
    async with asked.unit() as records:
        with state.refusing(asked):
            await records.delete(asked.id, **await state.filters(asked, records))
    return http.Response(None, asked.operation.status)


async def _sent(asked: Asked, *, is_many: bool) -> list[dict[str, t.Any]]:
    given = asked.resource._input
    if is_many:
        return await given.many(asked.scope, asked.body, asked.limit)
    return [await given.one(asked.scope, asked.body)]


async def _changed(asked: Asked, data: dict[str, t.Any], *, partial: bool) -> http.Response:
    state = expected(asked)
    data.pop(asked.resource._id.name, None)  # the path says which record it is
    async with asked.unit() as records:
        with state.refusing(asked):
            filters = await state.filters(asked, records)
            record = await records.update(asked.id, data, partial=partial, **filters)
        body = asked.resource._output.one(record)
        return asked.answer(body, {"etag": etag(asked.resource, record, body)})


def _without_empty_key(row: dict[str, t.Any], key: str) -> dict[str, t.Any]:
    return {name: value for name, value in row.items() if name != key} if row.get(key, ...) is None else row
