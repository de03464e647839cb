"""The rules for records of a SQL table that is stored in memory."""

import collections.abc
import copy
import functools
import typing as t

import sqlalchemy as sa

from flama import exceptions, query
from flama.ddd.repositories._typed import row_adapter
from flama.memory._from_sqlalchemy import definition
from flama.memory._policies import Rules
from flama.memory.schema import Row
from flama.sqlalchemy import scopes, stamps, versions
from flama.sqlalchemy.sql._table_info import json_columns, python_types

__all__ = ["TablePolicies", "policies_for"]

_Moments: t.TypeAlias = tuple[str | None, str | None, str | None]


class TablePolicies(Rules):
    """The rules that a table's repository declares: version numbers, timestamps, and the scope."""

    def __init__(
        self, table: sa.Table, version: str | None, stamped: stamps.Timestamps | None, scope: scopes.Scope | None
    ) -> None:
        super().__init__(definition(table))
        self.version = version
        self._source = table
        self._stamps = stamped
        self._keeps_deleted = scope is not None
        self._set_scope(scope)

    @property
    def kinds(self) -> dict[str, t.Any]:
        """The Python types of the columns, as far as they are known."""
        return python_types(self._source)

    def new(self, rows: list[Row]) -> list[Row]:
        """Return new records with the values that the rules set."""
        if self.version is not None:
            rows = [versions.with_initial_version(self._source.columns[self.version], row) for row in rows]
        if self._stamps is not None:
            rows = list(self._stamps.new(rows))
        return rows if self._scope is None else [self._scope.new(row) for row in rows]

    def changes(self, data: Row, filters: dict[str, t.Any]) -> tuple[Row, dict[str, t.Any]]:
        """Return changes as adapted by the rules, and the filters that select their records."""
        if self.version is not None:
            data, filters = versions.move_version_to_filters(self._source.columns[self.version], data, filters)
        both = [rule for rule in (self._stamps, self._scope) if rule is not None]
        for rule in both:
            data = rule.changes(data)
        for rule in both if data else ():
            data = {**data, **rule.change()}
        return data, filters

    def change(self) -> Row:
        """Return the values that every change sets."""
        return {} if self._stamps is None else self._stamps.change()

    def deletion(self) -> Row | None:
        """Return the values that mark a record as deleted; None if deletion is permanent."""
        return self._stamps.deletion() if self._stamps is not None and self._keeps_deleted else None

    def check(self, records: collections.abc.Iterable[Row]) -> None:
        """Check that the records written are within the scope."""
        if self._scope is not None:
            self._scope.check(records)

    def scoped(self, *conditions: query.Condition) -> t.Self:
        """Return these rules, restricted to the records that meet the conditions."""
        return self._like(scopes.scope(self._source, (*self.bounds, *conditions)))

    def with_deleted(self) -> t.Self:
        """Return these rules with deleted records visible and deletion permanent."""
        if self._stamps is None or self._stamps.deleted is None:
            return super().with_deleted()
        # the condition that hides deleted records comes first
        whole = self._like(scopes.scope(self._source, self.bounds[1:] if self._keeps_deleted else self.bounds))
        whole._keeps_deleted = False
        return whole

    def _like(self, scope: scopes.Scope | None) -> t.Self:
        other = copy.copy(self)
        other._set_scope(scope)
        return other

    def _set_scope(self, scope: scopes.Scope | None) -> None:
        self._scope = scope
        self.bounds = () if scope is None else scope.conditions
        stamped = () if self._stamps is None else (self._stamps.created, self._stamps.updated)
        bound = () if scope is None else scope.bound
        self.fixed = frozenset(name for name in (self.version, *stamped, *bound) if name is not None)


@functools.lru_cache(1000)
def policies_for(table: sa.Table, record: t.Any, version: str | None, moments: _Moments) -> tuple[t.Any, Rules]:
    """Return the row adapter of a record type, and the rules of its repository.

    :raises ApplicationError: one of the names is not a column of the table.
    """
    made = row_adapter(record, json_columns(table))
    _check_names(table, record, tuple(made.fields) if made else ())
    for what, name in zip(("_version", "_created_at", "_updated_at", "_deleted_at"), (version, *moments), strict=True):
        _check_names(table, what, () if name is None else (name,))
    stamped = stamps.Timestamps(table, *moments)
    stamped.check()
    visible = () if stamped.deleted is None else (query.F[stamped.deleted].isnull(),)
    scope = scopes.scope(table, visible)
    return made, TablePolicies(table, version, stamped if any(moments) else None, scope)


def _check_names(table: sa.Table, what: t.Any, names: tuple[str, ...]) -> None:
    if unknown := [name for name in names if name not in table.columns]:
        has = ", ".join(table.columns.keys())
        raise exceptions.ApplicationError(f"{what!r} names {unknown}: table '{table.name}' has {has}")
