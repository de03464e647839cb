"""Answers that hold a page: its envelope, with links to the pages beside it."""

import collections.abc
import typing as t

from flama import exceptions, http, schemas, types
from flama.http.response import json
from flama.pagination.slices import Slice
from flama.rest import pages
from flama.rest.cursors import QueryCursors

__all__ = ["answer", "refused", "requested"]

_Pairs: t.TypeAlias = collections.abc.Sequence[tuple[str, str]]


def requested(
    style: pages.Style, scope: types.Scope, query: _Pairs, most: int = pages.MOST, *, caller_scope: str = ""
) -> tuple[pages.Page, QueryCursors]:
    """Return the page that a request asks for, and the cursors of its query.

    ``caller_scope`` is what tells the records that this caller may read from those that others may.

    :raises ValidationError: it asks for no page.
    """
    others = pages.others(style, query)
    try:
        page = pages.requested(style, dict(query), most)
    except ValueError as error:
        raise refused(error) from error
    return page, QueryCursors(scope["app"]._cursors, scope["path"], caller_scope, others)


def refused(error: ValueError) -> exceptions.ValidationError:
    """Give the error that tells what is wrong with a query."""
    return exceptions.ValidationError(
        schemas.invalid([{"type": "value_error", "loc": ["query"], "msg": str(error), "input": None}])
    )


def answer(
    style: pages.Style,
    page: pages.Page,
    found: Slice,
    query: _Pairs,
    encode: collections.abc.Callable[[t.Any], bytes] = json,
) -> http.Response:
    """Give the response that brings a page; ``encode`` makes the JSON of its records."""
    places = {"next": found.next, **({"previous": found.previous} if style == "cursor" else {})}
    meta = json(pages.envelope(style, page, [], found.count, **places)["meta"])
    body = b'{"meta":%b,"data":%b}' % (meta, encode(found.data))
    link = pages.link(style, query, next=found.next, prev=found.previous or _before(style, page))
    return http.Response(body, 200, {"link": link} if link else {}, "application/json")


def _before(style: pages.Style, page: pages.Page) -> pages.Page | None:
    if style == "cursor" or not page.offset:
        return None
    return page.preceding()
