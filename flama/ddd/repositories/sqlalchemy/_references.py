"""Foreign keys whose parent records must be in a scope: checks before a write and after it."""

import collections.abc
import functools
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions, query
from flama.ddd.repositories._table import Parents
from flama.ddd.repositories.sqlalchemy import _select_options
from flama.sqlalchemy import drivers
from flama.sqlalchemy.sql import _select, statements
from flama.sqlalchemy.sql._value_checks import is_expression

__all__ = ["Reference", "check", "references"]

_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Values: t.TypeAlias = tuple[t.Any, ...]

_TABLES: t.Final = 1000
_BATCH: t.Final = 1_000  # values in one statement
_DEPTH: t.Final = 100  # alternatives in one statement: SQLite limits the depth of an expression to 1,000


class Reference(t.NamedTuple):
    """A foreign key: the keys of its columns, the full name of the parent table, and the constraint."""

    columns: tuple[str, ...]
    parent: str
    constraint: sa.ForeignKeyConstraint

    @property
    def table(self) -> sa.Table:
        """The parent table.

        :raises NoReferenceError: SQLAlchemy doesn't know the parent table.
        """
        return self.constraint.referred_table

    @property
    def targets(self) -> tuple[str, ...]:
        """The keys of the parent table's columns."""
        return tuple(element.column.key for element in self.constraint.elements)

    def is_written(self, row: _Row) -> bool:
        """Return whether a row contains a column of the foreign key."""
        return any(name in row for name in self.columns)

    def values(self, row: _Row) -> _Values | None:
        """Return the foreign key's values in a row; None where one is null, absent or a SQL expression."""
        values = tuple(row.get(name) for name in self.columns)
        return None if any(value is None or is_expression(value) for value in values) else values

    def is_open(self, row: _Row) -> bool:
        """Return whether the parent is known only from the stored record."""
        if any(row.get(name, ...) is None for name in self.columns):
            return False
        return any(name not in row or is_expression(row[name]) for name in self.columns)


@functools.lru_cache(_TABLES)
def references(table: sa.Table) -> tuple[Reference, ...]:
    """Return the foreign keys of a table."""
    return tuple(
        Reference(
            tuple(element.parent.key for element in constraint.elements),
            constraint.elements[0].target_fullname.rpartition(".")[0],
            constraint,
        )
        for constraint in table.foreign_key_constraints
    )


async def check(
    connection: AsyncConnection,
    table: sa.Table,
    rows: collections.abc.Sequence[_Row],
    parents: Parents,
    *,
    bound: _Row,
    stored: collections.abc.Collection[Reference] | None = None,
) -> list[Reference]:
    """Check that the parents of rows are in the scopes of their tables; return the references still open.

    One statement is run for each foreign key and 1,000 rows, or 100 rows if the key has several columns. A parent out
    of scope and a missing one raise the same error. ``bound`` are the values of columns that rows don't contain.

    A reference is open if only the stored record has its values, or if rows may refer to one another. Such references
    are checked after the write, as ``stored``.

    :raises IntegrityError: a parent is not in its table's scope.
    """
    opened: list[Reference] = []
    for reference in references(table) if stored is None else stored:
        if reference.parent not in parents:
            continue
        written = [{**bound, **row} for row in rows if reference.is_written(row)]
        wanted = dict.fromkeys(filter(None, map(reference.values, written)))
        own = _target_values(reference, rows) & wanted.keys() if stored is None and reference.table is table else set()
        await _look_up(connection, table, reference, [each for each in wanted if each not in own], parents)
        if own or any(map(reference.is_open, written)):
            opened.append(reference)
    return opened


def _target_values(reference: Reference, rows: collections.abc.Iterable[_Row]) -> set[_Values]:
    """Return the values by which rows of a table can refer to one another."""
    targets = reference.targets
    return {tuple(row[name] for name in targets) for row in rows if row.keys() >= set(targets)}


async def _look_up(
    connection: AsyncConnection,
    table: sa.Table,
    reference: Reference,
    wanted: collections.abc.Sequence[_Values],
    parents: Parents,
) -> None:
    conditions = parents[reference.parent]
    size = _BATCH if len(reference.columns) == 1 else _DEPTH
    for start in range(0, len(wanted), size):
        batch = wanted[start : start + size]
        statement = statements.select(reference.table, (*conditions, _any_of(reference, batch)), {})
        statement = _select_options.select_columns(statement, reference.table, reference.targets)
        records = await drivers.fetch_records(connection, statement)
        known = {tuple(record[name] for name in reference.targets) for record in records}
        for values in batch:  # the database may consider values equal that Python doesn't, as texts of another case
            if values not in known and not await _is_there(connection, reference, values, conditions):
                raise exceptions.IntegrityError(resource=table.name, kind="foreign_key", fields=reference.columns)


def _any_of(reference: Reference, wanted: collections.abc.Sequence[_Values]) -> query.Condition:
    fields = [query.F[name] for name in reference.targets]
    if len(fields) == 1:
        return fields[0].in_([value for (value,) in wanted])
    each = [query.And(tuple(field == value for field, value in zip(fields, values, strict=True))) for values in wanted]
    return each[0] if len(each) == 1 else query.Or(tuple(each))


async def _is_there(
    connection: AsyncConnection, reference: Reference, values: _Values, conditions: tuple[query.Condition, ...]
) -> bool:
    filters = dict(zip(reference.targets, values, strict=True))
    return bool(await drivers.fetch_records(connection, _select.exists(reference.table, conditions, filters)))
