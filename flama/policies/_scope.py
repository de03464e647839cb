"""The scope of a repository: conditions that limit the records it reads or writes."""

import collections.abc
import datetime
import typing as t

from flama import exceptions, query
from flama._moments import in_utc
from flama.policies._columns import Columns, Row, is_expression

__all__ = ["Scope", "scope"]

_TIMES: t.Final = (datetime.date, datetime.time)  # a datetime is a date


class Scope(t.NamedTuple):
    """Conditions that every record meets that is read or written, both before and after a write.

    ``bound`` are the values that they fix; ``others`` are the conditions that permit several values.
    """

    columns: Columns
    conditions: tuple[query.Condition, ...]
    bound: Row
    others: tuple[query.Condition, ...]

    def complete(self, row: Row) -> Row:
        """Return a new record with the values that the conditions fix.

        :raises PermissionDeniedError: the record has another value.
        """
        return {**self.without_fixed(row), **self.bound}

    def without_fixed(self, data: Row) -> Row:
        """Return data without the values that the conditions fix.

        :raises PermissionDeniedError: the data have another value.
        """
        bound = self.bound
        if bound.keys().isdisjoint(data):
            return data
        for name in bound.keys() & data.keys():
            if is_expression(data[name]) or _as_stored(self.columns, name, data[name]) != bound[name]:
                raise self._permission_error(f"'{name}' is bound to another value here")
        return {name: value for name, value in data.items() if name not in bound}

    def on_update(self) -> Row:
        """Return the fixed values that a change must set, as the columns' ``onupdate`` would set others."""
        return {name: value for name, value in self.bound.items() if self.columns[name].has_onupdate}

    def needs_check(self, changes: collections.abc.Collection[str] | None = None) -> bool:
        """Whether a record must be checked as stored: a new one (None), or one with changes to these columns."""
        if changes is None or not self.others:
            return bool(self.others)
        fields = {name for condition in self.others for name in condition.fields}
        return not fields.isdisjoint(changes) or any(self.columns[name].changes_by_itself for name in fields)

    def check(self, records: collections.abc.Iterable[Row]) -> None:
        """Check that stored records are inside the scope.

        :raises PermissionDeniedError: one isn't.
        :raises InvalidDataError: a condition can't be compared with a record's value.
        """
        try:
            inside = all(condition.matches(record) for record in records for condition in self.others)
        except TypeError as error:
            raise exceptions.InvalidDataError(resource=self.columns.resource, detail=str(error)) from error
        if not inside:
            raise self._permission_error("the record would be outside of the scope")

    def _permission_error(self, detail: str) -> exceptions.PermissionDeniedError:
        return exceptions.PermissionDeniedError(resource=self.columns.resource, detail=detail)


def scope(columns: Columns, conditions: tuple[t.Any, ...]) -> Scope | None:
    """Return the scope of the records that meet all the conditions; None without any.

    :raises UnknownColumnError: a condition is about a column that the table doesn't have.
    :raises InvalidDataError: one isn't a condition by ``F``, such as an SQLAlchemy expression, which Python can't
        evaluate.
    """
    if not conditions:
        return None
    for condition in conditions:
        if not isinstance(condition, query.Condition):
            detail = f"a scope is made of conditions by F, not of {condition!r}"
            raise exceptions.InvalidDataError(resource=columns.resource, detail=detail)
        columns.check_exist(condition.fields)
    parts = [_with_stored(columns, part) for condition in conditions for part in _parts(condition)]
    bound = _bound(columns, parts)
    others = [part for part in parts if not (bound.keys() >= set(part.fields) and _holds(part, bound))]
    return Scope(columns, conditions, bound, tuple(others))


def _parts(condition: query.Condition) -> tuple[query.Condition, ...]:
    return condition.parts if isinstance(condition, query.And) else (condition,)


def _with_stored(columns: Columns, condition: query.Condition) -> query.Condition:
    """Return an equivalent condition on records as they are stored, with moments in UTC."""
    match condition:
        case query.Comparison(field, operator, operand) if columns[field].stores_time:
            if isinstance(operand, tuple):
                return query.Comparison(field, operator, tuple(_as_stored(columns, field, each) for each in operand))
            return query.Comparison(field, operator, _as_stored(columns, field, operand))
        case query.And(parts) | query.Or(parts):
            return type(condition)(tuple(_with_stored(columns, part) for part in parts))
        case query.Not(part):
            return query.Not(_with_stored(columns, part))
    return condition


def _as_stored(columns: Columns, name: str, value: t.Any) -> t.Any:
    return in_utc(value) if columns[name].stores_zone and isinstance(value, _TIMES) else value


def _bound(columns: Columns, parts: collections.abc.Iterable[query.Condition]) -> Row:
    bound: dict[str, t.Any] = {}
    for part in parts:
        match part:
            case query.Comparison(field, "eq", value) | query.Comparison(field, "in", (value,)):
                bound.setdefault(field, value)
            case query.Comparison(field, "isnull"):
                bound.setdefault(field, None)
    return {name: value for name, value in bound.items() if not columns[name].is_computed}


def _holds(condition: query.Condition, record: Row) -> bool:
    try:
        return condition.matches(record)
    except TypeError:
        return False
