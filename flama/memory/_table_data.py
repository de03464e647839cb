"""Records of one table, indexed by its unique columns."""

import collections.abc
import itertools
import typing as t

from flama.memory.schema import Row, Table, Unique

__all__ = ["RowWithId", "TableData"]

RowWithId: t.TypeAlias = tuple[int, Row]
"""A record and its place, which stays the same for as long as the record is stored."""
_Values: t.TypeAlias = tuple[t.Any, ...]


class TableData:
    """The stored records of a table.

    ``count`` is the last number that a record was assigned. Nothing is checked here.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.count = 0
        self._rows: dict[int, Row] = {}
        self._places = itertools.count()
        self._indexes: dict[Unique, dict[_Values, int]] = {unique: {} for unique in table.uniques}

    def __len__(self) -> int:
        return len(self._rows)

    def next_row_id(self) -> int:
        """Return a place that was never used."""
        return next(self._places)

    def has(self, placed: RowWithId) -> bool:
        """Whether a record is still stored, unchanged."""
        place, row = placed
        return self._rows.get(place) is row

    def at(self, places: collections.abc.Iterable[int]) -> list[Row]:
        """Return the records at those of the places that have one."""
        return [self._rows[place] for place in places if place in self._rows]

    def all(self) -> list[RowWithId]:
        """Return all records in insertion order."""
        return sorted(self._rows.items())

    def set(self, place: int, row: Row | None) -> Row | None:
        """Store a record at a place, or remove it with None; return what was there before."""
        before = self._rows.pop(place, None)
        for unique, index in self._indexes.items():
            if before is not None and (values := unique.values(before)) is not None:
                del index[values]
            if row is not None and (values := unique.values(row)) is not None:
                index[values] = place
        if row is not None:
            self._rows[place] = row
        return before

    def find_conflict(self, unique: Unique, row: Row) -> int | None:
        """Return the place of the record with the same values in unique columns; null equals nothing."""
        values = unique.values(row)
        return None if values is None else self._indexes[unique].get(values)

    def get_by_unique(self, unique: Unique, values: _Values) -> RowWithId | None:
        """Return the record that has these values in unique columns, if they have to be unique in it."""
        place = self._indexes[unique].get(values)
        return None if place is None else (place, self._rows[place])

    def candidates(self, wanted: Row) -> list[RowWithId]:
        """Return candidates for records with these values: all that have them, and maybe others."""
        for unique, index in self._indexes.items():
            columns = unique.columns
            if unique.holds is not None or not wanted.keys() >= set(columns):
                continue
            if (values := _values(wanted, columns)) is not None:
                try:
                    place = index.get(values)
                except TypeError:  # what can't be hashed equals none of the stored values
                    continue
                return [] if place is None else [(place, self._rows[place])]
        return self.all()

    def find_by(self, columns: tuple[str, ...], values: collections.abc.Set[_Values]) -> list[RowWithId]:
        """Return the records whose values in these columns are among ``values``."""
        if not values:
            return []
        if len(values) == 1:
            (only,) = values
            candidates = self.candidates(dict(zip(columns, only, strict=True)))
        else:
            candidates = self.all()
        return [(place, row) for place, row in candidates if _values(row, columns) in values]


def _values(row: Row, columns: tuple[str, ...]) -> _Values | None:
    values = tuple([row[column] for column in columns])
    return None if None in values else values
