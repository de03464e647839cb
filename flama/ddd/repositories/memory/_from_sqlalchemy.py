"""Definitions made from SQLAlchemy tables."""

import collections.abc
import functools
import typing as t

import sqlalchemy as sa

from flama.ddd.repositories.memory._check_constraints import compile_check, compile_predicate
from flama.ddd.repositories.memory._column_defaults import compile_default, compile_onupdate
from flama.ddd.repositories.memory._type_codecs import codec_for
from flama.memory.schema import Check, Column, ForeignKey, Parent, Table, TypeCodec, Unique

__all__ = ["schema_of"]

_TABLES: t.Final = 1000


@functools.lru_cache(_TABLES)
def schema_of(table: sa.Table) -> Table:
    """Return the definition of a table.

    It leaves out CHECK constraints in SQL text, and unique indexes on expressions or with a condition in SQL text.
    """
    columns = {str(key): _column(column) for key, column in table.columns.items()}
    kinds = {key: column.codec for key, column in columns.items()}
    return Table(
        table.name,
        table.fullname,
        columns,
        tuple(str(column.key) for column in table.primary_key),
        tuple(_uniques(table, kinds)),
        tuple(_checks(table, kinds)),
        tuple(_foreign_key(each) for each in table.foreign_key_constraints),
        table,
    )


def _column(column: sa.Column[t.Any]) -> Column:
    return Column(
        str(column.key),
        codec_for(column.type),
        nullable=bool(column.nullable),
        autoincrement=_is_autoincrement(column),
        default=compile_default(column),
        onupdate=compile_onupdate(column),
    )


def _is_autoincrement(column: sa.Column[t.Any]) -> bool:
    if column.default is not None:
        return bool(column.default.is_sequence)
    return column.identity is not None or (
        column.server_default is None and column.table.autoincrement_column is column
    )


def _uniques(table: sa.Table, kinds: collections.abc.Mapping[str, TypeCodec]) -> list[Unique]:
    constraints = [_unique(each) for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    indexes = [unique for index in table.indexes if (unique := _unique_index(index, kinds)) is not None]
    primary = [_unique(table.primary_key)] if table.primary_key else []
    return [*primary, *sorted(constraints + indexes, key=lambda unique: (unique.columns, unique.holds is not None))]


def _unique_index(index: sa.Index, kinds: collections.abc.Mapping[str, TypeCodec]) -> Unique | None:
    if not index.unique or not all(isinstance(each, sa.Column) for each in index.expressions):
        return None
    conditions = [value for name, value in index.dialect_kwargs.items() if name.endswith("_where")]
    conditions = [value for value in conditions if value is not None]
    if not conditions:
        return _unique(index)
    holds = compile_predicate(conditions[0], kinds)  # each dialect has an option of its own for it
    return None if holds is None else _unique(index)._replace(holds=holds)


def _unique(constraint: sa.UniqueConstraint | sa.PrimaryKeyConstraint | sa.Index) -> Unique:
    return Unique(tuple(str(column.key) for column in constraint.columns), _name(constraint))


def _checks(table: sa.Table, kinds: collections.abc.Mapping[str, TypeCodec]) -> list[Check]:
    constraints = (each for each in table.constraints if isinstance(each, sa.CheckConstraint))
    found = (compile_check(each, kinds) for each in constraints)
    return sorted((each for each in found if each is not None), key=lambda each: (each.columns, each.name or ""))


def _foreign_key(constraint: sa.ForeignKeyConstraint) -> ForeignKey:
    return ForeignKey(
        tuple(str(element.parent.key) for element in constraint.elements),
        lambda: _parent(constraint),
        _name(constraint),
        _action(constraint.ondelete),
        _action(constraint.onupdate),
        str(constraint.initially).upper() == "DEFERRED",
    )


@functools.lru_cache(_TABLES)
def _parent(constraint: sa.ForeignKeyConstraint) -> Parent:
    columns = tuple(str(element.column.key) for element in constraint.elements)
    return Parent(schema_of(constraint.referred_table), columns)


def _action(action: str | None) -> str | None:
    return None if action is None or action.upper() in ("RESTRICT", "NO ACTION") else action.upper()


def _name(constraint: t.Any) -> str | None:
    return str(constraint.name) if isinstance(constraint.name, str) else None
