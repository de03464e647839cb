"""Requests for a page, responses with an envelope, ``Link`` headers."""

import collections.abc
import typing as t

from flama import exceptions, http, schemas, types
from flama.http.response import json
from flama.pagination._fetch import Slice
from flama.rest import paging
from flama.rest.cursors import QueryCursors

__all__ = ["answer", "refused", "requested"]

_Pairs: t.TypeAlias = collections.abc.Sequence[tuple[str, str]]


def requested(
    style: paging.Style, scope: types.Scope, query: _Pairs, most: int = paging.MOST, *, caller_scope: str = ""
) -> tuple[paging.Page, QueryCursors]:
    """Return the requested page, and the cursors of its query.

    ``caller_scope`` identifies the set of records that the caller may read: cursors are only valid within it.

    :raises ValidationError: a page parameter is invalid.
    """
    others = paging.others(style, query)
    try:
        page = paging.requested(style, dict(query), most)
    except ValueError as error:
        raise refused(error) from error
    return page, QueryCursors(scope["app"]._cursors, scope["path"], caller_scope, others)


def refused(error: ValueError) -> exceptions.ValidationError:
    """Return the validation error of an invalid query."""
    return exceptions.ValidationError(
        schemas.invalid([{"type": "value_error", "loc": ["query"], "msg": str(error), "input": None}])
    )


def answer(
    style: paging.Style,
    page: paging.Page,
    found: Slice,
    query: _Pairs,
    encode: collections.abc.Callable[[t.Any], bytes] = json,
) -> http.Response:
    """Return the response with a page; ``encode`` converts its records to JSON."""
    places = {"next": found.next, **({"previous": found.previous} if style == "cursor" else {})}
    meta = json(paging.envelope(style, page, [], found.count, **places)["meta"])
    body = b'{"meta":%b,"data":%b}' % (meta, encode(found.data))
    link = paging.link(style, query, next=found.next, prev=found.previous or _previous_page(style, page))
    return http.Response(body, 200, {"link": link} if link else {}, "application/json")


def _previous_page(style: paging.Style, page: paging.Page) -> paging.Page | None:
    if style == "cursor" or not page.offset:
        return None
    return page.preceding()
