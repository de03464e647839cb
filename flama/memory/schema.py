"""Definitions of tables: columns, keys and constraints."""

import collections.abc
import copy
import dataclasses
import functools
import reprlib
import typing as t

from flama import exceptions

__all__ = [
    "ANY",
    "ANY_KEY",
    "Check",
    "Column",
    "Default",
    "DefaultNoneDict",
    "ForeignKey",
    "Parent",
    "Row",
    "Table",
    "TypeCodec",
    "Unique",
]

Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
"""A record, in its stored form or as users see it."""
Default: t.TypeAlias = collections.abc.Callable[[Row], t.Any]
"""A function from the rest of a record to the value of a column that it lacks."""

_REFUSALS: t.Final = (TypeError, ValueError, LookupError, ArithmeticError)


class TypeCodec(t.NamedTuple):
    """How values of one type are stored.

    ``encode`` converts a value to its stored form, which is immutable, hashable and comparable. ``decode`` converts it
    back; it is None when both forms are the same. ``encode_operand`` converts a value that is compared with stored
    ones. They raise TypeError, ValueError or LookupError for a value of another type. ``name`` is the type's name in
    errors.
    """

    name: str
    encode: collections.abc.Callable[[t.Any], t.Any]
    decode: collections.abc.Callable[[t.Any], t.Any] | None
    encode_operand: collections.abc.Callable[[t.Any], t.Any]
    is_text: bool = False
    takes_collections: bool = False
    null: t.Any = None  # the stored form of a null that isn't SQL's, which is None to users, too


class DefaultNoneDict(dict[str, t.Any]):
    """A record in which missing columns are null."""

    def __missing__(self, key: str) -> None:
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """A column. With ``autoincrement``, records without a value are numbered from 1 on."""

    key: str
    codec: TypeCodec
    nullable: bool = True
    autoincrement: bool = False
    default: Default | None = None
    onupdate: Default | None = None


class Unique(t.NamedTuple):
    """Columns whose values are unique among the records that ``holds`` is true of, by default all."""

    columns: tuple[str, ...]
    name: str | None = None
    holds: collections.abc.Callable[[Row], bool | None] | None = None

    def values(self, row: Row) -> tuple[t.Any, ...] | None:
        """Return a record's values in the columns; None where they don't have to be unique, as with a null."""
        if self.holds is not None and self.holds(row) is not True:
            return None
        values = tuple([row[column] for column in self.columns])
        return None if None in values else values


class Check(t.NamedTuple):
    """A predicate that must not be false of a stored record."""

    holds: collections.abc.Callable[[Row], bool | None]
    columns: tuple[str, ...] = ()
    name: str | None = None


class Parent(t.NamedTuple):
    """A table that others refer to, and the columns that they refer to."""

    table: "Table"
    columns: tuple[str, ...]


class ForeignKey(t.NamedTuple):
    """Columns that refer to a record of the parent table, which is looked up when it is needed.

    ``ondelete`` and ``onupdate`` are what happens to a record when its parent is deleted or changed: ``CASCADE``,
    ``SET NULL`` or ``SET DEFAULT``. Otherwise that is refused; with ``deferred``, at the end of the unit of work.
    """

    columns: tuple[str, ...]
    parent: collections.abc.Callable[[], Parent]
    name: str | None = None
    ondelete: str | None = None
    onupdate: str | None = None
    deferred: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table. ``name`` is its name in errors; ``qualified_name`` is unique in a store.

    ``key`` names the columns of its primary key. ``source`` is what it was made from: two tables with the same source
    are the same table. With ``is_schemaless``, records may have any other columns, too.
    """

    name: str
    qualified_name: str
    columns: collections.abc.Mapping[str, Column]
    key: tuple[str, ...]
    uniques: tuple[Unique, ...] = ()
    checks: tuple[Check, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    source: t.Any = None
    is_schemaless: bool = False

    def column(self, key: str) -> Column:
        """Return a column; for an open table, one that takes any value if there is none of this key."""
        found = self.columns.get(key)
        return Column(key, ANY) if found is None else found

    def check_names(self, names: collections.abc.Iterable[str]) -> None:
        """Check that there are columns of these keys.

        :raises UnknownColumnError: the table lacks one.
        """
        unknown = [] if self.is_schemaless else [name for name in names if name not in self.columns]
        if unknown:
            raise exceptions.UnknownColumnError(resource=self.name, names=unknown, columns=self.columns)

    def keys_of(self, columns: t.Any) -> tuple[str, ...]:
        """Return the keys of columns, which are keys or columns of the table's source, each once.

        :raises UnknownColumnError: the table lacks one.
        """
        several = columns if _is_collection(columns) else (columns,)
        keys = tuple(dict.fromkeys(str(self.key_of(column)) for column in several))
        self.check_names(keys)
        return keys

    def key_of(self, column: t.Any) -> t.Any:
        """Return the key of a column of the table's source, and anything else unchanged."""
        is_own = self.source is not None and getattr(column, "table", None) is self.source
        return column.key if is_own else column

    def encode(self, row: Row) -> dict[str, t.Any]:
        """Return values in their stored form.

        :raises InvalidDataError: one isn't of its column's type.
        """
        return {key: self._convert(key, value, self.column(key).codec.encode) for key, value in row.items()}

    def encode_operand(self, key: str, value: t.Any) -> t.Any:
        """Return a value in the form that is compared with a column's stored values.

        :raises InvalidDataError: it can't be compared with them.
        """
        return self._convert(key, value, self.column(key).codec.encode_operand)

    def decode(self, row: Row) -> dict[str, t.Any]:
        """Return a stored record as a new dictionary of the values that users see."""
        record = dict(row)
        if self.is_schemaless:
            return copy.deepcopy(record)
        for key, decode in self._converters:
            record[key] = decode(record[key])
        return record

    @functools.cached_property
    def never_null(self) -> tuple[str, ...]:
        """The columns of the key that can't be null."""
        return tuple(key for key in self.key if not self.columns[key].nullable)

    @functools.cached_property
    def _converters(self) -> list[tuple[str, collections.abc.Callable[[t.Any], t.Any]]]:
        return [(key, column.codec.decode) for key, column in self.columns.items() if column.codec.decode is not None]

    def _convert(self, key: str, value: t.Any, convert: collections.abc.Callable[[t.Any], t.Any]) -> t.Any:
        try:
            return convert(value)
        except _REFUSALS as error:
            detail = f"'{key}' is {self.column(key).codec.name}, not {reprlib.repr(value)}: {error}"
            raise exceptions.InvalidDataError(resource=self.name, detail=detail) from error


def _key(value: t.Any) -> t.Any:
    hash(value)
    return copy.deepcopy(value)


ANY: t.Final = TypeCodec("anything", copy.deepcopy, copy.deepcopy, copy.copy, is_text=True, takes_collections=True)
"""The kind of values whose type isn't known."""
ANY_KEY: t.Final = ANY._replace(name="a key, which can't change", encode=_key)
"""The kind of keys whose type isn't known."""


def _is_collection(columns: t.Any) -> bool:
    return isinstance(columns, collections.abc.Iterable) and not isinstance(columns, str)
