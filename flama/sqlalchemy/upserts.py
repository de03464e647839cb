"""Records written whether they are there or not, by the database's own means."""

import collections.abc
import functools
import secrets
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from flama import exceptions, query
from flama.sqlalchemy import drivers, pages, statements
from flama.sqlalchemy.columns import Columns, column_keys, index_condition, partial_index, unique_columns
from flama.sqlalchemy.drivers._generations import generations, self_references
from flama.sqlalchemy.drivers.execution import by_core, records_of_many
from flama.sqlalchemy.drivers.packets import check
from flama.sqlalchemy.scopes import Scope
from flama.sqlalchemy.stamps import Stamps
from flama.sqlalchemy.values import are_plain, is_expression

__all__ = ["Rules", "conflict_key", "got_or_created", "upserted"]

_Record: t.TypeAlias = dict[str, t.Any]
_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Keys: t.TypeAlias = tuple[str, ...]

_INSERTS: t.Final[dict[str, t.Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_MYSQL: t.Final = ("mysql", "mariadb")
_ATTEMPTS: t.Final = 10
_TABLES: t.Final = 1000


class Rules(t.NamedTuple):
    """What holds for each record that is written: how its versions are counted, its changes stamped, which may be."""

    version: str | None = None
    stamps: Stamps | None = None
    scope: Scope | None = None

    @property
    def fixed(self) -> frozenset[str]:
        """The columns that the data don't change."""
        stamped = () if self.stamps is None else (self.stamps.created, self.stamps.updated)
        bound = () if self.scope is None else self.scope.bound
        return frozenset(name for name in (self.version, *stamped, *bound) if name is not None)

    @property
    def touched(self) -> _Row:
        """What changes with any change."""
        return {} if self.stamps is None else self.stamps.change()

    @property
    def conditions(self) -> tuple[query.Condition, ...]:
        """What holds on a record before it may be changed."""
        return () if self.scope is None else self.scope.conditions

    def atomic(self, connection: AsyncConnection, *, several: bool) -> drivers.atomic:
        """Undo what is written when it fails, or may not be."""
        return drivers.atomic(connection, several=several or (self.scope is not None and self.scope.is_open()))

    def check(self, records: collections.abc.Iterable[_Record]) -> None:
        """Make sure that what was written may be."""
        if self.scope is not None:
            self.scope.check(records)


_NO_RULES: t.Final = Rules()


async def upserted(
    connection: AsyncConnection,
    table: sa.Table,
    rows: collections.abc.Sequence[_Row],
    *,
    on: Columns | None = None,
    set: Columns | None = None,
    rules: Rules = _NO_RULES,
) -> list[_Record]:
    """Insert rows, or change the records that are there in their place, all or none; give them as stored, in order.

    ``on`` are the columns that tell which record is meant, by default the primary key; ``set`` those that change in a
    record that is there, by default all that the row has but the key. Of a record that changes, the version counts
    up, and what Python gives ``onupdate`` is set. Rows without the primary key, where that is meant, are new.

    :raises IntegrityError: a constraint refuses a row; among them, any other record that is alike where none may be,
        and the one that is meant if it is out of scope.
    :raises InvalidDataError: two rows mean the same record, or one lacks what tells which is meant.
    :raises PermissionDeniedError: a record would be out of scope.
    :raises SQLAlchemyError: nothing makes the database refuse two records that are alike in ``on``.
    """
    key = conflict_key(table, on)
    changed = None if set is None else column_keys(table, set)
    partial = partial_index(table, frozenset(key), connection.dialect.name)
    new = {index: row for index, row in enumerate(rows) if on is None and not row.keys() >= frozenset(key)}
    known = {index: row for index, row in enumerate(rows) if index not in new}
    _distinct(table, key, known.values())
    stored: dict[int, _Record] = {}
    async with rules.atomic(connection, several=len(rows) > 1):
        if new:  # they come first: a savepoint of theirs is not to end after another statement
            created = await drivers.inserted(connection, table, list(new.values()))
            drivers.check_stored(table, created, new)
            stored.update(zip(new, created, strict=True))
        for indexes in _in_order(table, known):
            upserts = [_upsert(table, key, rows[index], changed, rules=rules, index=partial) for index in indexes]
            stored.update(zip(indexes, await _upserted_alike(connection, upserts), strict=True))
        rules.check(stored.values())
    return [stored[index] for index in range(len(rows))]


async def got_or_created(
    connection: AsyncConnection,
    table: sa.Table,
    row: _Row,
    *,
    on: Columns | None = None,
    scope: Scope | None = None,
) -> tuple[_Record, bool]:
    """Give the record that has this row's key, and False; or store the row, and give it as stored, and True.

    :raises IntegrityError: a constraint refuses the row; or the record that has its key is out of scope.
    :raises InvalidDataError: the row lacks what tells which record is meant, or has null for it.
    :raises PermissionDeniedError: the record would be out of scope.
    :raises SQLAlchemyError: nothing makes the database refuse two records that are alike in ``on``.
    """
    key = conflict_key(table, on)
    _distinct(table, key, [row])
    if nulls := [name for name in key if row[name] is None]:
        raise exceptions.InvalidDataError(resource=table.name, detail=f"no record is meant by null as {_named(nulls)}")
    rules = Rules(scope=scope)
    upsert = _Upsert(table, key, row, (), {}, rules, partial_index(table, frozenset(key), connection.dialect.name))
    if connection.dialect.name in _MYSQL:
        async with rules.atomic(connection, several=False):
            record, created = await _by_duplicate_key(connection, upsert)
            rules.check([record])
        return record, created
    return await _found_or_inserted(connection, upsert)


def conflict_key(table: sa.Table, on: Columns | None) -> _Keys:
    """Give the keys of the columns that tell which record is meant: the primary key's, unless others are named.

    :raises UnknownColumnError: the table doesn't have them.
    :raises SQLAlchemyError: nothing makes the database refuse two records that are alike in them.
    """
    keys = tuple(column.key for column in statements.keys_of(table)) if on is None else column_keys(table, on)
    if frozenset(keys) not in (unique := unique_columns(table)):
        has = ", ".join(f"({', '.join(sorted(each))})" for each in unique)
        raise exceptions.SQLAlchemyError(
            f"Table '{table.name}' has nothing unique on ({', '.join(keys)}); it has {has or 'nothing unique at all'}"
        )
    return keys


class _Upsert(t.NamedTuple):
    table: sa.Table
    key: _Keys
    row: _Row
    changed: _Keys
    touched: _Row  # what Python gives for other columns of a record that changes
    rules: Rules
    partial: sa.Index | None  # the index outside of which no record is meant

    def found(self) -> statements.Statement:
        return self._indexed(statements.select(self.table, self.rules.conditions, self._same))

    def _indexed(self, statement: statements.Statement) -> statements.Statement:
        if (index := self.partial) is None:
            return statement
        key = None if statement.key is None else (statement.key, index)
        return statement._replace(key=key, build=lambda: statement.build().where(_Condition(index)))

    async def refuse_hidden(self, connection: AsyncConnection) -> None:
        # a record is there that the database holds to be the one that is meant, and it can't be seen
        hidden = self._indexed(pages.exists(self.table, (), self._same))
        if self.rules.conditions and await drivers.records(connection, hidden):
            raise exceptions.IntegrityError(resource=self.table.name, kind="unique", fields=self.key)

    def on_conflict(self, dialect: sa.Dialect, *, update: bool) -> statements.Statement:
        if dialect.name not in _INSERTS:
            raise exceptions.SQLAlchemyError(f"Nothing is known here of how {dialect.name} writes what may be there")
        names, given = tuple(self.row), (*self.row.values(), *self.touched.values())
        plain = are_plain(self.table, (*names, *self.touched), given)
        meant = self.key if self.partial is None else self.partial
        shape = ("upsert", dialect.name, update, self.table, names, meant, self.changed, tuple(self.touched))
        where = self.rules.conditions if update else ()
        told = (self.rules.version, *[condition.shape for condition in where])
        return statements.Statement(
            (*shape, told) if plain else None,
            sum((condition.values for condition in where), given),
            lambda: self._on_conflict(_INSERTS[dialect.name](self.table).values(self.row), update=update),
            names,
            statements.record_keys(self.table),
        )

    def on_duplicate_key(self, token: int) -> mysql.Insert:
        # Any unique key leads here, not only the one that is meant: LAST_INSERT_ID keeps what it is given, and tells.
        columns = self.table.columns
        are_plain(self.table, tuple(self.row), tuple(self.row.values()))
        insert = mysql.insert(self.table).values(self.row)
        same = sa.and_(*[columns[name].is_not_distinct_from(insert.inserted[name]) for name in self.key])
        told = sa.func.last_insert_id(sa.func.if_(sa.and_(same, *self._within()), token, token + 1))
        mark = columns[self.key[0]]
        if self.rules.conditions:  # an assignment sees what those before it set: as it was told before them all
            same = sa.func.last_insert_id(type_=sa.BigInteger) == token
        changes = {name: sa.func.if_(same, value, columns[name]) for name, value in self._changes(insert.inserted)}
        return insert.on_duplicate_key_update([(mark.key, sa.func.if_(told == 0, mark, mark)), *changes.items()])

    def _on_conflict(self, insert: t.Any, *, update: bool) -> t.Any:
        columns = self.table.columns
        target: dict[str, t.Any] = {"index_elements": [columns[name] for name in self.key]}
        if self.partial is not None:
            target["index_where"] = _Condition(self.partial)
        if not update:
            return insert.on_conflict_do_nothing(**target).returning(*columns)
        # what sets the key to what it is gives the record back, which doing nothing doesn't
        changes = dict(self._changes(insert.excluded)) or {self.key[0]: insert.excluded[self.key[0]]}
        set = {columns[name]: value for name, value in changes.items()}
        within = sa.and_(*self._within()) if self.rules.conditions else None
        return insert.on_conflict_do_update(**target, set_=set, where=within).returning(*columns)

    def _changes(self, sent: t.Any) -> collections.abc.Iterator[tuple[str, t.Any]]:
        if not self.changed:
            return
        columns = self.table.columns
        for name in self.changed:
            yield name, sent[name]
        for index, (name, value) in enumerate(self.touched.items(), len(self.row)):
            expression = is_expression(value)
            yield name, value if expression else sa.bindparam(statements.value_name(index), value, columns[name].type)
        if (version := self.rules.version) is not None:
            yield version, columns[version] + 1

    def _within(self) -> collections.abc.Sequence[sa.ColumnElement[t.Any]]:
        return statements.matching(self.table, self.rules.conditions, {}, len(self.row) + len(self.touched))

    @property
    def _same(self) -> _Record:
        return {name: self.row[name] for name in self.key}


class _Condition(sa.ColumnElement[bool]):
    """The condition of a partial index as it stands in the index's definition: its values are no parameters.

    PostgreSQL has to know them to find the index.
    """

    inherit_cache = False

    def __init__(self, index: sa.Index) -> None:
        self.index = index


@compiles(_Condition)
def _compiled(element: _Condition, compiler: SQLCompiler, **options: t.Any) -> str:
    options |= {"include_table": False, "literal_binds": True}
    return f"({compiler.process(index_condition(element.index, compiler.dialect.name), **options)})"


def _upsert(
    table: sa.Table, key: _Keys, row: _Row, changed: _Keys | None, *, rules: Rules, index: sa.Index | None
) -> _Upsert:
    kept = {*key, *rules.fixed, *(() if changed is not None else (column.key for column in table.primary_key))}
    names = tuple(name for name in (row if changed is None else changed) if name not in kept)
    touched = {**_touched(table, row, {*names, *kept}), **rules.touched} if names else {}
    return _Upsert(table, key, row, names, touched, rules, index)


def _touched(table: sa.Table, row: _Row, others: collections.abc.Set[str]) -> _Record:
    given = _Given(row)
    return {
        name: default.arg(given) if default.is_callable else default.arg
        for name, default in _on_update(table)
        if name not in others
    }


class _Given:
    # what SQLAlchemy tells a default of the statement that it is for

    def __init__(self, row: _Row) -> None:
        self.current_parameters = dict(row)

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> _Record:
        return self.current_parameters


async def _found_or_inserted(connection: AsyncConnection, upsert: _Upsert) -> tuple[_Record, bool]:
    for attempt in range(_ATTEMPTS):
        for record in await drivers.records(connection, upsert.found()):
            return record, False
        try:
            for record in await _inserted(connection, upsert, attempt):
                return record, True
        except exc.IntegrityError:
            if attempt in (0, _ATTEMPTS - 1):
                raise
        await upsert.refuse_hidden(connection)
    # each time it was stored by somebody else before it could be, and deleted before it could be read
    raise exceptions.ConflictError(resource=upsert.table.name, retryable=True)


async def _inserted(connection: AsyncConnection, upsert: _Upsert, attempt: int) -> list[_Record]:
    """Insert the record, at first unless one is there; then it is refused if one is, or a trigger takes it away."""
    table = upsert.table
    insert = statements.insert(table, upsert.row) if attempt else upsert.on_conflict(connection.dialect, update=False)
    async with upsert.rules.atomic(connection, several=False):
        stored = await drivers.records(connection, insert)
        if attempt:
            drivers.check_stored(table, stored, (upsert.row,))
        upsert.rules.check(stored)
    return stored


async def _upserted_alike(connection: AsyncConnection, upserts: collections.abc.Sequence[_Upsert]) -> list[_Record]:
    if connection.dialect.name in _MYSQL:
        return [(await _by_duplicate_key(connection, upsert))[0] for upsert in upserts]
    alike = [upsert.on_conflict(connection.dialect, update=True) for upsert in upserts]
    # many at once have to give a record each, and one that is out of scope gives none
    by_many = len(alike) > 1 and not upserts[0].rules.conditions
    if by_many and all(statement.key is not None for statement in alike):
        stored = await records_of_many(connection, alike[0], [statement.values for statement in alike])
        if stored is not None:
            drivers.check_stored(upserts[0].table, stored, alike)
            return stored
    return [await _upserted_one(connection, *each) for each in zip(upserts, alike, strict=True)]


async def _upserted_one(connection: AsyncConnection, upsert: _Upsert, statement: statements.Statement) -> _Record:
    for record in await drivers.records(connection, statement):
        return record
    if not await drivers.records(connection, upsert.found()):
        await upsert.refuse_hidden(connection)
    raise drivers.trigger_error(upsert.table)


async def _by_duplicate_key(connection: AsyncConnection, upsert: _Upsert) -> tuple[_Record, bool]:
    table, token = upsert.table, secrets.randbits(62) | 1 << 61
    await check(connection, table, upsert.row)
    insert = upsert.on_duplicate_key(token)
    columns = (*table.columns, sa.func.last_insert_id(type_=sa.BigInteger))
    if connection.dialect.insert_returning:
        rows = (await by_core(connection, insert.returning(*columns))).all()
    else:
        await by_core(connection, insert)
        same = [table.columns[name] == upsert.row[name] for name in upsert.key]
        rows = (await by_core(connection, sa.select(*columns).where(*same).with_for_update())).all()
    if not rows or rows[0][-1] == token + 1:
        return await _by_key(connection, upsert), False
    return dict(zip(statements.record_keys(table), rows[0], strict=False)), rows[0][-1] != token


async def _by_key(connection: AsyncConnection, upsert: _Upsert) -> _Record:
    # the row is like another record than the one that is meant, too: if that is there, it is changed all the same
    rules = upsert.rules
    changes = {name: upsert.row[name] for name in upsert.changed if name in upsert.row}
    if changes:
        changes.update(upsert.touched)
        if (version := rules.version) is not None:
            changes[version] = upsert.table.columns[version] + 1
        found = await drivers.updated(connection, upsert.table, changes, rules.conditions, upsert._same)
    else:
        found = await drivers.records(connection, upsert.found())
    if not found:
        await upsert.refuse_hidden(connection)
        raise exceptions.IntegrityError(resource=upsert.table.name, kind="unique")
    return found[0]


def _in_order(table: sa.Table, rows: collections.abc.Mapping[int, _Row]) -> collections.abc.Iterator[list[int]]:
    """Yield the places of rows that have the same columns, behind those of rows of their table that they refer to."""
    if len(rows) == 1 or not self_references(table):
        yield from _alike(rows)
        return
    places = list(rows)
    ordered, cycles = generations(table, list(rows.values()))
    for generation in [*ordered, cycles]:
        yield from _alike({places[index]: rows[places[index]] for index in generation})


def _alike(rows: collections.abc.Mapping[int, _Row]) -> collections.abc.Iterable[list[int]]:
    groups: dict[_Keys, list[int]] = {}
    for index, row in rows.items():
        groups.setdefault(tuple(row), []).append(index)
    return groups.values()


def _distinct(table: sa.Table, key: _Keys, rows: collections.abc.Iterable[_Row]) -> None:
    seen: set[tuple[t.Any, ...]] = set()
    for row in rows:
        if missing := [name for name in key if name not in row]:
            detail = f"{_named(missing)} tells which record is meant, and is missing"
            raise exceptions.InvalidDataError(resource=table.name, detail=detail)
        given = tuple(row[name] for name in key)
        if None in given or any(map(is_expression, given)) or not all(map(_is_hashable, given)):
            continue  # null is like nothing else; of what else it is, the database may judge
        if given in seen:
            raise exceptions.InvalidDataError(resource=table.name, detail=f"two records have the same {_named(key)}")
        seen.add(given)


def _is_hashable(value: t.Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _named(names: collections.abc.Iterable[str]) -> str:
    return ", ".join(map(repr, names))


@functools.lru_cache(_TABLES)
def _on_update(table: sa.Table) -> tuple[tuple[str, t.Any], ...]:
    defaults: list[tuple[str, t.Any]] = [(column.key, column.onupdate) for column in table.columns]
    return tuple((name, default) for name, default in defaults if default is not None and not default.is_sequence)
