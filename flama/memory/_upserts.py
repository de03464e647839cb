"""Upserts: writes of records that may exist already."""

import collections.abc
import typing as t

from flama import exceptions
from flama.memory._conditions import matching
from flama.memory._dml import apply_defaults, check_self_references, insert, on_update_values, update
from flama.memory._store import Session
from flama.memory._table_data import RowWithId
from flama.memory.schema import Row, Table, Unique
from flama.policies import Policies

__all__ = ["find_unique", "get_or_create", "upsert"]

_Keys: t.TypeAlias = tuple[str, ...]


def upsert(
    session: Session,
    table: Table,
    policies: Policies,
    rows: collections.abc.Sequence[Row],
    *,
    on: t.Any = None,
    set: t.Any = None,
) -> list[Row]:
    """Insert rows, or update the records that exist in their place; return them as stored, in order.

    ``on`` names the columns that identify a record, by default the primary key. ``set`` names those that change in an
    existing record, by default all that the row has but the key. Rows without the primary key are inserted.

    :raises IntegrityError: a row breaks a constraint, or its existing record is hidden.
    :raises InvalidDataError: two rows identify the same record, or one lacks a column that identifies it.
    :raises SQLAlchemyError: no unique constraint covers ``on``.
    """
    unique = find_unique(table, on)
    key = unique.columns
    changed = None if set is None else table.keys_of(set)
    is_new = [on is None and not row.keys() >= frozenset(key) for row in rows]
    _check_distinct(table, key, [row for row, new in zip(rows, is_new, strict=True) if not new])
    stored: dict[int, Row] = {}
    inserted: list[Row] = []
    for index in sorted(range(len(rows)), key=lambda index: not is_new[index]):  # new rows first
        row = apply_defaults(table, rows[index], session.rows(table).count)
        existing = None if is_new[index] else _find_existing(session, table, unique, row)
        if existing is None:
            _, stored[index] = insert(session, table, row)
            inserted.append(stored[index])
            continue
        _check_visible(session, table, policies, key, existing)
        changes = _changes(table, policies, rows[index], row, key=key, changed=changed)
        written = update(session, table, [existing], changes, version=policies.version) if changes else [existing[1]]
        stored[index] = written[0]
    check_self_references(session, table, inserted)
    return [stored[index] for index in range(len(rows))]


def get_or_create(
    session: Session, table: Table, policies: Policies, row: Row, *, on: t.Any = None
) -> tuple[Row, bool]:
    """Return ``(record, created)``: the existing record with this row's key and False, or the stored row and True.

    :raises IntegrityError: the row breaks a constraint, or the record with its key is hidden.
    :raises InvalidDataError: the row lacks a column that identifies a record, or has null in it.
    :raises SQLAlchemyError: no unique constraint covers ``on``.
    """
    unique = find_unique(table, on)
    key = unique.columns
    _check_distinct(table, key, [row])
    if nulls := [name for name in key if row[name] is None]:
        raise exceptions.InvalidDataError(
            resource=table.name, detail=f"no record is meant by null as {_quote_names(nulls)}"
        )
    kept = table.encode({name: row[name] for name in key})
    existing = session.rows(table).get_by_unique(unique, tuple([kept[name] for name in key]))
    if existing is not None:
        _check_visible(session, table, policies, key, existing)
        return existing[1], False
    _, stored = insert(session, table, apply_defaults(table, row, session.rows(table).count))
    check_self_references(session, table, [stored])
    return stored, True


def find_unique(table: Table, on: t.Any) -> Unique:
    """Return the unique columns that identify a record: the primary key, unless ``on`` names others.

    :raises UnknownColumnError: the table lacks one of them.
    :raises SQLAlchemyError: the table has no primary key, or no unique constraint covers the columns.
    """
    if on is None and not table.key:
        raise exceptions.SQLAlchemyError(f"Table '{table.name}' has no primary key, which is needed for this")
    keys = table.key if on is None else table.keys_of(on)
    for unique in table.uniques:  # those without a predicate come first
        if frozenset(unique.columns) == frozenset(keys):
            return unique
    has = ", ".join(f"({', '.join(sorted(each.columns))})" for each in table.uniques)
    raise exceptions.SQLAlchemyError(
        f"Table '{table.name}' has nothing unique on ({', '.join(keys)}); it has {has or 'nothing unique at all'}"
    )


def _find_existing(session: Session, table: Table, unique: Unique, row: Row) -> RowWithId | None:
    values = unique.values(row)
    return None if values is None else session.rows(table).get_by_unique(unique, values)


def _check_visible(session: Session, table: Table, policies: Policies, key: _Keys, existing: RowWithId) -> None:
    if existing not in matching(session.rows(table), policies.conditions, {}):
        raise exceptions.IntegrityError(resource=table.name, kind="unique", fields=key)


def _changes(table: Table, policies: Policies, given: Row, row: Row, *, key: _Keys, changed: _Keys | None) -> Row:
    kept = {*key, *policies.fixed, *(() if changed is not None else table.key)}
    names = [name for name in (given if changed is None else changed) if name not in kept]
    if not names:
        return {}
    by_itself = {**on_update_values(table, given, {*names, *kept}), **policies.on_update()}
    return {**{name: row[name] for name in names}, **table.encode(by_itself)}


def _check_distinct(table: Table, key: _Keys, rows: collections.abc.Iterable[Row]) -> None:
    seen: set[tuple[t.Any, ...]] = set()
    for row in rows:
        if missing := [name for name in key if name not in row]:
            detail = f"{_quote_names(missing)} identifies the record, and is missing"
            raise exceptions.InvalidDataError(resource=table.name, detail=detail)
        given = tuple(table.encode({name: row[name] for name in key}).values())
        if None not in given and given in seen:
            raise exceptions.InvalidDataError(
                resource=table.name, detail=f"two records have the same {_quote_names(key)}"
            )
        seen.add(given)


def _quote_names(names: collections.abc.Iterable[str]) -> str:
    return ", ".join(map(repr, names))
