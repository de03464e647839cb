"""Timestamp columns for a record's creation, last change and deletion."""

import collections.abc
import datetime
import typing as t

import sqlalchemy as sa

from flama import exceptions
from flama.sqlalchemy._dialects import has_zone, kept_type

__all__ = ["Timestamps"]

_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]


class Timestamps(t.NamedTuple):
    """The timestamp columns of a table for a record's creation, last change and deletion; None where there is none.

    A moment is in UTC: with its time zone if the column stores one, else without.
    """

    table: sa.Table
    created: str | None = None
    updated: str | None = None
    deleted: str | None = None

    def check(self) -> None:
        """Check the types of the columns.

        :raises ApplicationError: one is no DateTime, or the one for the deletion isn't nullable.
        """
        for name in (self.created, self.updated, self.deleted):
            if name is not None and not isinstance(kept_type(self.table.columns[name].type), sa.DateTime):
                raise exceptions.ApplicationError(f"Column '{name}' of table '{self.table.name}' is no DateTime")
        if self.deleted is not None and not self.table.columns[self.deleted].nullable:
            raise exceptions.ApplicationError(
                f"Column '{self.deleted}' of table '{self.table.name}' must be nullable: a record isn't deleted yet"
            )

    def new(self, rows: collections.abc.Iterable[_Row]) -> list[_Row]:
        """Return new records with the moment of their creation, the same for all; a moment that a record has stays."""
        moments = self._now(self.created, self.updated)
        return [{**row, **{name: moment for name, moment in moments.items() if row.get(name) is None}} for row in rows]

    def changes(self, data: _Row) -> _Row:
        """Return changes to a record without the moments of its creation and last change, which the data can't set."""
        fixed = {self.created, self.updated}
        return data if fixed.isdisjoint(data) else {name: value for name, value in data.items() if name not in fixed}

    def change(self) -> dict[str, t.Any]:
        """Return the moments to set in a record that is changed now."""
        return self._now(self.updated)

    def deletion(self) -> dict[str, t.Any]:
        """Return the moments to set in a record that is deleted now."""
        return self._now(self.deleted, self.updated)

    def _now(self, *names: str | None) -> dict[str, t.Any]:
        now = datetime.datetime.now(datetime.UTC)
        moments = {True: now, False: now.replace(tzinfo=None)}
        return {name: moments[has_zone(self.table.columns[name].type)] for name in names if name is not None}
