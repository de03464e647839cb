"""Inserts, updates, deletions for each database, with the written records as results."""

import collections.abc
import contextlib
import functools
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.sqlalchemy.drivers._execute import execute_core, execute_many, fetch_records, rowcount
from flama.sqlalchemy.drivers._execute_one import RETURNING, ROWCOUNT, execute_one
from flama.sqlalchemy.drivers._generations import generations, refers_to_itself, self_references
from flama.sqlalchemy.drivers._mysql_packet_limit import check_row_size, split_rows
from flama.sqlalchemy.drivers._savepoints import atomic
from flama.sqlalchemy.sql import statements
from flama.sqlalchemy.sql._value_checks import check_values

__all__ = [
    "check_stored",
    "checks_each_deletion",
    "delete",
    "delete_one",
    "insert",
    "matches_several",
    "supports_self_subquery_in_delete",
    "trigger_error",
    "update",
]

_Record: t.TypeAlias = dict[str, t.Any]
_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Rows: t.TypeAlias = collections.abc.Sequence[_Row]

_MYSQL: t.Final = ("mysql", "mariadb")
_KEYS: t.Final = 1_000  # keys in one statement


def trigger_error(table: sa.Table, done: str = "stored") -> exceptions.IntegrityError:
    """Return the error for a record that the database silently passed over, as a trigger can cause."""
    detail = f"nothing was {done}: a trigger or a rule of the database took the record away"
    return exceptions.IntegrityError(resource=table.name, detail=detail)


def check_stored(table: sa.Table, stored: collections.abc.Sized, rows: collections.abc.Sized) -> None:
    """Check that each of the rows was stored.

    :raises IntegrityError: one wasn't.
    """
    if len(stored) < len(rows):
        raise trigger_error(table)


async def matches_several(
    connection: AsyncConnection, table: sa.Table, clauses: statements.Clauses, filters: statements.Filters
) -> bool:
    """Return whether several records match."""
    return len(await fetch_records(connection, statements.select(table, clauses, filters, limit=2))) > 1


def insert(connection: AsyncConnection, table: sa.Table, rows: _Rows) -> collections.abc.Awaitable[list[_Record]]:
    """Insert rows, and return them as stored, in their order; each may set any columns, all or none.

    A single row that the database passes over yields an empty list; among several rows, it is an error.

    :raises IntegrityError: a trigger discarded one of several rows; none is stored.
    """
    if len(rows) == 1 and _dialect(connection).update_returning:  # then INSERT supports RETURNING, too
        signature = statements.signature("insert", table, rows[0], (), {})
        return execute_one(connection, RETURNING, functools.partial(statements.insert, table, rows[0]), signature)
    return _insert(connection, table, rows)


async def _insert(connection: AsyncConnection, table: sa.Table, rows: _Rows) -> list[_Record]:
    async with atomic(connection, several=len(rows) > 1):
        if len(rows) == 1 or not self_references(table):
            return await _insert_in_groups(connection, table, rows)
        found, stored = generations(table, rows), dict[int, _Record]()
        for places in found.ordered:  # a driver may check each record before the next one
            alike = await _insert_in_groups(connection, table, [rows[place] for place in places])
            stored.update(zip(places, alike, strict=True))
        if found.cycles:
            together = await _insert_at_once(connection, table, [rows[place] for place in found.cycles])
            stored.update(zip(found.cycles, together, strict=True))
        return [stored[place] for place in range(len(rows))]


async def _insert_in_groups(connection: AsyncConnection, table: sa.Table, rows: _Rows) -> list[_Record]:
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(tuple(row), []).append(index)
    stored: dict[int, _Record] = {}
    for indexes in groups.values():
        some = rows if len(groups) == 1 else [rows[index] for index in indexes]
        alike = await _insert_group(connection, table, some)
        check_stored(table, alike, some)
        if len(groups) == 1:
            return alike
        stored.update(zip(indexes, alike, strict=True))
    return [stored[index] for index in range(len(rows))]


async def _insert_at_once(connection: AsyncConnection, table: sa.Table, rows: _Rows) -> list[_Record]:
    """Insert rows by one statement: some databases check references only at its end."""
    if not connection.dialect.insert_returning or len({frozenset(row) for row in rows}) > 1:
        return await _insert_in_groups(connection, table, rows)
    statements.values_of_all(table, rows)  # checks each row
    insert = sa.insert(table).values([dict(row) for row in rows]).returning(*table.columns)
    keys = statements.record_keys(table)
    stored = [dict(zip(keys, row, strict=True)) for row in (await execute_core(connection, insert)).all()]
    check_stored(table, stored, rows)
    return stored


