"""What holds for each record that a repository reads or writes, beyond its table's constraints."""

import collections.abc
import typing as t

from flama import exceptions, query
from flama.memory.definitions import Row, Table

__all__ = ["Rules"]


class Rules:
    """The rules of a repository that has none: none of its records is hidden, each is written as it is given."""

    version: str | None = None
    bounds: tuple[query.Condition, ...] = ()  # what holds on every record that there is
    fixed: frozenset[str] = frozenset()  # what the data of an upsert don't change

    def __init__(self, table: Table) -> None:
        self.table = table

    @property
    def kinds(self) -> dict[str, t.Any]:
        """The types of what the columns hold, as far as they are known."""
        return {}

    def new(self, rows: list[Row]) -> list[Row]:
        """Give new records what the rules say that they have."""
        return rows

    def changes(self, data: Row, filters: dict[str, t.Any]) -> tuple[Row, dict[str, t.Any]]:
        """Give changes as the rules have them, with the filters that say of which records."""
        return data, filters

    def change(self) -> Row:
        """Give what changes with any change."""
        return {}

    def deletion(self) -> Row | None:
        """Give what changes in a record that is deleted; None when it goes."""
        return None

    def check(self, records: collections.abc.Iterable[Row]) -> None:
        """Make sure that what was written may be."""

    def scoped(self, *conditions: query.Condition) -> t.Self:
        """Give the rules for those records alone on which the conditions hold."""
        raise exceptions.ApplicationError(f"'{self.table.name}' has no table, and so no scopes")

    def with_deleted(self) -> t.Self:
        """Give the rules by which deleted records are there."""
        raise exceptions.ApplicationError(f"'{self.table.name}' has no _deleted_at: what is deleted is gone")
