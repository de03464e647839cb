"""Policies of a repository, applied to the records that it reads or writes."""

import collections.abc
import typing as t

from flama import exceptions, query
from flama.memory.schema import Row, Table

__all__ = ["Rules"]


class Rules:
    """The policies of a repository that has none: no record is hidden, and each is written unchanged."""

    version: str | None = None
    bounds: tuple[query.Condition, ...] = ()  # match every visible record
    fixed: frozenset[str] = frozenset()  # columns that an upsert doesn't change

    def __init__(self, table: Table) -> None:
        self.table = table

    @property
    def kinds(self) -> dict[str, t.Any]:
        """The types of the columns' values, as far as they are known."""
        return {}

    def new(self, rows: list[Row]) -> list[Row]:
        """Return new records with the values that the policies add."""
        return rows

    def changes(self, data: Row, filters: dict[str, t.Any]) -> tuple[Row, dict[str, t.Any]]:
        """Return changes and the filters that select the records, as the policies amend them."""
        return data, filters

    def change(self) -> Row:
        """Return the values that every change adds."""
        return {}

    def deletion(self) -> Row | None:
        """Return the values that a soft delete sets; None when records are removed."""
        return None

    def check(self, records: collections.abc.Iterable[Row]) -> None:
        """Check that written records are allowed."""

    def scoped(self, *conditions: query.Condition) -> t.Self:
        """Return the policies for only those records that match the conditions."""
        raise exceptions.ApplicationError(f"'{self.table.name}' has no table, and so no scopes")

    def with_deleted(self) -> t.Self:
        """Return the policies under which deleted records are visible."""
        raise exceptions.ApplicationError(f"'{self.table.name}' has no _deleted_at: what is deleted is gone")
