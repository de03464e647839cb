"""Requests for a page, responses with an envelope, ``Link`` headers."""

import collections.abc
import typing as t

from flama import exceptions, http, schemas, types
from flama.http.response import encode_json
from flama.pagination._fetch import PageResult
from flama.rest import paging
from flama.rest.cursors import QueryCursors

__all__ = ["page_response", "parse_page", "query_error"]

_Pairs: t.TypeAlias = collections.abc.Sequence[tuple[str, str]]


def parse_page(
    style: paging.Style, scope: types.Scope, query: _Pairs, most: int = paging.MAX_PAGE_SIZE, *, caller_scope: str = ""
) -> tuple[paging.Page, QueryCursors]:
    """Return the requested page, and the cursors of its query.

    ``caller_scope`` identifies the set of records that the caller may read: cursors are only valid within it.

    :raises ValidationError: a page parameter is invalid.
    """
    others = paging.without_page_params(style, query)
    try:
        page = paging.decode(style, dict(query), most)
    except ValueError as error:
        raise query_error(error) from error
    return page, QueryCursors(scope["app"]._cursors, scope["path"], caller_scope, others)


def query_error(error: ValueError) -> exceptions.ValidationError:
    """Return the validation error of an invalid query."""
    return exceptions.ValidationError(
        schemas.error_detail([{"type": "value_error", "loc": ["query"], "msg": str(error), "input": None}])
    )


def page_response(
    style: paging.Style,
    page: paging.Page,
    found: PageResult,
    query: _Pairs,
    encode: collections.abc.Callable[[t.Any], bytes] = encode_json,
) -> http.Response:
    """Return the response with a page; ``encode`` converts its records to JSON."""
    places = {"next": found.next, **({"previous": found.previous} if style == "cursor" else {})}
    meta = encode_json(paging.envelope(style, page, [], found.count, **places)["meta"])
    body = b'{"meta":%b,"data":%b}' % (meta, encode(found.data))
    link = paging.link(style, query, next=found.next, prev=found.previous or _previous_page(style, page))
    return http.Response(body, 200, {"link": link} if link else {}, "application/json")


def _previous_page(style: paging.Style, page: paging.Page) -> paging.Page | None:
    if style == "cursor" or not page.offset:
        return None
    return page.previous_page()