def update(
    connection: AsyncConnection,
    table: sa.Table,
    data: _Row,
    clauses: statements.Clauses,
    filters: statements.Filters,
) -> collections.abc.Awaitable[list[_Record]]:
    """Update the records that match, and return them as stored."""
    if _dialect(connection).update_returning:
        make = functools.partial(statements.update, table, data, clauses, filters)
        return execute_one(connection, RETURNING, make, statements.signature("update", table, data, clauses, filters))
    return _update(connection, table, data, clauses, filters)


def delete_one(
    connection: AsyncConnection, table: sa.Table, clauses: statements.Clauses, filters: statements.Filters
) -> collections.abc.Awaitable[int]:
    """Delete the record that matches if it is the only one, and return the number of deleted records."""
    if supports_self_subquery_in_delete(_dialect(connection)):
        make = functools.partial(statements.delete_one, table, clauses, filters)
        return execute_one(connection, ROWCOUNT, make, statements.signature("delete one", table, {}, clauses, filters))
    return _delete_one(connection, table, clauses, filters)


def delete(
    connection: AsyncConnection, table: sa.Table, clauses: statements.Clauses, filters: statements.Filters
) -> collections.abc.Awaitable[int]:
    """Delete the records that match, and return their number."""
    if checks_each_deletion(connection, table):
        return _delete_in_generations(connection, table, clauses, filters)
    return execute_one(connection, ROWCOUNT, functools.partial(statements.delete, table, clauses, filters))


def checks_each_deletion(connection: AsyncConnection, table: sa.Table) -> bool:
    """Return whether the database refuses to delete a record before those of its table that refer to it."""
    return bool(self_references(table)) and _dialect(connection).name in _MYSQL


async def _delete_in_generations(
    connection: AsyncConnection, table: sa.Table, clauses: statements.Clauses, filters: statements.Filters
) -> int:
    with contextlib.suppress(exc.IntegrityError):  # succeeds if no record refers to another
        delete = functools.partial(statements.delete, table, clauses, filters)
        return await execute_one(connection, ROWCOUNT, delete)
    columns = {key: table.columns[key] for referring in self_references(table) for keys in referring for key in keys}
    columns.update({column.key: column for column in statements.keys_of(table)})
    matching = statements.matching(table, clauses, filters)
    referring = sa.select(*columns.values()).where(*matching).with_for_update()
    options = statements.delete(table, clauses, filters).execution_options
    async with atomic(connection, several=True):
        found = (await execute_core(connection, referring, options=options)).all()
        rows = [dict(zip(columns, row, strict=True)) for row in found]
        ordered, cycles = generations(table, rows)
        if tangled := [*(row for row in rows if refers_to_itself(table, row)), *(rows[place] for place in cycles)]:
            await _break_cycles(connection, table, tangled)
        for places in ([*ordered, cycles] if cycles else ordered)[::-1]:
            await _write_by_keys(connection, table, sa.delete(table), [rows[place] for place in places])
        return len(rows)


async def _break_cycles(connection: AsyncConnection, table: sa.Table, rows: _Rows) -> None:
    """Set the records' references to their own table to null, as far as the columns are nullable."""
    nulls = {key: None for columns, _ in self_references(table) for key in columns if table.columns[key].nullable}
    if nulls:
        await _write_by_keys(connection, table, sa.update(table).values(nulls), rows)


async def _write_by_keys(connection: AsyncConnection, table: sa.Table, write: t.Any, rows: _Rows) -> None:
    keys = statements.keys_of(table)
    for start in range(0, len(rows), _KEYS):
        some = [tuple(row[key.key] for key in keys) for row in rows[start : start + _KEYS]]
        await execute_core(connection, write.where(sa.tuple_(*keys).in_(some)))


async def _delete_one(
    connection: AsyncConnection, table: sa.Table, clauses: statements.Clauses, filters: statements.Filters
) -> int:
    async with atomic(connection):
        few = statements.select(table, clauses, filters, limit=2)
        found = (await execute_core(connection, few.build().with_for_update(), options=few.execution_options)).all()
        if len(found) != 1:
            return 0
        return await rowcount(connection, statements.delete(table, clauses, filters))


