"""Queries of a repository as values, which have not run yet."""

import collections.abc
import types
import typing as t

import msgspec

from flama import exceptions
from flama.query.conditions import Condition, equals
from flama.query.keyset import after, before
from flama.query.ordering import parse_order, reverse, sort_records

__all__ = ["Lock", "Select", "check_non_negative_int"]

Lock: t.TypeAlias = t.Literal[
    "update", "share", "update nowait", "share nowait", "update skip locked", "share skip locked"
]  # fmt: skip
"""The lock on records until the unit of work ends: exclusive (``update``) or shared (``share``).

Records that another unit has locked are waited for; ``nowait`` raises ConflictError, ``skip locked`` skips them.
"""

_R = t.TypeVar("_R", bound=collections.abc.Mapping[str, t.Any])
_MOST: t.Final = 2**63 - 1
_NO_FILTERS: t.Final[collections.abc.Mapping[str, t.Any]] = types.MappingProxyType({})


class Select(msgspec.Struct, frozen=True):
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

    def replace(self, **changes: t.Any) -> t.Self:
        """Return a query with other values for some attributes."""
        return msgspec.structs.replace(self, **changes)

    def slice(self, limit: int, offset: int = 0, *, after: t.Any = None, before: t.Any = None) -> t.Self:
        """Return a query of at most ``limit`` of its records, after an offset, or next to a record's position."""
        left = limit if self.limit is None else min(limit, max(0, self.limit - offset))
        start = (self.offset or 0) + offset
        return self.replace(limit=left, offset=start or None, after=after, before=before)

    def apply(
        self,
        records: collections.abc.Iterable[_R],
        key: collections.abc.Sequence[str] = (),
        *,
        resource: str = "record",
    ) -> list[_R]:
        """Return those of the records that it selects, in its order and slice; ``key`` breaks ties.

        A field that a record lacks is null. ``resource`` is the name in errors.

        :raises TypeError: a clause isn't a condition of ``F``, or a value can't be compared.
        :raises ValueError: the order is invalid.
        :raises InvalidDataError: the limit or the offset is no number from 0 on.
        """
        start = check_non_negative_int(resource, "offset", self.offset) or 0
        limit = check_non_negative_int(resource, "limit", self.limit)
        order = parse_order(self.order_by, self.order_direction, key)
        bounds = [after(order, self.after)] if self.after is not None else []
        bounds += [before(order, self.before)] if self.before is not None else []
        equal = [equals(name, value) for name, value in self.filters.items()]
        conditions = [*map(_check_condition, self.clauses), *equal, *bounds]
        found = [row for row in map(_Row, records) if all(condition.matches(row) for condition in conditions)]
        if self.order_by is not None or self.order_direction != "asc" or self.is_slice:
            found = sort_records(found, reverse(order) if self.is_last_slice else order)
        cut = [row.record for row in found[start : None if limit is None else start + limit]]
        return cut[::-1] if self.is_last_slice else cut

    def without(self, name: str) -> dict[str, t.Any]:
        """Return the filters without that of one field."""
        return {field: value for field, value in self.filters.items() if field != name}


def check_non_negative_int(resource: str, name: str, number: t.Any) -> int | None:
    """Return a number of records, or None; ``name`` is the option's, for the error.

    :raises InvalidDataError: it isn't an integer from 0 on that a database can count to.
    """
    if number is None or (type(number) is int and 0 <= number <= _MOST):
        return number
    raise exceptions.InvalidDataError(resource=resource, detail=f"{name} is {number!r}: it is a number from 0 on")


class _Row(collections.abc.Mapping[str, t.Any]):
    # a record in which missing fields are null

    def __init__(self, record: t.Any) -> None:
        self.record = record

    def __getitem__(self, name: str) -> t.Any:
        return self.record.get(name)

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self.record)

    def __len__(self) -> int:
        return len(self.record)


def _check_condition(clause: t.Any) -> Condition:
    if not isinstance(clause, Condition):
        raise TypeError(f"a clause is a condition of F, not {clause!r}")
    return clause
