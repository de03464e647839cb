"""The properties of a table's columns that policies depend on."""

import collections.abc
import dataclasses
import typing as t

from flama import exceptions

__all__ = ["Column", "Columns", "Row", "is_expression"]

Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
"""A record, or a part of it, by the names of its columns."""


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column. ``stores_zone`` is true of instants, ``stores_time`` of any date with a time, or time of the day.

    A column with ``changes_by_itself`` may have another value after a change that doesn't name it.
    """

    stores_time: bool = False
    stores_zone: bool = False
    is_timestamp: bool = False
    is_nullable: bool = True
    is_computed: bool = False
    has_default: bool = False
    has_onupdate: bool = False
    changes_by_itself: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Columns(collections.abc.Mapping[str, Column]):
    """The columns of a table, by name; ``resource`` is the table's name in errors."""

    resource: str
    by_name: collections.abc.Mapping[str, Column]

    def __getitem__(self, name: str) -> Column:
        return self.by_name[name]

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def check_exist(self, names: collections.abc.Iterable[str]) -> None:
        """Check that there are columns of these names.

        :raises UnknownColumnError: some are missing.
        """
        if unknown := [name for name in names if name not in self.by_name]:
            raise exceptions.UnknownColumnError(resource=self.resource, names=unknown, columns=list(self.by_name))

    def check_declared(self, what: t.Any, names: collections.abc.Iterable[str]) -> None:
        """Check that a declaration names columns of the table; ``what`` is the declaration in the error.

        :raises ApplicationError: some are missing.
        """
        if unknown := [name for name in names if name not in self.by_name]:
            raise exceptions.ApplicationError(
                f"{what!r} names {unknown}: table '{self.resource}' has {', '.join(self.by_name)}"
            )


def is_expression(value: t.Any) -> bool:
    """Whether a value is an SQL expression, which the database evaluates."""
    return hasattr(value, "__clause_element__") or hasattr(value, "__visit_name__")
