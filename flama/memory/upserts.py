"""Records written whether they are there or not."""

import collections.abc
import typing as t

from flama import exceptions
from flama.memory.conditions import matching
from flama.memory.definitions import Row, Table, Unique
from flama.memory.rows import Placed
from flama.memory.rules import Rules
from flama.memory.store import Session
from flama.memory.writes import check_parents, completed, insert, touched, update

__all__ = ["conflicting", "got_or_created", "upserted"]

_Keys: t.TypeAlias = tuple[str, ...]


def upserted(
    session: Session, rules: Rules, rows: collections.abc.Sequence[Row], *, on: t.Any = None, set: t.Any = None
) -> list[Row]:
    """Store rows, or change the records that are there in their place; give them as stored, in order.

    ``on`` are the columns that tell which record is meant, by default the primary key; ``set`` those that change in a
    record that is there, by default all that the row has but the key. Rows without the primary key are new.

    :raises IntegrityError: a constraint refuses a row; or the record that is meant is hidden.
    :raises InvalidDataError: two rows mean the same record, or one lacks what tells which is meant.
    :raises SQLAlchemyError: nothing refuses two records that are alike in ``on``.
    """
    table = rules.table
    unique = conflicting(table, on)
    key = unique.columns
    changed = None if set is None else table.keys_of(set)
    is_new = [on is None and not row.keys() >= frozenset(key) for row in rows]
    _check_distinct(table, key, [row for row, new in zip(rows, is_new, strict=True) if not new])
    stored: dict[int, Row] = {}
    inserted: list[Row] = []
    for index in sorted(range(len(rows)), key=lambda index: not is_new[index]):  # those that are new come first
        row = completed(table, rows[index], session.rows(table).count)
        there = None if is_new[index] else _alike(session, table, unique, row)
        if there is None:
            _, stored[index] = insert(session, table, row)
            inserted.append(stored[index])
            continue
        _check_seen(session, rules, key, there)
        changes = _changes(rules, rows[index], row, key, changed)
        written = update(session, table, [there], changes, counted=rules.version) if changes else [there[1]]
        stored[index] = written[0]
    check_parents(session, table, inserted)
    return [stored[index] for index in range(len(rows))]


def got_or_created(session: Session, rules: Rules, row: Row, *, on: t.Any = None) -> tuple[Row, bool]:
    """Give the record that has this row's key, and False; or store the row, and give it as stored, and True.

    :raises IntegrityError: a constraint refuses the row; or the record that has its key is hidden.
    :raises InvalidDataError: the row lacks what tells which record is meant, or has null for it.
    :raises SQLAlchemyError: nothing refuses two records that are alike in ``on``.
    """
    table = rules.table
    unique = conflicting(table, on)
    key = unique.columns
    _check_distinct(table, key, [row])
    if nulls := [name for name in key if row[name] is None]:
        raise exceptions.InvalidDataError(resource=table.name, detail=f"no record is meant by null as {_named(nulls)}")
    kept = table.kept({name: row[name] for name in key})
    there = session.rows(table).placed(unique, tuple([kept[name] for name in key]))
    if there is not None:
        _check_seen(session, rules, key, there)
        return there[1], False
    _, stored = insert(session, table, completed(table, row, session.rows(table).count))
    check_parents(session, table, [stored])
    return stored, True


def conflicting(table: Table, on: t.Any) -> Unique:
    """Return the columns that tell which record is meant: the primary key's, unless others are named.

    :raises UnknownColumnError: the table doesn't have them.
    :raises SQLAlchemyError: nothing refuses two records that are alike in them.
    """
    if on is None and not table.key:
        raise exceptions.SQLAlchemyError(f"Table '{table.name}' has no primary key, which is needed for this")
    keys = table.key if on is None else table.keys_of(on)
    for unique in table.uniques:  # those of all records come first
        if frozenset(unique.columns) == frozenset(keys):
            return unique
    has = ", ".join(f"({', '.join(sorted(each.columns))})" for each in table.uniques)
    raise exceptions.SQLAlchemyError(
        f"Table '{table.name}' has nothing unique on ({', '.join(keys)}); it has {has or 'nothing unique at all'}"
    )


def _alike(session: Session, table: Table, unique: Unique, row: Row) -> Placed | None:
    values = unique.values(row)
    return None if values is None else session.rows(table).placed(unique, values)


def _check_seen(session: Session, rules: Rules, key: _Keys, there: Placed) -> None:
    if there not in matching(session.rows(rules.table), rules.bounds, {}):
        raise exceptions.IntegrityError(resource=rules.table.name, kind="unique", fields=key)


def _changes(rules: Rules, given: Row, row: Row, key: _Keys, changed: _Keys | None) -> Row:
    kept = {*key, *rules.fixed, *(() if changed is not None else rules.table.key)}
    names = [name for name in (given if changed is None else changed) if name not in kept]
    if not names:
        return {}
    by_itself = {**touched(rules.table, given, {*names, *kept}), **rules.change()}
    return {**{name: row[name] for name in names}, **rules.table.kept(by_itself)}


def _check_distinct(table: Table, key: _Keys, rows: collections.abc.Iterable[Row]) -> None:
    seen: set[tuple[t.Any, ...]] = set()
    for row in rows:
        if missing := [name for name in key if name not in row]:
            detail = f"{_named(missing)} tells which record is meant, and is missing"
            raise exceptions.InvalidDataError(resource=table.name, detail=detail)
        given = tuple(table.kept({name: row[name] for name in key}).values())
        if None not in given and given in seen:
            raise exceptions.InvalidDataError(resource=table.name, detail=f"two records have the same {_named(key)}")
        seen.add(given)


def _named(names: collections.abc.Iterable[str]) -> str:
    return ", ".join(map(repr, names))
