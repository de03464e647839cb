"""Lookup of a constraint's columns by the name that the database has for it.

A name that is too long is cut: PostgreSQL takes 63 bytes, MySQL and MariaDB take 64 characters. SQLAlchemy cuts the
names of a naming convention, and ends them with a hash. PostgreSQL cuts the names that it generates in the middle, and
all others at the end.
"""

import collections.abc
import hashlib
import itertools
import typing as t

import sqlalchemy as sa

from flama._private import sqlalchemy as private

__all__ = ["constraint_fields"]

_Constraint: t.TypeAlias = sa.Constraint | sa.Index
_Columns: t.TypeAlias = collections.abc.Sequence[sa.Column[t.Any]]
_Name: t.TypeAlias = collections.abc.Callable[[int], str]  # by the number of other constraints that would have it

_MOST_BYTES: t.Final = 63  # of a name in PostgreSQL
_HASH_LENGTH: t.Final = 4  # of the hash at the end of a name that SQLAlchemy cuts


def constraint_fields(table: sa.Table, name: str) -> tuple[str, ...]:
    """Return the keys of the columns that the constraint, or unique index, of this name is on.

    There are none if the table has no such constraint, or if it is on no columns.
    """
    # in order of creation: the database numbers those that would have the same name
    constraints: list[_Constraint] = [*private.constraints(table), *table.indexes]
    named = {each.name: _columns(each) for each in constraints if isinstance(each.name, str)}
    named["PRIMARY"] = _columns(table.primary_key)  # its name in MySQL and MariaDB, whatever the table's definition
    unnamed = [each for each in constraints if not isinstance(each.name, str)]
    found = {**_default_names(unnamed, table.name), **named}.get(name)
    if found is None:
        found = next((columns for full, columns in named.items() if _is_cut(name, full)), None)
    if found is None:  # numbered, as another table has the name without a number
        found = next((_columns(each) for each in unnamed if _is_numbered(name, each, table.name)), ())
    return tuple(column.key for column in found)


def _columns(constraint: _Constraint) -> _Columns:
    return [column for column in getattr(constraint, "columns", ()) if isinstance(column, sa.Column)]


def _default_names(constraints: collections.abc.Iterable[_Constraint], table: str) -> dict[str, _Columns]:
    """Return the columns of constraints that the table's definition doesn't name, by the databases' names for them."""
    found: dict[str, _Columns] = {}
    for constraint in constraints:
        columns = _columns(constraint)
        for make in _name_makers(constraint, columns, table):
            found[next(name for number in itertools.count() if (name := make(number)) not in found)] = columns
    return found


def _is_numbered(name: str, constraint: _Constraint, table: str) -> bool:
    number = name[len(name.rstrip("0123456789")) :]
    makers = _name_makers(constraint, _columns(constraint), table)
    return bool(number) and any(make(int(number)) == name for make in makers)


def _name_makers(constraint: _Constraint, columns: _Columns, table: str) -> list[_Name]:
    match constraint:
        case sa.PrimaryKeyConstraint():
            return [_postgresql_names(table, (), "pkey")]
        case sa.UniqueConstraint() if columns:
            return [_postgresql_names(table, columns, "key"), _mysql_names(columns[0].name)]
        case sa.ForeignKeyConstraint():
            return [_postgresql_names(table, columns, "fkey")]
        case sa.CheckConstraint():
            # the name of a check on several columns contains none of their names
            return [_postgresql_names(table, columns if len(columns) == 1 else (), "check")]
    return []


def _mysql_names(column: str) -> _Name:
    return lambda number: f"{column}_{number + 1}" if number else column


def _postgresql_names(table: str, columns: _Columns, label: str) -> _Name:
    return lambda number: _postgresql_name(table, columns, f"{label}{number or ''}")


def _postgresql_name(table: str, columns: _Columns, label: str) -> str:
    # as its makeObjectName() does: the longer of the two parts is cut until both fit
    parts = [table, "_".join(column.name for column in columns)] if columns else [table]
    sizes = [len(part.encode()) for part in parts]
    left = _MOST_BYTES - len(f"_{label}") - len(parts) + 1
    while sum(sizes) > left:
        sizes[0 if len(sizes) == 1 or sizes[0] > sizes[1] else 1] -= 1
    return "_".join([*map(_cut, parts, sizes), label])


def _cut(name: str, size: int) -> str:
    return name.encode()[:size].decode(errors="ignore")


def _is_cut(name: str, full: str) -> bool:
    """Whether a database cuts this full name, too long for it, to this name."""
    if len(full.encode()) <= _MOST_BYTES:
        return False
    hashed = hashlib.md5(full.encode(), usedforsecurity=False).hexdigest()[-_HASH_LENGTH:]
    start = name[: -_HASH_LENGTH - 1]
    if full.startswith(start) and name == f"{start}_{hashed}":
        return True
    # the name that SQLAlchemy cut may still have more bytes than PostgreSQL takes
    return name in (_cut(full, _MOST_BYTES), _cut(f"{full[: _MOST_BYTES - 8]}_{hashed}", _MOST_BYTES))
