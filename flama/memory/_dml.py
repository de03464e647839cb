"""Writes to a table, within its constraints."""

import collections.abc
import typing as t

from flama import exceptions, query
from flama.memory._conditions import filter_rows
from flama.memory._foreign_keys import check_foreign_key, foreign_key_error
from flama.memory._store import Session
from flama.memory._table_data import RowWithId, TableData
from flama.memory.schema import Column, ForeignKey, Row, Table

__all__ = [
    "apply_defaults",
    "check_scoped_parents",
    "check_self_references",
    "delete",
    "insert",
    "on_update_values",
    "update",
]

_Placed: t.TypeAlias = collections.abc.Sequence[RowWithId]
_Values: t.TypeAlias = tuple[t.Any, ...]


def apply_defaults(table: Table, values: Row, count: int) -> dict[str, t.Any]:
    """Return a new record in its stored form, with the defaults of the columns that it lacks.

    ``count`` is the number of the record before.

    :raises InvalidDataError: a value isn't of its column's type.
    :raises IntegrityError: the record breaks a constraint that concerns one record alone.
    """
    given = dict(values)
    for key, column in table.columns.items():
        if key not in given and column.default is not None:
            given[key] = column.default(given)
    kept = table.encode(given)
    row = {key: kept.get(key, count + 1 if column.autoincrement else None) for key, column in table.columns.items()}
    if table.is_schemaless:
        row.update(kept)
    _check_row(table, row, table.name)
    return row


def insert(session: Session, table: Table, row: Row) -> RowWithId:
    """Store a complete record; :func:`check_self_references` has to check its references to its own table.

    :raises IntegrityError: it breaks a constraint.
    """
    rows = session.rows(table)
    _check_unique(rows, row, None, table.name)
    place = rows.next_row_id()
    session.write(rows, place, row, count=_max_number(table, row))
    _check_foreign_keys(
        session, rows, [row], table.name, [key for key in table.foreign_keys if not _is_self_reference(key, table)]
    )
    return place, row


def check_self_references(session: Session, table: Table, stored: collections.abc.Sequence[Row]) -> None:
    """Check that the parents of stored records exist that are in the same table.

    :raises IntegrityError: one doesn't.
    """
    own = [key for key in table.foreign_keys if _is_self_reference(key, table)]
    _check_foreign_keys(session, session.rows(table), stored, table.name, own)


def check_scoped_parents(
    session: Session,
    table: Table,
    rows: collections.abc.Iterable[Row],
    written: collections.abc.Collection[str],
    parents: collections.abc.Mapping[str, tuple[query.Condition, ...]],
) -> None:
    """Check that rows refer, by the columns that were written, to records that match the conditions of their table.

    ``parents`` are the conditions by the path of a table.

    :raises IntegrityError: one doesn't.
    """
    for key in table.foreign_keys:
        parent, columns = key.parent()
        conditions = parents.get(parent.qualified_name)
        if conditions is None or not any(column in written for column in key.columns):
            continue
        for row in rows:
            values = tuple([row[column] for column in key.columns])
            found = session.rows(parent).find_by(columns, {values})
            if None not in values and not filter_rows(parent, found, conditions):
                raise foreign_key_error(key, table.name)


def update(
    session: Session,
    table: Table,
    found: _Placed,
    changes: Row,
    *,
    version: str | None = None,
    resource: str | None = None,
) -> list[Row]:
    """Change records, and return them as stored; ``version`` names a column that grows by one in each.

    :raises IntegrityError: one breaks a constraint.
    """
    rows, resource = session.rows(table), resource or table.name
    changed: list[Row] = []
    for place, row in found:
        new = {**row, **changes}
        if version is not None:
            new[version] = None if row[version] is None else row[version] + 1
        _check_row(table, new, resource)
        _check_unique(rows, new, place, resource)
        session.write(rows, place, new, count=_max_number(table, new))
        changed.append(new)
    _apply_referential_actions(session, rows, [row for _, row in found], changes, resource)
    keys = [key for key in table.foreign_keys if not changes.keys().isdisjoint(key.columns)]
    _check_foreign_keys(session, rows, rows.at([place for place, _ in found]), resource, keys)
    return changed


def delete(session: Session, table: Table, found: _Placed, *, resource: str | None = None) -> None:
    """Delete records.

    :raises IntegrityError: others refer to one of them.
    """
    rows, resource = session.rows(table), resource or table.name
    for place, _ in found:
        session.write(rows, place, None)
    _apply_referential_actions(session, rows, [row for _, row in found], None, resource)


