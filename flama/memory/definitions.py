"""What a store knows of a table's records."""

import collections.abc
import copy
import dataclasses
import functools
import reprlib
import typing as t

from flama import exceptions

__all__ = [
    "Check",
    "Column",
    "Default",
    "ForeignKey",
    "Kind",
    "Parent",
    "Row",
    "Sparse",
    "Table",
    "Unique",
    "any_key",
    "anything",
]

Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
"""A record, as it is kept or as it is given."""
Default: t.TypeAlias = collections.abc.Callable[[Row], t.Any]
"""Gives what a column has of which nothing is said, for the rest of the record."""

_REFUSALS: t.Final = (TypeError, ValueError, LookupError, ArithmeticError)


class Kind(t.NamedTuple):
    """How values of one kind are kept.

    ``keep`` gives a value as it is kept: of a form that can't change, can be hashed and compared. ``give`` gives it
    back, ``operand`` gives what is compared with it. They say by a TypeError, ValueError or LookupError that a value
    is none of the kind. ``name`` is what errors call it. With ``give`` None, it is kept as it is.
    """

    name: str
    keep: collections.abc.Callable[[t.Any], t.Any]
    give: collections.abc.Callable[[t.Any], t.Any] | None
    operand: collections.abc.Callable[[t.Any], t.Any]
    is_text: bool = False
    takes_collections: bool = False
    null: t.Any = None  # what is kept for a null that isn't SQL's, and is given as None as well


class Sparse(dict[str, t.Any]):
    """A record in which what it doesn't have is null."""

    def __missing__(self, key: str) -> None:
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """A column. With ``counted``, records that say nothing of it are counted from 1 on."""

    key: str
    kind: Kind
    nullable: bool = True
    counted: bool = False
    default: Default | None = None
    onupdate: Default | None = None


class Unique(t.NamedTuple):
    """Columns in which no two records are alike, of those that ``holds`` is true of, by default all."""

    columns: tuple[str, ...]
    name: str | None = None
    holds: collections.abc.Callable[[Row], bool | None] | None = None

    def values(self, row: Row) -> tuple[t.Any, ...] | None:
        """Return a record's values in the columns; None where it may be like others, as null is like nothing."""
        if self.holds is not None and self.holds(row) is not True:
            return None
        values = tuple([row[column] for column in self.columns])
        return None if None in values else values


class Check(t.NamedTuple):
    """What must not be false of a record, as it is kept."""

    holds: collections.abc.Callable[[Row], bool | None]
    columns: tuple[str, ...] = ()
    name: str | None = None


class Parent(t.NamedTuple):
    """A table that others refer to, and the columns by which they do."""

    table: "Table"
    columns: tuple[str, ...]


class ForeignKey(t.NamedTuple):
    """Columns that name a record of the parent table, which is asked for when it is needed.

    ``ondelete`` and ``onupdate`` say what becomes of a record when its parent goes or changes: ``CASCADE``,
    ``SET NULL`` or ``SET DEFAULT``; or else that is refused, with ``deferred`` at the end of the unit.
    """

    columns: tuple[str, ...]
    parent: collections.abc.Callable[[], Parent]
    name: str | None = None
    ondelete: str | None = None
    onupdate: str | None = None
    deferred: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table. ``name`` is what errors call it; ``path`` tells it from all others of a store.

    ``key`` are the columns of its primary key. ``source`` is what it was made of: two that were made of the same are
    the same table. With ``open``, records have whichever other columns they like.
    """

    name: str
    path: str
    columns: collections.abc.Mapping[str, Column]
    key: tuple[str, ...]
    uniques: tuple[Unique, ...] = ()
    checks: tuple[Check, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    source: t.Any = None
    open: bool = False

    def column(self, key: str) -> Column:
        """Give a column; of an open table, one that takes anything if there is none of this key."""
        found = self.columns.get(key)
        return Column(key, anything) if found is None else found

    def check_names(self, names: collections.abc.Iterable[str]) -> None:
        """Make sure that there are columns of these keys.

        :raises UnknownColumnError: there aren't.
        """
        unknown = [] if self.open else [name for name in names if name not in self.columns]
        if unknown:
            raise exceptions.UnknownColumnError(resource=self.name, names=unknown, columns=self.columns)

    def keys_of(self, columns: t.Any) -> tuple[str, ...]:
        """Give the keys of columns, which are keys, or columns of what the table was made of; each once.

        :raises UnknownColumnError: the table doesn't have them.
        """
        several = columns if _is_collection(columns) else (columns,)
        keys = tuple(dict.fromkeys(str(self.key_of(column)) for column in several))
        self.check_names(keys)
        return keys

    def key_of(self, column: t.Any) -> t.Any:
        """Give the key of a column of what the table was made of, or what else it is as it is."""
        is_own = self.source is not None and getattr(column, "table", None) is self.source
        return column.key if is_own else column

    def kept(self, row: Row) -> dict[str, t.Any]:
        """Give values as they are kept.

        :raises InvalidDataError: one isn't of its column's kind.
        """
        return {key: self._converted(key, value, self.column(key).kind.keep) for key, value in row.items()}

    def operand(self, key: str, value: t.Any) -> t.Any:
        """Give what is compared with a column's values.

        :raises InvalidDataError: it can't be.
        """
        return self._converted(key, value, self.column(key).kind.operand)

    def given(self, row: Row) -> dict[str, t.Any]:
        """Give a record that is kept as its users know it; it is theirs."""
        record = dict(row)
        if self.open:
            return copy.deepcopy(record)
        for key, give in self._gives:
            record[key] = give(record[key])
        return record

    @functools.cached_property
    def never_null(self) -> tuple[str, ...]:
        """The columns of the key that every record has."""
        return tuple(key for key in self.key if not self.columns[key].nullable)

    @functools.cached_property
    def _gives(self) -> list[tuple[str, collections.abc.Callable[[t.Any], t.Any]]]:
        return [(key, column.kind.give) for key, column in self.columns.items() if column.kind.give is not None]

    def _converted(self, key: str, value: t.Any, convert: collections.abc.Callable[[t.Any], t.Any]) -> t.Any:
        try:
            return convert(value)
        except _REFUSALS as error:
            detail = f"'{key}' is {self.column(key).kind.name}, not {reprlib.repr(value)}: {error}"
            raise exceptions.InvalidDataError(resource=self.name, detail=detail) from error


def _key(value: t.Any) -> t.Any:
    hash(value)
    return copy.deepcopy(value)


anything: t.Final = Kind("anything", copy.deepcopy, copy.deepcopy, copy.copy, is_text=True, takes_collections=True)
"""The kind of values of which nothing is known."""
any_key: t.Final = anything._replace(name="a key, which can't change", keep=_key)
"""The kind of keys of which nothing else is known."""


def _is_collection(columns: t.Any) -> bool:
    return isinstance(columns, collections.abc.Iterable) and not isinstance(columns, str)
