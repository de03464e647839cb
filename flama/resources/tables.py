"""What a SQL table says of a resource: its key, its fields, schemas of its records."""

import collections.abc
import datetime
import typing as t

import sqlalchemy as sa
import typing_extensions as te

from flama._moments import has_offset
from flama.exceptions import (
    ResourceModelInvalid,
    ResourcePrimaryKeyInvalid,
    ResourcePrimaryKeyNotFound,
    ValidationError,
)
from flama.resources._column_types import ColumnType, column_type
from flama.resources._scalars import may_be_infinite
from flama.resources.keys import IDS, Key
from flama.rest import filters
from flama.schemas.adapter import invalid
from flama.sqlalchemy._dialects import has_moments, has_zone
from flama.sqlalchemy._nulls import holds_json
from flama.sqlalchemy.columns import generated_columns, python_type, python_types, unique_columns

__all__ = [
    "check_offsets",
    "encoders",
    "fields",
    "floats",
    "generated_columns",
    "input_schema",
    "is_finite",
    "key",
    "keysets",
    "output_schema",
    "required",
    "resets",
    "unique_columns",
]

_PLACES: t.Final = frozenset((*IDS, bool))  # types of values of which each has its place in an order
_MOMENTS: t.Final = (datetime.datetime, datetime.time)


def key(owner: str, table: t.Any) -> Key:
    """Give the key of a resource's table.

    :raises ResourceModelInvalid: it is no table.
    :raises ResourcePrimaryKeyNotFound: it has no primary key.
    :raises ResourcePrimaryKeyInvalid: that is of several columns, or of a type that no path holds.
    """
    if not isinstance(table, sa.Table):
        raise ResourceModelInvalid(f"{owner} has the model {table!r}, which is no sqlalchemy.Table")
    match list(table.primary_key.columns):
        case []:
            raise ResourcePrimaryKeyNotFound(f"{owner}: table '{table.name}' has no primary key")
        case [column] if (kind := python_types(table).get(column.key)) in IDS:
            return Key(column.key, kind)
        case columns:
            what = ", ".join(f"{column.key} {column.type!r}" for column in columns)
            raise ResourcePrimaryKeyInvalid(
                f"{owner}: the primary key of '{table.name}' is {what}: it is one integer, string, date, time or UUID"
            )


def fields(table: sa.Table, names: collections.abc.Container[str]) -> dict[str, filters.Filterable]:
    """Return those of the columns that records can be filtered by, with all operators that mean something there."""
    kinds = {key: column_type(column.type) for key, column in table.columns.items() if key in names}
    found = {key: kind.filterable for key, kind in kinds.items() if kind is not None and kind.filterable is not None}
    nullable = {name for name, column in table.columns.items() if name in names and holds_json(column.type)}
    return {**found, **dict.fromkeys(sorted(nullable - found.keys()), filters.NULLABLE)}


def encoders(table: sa.Table) -> dict[str, collections.abc.Callable[[t.Any], t.Any]]:
    """Return what makes values of columns ready for the encoder of responses, for those columns that need it."""
    found = {key: column_type(column.type) for key, column in table.columns.items()}
    return {key: kind.encode for key, kind in found.items() if kind is not None and kind.encode is not None}


def output_schema(name: str, table: sa.Table) -> t.Any:
    """Return a schema of a table's records as they are answered.

    :raises ResourceModelInvalid: a column has a type of which it is unknown what JSON has for it.
    """
    found = {key: _nullable(column, _known(name, column).answered) for key, column in table.columns.items()}
    return _schema(name, found)


def input_schema(
    name: str, table: sa.Table, without: collections.abc.Container[str] = (), *, nulls: bool = False
) -> t.Any:
    """Return a schema of a table's records as they are taken: what the table gives when it is absent is optional.

    With ``nulls`` everything is, and may be null: what then isn't a record is the table's to refuse.
    """
    found: dict[str, t.Any] = {}
    for key, column in table.columns.items():
        if key not in without:
            kind = _taken(column, _known(name, column).sent, nulls)
            found[key] = te.NotRequired[kind] if nulls or _is_optional(column) else kind
    return _schema(name, found, json_schema_extra={"additionalProperties": False})  # as a resource sees to


def required(table: sa.Table, without: collections.abc.Container[str] = ()) -> list[str]:
    """Give the fields that no record is without, and that the table doesn't give."""
    return [key for key, column in table.columns.items() if key not in without and not _is_optional(column)]


