"""The specification of a resource of a SQL table: schemas, key and filters are derived from it."""

import collections.abc
import datetime
import functools
import inspect
import typing as t

import sqlalchemy as sa
import typing_extensions as te

from flama import schemas
from flama._moments import has_offset
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.exceptions import (
    ResourceModelInvalid,
    ResourcePrimaryKeyInvalid,
    ResourcePrimaryKeyNotFound,
    ValidationError,
)
from flama.resources._adapters import TableRecordStore
from flama.resources._column_types import ColumnType, column_type, may_be_infinite
from flama.resources._schemas import RequestSchema, ResponseSchema, TableRequestSchema, annotations
from flama.resources._spec import KEY_TYPES, ResourceSpec
from flama.resources.resource import Resource
from flama.rest import filters
from flama.rest.operations import OPERATIONS
from flama.schemas.adapter import error_detail
from flama.sqlalchemy._dialects import has_moments, has_zone
from flama.sqlalchemy.sql._nulls import holds_json
from flama.sqlalchemy.sql._table_info import generated_columns, python_type, python_types, unique_columns

__all__ = ["compile_table"]

_PLACES: t.Final = frozenset((*KEY_TYPES, bool))  # types whose values are totally ordered
_MOMENTS: t.Final = (datetime.datetime, datetime.time)
_MANAGED_COLUMNS: t.Final = ("_version", "_created_at", "_updated_at", "_deleted_at")
"""The attributes that name the columns a repository sets by itself."""


def compile_table(
    owner: type[Resource],
    table: t.Any,
    repository: t.Any,
    request_schema: t.Any,
    response_schema: t.Any,
    *,
    stream_snapshot: bool,
) -> ResourceSpec:
    """Return the specification of a resource of this table, of its own schemas or of derived ones.

    :raises ResourceModelInvalid: ``table`` is no table, or a column's type has no known JSON form.
    :raises ResourcePrimaryKeyNotFound: the table has no primary key.
    :raises ResourcePrimaryKeyInvalid: the primary key has several columns, or a type that a path can't hold.
    """
    name = owner.__name__
    key, key_type = _key(name, table)
    repository = repository or _make_repository(owner, table)
    generated = generated_columns(table)
    output = _output(name, table) if response_schema is None else ResponseSchema(response_schema)
    names = (*output.names, key)
    input = (
        _input(name, table, key, names, _automatic_columns(repository) | generated)
        if request_schema is None
        else RequestSchema(request_schema, table.name, names, _offset_check(table))
    )
    return ResourceSpec(
        name=owner.name,
        title=name,
        error_name=table.name,
        table=table,
        repository=repository,
        backend=repository._backend,
        operations=frozenset(OPERATIONS),
        records=functools.partial(TableRecordStore, key=key, name=table.name, field_types={}, generated=generated),
        key=key,
        key_type=key_type,
        version=getattr(repository, "_version", None),
        input=input,
        output=output,
        updatable=tuple(each for each in annotations(input.schema) if each not in generated),
        unique=unique_columns(table),
        floats=(
            tuple(each for each, column in table.columns.items() if python_type(column.type) is float)
            if response_schema is None
            else ()
        ),
        filters=_filterable_fields(table, output.annotations),
        batch_orders=() if stream_snapshot or not _can_seek(repository, key) else _batch_orders(table),
    )


def _key(owner: str, table: t.Any) -> tuple[str, t.Any]:
    """Return the key of a table, and its type."""
    if not isinstance(table, sa.Table):
        raise ResourceModelInvalid(f"{owner} has the model {table!r}, which is no sqlalchemy.Table")
    match list(table.primary_key.columns):
        case []:
            raise ResourcePrimaryKeyNotFound(f"{owner}: table '{table.name}' has no primary key")
        case [column] if (kind := python_types(table).get(column.key)) in KEY_TYPES:
            return column.key, kind
        case columns:
            what = ", ".join(f"{column.key} {column.type!r}" for column in columns)
            raise ResourcePrimaryKeyInvalid(
                f"{owner}: the primary key of '{table.name}' is {what}: it must be one integer, string, date, datetime "
                "or UUID"
            )


def _make_repository(owner: type, table: sa.Table) -> t.Any:
    body = {"_table": table, "__module__": owner.__module__}
    return type(f"{owner.__name__}Repository", (SQLAlchemyTableRepository,), body)


def _can_seek(repository: t.Any, key: str) -> bool:
    """Whether a repository can list the records after another one: they have their key, and lists accept a start."""
    record = getattr(repository, "_record", dict)
    has_key = not schemas.is_model(record) or key in annotations(record)
    return has_key and not inspect.isasyncgenfunction(repository.list)


def _automatic_columns(repository: t.Any) -> frozenset[str]:
    """Return the columns that a repository sets by itself."""
    columns = (getattr(repository, name, None) for name in _MANAGED_COLUMNS)
    return frozenset(column for column in columns if column is not None)


