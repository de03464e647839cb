"""Queries of a repository as values, which have not run yet."""

import collections.abc
import types
import typing as t

__all__ = ["Lock", "Select"]

Lock: t.TypeAlias = t.Literal[
    "update", "share", "update nowait", "share nowait", "update skip locked", "share skip locked"
]  # fmt: skip
"""The lock on records until the unit of work ends: exclusive (``update``) or shared (``share``).

Records that another unit has locked are waited for; ``nowait`` raises ConflictError, ``skip locked`` skips them.
"""

_NO_FILTERS: t.Final[collections.abc.Mapping[str, t.Any]] = types.MappingProxyType({})


class Select(t.NamedTuple):
    """The records that a call of a repository selects: which, in what order, which slice, which fields, which lock.

    ``clauses`` are conditions of ``F``, or whatever else the backend reads; ``filters`` are names of fields and the
    values that they equal. All must hold. ``after`` and ``before`` are records between which the slice is. ``verb`` is
    the method that was called; None for a query that a backend adds.
    """

    verb: str | None = None
    clauses: tuple[t.Any, ...] = ()
    filters: collections.abc.Mapping[str, t.Any] = _NO_FILTERS
    order_by: t.Any = None
    order_direction: str = "asc"
    limit: int | None = None
    offset: int | None = None
    after: t.Any = None
    before: t.Any = None
    fields: t.Any = None
    lock: Lock | None = None

    @property
    def is_slice(self) -> bool:
        """Whether it is a slice of the records that match."""
        return not self.is_whole or self.limit is not None or bool(self.offset)

    @property
    def is_whole(self) -> bool:
        """Whether it has no record that it is after or before, so that its pages can be."""
        return self.after is None and self.before is None

    @property
    def is_last_slice(self) -> bool:
        """Whether it is the last records before another one, which are read in reverse."""
        return self.before is not None and self.after is None and self.limit is not None

    def slice(self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None) -> "Select":
        """Return a query of at most ``limit`` of its records, after an offset, or next to a record's position."""
        left = limit if self.limit is None else min(limit, max(0, self.limit - offset))
        start = (self.offset or 0) + offset
        return self._replace(limit=left, offset=start or None, after=after, before=before)

    def without(self, name: str) -> dict[str, t.Any]:
        """Return the filters without that of one field."""
        return {field: value for field, value in self.filters.items() if field != name}
