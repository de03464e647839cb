"""Pagination: handlers whose responses are pages of records."""

from flama.pagination._decorator import element, paginated
from flama.pagination._fetch import Slice, of_query
from flama.pagination._responses import answer, refused, requested
from flama.pagination.paginator import Paginator, paginator, style_of

__all__ = [
    "Paginator",
    "Slice",
    "answer",
    "element",
    "of_query",
    "paginated",
    "paginator",
    "refused",
    "requested",
    "style_of",
]
