"""Atomic upserts by the statements that each database has for them."""

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

from flama import exceptions
from flama.policies import Policies
from flama.sqlalchemy import drivers
from flama.sqlalchemy.drivers._execute import execute_core, execute_many
from flama.sqlalchemy.drivers._generations import generations, self_references
from flama.sqlalchemy.drivers._mysql_packet_limit import check_row_size
from flama.sqlalchemy.sql import _select, statements
from flama.sqlalchemy.sql._table_info import Columns, column_keys, index_condition, partial_index, unique_columns
from flama.sqlalchemy.sql._value_checks import check_values, is_expression

__all__ = ["conflict_key", "get_or_create", "upsert"]

_Record: t.TypeAlias = dict[str, t.Any]
_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Keys: t.TypeAlias = tuple[str, ...]

_INSERTS: t.Final[dict[str, t.Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_MYSQL: t.Final = ("mysql", "mariadb")
_ATTEMPTS: t.Final = 10
_TABLES: t.Final = 1000


async def upsert(
    connection: AsyncConnection,
    table: sa.Table,
    rows: collections.abc.Sequence[_Row],
    *,
    on: Columns | None = None,
    set: Columns | None = None,
    policies: Policies,
) -> list[_Record]:
    """Insert rows or update the existing records, all or none; return them as stored, in order.

    ``on`` are the columns that identify an existing record, by default the primary key. ``set`` are the columns to
    change in it, by default all columns of the row except the key. A change increments the version and sets the
    Python-side ``onupdate`` values. With the default ``on``, rows without a primary key are new.

    :raises IntegrityError: a constraint rejects a row, such as a unique constraint on other columns; or the record to
        change is out of scope.
    :raises InvalidDataError: two rows have the same key, or one lacks a column of the key.
    :raises PermissionDeniedError: a record would be out of scope.
    :raises SQLAlchemyError: the table has no unique constraint or index on the columns ``on``.
    """
    key = conflict_key(table, on)
    changed = None if set is None else column_keys(table, set)
    partial = partial_index(table, frozenset(key), connection.dialect.name)
    new = {index: row for index, row in enumerate(rows) if on is None and not row.keys() >= frozenset(key)}
    known = {index: row for index, row in enumerate(rows) if index not in new}
    _check_distinct(table, key, known.values())
    stored: dict[int, _Record] = {}
    async with _atomic(connection, policies, several=len(rows) > 1):
        if new:  # they come first: their savepoint must not end after another statement
            created = await drivers.insert(connection, table, list(new.values()))
            drivers.check_stored(table, created, new)
            stored.update(zip(new, created, strict=True))
        for indexes in _iter_groups(table, known):
            upserts = [
                _make_upsert(table, key, rows[index], changed, policies=policies, index=partial) for index in indexes
            ]
            stored.update(zip(indexes, await _upsert_group(connection, upserts), strict=True))
        policies.check(stored.values())
    return [stored[index] for index in range(len(rows))]


async def get_or_create(
    connection: AsyncConnection,
    table: sa.Table,
    row: _Row,
    *,
    on: Columns | None = None,
    policies: Policies,
) -> tuple[_Record, bool]:
    """Return ``(record, created)``: the record with this row's key and False, or the stored row and True.

    :raises IntegrityError: a constraint rejects the row; or the record with its key is out of scope.
    :raises InvalidDataError: the row lacks a column of the key, or has null for it.
    :raises PermissionDeniedError: the record would be out of scope.
    :raises SQLAlchemyError: the table has no unique constraint or index on the columns ``on``.
    """
    key = conflict_key(table, on)
    _check_distinct(table, key, [row])
    if nulls := [name for name in key if row[name] is None]:
        raise exceptions.InvalidDataError(
            resource=table.name, detail=f"no record is meant by null as {_quote_names(nulls)}"
        )
    upsert = _Upsert(table, key, row, (), {}, policies, partial_index(table, frozenset(key), connection.dialect.name))
    if connection.dialect.name in _MYSQL:
        async with _atomic(connection, policies, several=False):
            record, created = await _upsert_on_duplicate_key(connection, upsert)
            policies.check([record])
        return record, created
    return await _find_or_insert(connection, upsert)


def _atomic(connection: AsyncConnection, policies: Policies, *, several: bool) -> drivers.atomic:
    """Return a context manager that undoes the writes of its block if it fails or the policies reject them."""
    return drivers.atomic(connection, several=several or policies.needs_check())


def conflict_key(table: sa.Table, on: Columns | None) -> _Keys:
    """Return the keys of the columns that identify an existing record, by default the primary key's.

    :raises UnknownColumnError: the table doesn't have them.
    :raises SQLAlchemyError: the table has no unique constraint or index on these columns.
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
    on_update_values: _Row  # the Python-side values of other columns of a changed record
    policies: Policies
    partial: sa.Index | None  # the partial index; a record outside of it never matches

    def select_existing(self) -> statements.Statement:
        return self._with_index_condition(statements.select(self.table, self.policies.conditions, self.same))

    def _with_index_condition(self, statement: statements.Statement) -> statements.Statement:
        if (index := self.partial) is None:
            return statement
        key = None if statement.key is None else (statement.key, index)
        return statement._replace(key=key, build=lambda: statement.build().where(_Condition(index)))

    async def refuse_hidden(self, connection: AsyncConnection) -> None:
        # a record exists that conflicts in the database, but that the scope hides
        hidden = self._with_index_condition(_select.exists(self.table, (), self.same))
        if self.policies.conditions and await drivers.fetch_records(connection, hidden):
            raise exceptions.IntegrityError(resource=self.table.name, kind="unique", fields=self.key)

    def on_conflict(self, dialect: sa.Dialect, *, update: bool) -> statements.Statement:
        if dialect.name not in _INSERTS:
            raise exceptions.SQLAlchemyError(f"Nothing is known here of how {dialect.name} writes what may be there")
        names, given = tuple(self.row), (*self.row.values(), *self.on_update_values.values())
        plain = check_values(self.table, (*names, *self.on_update_values), given)
        meant = self.key if self.partial is None else self.partial
        shape = ("upsert", dialect.name, update, self.table, names, meant, self.changed, tuple(self.on_update_values))
        where = self.policies.conditions if update else ()
        told = (self.policies.version, *[condition.cache_key for condition in where])
        return statements.Statement(
            (*shape, told) if plain else None,
            sum((condition.values for condition in where), given),
            lambda: self._on_conflict(_INSERTS[dialect.name](self.table).values(self.row), update=update),
            names,
            statements.record_keys(self.table),
        )

    def on_duplicate_key(self, token: int) -> mysql.Insert:
        # A conflict on any unique key leads here, not only on `key`: the value of LAST_INSERT_ID shows which it was.
        columns = self.table.columns
        check_values(self.table, tuple(self.row), tuple(self.row.values()))
        insert = mysql.insert(self.table).values(self.row)
        same = sa.and_(*[columns[name].is_not_distinct_from(insert.inserted[name]) for name in self.key])
        told = sa.func.last_insert_id(sa.func.if_(sa.and_(same, *self._within()), token, token + 1))
        mark = columns[self.key[0]]
        if self.policies.conditions:  # an assignment sees the values set before it: use the result computed before all
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
        # setting the key to itself returns the record, which DO NOTHING doesn't
        changes = dict(self._changes(insert.excluded)) or {self.key[0]: insert.excluded[self.key[0]]}
        set = {columns[name]: value for name, value in changes.items()}
        within = sa.and_(*self._within()) if self.policies.conditions else None
        return insert.on_conflict_do_update(**target, set_=set, where=within).returning(*columns)

    def _changes(self, sent: t.Any) -> collections.abc.Iterator[tuple[str, t.Any]]:
        if not self.changed:
            return
        columns = self.table.columns
        for name in self.changed:
            yield name, sent[name]
        for index, (name, value) in enumerate(self.on_update_values.items(), len(self.row)):
            expression = is_expression(value)
            yield name, value if expression else sa.bindparam(statements.bind_name(index), value, columns[name].type)
        if (version := self.policies.version) is not None:
            yield version, columns[version] + 1

    def _within(self) -> collections.abc.Sequence[sa.ColumnElement[t.Any]]:
        return statements.matching(self.table, self.policies.conditions, {}, len(self.row) + len(self.on_update_values))

    @property
    def same(self) -> _Record:
        return {name: self.row[name] for name in self.key}


class _Condition(sa.ColumnElement[bool]):
    """The condition of a partial index as its definition has it, with literal values instead of parameters.

    PostgreSQL needs the values to infer the index.
    """

    inherit_cache = False

    def __init__(self, index: sa.Index) -> None:
        self.index = index


@compiles(_Condition)
def _compile(element: _Condition, compiler: SQLCompiler, **options: t.Any) -> str:
    options |= {"include_table": False, "literal_binds": True}
    return f"({compiler.process(index_condition(element.index, compiler.dialect.name), **options)})"


def _make_upsert(
    table: sa.Table, key: _Keys, row: _Row, changed: _Keys | None, *, policies: Policies, index: sa.Index | None
) -> _Upsert:
    kept = {*key, *policies.fixed, *(() if changed is not None else (column.key for column in table.primary_key))}
    names = tuple(name for name in (row if changed is None else changed) if name not in kept)
    touched = {**_on_update_values(table, row, {*names, *kept}), **policies.on_update()} if names else {}
    return _Upsert(table, key, row, names, touched, policies, index)


def _on_update_values(table: sa.Table, row: _Row, others: collections.abc.Set[str]) -> _Record:
    given = _DefaultContext(row)
    return {
        name: default.arg(given) if default.is_callable else default.arg
        for name, default in _on_update_defaults(table)
        if name not in others
    }


class _DefaultContext:
    # the part of SQLAlchemy's execution context that a default may use

    def __init__(self, row: _Row) -> None:
        self.current_parameters = dict(row)

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> _Record:
        return self.current_parameters


async def _find_or_insert(connection: AsyncConnection, upsert: _Upsert) -> tuple[_Record, bool]:
    for attempt in range(_ATTEMPTS):
        for record in await drivers.fetch_records(connection, upsert.select_existing()):
            return record, False
        try:
            for record in await _insert(connection, upsert, attempt):
                return record, True
        except exc.IntegrityError:
            if attempt in (0, _ATTEMPTS - 1):
                raise
        await upsert.refuse_hidden(connection)
    # each time another unit stored it before this one could, and deleted it before it could be read
    raise exceptions.ConflictError(resource=upsert.table.name, retryable=True)


async def _insert(connection: AsyncConnection, upsert: _Upsert, attempt: int) -> list[_Record]:
    """Insert the record; the first attempt does nothing if one with its key exists.

    Later attempts fail if one exists, or if a trigger skips the insertion.
    """
    table = upsert.table
    insert = statements.insert(table, upsert.row) if attempt else upsert.on_conflict(connection.dialect, update=False)
    async with _atomic(connection, upsert.policies, several=False):
        stored = await drivers.fetch_records(connection, insert)
        if attempt:
            drivers.check_stored(table, stored, (upsert.row,))
        upsert.policies.check(stored)
    return stored


async def _upsert_group(connection: AsyncConnection, upserts: collections.abc.Sequence[_Upsert]) -> list[_Record]:
    if connection.dialect.name in _MYSQL:
        return [(await _upsert_on_duplicate_key(connection, upsert))[0] for upsert in upserts]
    alike = [upsert.on_conflict(connection.dialect, update=True) for upsert in upserts]
    # executemany must return a record for each row, and one out of scope returns none
    by_many = len(alike) > 1 and not upserts[0].policies.conditions
    if by_many and all(statement.key is not None for statement in alike):
        stored = await execute_many(connection, alike[0], [statement.values for statement in alike])
        if stored is not None:
            drivers.check_stored(upserts[0].table, stored, alike)
            return stored
    return [await _upsert_one(connection, *each) for each in zip(upserts, alike, strict=True)]


async def _upsert_one(connection: AsyncConnection, upsert: _Upsert, statement: statements.Statement) -> _Record:
    for record in await drivers.fetch_records(connection, statement):
        return record
    if not await drivers.fetch_records(connection, upsert.select_existing()):
        await upsert.refuse_hidden(connection)
    raise drivers.trigger_error(upsert.table)


async def _upsert_on_duplicate_key(connection: AsyncConnection, upsert: _Upsert) -> tuple[_Record, bool]:
    table, token = upsert.table, secrets.randbits(62) | 1 << 61
    await check_row_size(connection, table, upsert.row)
    insert = upsert.on_duplicate_key(token)
    columns = (*table.columns, sa.func.last_insert_id(type_=sa.BigInteger))
    if connection.dialect.insert_returning:
        rows = (await execute_core(connection, insert.returning(*columns))).all()
    else:
        await execute_core(connection, insert)
        same = [table.columns[name] == upsert.row[name] for name in upsert.key]
        rows = (await execute_core(connection, sa.select(*columns).where(*same).with_for_update())).all()
    if not rows or rows[0][-1] == token + 1:
        return await _update_by_key(connection, upsert), False
    return dict(zip(statements.record_keys(table), rows[0], strict=False)), rows[0][-1] != token


async def _update_by_key(connection: AsyncConnection, upsert: _Upsert) -> _Record:
    # the row conflicts with another record too: if the record with its key exists, it is changed nonetheless
    policies = upsert.policies
    changes = {name: upsert.row[name] for name in upsert.changed if name in upsert.row}
    if changes:
        changes.update(upsert.on_update_values)
        if (version := policies.version) is not None:
            changes[version] = upsert.table.columns[version] + 1
        found = await drivers.update(connection, upsert.table, changes, policies.conditions, upsert.same)
    else:
        found = await drivers.fetch_records(connection, upsert.select_existing())
    if not found:
        await upsert.refuse_hidden(connection)
        raise exceptions.IntegrityError(resource=upsert.table.name, kind="unique")
    return found[0]


def _iter_groups(table: sa.Table, rows: collections.abc.Mapping[int, _Row]) -> collections.abc.Iterator[list[int]]:
    """Yield the indexes of rows with the same columns, after those of the rows that they refer to."""
    if len(rows) == 1 or not self_references(table):
        yield from _group_by_columns(rows)
        return
    places = list(rows)
    ordered, cycles = generations(table, list(rows.values()))
    for generation in [*ordered, cycles]:
        yield from _group_by_columns({places[index]: rows[places[index]] for index in generation})


def _group_by_columns(rows: collections.abc.Mapping[int, _Row]) -> collections.abc.Iterable[list[int]]:
    groups: dict[_Keys, list[int]] = {}
    for index, row in rows.items():
        groups.setdefault(tuple(row), []).append(index)
    return groups.values()


def _check_distinct(table: sa.Table, key: _Keys, rows: collections.abc.Iterable[_Row]) -> None:
    seen: set[tuple[t.Any, ...]] = set()
    for row in rows:
        if missing := [name for name in key if name not in row]:
            detail = f"{_quote_names(missing)} identifies the record, and is missing"
            raise exceptions.InvalidDataError(resource=table.name, detail=detail)
        given = tuple(row[name] for name in key)
        if None in given or any(map(is_expression, given)) or not all(map(_is_hashable, given)):
            continue  # null equals nothing; the database compares other values
        if given in seen:
            raise exceptions.InvalidDataError(
                resource=table.name, detail=f"two records have the same {_quote_names(key)}"
            )
        seen.add(given)


def _is_hashable(value: t.Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _quote_names(names: collections.abc.Iterable[str]) -> str:
    return ", ".join(map(repr, names))


@functools.lru_cache(_TABLES)
def _on_update_defaults(table: sa.Table) -> tuple[tuple[str, t.Any], ...]:
    defaults: list[tuple[str, t.Any]] = [(column.key, column.onupdate) for column in table.columns]
    return tuple((name, default) for name, default in defaults if default is not None and not default.is_sequence)
