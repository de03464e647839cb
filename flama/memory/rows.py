"""The records of one table, found by what is unique in them."""

import collections.abc
import itertools
import typing as t

from flama.memory.definitions import Row, Table, Unique

__all__ = ["Placed", "Rows"]

Placed: t.TypeAlias = tuple[int, Row]
"""A record and its place, which it keeps for as long as it is there."""
_Values: t.TypeAlias = tuple[t.Any, ...]


class Rows:
    """The records of a table, as they are kept.

    ``count`` is the number that was last given to one. Nothing is checked here.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.count = 0
        self._rows: dict[int, Row] = {}
        self._places = itertools.count()
        self._indexes: dict[Unique, dict[_Values, int]] = {unique: {} for unique in table.uniques}

    def __len__(self) -> int:
        return len(self._rows)

    def new_place(self) -> int:
        """Give a place where nothing is."""
        return next(self._places)

    def has(self, placed: Placed) -> bool:
        """Tell whether a record is still there, as it was."""
        place, row = placed
        return self._rows.get(place) is row

    def at(self, places: collections.abc.Iterable[int]) -> list[Row]:
        """Give the records in those of the places where there are any."""
        return [self._rows[place] for place in places if place in self._rows]

    def all(self) -> list[Placed]:
        """Give all records in the order in which they were stored."""
        return sorted(self._rows.items())

    def set(self, place: int, row: Row | None) -> Row | None:
        """Put a record in a place, or take away what is there; give what was there."""
        before = self._rows.pop(place, None)
        for unique, index in self._indexes.items():
            if before is not None and (values := unique.values(before)) is not None:
                del index[values]
            if row is not None and (values := unique.values(row)) is not None:
                index[values] = place
        if row is not None:
            self._rows[place] = row
        return before

    def alike(self, unique: Unique, row: Row) -> int | None:
        """Give the place of the record that is alike in unique columns; null is like nothing."""
        values = unique.values(row)
        return None if values is None else self._indexes[unique].get(values)

    def placed(self, unique: Unique, values: _Values) -> Placed | None:
        """Return the record that has these values in unique columns, and is one of those that may not be alike."""
        place = self._indexes[unique].get(values)
        return None if place is None else (place, self._rows[place])

    def among(self, wanted: Row) -> list[Placed]:
        """Give the records of which one may have these values in these columns."""
        for unique, index in self._indexes.items():
            columns = unique.columns
            if unique.holds is not None or not wanted.keys() >= set(columns):
                continue
            if (values := _values(wanted, columns)) is not None:
                try:
                    place = index.get(values)
                except TypeError:  # what can't be hashed is none of what was
                    continue
                return [] if place is None else [(place, self._rows[place])]
        return self.all()

    def having(self, columns: tuple[str, ...], values: collections.abc.Set[_Values]) -> list[Placed]:
        """Give the records that have one of these sets of values in these columns."""
        if not values:
            return []
        if len(values) == 1:
            (only,) = values
            candidates = self.among(dict(zip(columns, only, strict=True)))
        else:
            candidates = self.all()
        return [(place, row) for place, row in candidates if _values(row, columns) in values]


def _values(row: Row, columns: tuple[str, ...]) -> _Values | None:
    values = tuple([row[column] for column in columns])
    return None if None in values else values
