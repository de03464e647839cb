"""Records that refer to their own table, in an order in which each can be stored."""

import collections.abc
import functools
import typing as t

import sqlalchemy as sa

__all__ = ["Generations", "generations", "refers_to_itself", "self_references"]

_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_References: t.TypeAlias = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

_TABLES: t.Final = 1000


class Generations(t.NamedTuple):
    """Records by index: each generation refers only to earlier ones; ``cycles`` contains all others."""

    ordered: list[list[int]]
    cycles: list[int]


@functools.lru_cache(_TABLES)
def self_references(table: sa.Table) -> _References:
    """Return the column keys by which a table's records refer to that table, with the referenced keys."""
    return tuple(
        (
            tuple(str(element.parent.key) for element in constraint.elements),
            tuple(str(element.column.key) for element in constraint.elements),
        )
        for constraint in table.foreign_key_constraints
        if constraint.elements[0].target_fullname.rpartition(".")[0] == table.fullname
    )


def generations(table: sa.Table, rows: collections.abc.Sequence[_Row]) -> Generations:
    """Return the records in generations; the first refers to no other record."""
    parents = _parents(self_references(table), rows)
    if not any(parents):
        return Generations([list(range(len(rows)))], [])
    children: list[list[int]] = [[] for _ in rows]
    for child, each in enumerate(parents):
        for parent in each:
            children[parent].append(child)
    waiting = list(map(len, parents))
    found: list[list[int]] = []
    generation = [place for place, number in enumerate(waiting) if number == 0]
    while generation:
        found.append(generation)
        following = []
        for child in (child for place in generation for child in children[place]):
            waiting[child] -= 1
            if waiting[child] == 0:
                following.append(child)
        generation = following
    return Generations(found, [place for place, number in enumerate(waiting) if number > 0])


def refers_to_itself(table: sa.Table, row: _Row) -> bool:
    """Return whether a record refers to itself."""
    return any(_values(row, columns) == _values(row, referred) for columns, referred in self_references(table))


def _parents(references: _References, rows: collections.abc.Sequence[_Row]) -> list[set[int]]:
    """Return, for each record, the indexes of the other records that it refers to."""
    parents: list[set[int]] = [set() for _ in rows]
    for columns, referred in references:
        places = {_values(row, referred): place for place, row in enumerate(rows)}
        places.pop(None, None)
        for child, row in enumerate(rows):
            parent = places.get(_values(row, columns))
            if parent is not None and parent != child:
                parents[child].add(parent)
    return parents


def _values(row: _Row, keys: tuple[str, ...]) -> tuple[t.Any, ...] | None:
    values = tuple([row.get(key) for key in keys])
    if None in values or not all(isinstance(value, collections.abc.Hashable) for value in values):
        return None
    return values
