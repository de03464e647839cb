"""Version numbers of records, which detect a change since a record was read."""

import collections.abc
import typing as t

import sqlalchemy as sa

from flama import exceptions

__all__ = ["move_version_to_filters", "with_initial_version"]

_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]


def with_initial_version(column: sa.Column[t.Any], row: _Row) -> _Row:
    """Return a new record with version 1, unless it has a version or the column has a default."""
    if row.get(column.key) is not None or column.default is not None or column.server_default is not None:
        return row
    return {**row, column.key: 1}


def move_version_to_filters(
    column: sa.Column[t.Any], changes: _Row, filters: dict[str, t.Any]
) -> tuple[_Row, dict[str, t.Any]]:
    """Return changes without the version, and filters with it: the version that was read is a condition, not a change.

    :raises InvalidDataError: the filters have another version.
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