def on_update_values(table: Table, changes: Row, others: collections.abc.Container[str] = ()) -> dict[str, t.Any]:
    """Return the ``onupdate`` values for a record that changes, except those of the ``others``."""
    return {
        key: column.onupdate(changes)
        for key, column in table.columns.items()
        if column.onupdate is not None and key not in changes and key not in others
    }


def _max_number(table: Table, row: Row) -> int:
    numbers = [row[key] for key, column in table.columns.items() if column.autoincrement and isinstance(row[key], int)]
    return max(numbers, default=0)


def _check_row(table: Table, row: Row, resource: str) -> None:
    for key, column in table.columns.items():
        if row[key] is None and not column.nullable:
            raise exceptions.IntegrityError(resource=resource, kind="not_null", fields=(key,))
    for check in table.checks:
        if check.holds(row) is False:
            raise exceptions.IntegrityError(
                resource=resource, kind="check", constraint=check.name, fields=check.columns
            )


def _check_unique(rows: TableData, row: Row, place: int | None, resource: str) -> None:
    for unique in rows.table.uniques:
        other = rows.find_conflict(unique, row)
        if other is not None and other != place:
            raise exceptions.IntegrityError(
                resource=resource, kind="unique", constraint=unique.name, fields=unique.columns
            )


def _is_self_reference(key: ForeignKey, table: Table) -> bool:
    return key.parent().table.qualified_name == table.qualified_name


def _check_foreign_keys(
    session: Session,
    rows: TableData,
    written: collections.abc.Sequence[Row],
    resource: str,
    keys: collections.abc.Iterable[ForeignKey],
) -> None:
    for key in keys:
        if key.deferred:
            session.defer_check(rows, key, resource)
            continue
        for row in written:
            check_foreign_key(row, key, session.rows(key.parent().table), resource)


class _Orphans(t.NamedTuple):
    # records that refer to parents which don't exist any more: deleted, or with other keys

    rows: TableData
    key: ForeignKey
    gone: frozenset[_Values]
    changes: Row | None
    resource: str

    @property
    def found(self) -> list[RowWithId]:
        return self.rows.find_by(self.key.columns, self.gone)

    @property
    def action(self) -> str | None:
        return self.key.ondelete if self.changes is None else self.key.onupdate

    def act(self, session: Session, found: RowWithId) -> None:
        if self.action == "CASCADE" and self.changes is None:
            delete(session, self.rows.table, [found], resource=self.resource)
        else:
            update(session, self.rows.table, [found], self._child_changes(), resource=self.resource)

    def _child_changes(self) -> Row:
        table, changes = self.rows.table, self.changes or {}
        match self.action:
            case "CASCADE":
                pairs = zip(self.key.columns, self.key.parent().columns, strict=True)
                return {column: changes[parent] for column, parent in pairs if parent in changes}
            case "SET DEFAULT":
                return table.encode({column: _default_value(table.columns[column]) for column in self.key.columns})
        return dict.fromkeys(self.key.columns)


def _apply_referential_actions(
    session: Session, rows: TableData, before: collections.abc.Sequence[Row], changes: Row | None, resource: str
) -> None:
    """Apply the referential actions to records that refer to these; ``changes`` is None when these were deleted."""
    left = list(_find_orphans(session, rows, before, changes, resource))
    for each in left:
        for found in each.found if each.action is not None else ():
            if each.rows.has(found):  # an action on another record may have changed it
                each.act(session, found)
    for each in left:
        if each.key.deferred:
            session.defer_check(each.rows, each.key, resource)
        elif each.found:
            raise foreign_key_error(each.key, resource)


def _find_orphans(
    session: Session, rows: TableData, before: collections.abc.Sequence[Row], changes: Row | None, resource: str
) -> collections.abc.Iterator[_Orphans]:
    for child in session.all_rows():
        for key in child.table.foreign_keys:
            table, columns = key.parent()
            if table.source is not rows.table.source or (changes is not None and changes.keys().isdisjoint(columns)):
                continue
            values = {tuple([row[column] for column in columns]) for row in before}
            gone = frozenset(each for each in values if not rows.find_by(columns, {each}))
            yield _Orphans(child, key, gone, changes, resource)


def _default_value(column: Column) -> t.Any:
    return None if column.default is None else column.default({})
