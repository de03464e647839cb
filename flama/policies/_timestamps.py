"""Timestamps of a record's creation, last change and soft deletion."""

import collections.abc
import datetime
import typing as t

from flama import exceptions
from flama.policies._columns import Columns, Row

__all__ = ["Timestamps"]


class Timestamps(t.NamedTuple):
    """The columns with the times of a record's creation, last change and deletion; None where there is none.

    A time is in UTC: with its time zone if the column stores one, else without.
    """

    columns: Columns
    created: str | None = None
    updated: str | None = None
    deleted: str | None = None

    def check(self) -> None:
        """Check the types of the columns.

        :raises ApplicationError: one is no DateTime, or the one for the deletion isn't nullable.
        """
        table = self.columns.resource
        for name in (self.created, self.updated, self.deleted):
            if name is not None and not self.columns[name].is_timestamp:
                raise exceptions.ApplicationError(f"Column '{name}' of table '{table}' is no DateTime")
        if self.deleted is not None and not self.columns[self.deleted].is_nullable:
            raise exceptions.ApplicationError(
                f"Column '{self.deleted}' of table '{table}' must be nullable: a record isn't deleted yet"
            )

    def complete(self, rows: collections.abc.Iterable[Row]) -> list[Row]:
        """Return new records with the time of their creation, the same for all; a time that a record has stays."""
        times = self._now(self.created, self.updated)
        return [{**row, **{name: time for name, time in times.items() if row.get(name) is None}} for row in rows]

    def without_fixed(self, data: Row) -> Row:
        """Return changes without the times of creation and last change, which data can't set."""
        fixed = {self.created, self.updated}
        return data if fixed.isdisjoint(data) else {name: value for name, value in data.items() if name not in fixed}

    def on_update(self) -> Row:
        """Return the times to set in a record that is changed now."""
        return self._now(self.updated)

    def on_delete(self) -> Row:
        """Return the times to set in a record that is deleted now."""
        return self._now(self.deleted, self.updated)

    def _now(self, *names: str | None) -> dict[str, t.Any]:
        now = datetime.datetime.now(datetime.UTC)
        return {
            name: now if self.columns[name].stores_zone else now.replace(tzinfo=None)
            for name in names
            if name is not None
        }
