"""Pagination: handlers whose responses are pages of records."""

from flama.pagination._decorator import item_type, paginate
from flama.pagination._fetch import PageResult, fetch_query_page
from flama.pagination._responses import page_response, parse_page, query_error
from flama.pagination.paginator import Paginator, paginator, style_of

__all__ = [
    "PageResult",
    "Paginator",
    "fetch_query_page",
    "item_type",
    "page_response",
    "paginate",
    "paginator",
    "parse_page",
    "query_error",
    "style_of",
]
