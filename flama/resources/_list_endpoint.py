"""The list endpoint of a resource: pages, or a stream of lines."""

import collections.abc

from flama import http, pagination
from flama.query import Order
from flama.resources import _streaming
from flama.resources._request import ResourceRequest
from flama.rest import accept, cursors, ndjson, ordering, paging

__all__ = ["list_records"]


async def list_records(request: ResourceRequest) -> http.Response:
    """List a page of the records, or stream them as NDJSON if the request prefers that."""
    spec, query = request.spec, request.query
    conditions, order = request.conditions(), _order(request)
    style = paging.detect_style(dict(query))
    page, bound = pagination.parse_page(style, request.scope, query, spec.max_page_size, caller_scope=request.scope_key)
    if accept.is_preferred(request.header("accept"), ndjson.MEDIA_TYPE):
        is_paged = any(name in paging.SCHEMAS for name, _ in query)
        lines = _streaming.lines(request, conditions, order, page if is_paged else None)
        first = await anext(lines, b"")  # an error before the first line is raised here, and gets its own status
        return http.StreamingResponse(_Lines(first, lines), media_type=ndjson.MEDIA_TYPE)
    async with request.open_unit() as found:
        try:
            part = await pagination.fetch_query_page(style, page, found.list(conditions, order), bound)
        except cursors.InvalidCursorError as error:
            raise pagination.query_error(error) from error
    return pagination.page_response(style, page, part, query, spec.output.many)


def _order(request: ResourceRequest) -> tuple[Order, ...]:
    spec = request.spec
    try:
        return ordering.decode(request.query, spec.ordering, resource=spec.error_name) or spec.order_by
    except ValueError as error:
        raise pagination.query_error(error) from error


class _Lines(collections.abc.AsyncIterator[bytes]):
    """The lines of a stream whose first line has been read."""

    def __init__(self, first: bytes, rest: collections.abc.AsyncGenerator[bytes]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        await self._rest.aclose()
