"""The scope of a repository: conditions that limit the records it reads or writes."""

import collections.abc
import datetime
import typing as t

import sqlalchemy as sa

from flama import exceptions, query
from flama._moments import in_utc
from flama.sqlalchemy._dialects import has_moments, has_zone
from flama.sqlalchemy.sql._value_checks import is_expression
from flama.sqlalchemy.sql._where import check_columns_exist

__all__ = ["Scope", "scope"]

_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_MOMENTS: t.Final = (datetime.date, datetime.time)  # a datetime is a date


class Scope(t.NamedTuple):
    """Conditions that every record meets that is read or written, both before and after a write.

    ``bound`` are the values that they fix; ``others`` are the conditions that permit several values.
    """

    table: sa.Table
    conditions: tuple[query.Condition, ...]
    bound: _Row
    others: tuple[query.Condition, ...]

    def new(self, row: _Row) -> _Row:
        """Return a new record with the values that the conditions fix.

        :raises PermissionDeniedError: the record has another value.
        """
        return {**self.changes(row), **self.bound}

    def changes(self, data: _Row) -> _Row:
        """Return changes to a record without the values that the conditions fix.

        :raises PermissionDeniedError: a change is to another value.
        """
        bound = self.bound
        if bound.keys().isdisjoint(data):
            return data
        for name in bound.keys() & data.keys():
            if is_expression(data[name]) or _as_stored(self.table, name, data[name]) != bound[name]:
                raise self._refused(f"'{name}' is bound to another value here")
        return {name: value for name, value in data.items() if name not in bound}

    def change(self) -> _Row:
        """Return the fixed values that a change must set, as the columns' ``onupdate`` would set others."""
        columns = self.table.columns
        return {name: value for name, value in self.bound.items() if columns[name].onupdate is not None}

    def is_open(self, changes: collections.abc.Collection[str] | None = None) -> bool:
        """Whether a record must be checked as stored: a new one (None), or one with changes to these columns."""
        if changes is None or not self.others:
            return bool(self.others)
        fields = {name for condition in self.others for name in condition.fields}
        return not fields.isdisjoint(changes) or any(_changes_by_itself(self.table.columns[name]) for name in fields)

    def check(self, records: collections.abc.Iterable[_Row]) -> None:
        """Check that stored records are inside the scope.

        :raises PermissionDeniedError: one isn't.
        :raises InvalidDataError: a condition can't be compared with a record's value.
        """
        try:
            inside = all(condition.matches(record) for record in records for condition in self.others)
        except TypeError as error:
            raise exceptions.InvalidDataError(resource=self.table.name, detail=str(error)) from error
        if not inside:
            raise self._refused("the record would be outside of the scope")

    def _refused(self, detail: str) -> exceptions.PermissionDeniedError:
        return exceptions.PermissionDeniedError(resource=self.table.name, detail=detail)


def scope(table: sa.Table, conditions: tuple[t.Any, ...]) -> Scope | None:
    """Return the scope of a table's records that meet all the conditions; None without any.

    :raises UnknownColumnError: a condition is about a column that the table doesn't have.
    :raises InvalidDataError: one isn't a condition by ``F``, such as an SQLAlchemy expression, which Python can't
        evaluate.
    """
    if not conditions:
        return None
    for condition in conditions:
        if not isinstance(condition, query.Condition):
            detail = f"a scope is made of conditions by F, not of {condition!r}"
            raise exceptions.InvalidDataError(resource=table.name, detail=detail)
        check_columns_exist(table, condition.fields)
    parts = [_with_stored(table, part) for condition in conditions for part in _parts(condition)]
    bound = _bound(table, parts)
    others = [part for part in parts if not (bound.keys() >= set(part.fields) and _holds(part, bound))]
    return Scope(table, conditions, bound, tuple(others))


def _parts(condition: query.Condition) -> tuple[query.Condition, ...]:
    return condition.parts if isinstance(condition, query.And) else (condition,)


def _with_stored(table: sa.Table, condition: query.Condition) -> query.Condition:
    """Return an equivalent condition on records as they are stored, with moments in UTC."""
    match condition:
        case query.Comparison(field, operator, operand) if has_moments(table.columns[field].type):
            several = isinstance(operand, tuple)
            stored = [_as_stored(table, field, each) for each in (operand if several else (operand,))]
            return query.Comparison(field, operator, tuple(stored) if several else stored[0])
        case query.And(parts) | query.Or(parts):
            return type(condition)(tuple(_with_stored(table, part) for part in parts))
        case query.Not(part):
            return query.Not(_with_stored(table, part))
    return condition


def _as_stored(table: sa.Table, name: str, value: t.Any) -> t.Any:
    return in_utc(value) if has_zone(table.columns[name].type) and isinstance(value, _MOMENTS) else value


def _bound(table: sa.Table, parts: collections.abc.Iterable[query.Condition]) -> _Row:
    bound: dict[str, t.Any] = {}
    for part in parts:
        match part:
            case query.Comparison(field, "eq", value) | query.Comparison(field, "in", (value,)):
                bound.setdefault(field, value)
            case query.Comparison(field, "isnull"):
                bound.setdefault(field, None)
    return {name: value for name, value in bound.items() if table.columns[name].computed is None}


def _holds(condition: query.Condition, record: _Row) -> bool:
    try:
        return condition.matches(record)
    except TypeError:
        return False


def _changes_by_itself(column: sa.Column[t.Any]) -> bool:
    return any(way is not None for way in (column.onupdate, column.server_onupdate, column.computed))
