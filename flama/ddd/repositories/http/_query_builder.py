"""Query parameters that select the records of a remote resource."""

import collections.abc
import typing as t
import uuid

from flama import query
from flama.exceptions import InvalidDataError
from flama.query.select import check_non_negative_int
from flama.rest import filters as wire, ordering, query_parameters
from flama.rest.operations import segment

__all__ = ["PLAIN_IDS", "QueryBuilder"]

_MADE: t.Final = (query.Condition, query.Field, query.Order)
#: The types of most ids.
PLAIN_IDS: t.Final = {int, str, uuid.UUID}

_SQL: t.Final = ("__clause_element__", "__visit_name__")

_Pairs: t.TypeAlias = list[tuple[str, str]]


class QueryBuilder:
    """Conditions and filters, or the single id to which they reduce."""

    def __init__(
        self,
        resource: str,
        key: str,
        clauses: tuple[t.Any, ...],
        filters: collections.abc.Mapping[str, t.Any],
        *,
        by_id: bool = True,
    ) -> None:
        self._resource = resource
        self._key = key
        single: tuple[bool, t.Any] = _single_id(key, clauses, filters) if by_id else (False, None)
        self.is_by_id, self.id = single
        self._clauses = () if self.is_by_id else clauses
        self._filters = {key: self.id} if self.is_by_id else filters

    def to_params(self, max_affected: int | None = None) -> _Pairs:
        """Return the parameters that select the records and limit how many may be affected.

        :raises ValueError: the single id can't be a path segment.
        :raises InvalidDataError: a clause isn't a condition of ``F``, or a value can't be encoded in a query.
        """
        if self.is_by_id:
            segment(self.id)
        most = check_non_negative_int(self._resource, "max_affected", max_affected)
        return self._encode(()) + ([] if most is None else [(query_parameters.MAX_AFFECTED, str(most))])

    def to_ordered_params(
        self, order_by: t.Any, direction: str, *, after: t.Any = None, before: t.Any = None, backwards: bool = False
    ) -> _Pairs:
        """Return the parameters that select the records in an order, or its reverse, between two records.

        :raises InvalidDataError: the order is invalid, or a record lacks one of its fields; and as for
            :meth:`to_params`.
        """
        try:
            order = query.parse_order(order_by, direction)
            whole = query.parse_order(order_by, direction, [self._key])
            places = [
                place(whole, at) for place, at in ((query.after, after), (query.before, before)) if at is not None
            ]
            said = whole if backwards or (direction != "asc" and not order) else order
            said = query.reverse(said) if backwards else said
        except (LookupError, TypeError, ValueError) as error:
            raise InvalidDataError(resource=self._resource, detail=f"order_by: {error}") from error
        return self._encode(places) + ordering.encode(said)

    def _encode(self, places: collections.abc.Iterable[query.Condition]) -> _Pairs:
        try:
            equal = [query.equals(name, value) for name, value in self._filters.items()]
            return wire.encode([*self._clauses, *equal, *places])
        except (TypeError, ValueError) as error:
            raise InvalidDataError(resource=self._resource, detail=str(error)) from error


def _single_id(
    key: str, clauses: tuple[t.Any, ...], filters: collections.abc.Mapping[str, t.Any]
) -> tuple[bool, t.Any]:
    match clauses:
        case [id] if not filters and (type(id) in PLAIN_IDS or not _is_clause(id)):
            return True, id
        case [] if len(filters) == 1 and next(iter(filters)) in ("id", key):
            return True, next(iter(filters.values()))
    return False, None


def _is_clause(value: t.Any) -> bool:
    """Return whether the value is a condition of ``F`` or, judged by its attributes, of SQLAlchemy, and not an id."""
    return isinstance(value, _MADE) or any(hasattr(value, name) for name in _SQL)
