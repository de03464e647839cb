"""Version numbers of records, by which a write detects a change since the record was read."""

import typing as t

from flama import exceptions
from flama.policies._columns import Columns, Row

__all__ = ["move_version_to_filters", "with_initial_version"]


def with_initial_version(columns: Columns, version: str, row: Row) -> Row:
    """Return a new record with version 1, unless it has a version or the column has a default."""
    return row if row.get(version) is not None or columns[version].has_default else {**row, version: 1}


def move_version_to_filters(
    columns: Columns, version: str, changes: Row, filters: dict[str, t.Any]
) -> tuple[Row, dict[str, t.Any]]:
    """Return changes without the version, and filters with it: the version that was read is a condition, not a change.

    :raises InvalidDataError: the filters have another version.
    """
    if version not in changes:
        return changes, filters
    others = {name: value for name, value in changes.items() if name != version}
    if (read := changes[version]) is None:
        return others, filters
    if filters.get(version, read) != read:
        detail = f"the data are of {version} {read}, the filter is of {filters[version]}"
        raise exceptions.InvalidDataError(resource=columns.resource, detail=detail)
    return others, {**filters, version: read}
