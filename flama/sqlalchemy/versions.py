"""The number of a record, which tells whether it has changed since it was read."""

import collections.abc
import typing as t

import sqlalchemy as sa

from flama import exceptions

__all__ = ["compared", "numbered"]

_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]


def numbered(column: sa.Column[t.Any], row: _Row) -> _Row:
    """Give a new record its first number, unless it has one or the column gives it one."""
    if row.get(column.key) is not None or column.default is not None or column.server_default is not None:
        return row
    return {**row, column.key: 1}


def compared(column: sa.Column[t.Any], changes: _Row, filters: dict[str, t.Any]) -> tuple[_Row, dict[str, t.Any]]:
    """Give changes without a number, and filters with it: it is the one that they were read with, not one to be set.

    :raises InvalidDataError: the filters are of another.
    """
    version = column.key
    if version not in changes:
        return changes, filters
    others = {name: value for name, value in changes.items() if name != version}
    if (meant := changes[version]) is None:
        return others, filters
    if filters.get(version, meant) != meant:
        detail = f"the data are of {version} {meant}, the filter is of {filters[version]}"
        raise exceptions.InvalidDataError(resource=column.table.name, detail=detail)
    return others, {**filters, version: meant}
