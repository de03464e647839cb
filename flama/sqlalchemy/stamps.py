"""When records were created, changed or deleted, as columns of theirs tell."""

import collections.abc
import datetime
import typing as t

import sqlalchemy as sa

from flama import exceptions
from flama.sqlalchemy._dialects import has_zone, kept_type

__all__ = ["Stamps"]

_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]


class Stamps(t.NamedTuple):
    """The columns of a table that tell when a record was created, last changed, deleted; None for what none tells.

    A moment is in UTC: with its time zone where the column keeps one, else without.
    """

    table: sa.Table
    created: str | None = None
    updated: str | None = None
    deleted: str | None = None

    def check(self) -> None:
        """Make sure that the columns hold what they are for.

        :raises ApplicationError: one holds no moments, or can't be empty as long as a record isn't deleted.
        """
        for name in (self.created, self.updated, self.deleted):
            if name is not None and not isinstance(kept_type(self.table.columns[name].type), sa.DateTime):
                raise exceptions.ApplicationError(f"Column '{name}' of table '{self.table.name}' is no DateTime")
        if self.deleted is not None and not self.table.columns[self.deleted].nullable:
            raise exceptions.ApplicationError(
                f"Column '{self.deleted}' of table '{self.table.name}' must be nullable: a record isn't deleted yet"
            )

    def new(self, rows: collections.abc.Iterable[_Row]) -> list[_Row]:
        """Give new records the moment at which they are created, the same for all, but for those that have one."""
        moments = self._now(self.created, self.updated)
        return [{**row, **{name: moment for name, moment in moments.items() if row.get(name) is None}} for row in rows]

    def changes(self, data: _Row) -> _Row:
        """Give what may change of a record: not when it was created, and when it was changed isn't for the data."""
        fixed = {self.created, self.updated}
        return data if fixed.isdisjoint(data) else {name: value for name, value in data.items() if name not in fixed}

    def change(self) -> dict[str, t.Any]:
        """Give what changes in a record that is changed now."""
        return self._now(self.updated)

    def deletion(self) -> dict[str, t.Any]:
        """Give what changes in a record that is deleted now."""
        return self._now(self.deleted, self.updated)

    def _now(self, *names: str | None) -> dict[str, t.Any]:
        now = datetime.datetime.now(datetime.UTC)
        moments = {True: now, False: now.replace(tzinfo=None)}
        return {name: moments[has_zone(self.table.columns[name].type)] for name in names if name is not None}