def resets(table: sa.Table, without: collections.abc.Container[str] = ()) -> dict[str, t.Any]:
    """Give what the fields become that a record is replaced without, as far as it is known: default, or null."""
    found: dict[str, t.Any] = {}
    for key, column in table.columns.items():
        if key in without:
            continue
        default = column.default
        if isinstance(default, sa.ColumnDefault) and default.is_scalar:
            found[key] = default.arg
        elif column.nullable and not _has_default(column):
            found[key] = None
    return found


def check_offsets(table: sa.Table) -> collections.abc.Callable[[dict[str, t.Any]], None]:
    """Return what makes sure that moments which requests bring have an offset where their columns keep a time zone.

    It raises :class:`ValidationError`.
    """
    names = [key for key, column in table.columns.items() if has_moments(column.type) and has_zone(column.type)]

    def check(record: dict[str, t.Any]) -> None:
        naive = [name for name in names if isinstance(record.get(name), _MOMENTS) and not has_offset(record[name])]
        if naive:
            errors = [{"type": "timezone_aware", "loc": [name], "msg": "Input should have an offset"} for name in naive]
            raise ValidationError(invalid(errors))

    return check


def floats(table: sa.Table) -> tuple[str, ...]:
    """Return the columns of floats, of which one that JSON has no form for is spelled."""
    return tuple(key for key, column in table.columns.items() if python_type(column.type) is float)


def is_finite(table: sa.Table) -> bool:
    """Return whether no column of a table may hold a number that JSON has no form for."""
    return not any(may_be_infinite(column.type) for column in table.columns)


def keysets(table: sa.Table) -> frozenset[tuple[str, ...]]:
    """Return the orders by which a table can be read in batches: what an index has, or the beginning of it.

    Without an index, each batch would sort all of the records. They are orders by columns that have an order of values
    alone: of floats and decimals, NaN has no place in it, and an Enum's order is the database's.
    """
    indexes = [[column.key for column in index.columns] for index in _indexes(table)]
    kinds = python_types(table)
    places = {
        key
        for key, column in table.columns.items()
        if kinds.get(key) in _PLACES and not isinstance(column.type, sa.Enum)
    }
    prefixes = [tuple(keys[:length]) for keys in indexes for length in range(len(keys) + 1)]
    return frozenset(keys for keys in prefixes if places.issuperset(keys))


def _indexes(table: sa.Table) -> collections.abc.Iterator[t.Any]:
    yield table.primary_key
    yield from (each for each in table.constraints if isinstance(each, sa.UniqueConstraint))
    # of an expression or with a condition, an index serves no order of all records
    for index in table.indexes:
        is_partial = any(options.get("where") is not None for options in index.dialect_options.values())
        if not is_partial and all(isinstance(each, sa.Column) for each in index.expressions):
            yield index


def _schema(name: str, fields: dict[str, t.Any], **config: t.Any) -> t.Any:
    """Return a TypedDict that pydantic validates: its keys may be any, while a model keeps some for itself."""
    make: t.Any = te.TypedDict  # of a name and fields that are known here alone
    made = make(name, fields)
    made.__pydantic_config__ = config
    return made


def _known(owner: str, column: sa.Column[t.Any]) -> ColumnType:
    found = column_type(column.type)
    if found is None:
        raise ResourceModelInvalid(
            f"{owner}: column '{column.key}' of table '{column.table.name}' has the type {column.type!r}, whose form "
            "in JSON is unknown: a TypeDecorator with a python_type would do, or a 'schema' of the resource's own"
        )
    return found


def _is_optional(column: sa.Column[t.Any]) -> bool:
    return bool(column.nullable) or _has_default(column)


def _taken(column: sa.Column[t.Any], kind: t.Any, nulls: bool) -> t.Any:
    if nulls or (column.primary_key and _has_default(column)):  # a key that is null is none yet
        return t.Optional[kind]  # noqa: UP045 - of a type that is made here
    return _nullable(column, kind)


def _nullable(column: sa.Column[t.Any], kind: t.Any) -> t.Any:
    return t.Optional[kind] if column.nullable else kind  # noqa: UP045 - of a type that is made here


def _has_default(column: sa.Column[t.Any]) -> bool:
    counted = column.table.autoincrement_column is column
    return bool(column.default is not None or column.server_default is not None or column.identity or counted)
