"""Operations on all records of a resource, or on those that a query asks for."""

import typing as t

import msgspec

from flama import http
from flama.resources.asked import Asked
from flama.resources.preconditions import check_collection
from flama.rest import names
from flama.rest.operations import Deleted

__all__ = ["drop", "partial_replace", "replace", "update_where", "upsert"]

# a page of what is changed would be another thing than the caller thinks
_OTHERS: t.Final = frozenset({names.MAX_AFFECTED, names.FILTER})


async def replace(asked: Asked) -> http.Response:
    """Make these records all that there are."""
    check_collection(asked)
    given, stamped = asked.resource._input, asked.stamped
    sent = await given.many(asked.scope, asked.body, asked.limit)
    rows = [given.replacing(row, stamped) for row in given.new(sent)]
    return await _replaced(asked, rows, partial=False)


async def partial_replace(asked: Asked) -> http.Response:
    """Change the records that are there, and store the others."""
    check_collection(asked)
    given = asked.resource._input
    return await _replaced(asked, given.new(await given.parts(asked.scope, asked.body, asked.limit)), partial=True)


async def drop(asked: Asked) -> http.Response:
    """Delete all records, or those that a query asks for."""
    check_collection(asked)
    conditions, most = asked.conditions(_OTHERS), asked.number(names.MAX_AFFECTED)
    async with asked.unit() as records:
        deleted = await records.drop(conditions, most)
        return asked.answer(msgspec.json.encode(Deleted(deleted)))


async def update_where(asked: Asked) -> http.Response:
    """Change the records that a query asks for."""
    check_collection(asked)
    data = await asked.resource._input.part(asked.scope, asked.body)
    conditions, most = asked.conditions(_OTHERS), asked.number(names.MAX_AFFECTED)
    asked.check_ids([data])
    async with asked.unit() as records:
        return asked.answer(asked.resource._output.many(await records.change(data, conditions, most)))


async def upsert(asked: Asked) -> http.Response:
    """Store records or, of those that are there, change what is there."""
    check_collection(asked)
    given = asked.resource._input
    rows = given.new(await given.sent(asked.scope, asked.body, asked.limit))
    options = asked.named(names.ON, names.SET)
    asked.check_ids(rows)
    async with asked.unit() as records:
        return asked.answer(asked.resource._output.many(await records.upsert(rows, **options)))


async def _replaced(asked: Asked, rows: t.Any, *, partial: bool) -> http.Response:
    asked.check_ids(rows)
    async with asked.unit() as records:
        return asked.answer(asked.resource._output.many(await records.replace(rows, partial=partial)))
