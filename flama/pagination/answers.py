"""Answers that hold a page: its envelope, with links to the pages beside it."""

import collections.abc
import typing as t

from flama import exceptions, http, schemas
from flama.http.response import json
from flama.pagination.slices import Slice
from flama.rest import pages

__all__ = ["answer", "refused", "requested"]

_Pairs: t.TypeAlias = collections.abc.Sequence[tuple[str, str]]


def requested(style: pages.Style, query: _Pairs, most: int = pages.MOST) -> tuple[pages.Page, str]:
    """Give the page that a query asks for, and what tells the query from those that ask for other records.

    :raises ValidationError: it asks for no page.
    """
    try:
        return pages.requested(style, dict(query), most), repr(sorted(pages.others(style, query)))
    except ValueError as error:
        raise refused(error) from error


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
