"""Pages: a handler's records, answered one page at a time."""

from flama.pagination.answers import answer, refused, requested
from flama.pagination.handlers import element, paginated
from flama.pagination.slices import Slice, of_query

__all__ = ["Slice", "answer", "element", "of_query", "paginated", "refused", "requested"]
