"""Pages: a handler's records, answered one page at a time."""

from flama.pagination.answers import answer, refused, requested
from flama.pagination.handlers import element, paginated
from flama.pagination.paginator import Paginator, paginator, style_of
from flama.pagination.slices import Slice, of_query

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
