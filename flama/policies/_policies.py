"""All policies of a repository, put together: what they do before and after each read or write."""

import collections.abc
import dataclasses
import functools
import typing as t

from flama import query
from flama.policies._columns import Columns, Row
from flama.policies._optimistic_lock import move_version_to_filters, with_initial_version
from flama.policies._scope import Scope, scope
from flama.policies._timestamps import Timestamps

__all__ = ["Declaration", "Policies", "declare"]

_Rows: t.TypeAlias = collections.abc.Sequence[Row]


class Declaration(t.NamedTuple):
    """The columns for a record's version number, and for the times of its creation, last change and deletion."""

    version: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    deleted_at: str | None = None


@dataclasses.dataclass(frozen=True)
class Policies:
    """The policies of a repository: the ``version`` column of an optimistic lock, timestamps, and the scope.

    With ``deletes_softly``, the first condition of the scope hides deleted records.
    """

    columns: Columns
    version: str | None = None
    timestamps: Timestamps | None = None
    scope: Scope | None = None
    deletes_softly: bool = False

    @functools.cached_property
    def conditions(self) -> tuple[query.Condition, ...]:
        """The conditions that every record of the repository meets."""
        return () if self.scope is None else self.scope.conditions

    @functools.cached_property
    def bound(self) -> Row:
        """The values that the scope fixes."""
        return {} if self.scope is None else self.scope.bound

    @functools.cached_property
    def fixed(self) -> frozenset[str]:
        """The columns that an upsert doesn't change."""
        stamped = () if self.timestamps is None else (self.timestamps.created, self.timestamps.updated)
        return frozenset(name for name in (self.version, *stamped, *self.bound) if name is not None)

    @functools.cached_property
    def _updating(self) -> tuple[Timestamps | Scope, ...]:
        return tuple(policy for policy in (self.timestamps, self.scope) if policy is not None)

    def complete(self, rows: _Rows) -> _Rows:
        """Return new records with the values that the policies set.

        :raises PermissionDeniedError: one is outside the scope.
        """
        if self.version is not None:
            rows = [with_initial_version(self.columns, self.version, row) for row in rows]
        if self.timestamps is not None:
            rows = self.timestamps.complete(rows)
        return rows if self.scope is None else [self.scope.complete(row) for row in rows]

    def amend(self, changes: Row, filters: dict[str, t.Any]) -> tuple[Row, dict[str, t.Any]]:
        """Return changes without what data can't set and with what every change sets, and the filters of their records.

        :raises PermissionDeniedError: they would move a record out of the scope.
        :raises InvalidDataError: the changes and the filters have different versions.
        """
        if self.version is not None:
            changes, filters = move_version_to_filters(self.columns, self.version, changes, filters)
        for policy in self._updating:
            changes = policy.without_fixed(changes)
        for policy in self._updating if changes else ():
            changes = {**changes, **policy.on_update()}
        return changes, filters

    def on_update(self) -> Row:
        """Return the times that every change sets."""
        return {} if self.timestamps is None else self.timestamps.on_update()

    def on_delete(self) -> Row | None:
        """Return the values that mark a record as deleted; None if records are removed."""
        return self.timestamps.on_delete() if self.timestamps is not None and self.deletes_softly else None

    def needs_check(self, changes: collections.abc.Collection[str] | None = None) -> bool:
        """Whether a record must be checked as stored: a new one (None), or one with changes to these columns."""
        return self.scope is not None and self.scope.needs_check(changes)

    def check(self, records: collections.abc.Iterable[Row]) -> None:
        """Check that records, as they are stored, are inside the scope.

        :raises PermissionDeniedError: one isn't.
        """
        if self.scope is not None:
            self.scope.check(records)

    def scoped(self, *conditions: query.Condition) -> t.Self:
        """Return the policies with further conditions on the records.

        :raises UnknownColumnError: one is about a column that the table doesn't have.
        :raises InvalidDataError: one isn't made by ``F``.
        """
        return dataclasses.replace(self, scope=scope(self.columns, (*self.conditions, *conditions)))

    def with_deleted(self) -> t.Self:
        """Return the policies under which deleted records are visible, and deletion is permanent."""
        others = self.conditions[1:] if self.deletes_softly else self.conditions
        return dataclasses.replace(self, scope=scope(self.columns, others), deletes_softly=False)


def declare(columns: Columns, names: Declaration) -> Policies:
    """Return the policies that a repository declares.

    :raises ApplicationError: the table lacks a column, or it has a type that doesn't fit.
    """
    for what, name in names._asdict().items():
        columns.check_declared(f"_{what}", () if name is None else (name,))
    timestamps = Timestamps(columns, names.created_at, names.updated_at, names.deleted_at)
    timestamps.check()
    deleted_at = names.deleted_at
    visible = () if deleted_at is None else (query.F[deleted_at].isnull(),)
    return Policies(
        columns,
        names.version,
        timestamps if any(names[1:]) else None,
        scope(columns, visible),
        deletes_softly=deleted_at is not None,
    )
