"""Foreign keys: checks that the parents of records exist."""

from flama import exceptions
from flama.memory._table_data import TableData
from flama.memory.schema import ForeignKey, Row

__all__ = ["check_foreign_key", "check_foreign_keys", "foreign_key_error"]


def check_foreign_keys(rows: TableData, key: ForeignKey, parents: TableData, resource: str) -> None:
    """Check that the parents of all records exist.

    :raises IntegrityError: one doesn't.
    """
    for _, row in rows.all():
        check_foreign_key(row, key, parents, resource)


def check_foreign_key(row: Row, key: ForeignKey, parents: TableData, resource: str) -> None:
    """Check that the parent of a record exists; a key with a null refers to none.

    :raises IntegrityError: it doesn't.
    """
    values = tuple([row[column] for column in key.columns])
    if None not in values and not parents.find_by(key.parent().columns, {values}):
        raise foreign_key_error(key, resource)


def foreign_key_error(key: ForeignKey, resource: str) -> exceptions.IntegrityError:
    """Return the error for a record whose parent is missing."""
    return exceptions.IntegrityError(resource=resource, kind="foreign_key", constraint=key.name, fields=key.columns)