async def _insert_group(connection: AsyncConnection, table: sa.Table, rows: _Rows) -> list[_Record]:
    await check_row_size(connection, table, *rows)
    if not connection.dialect.insert_returning:
        return [record for row in rows for record in await _insert_and_read(connection, table, row)]
    first = statements.insert(table, rows[0])
    if len(rows) == 1:
        return await fetch_records(connection, first)
    values = statements.values_of_all(table, rows)
    if not rows[0] or values is None or _has_zero_key(connection, table, rows):
        return [record for row in rows for record in await fetch_records(connection, statements.insert(table, row))]
    stored = await execute_many(connection, first, values)
    return stored if stored is not None else await _insert_by_core(connection, table, rows)


def _has_zero_key(connection: AsyncConnection, table: sa.Table, rows: _Rows) -> bool:
    """Return whether the database would replace the key of a record, which then couldn't be found."""
    counted = table.autoincrement_column
    if counted is None or _dialect(connection).name not in _MYSQL:
        return False
    return any(row.get(counted.key) == 0 for row in rows)


async def _insert_by_core(connection: AsyncConnection, table: sa.Table, rows: _Rows) -> list[_Record]:
    insert, keys = sa.insert(table), statements.record_keys(table)
    in_order = connection.dialect.insert_executemany_returning_sort_by_parameter_order
    stored: list[sa.Row[t.Any]] = []
    for some in await split_rows(connection, rows):
        if in_order:
            returning = insert.returning(*table.columns, sort_by_parameter_order=True)
            with _translate_count_error(table):
                stored.extend((await execute_core(connection, returning, some)).all())
        else:
            alike = insert.values([dict(row) for row in some]).returning(*table.columns)
            stored.extend((await execute_core(connection, alike)).all())
    return [dict(zip(keys, row, strict=True)) for row in stored]


@contextlib.contextmanager
def _translate_count_error(table: sa.Table) -> collections.abc.Generator[None]:
    try:
        yield
    except exc.InvalidRequestError as error:  # SQLAlchemy can't identify the missing rows
        if "correct number of rows" not in str(error):
            raise
        raise trigger_error(table) from error


async def _insert_and_read(connection: AsyncConnection, table: sa.Table, row: _Row) -> list[_Record]:
    check_values(table, tuple(row), tuple(row.values()))
    keys = statements.keys_of(table)
    result = await execute_core(connection, sa.insert(table).values(row))
    same = [key == value for key, value in zip(keys, result.inserted_primary_key or (), strict=True)]
    return await _read(connection, table, *same)


async def _update(
    connection: AsyncConnection,
    table: sa.Table,
    data: _Row,
    clauses: statements.Clauses,
    filters: statements.Filters,
) -> list[_Record]:
    check_values(table, tuple(data), tuple(data.values()))
    await check_row_size(connection, table, data)
    async with atomic(connection):
        if statements.is_by_primary_key(table, filters):
            return await _update_one(connection, table, data, clauses, filters)
        return await _update_and_read(connection, table, data, statements.matching(table, clauses, filters))


async def _update_one(
    connection: AsyncConnection,
    table: sa.Table,
    data: _Row,
    clauses: statements.Clauses,
    filters: statements.Filters,
) -> list[_Record]:
    update = sa.update(table).where(*statements.matching(table, clauses, filters)).values(dict(data))
    if not (await execute_core(connection, update)).rowcount:
        return []
    keys = statements.keys_of(table)
    return await _read(connection, table, *[key == data.get(key.key, filters[key.key]) for key in keys])


async def _update_and_read(
    connection: AsyncConnection, table: sa.Table, data: _Row, conditions: collections.abc.Sequence[t.Any]
) -> list[_Record]:
    keys = statements.keys_of(table)
    found = (await execute_core(connection, sa.select(*keys).where(*conditions).with_for_update())).all()
    await execute_core(connection, sa.update(table).where(*conditions).values(dict(data)))
    changed = [tuple(data.get(key.key, value) for key, value in zip(keys, row, strict=True)) for row in found]
    return await _read(connection, table, sa.tuple_(*keys).in_(changed)) if changed else []


def _dialect(connection: AsyncConnection) -> sa.Dialect:
    sync = connection.sync_connection  # AsyncConnection.dialect takes a slower path to it
    return connection.dialect if sync is None else sync.dialect


async def _read(connection: AsyncConnection, table: sa.Table, *conditions: t.Any) -> list[_Record]:
    rows = (await execute_core(connection, sa.select(*table.columns).where(*conditions))).all()
    return [dict(zip(statements.record_keys(table), row, strict=True)) for row in rows]


def supports_self_subquery_in_delete(dialect: sa.Dialect) -> bool:
    """Return whether a DELETE may read its own table in a subquery: MySQL doesn't allow it."""
    return dialect.name not in _MYSQL or bool(getattr(dialect, "is_mariadb", False))