def _output(owner: str, table: sa.Table) -> ResponseSchema:
    columns = [(key, column, _require_column_type(owner, column)) for key, column in table.columns.items()]
    return ResponseSchema(
        _schema(owner, {key: _nullable(column, kind.output_type) for key, column, kind in columns}),
        {key: kind.encode for key, _, kind in columns if kind.encode is not None},
        is_finite=not any(may_be_infinite(column.type) for _, column, _ in columns),
    )


def _input(
    owner: str, table: sa.Table, key: str, names: collections.abc.Iterable[str], managed: frozenset[str]
) -> TableRequestSchema:
    return TableRequestSchema(
        _input_schema(f"{owner}Input", table, managed),
        # a generated key is accepted: it identifies an existing record
        _input_schema(f"{owner}Input", table, managed - {key}, nulls=True),
        table.name,
        names,
        key=key,
        resets=_reset_values(table, managed),
        required=[name for name, column in table.columns.items() if name not in managed and not _is_optional(column)],
    )


def _filterable_fields(table: sa.Table, names: collections.abc.Container[str]) -> dict[str, filters.FieldFilter]:
    """Return the columns that records can be filtered by, each with all operators of its type."""
    kinds = {key: column_type(column.type) for key, column in table.columns.items() if key in names}
    found = {key: kind.filterable for key, kind in kinds.items() if kind is not None and kind.filterable is not None}
    nullable = {name for name, column in table.columns.items() if name in names and holds_json(column.type)}
    return {**found, **dict.fromkeys(sorted(nullable - found.keys()), filters.NULLABLE)}


def _input_schema(
    name: str, table: sa.Table, without: collections.abc.Container[str] = (), *, nulls: bool = False
) -> t.Any:
    """Return the schema of a table's records in requests; columns with a default are optional.

    With ``nulls`` every field is optional and nullable, and the table's own constraints decide.
    """
    found: dict[str, t.Any] = {}
    for key, column in table.columns.items():
        if key not in without:
            kind = _input_annotation(column, _require_column_type(name, column).input_type, nulls)
            found[key] = te.NotRequired[kind] if nulls or _is_optional(column) else kind
    return _schema(
        name, found, json_schema_extra={"additionalProperties": False}
    )  # resources refuse unknown fields themselves


def _reset_values(table: sa.Table, without: collections.abc.Container[str] = ()) -> dict[str, t.Any]:
    """Return, by field, the value that a replaced record gets for a missing field: the column's default, or null.

    Fields with a default that only the database knows are left out.
    """
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


def _offset_check(table: sa.Table) -> collections.abc.Callable[[dict[str, t.Any]], None]:
    """Return a check that the dates and times of a record have a UTC offset where their columns have a time zone.

    The check raises :class:`ValidationError`.
    """
    names = [key for key, column in table.columns.items() if has_moments(column.type) and has_zone(column.type)]

    def check(record: dict[str, t.Any]) -> None:
        naive = [name for name in names if isinstance(record.get(name), _MOMENTS) and not has_offset(record[name])]
        if naive:
            errors = [{"type": "timezone_aware", "loc": [name], "msg": "Input should have an offset"} for name in naive]
            raise ValidationError(error_detail(errors))

    return check


def _batch_orders(table: sa.Table) -> frozenset[tuple[str, ...]]:
    """Return the orders by which a table can be read in batches: the prefixes of its indexes.

    Without an index, each batch would sort all records. Columns must be totally ordered by their values: floats and
    decimals have NaN, and an Enum's order is the database's own.
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
    # an index with expressions or a condition can't order all records
    for index in table.indexes:
        is_partial = any(options.get("where") is not None for options in index.dialect_options.values())
        if not is_partial and all(isinstance(each, sa.Column) for each in index.expressions):
            yield index


def _schema(name: str, fields: dict[str, t.Any], **config: t.Any) -> t.Any:
    """Return a TypedDict for pydantic: its fields may have any name, while a model reserves some."""
    make: t.Any = te.TypedDict  # type checkers reject names and fields that aren't literal
    made = make(name, fields)
    made.__pydantic_config__ = config
    return made


def _require_column_type(owner: str, column: sa.Column[t.Any]) -> ColumnType:
    found = column_type(column.type)
    if found is None:
        raise ResourceModelInvalid(
            f"{owner}: column '{column.key}' of table '{column.table.name}' has the type {column.type!r}, whose form "
            "in JSON is unknown: use a TypeDecorator with a python_type, or set the resource's 'schema'"
        )
    return found


def _is_optional(column: sa.Column[t.Any]) -> bool:
    return bool(column.nullable) or _has_default(column)


def _input_annotation(column: sa.Column[t.Any], kind: t.Any, nulls: bool) -> t.Any:
    if nulls or (column.primary_key and _has_default(column)):  # a null key is the same as no key
        return t.Optional[kind]  # noqa: UP045 - of a type that is made here
    return _nullable(column, kind)


def _nullable(column: sa.Column[t.Any], kind: t.Any) -> t.Any:
    return t.Optional[kind] if column.nullable else kind  # noqa: UP045 - of a type that is made here


def _has_default(column: sa.Column[t.Any]) -> bool:
    counted = column.table.autoincrement_column is column
    return bool(column.default is not None or column.server_default is not None or column.identity or counted)
