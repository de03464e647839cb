"""Which remote records are asked for."""

import typing as t

from flama import query
from flama.exceptions import InvalidDataError
from flama.rest import filters as wire, names, orders

__all__ = ["Question"]

_SQL: t.Final = ("__clause_element__", "__visit_name__")

_Pairs: t.TypeAlias = list[tuple[str, str]]


class Question:
    """Conditions and filters, or the one id that they come to."""

    def __init__(
        self, resource: str, key: str, clauses: tuple[t.Any, ...], filters: dict[str, t.Any], *, by_id: bool = True
    ) -> None:
        self._resource = resource
        asked: tuple[bool, t.Any] = _asked(key, clauses, filters) if by_id else (False, None)
        self.is_of_one, self.id = asked
        self._clauses = () if self.is_of_one else clauses
        self._filters = {key: self.id} if self.is_of_one else filters

    def pairs(self, max_affected: int | None = None, *, order_by: t.Any = None, order_direction: str = "asc") -> _Pairs:
        """Give the parameters that ask for the records.

        :raises InvalidDataError: a clause isn't a condition of ``F``, or a value can't be in a query.
        """
        try:
            equal = [_equal(name, value) for name, value in self._filters.items()]
            pairs = wire.encode([*self._clauses, *equal]) + orders.encode(query.orders(order_by, order_direction))
        except (TypeError, ValueError) as error:
            raise InvalidDataError(resource=self._resource, detail=str(error)) from error
        return pairs if max_affected is None else [*pairs, (names.MAX_AFFECTED, str(max_affected))]


def _asked(key: str, clauses: tuple[t.Any, ...], filters: dict[str, t.Any]) -> tuple[bool, t.Any]:
    match clauses:
        case [id] if not filters and not _is_clause(id):
            return True, id
        case [] if filters.keys() in ({"id"}, {key}):
            return True, next(iter(filters.values()))
    return False, None


def _is_clause(value: t.Any) -> bool:
    """Tell whether it is a condition, of ``F`` or, by what its elements have, of SQLAlchemy, rather than an id."""
    return (
        isinstance(value, query.Condition) or hasattr(value, "__visit_name__") or hasattr(value, "__clause_element__")
    )


def _equal(name: str, value: t.Any) -> query.Condition:
    return query.compare(name, "isnull") if value is None else query.compare(name, "eq", value)
