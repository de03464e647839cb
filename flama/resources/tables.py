"""What a SQL table says of a resource: its key, its fields, schemas of its records."""

import collections.abc
import datetime
import math
import re
import typing as t

import pydantic
import sqlalchemy as sa

from flama._moments import has_offset
from flama.exceptions import (
    ResourceModelInvalid,
    ResourcePrimaryKeyInvalid,
    ResourcePrimaryKeyNotFound,
    ValidationError,
)
from flama.resources._scalars import has_numbers, scalar
from flama.resources.keys import IDS, Key
from flama.rest import filters, values
from flama.schemas.adapter import invalid
from flama.sqlalchemy._dialects import has_moments, has_zone
from flama.sqlalchemy.columns import python_types, unique_columns

__all__ = [
    "check_offsets",
    "fields",
    "input_schema",
    "is_finite",
    "key",
    "output_schema",
    "required",
    "resets",
    "unique_columns",
]

_CLOSED: t.Final = pydantic.ConfigDict(json_schema_extra={"additionalProperties": False})  # as a resource sees to
_MOMENTS: t.Final = (datetime.datetime, datetime.time)
_RANGES: t.Final = {sa.SmallInteger: 2**15, sa.BigInteger: 2**63, sa.Integer: 2**31}


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
    """Give those of the columns that records can be asked for by, with all operators that mean something there."""
    kinds = python_types(table)
    return {
        name: _filterable(table.columns[name].type, kind)
        for name, kind in kinds.items()
        if name in names and values.has_text(kind)
    }


def output_schema(name: str, table: sa.Table) -> type[pydantic.BaseModel]:
    """Give a model of a table's records as they are answered."""
    found: dict[str, t.Any] = {
        key: (_nullable(column, _answered(column.type)), ...) for key, column in table.columns.items()
    }
    return pydantic.create_model(name, **found)


def input_schema(
    name: str, table: sa.Table, without: collections.abc.Container[str] = (), *, nulls: bool = False
) -> type[pydantic.BaseModel]:
    """Give a model of a table's records as they are taken: what the table gives when it is absent is optional.

    With ``nulls`` everything is, and may be null: what then isn't a record is the table's to refuse.
    """
    found: dict[str, t.Any] = {
        key: (_taken(column, nulls), _absent() if nulls or _is_optional(column) else ...)
        for key, column in table.columns.items()
        if key not in without
    }
    return pydantic.create_model(name, __config__=_CLOSED, **found)


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


def is_finite(table: sa.Table) -> bool:
    """Return whether no column of a table may hold a number that JSON has no form for."""
    return not any(has_numbers(column.type) for column in table.columns)


def _absent() -> t.Any:
    return pydantic.Field(default=None, json_schema_extra=_without_default)


def _without_default(schema: dict[str, t.Any]) -> None:
    schema.pop("default", None)


def _is_optional(column: sa.Column[t.Any]) -> bool:
    return bool(column.nullable) or _has_default(column)


def _taken(column: sa.Column[t.Any], nulls: bool) -> t.Any:
    kind = _limited(column.type)
    if nulls or (column.primary_key and _has_default(column)):  # a key that is null is none yet
        return t.Optional[kind]  # noqa: UP045 - of a type that is made here
    return _nullable(column, kind)


def _nullable(column: sa.Column[t.Any], kind: t.Any) -> t.Any:
    return t.Optional[kind] if column.nullable else kind  # noqa: UP045 - of a type that is made here


def _filterable(kind: sa.types.TypeEngine[t.Any], annotation: t.Any) -> filters.Filterable:
    if (known := scalar(kind)) is not None and known.filterable is not None:
        return known.filterable
    made = filters.filterable(annotation)
    if isinstance(kind, sa.Enum) and annotation is str:
        labels = "|".join(map(re.escape, kind.enums))
        return filters.Filterable(values.reader(_plain(kind)), frozenset({"eq", "in", "isnull"}), labels)
    return made._replace(read=_finite) if annotation is float else made


def _finite(given: str) -> float:
    number = _read_float(given)
    if not math.isfinite(number):  # which MariaDB, for one, has no form for
        raise ValueError(f"{given[:40]!r} is no finite number")
    return t.cast(float, number)


_read_float: t.Final = values.reader(float)


def _answered(kind: sa.types.TypeEngine[t.Any]) -> t.Any:
    return _plain(kind) if (known := scalar(kind)) is None else known.answered


def _limited(kind: sa.types.TypeEngine[t.Any]) -> t.Any:
    if (known := scalar(kind)) is not None:
        return known.sent
    if _plain(kind) is bytes:
        return pydantic.Base64Bytes  # as they are answered
    limit = _limit(kind)
    return _plain(kind) if limit is None else t.Annotated[_plain(kind), limit]


def _plain(kind: sa.types.TypeEngine[t.Any]) -> t.Any:
    if isinstance(kind, sa.Enum) and kind.enum_class is None:
        return t.Literal[tuple(kind.enums)]
    if isinstance(kind, sa.JSON):
        return t.Any
    try:
        return kind.python_type
    except NotImplementedError:
        return t.Any


def _limit(kind: sa.types.TypeEngine[t.Any]) -> t.Any:
    """What a column's type says of its values beyond their own type."""
    for each, bound in _RANGES.items():
        if isinstance(kind, each):
            return pydantic.Field(ge=-bound, lt=bound)
    match kind:
        case sa.Numeric() if kind.asdecimal and kind.precision is not None:
            return pydantic.Field(max_digits=kind.precision, decimal_places=kind.scale)
        case sa.String() if kind.length is not None and not isinstance(kind, sa.Enum):
            return pydantic.Field(max_length=kind.length)
    return None


def _has_default(column: sa.Column[t.Any]) -> bool:
    counted = column.table.autoincrement_column is column
    return bool(column.default is not None or column.server_default is not None or column.identity or counted)
