"""Records that name others: what must hold of them."""

from flama import exceptions
from flama.memory.definitions import ForeignKey, Row
from flama.memory.rows import Rows

__all__ = ["check_parent", "check_parents", "refused"]


def check_parents(rows: Rows, key: ForeignKey, parents: Rows, resource: str) -> None:
    """Make sure that all records have the parents that they name.

    :raises IntegrityError: one doesn't.
    """
    for _, row in rows.all():
        check_parent(row, key, parents, resource)


def check_parent(row: Row, key: ForeignKey, parents: Rows, resource: str) -> None:
    """Make sure that a record has the parent that it names; with a null, it names none.

    :raises IntegrityError: it doesn't.
    """
    values = tuple([row[column] for column in key.columns])
    if None not in values and not parents.having(key.parent().columns, {values}):
        raise refused(key, resource)


def refused(key: ForeignKey, resource: str) -> exceptions.IntegrityError:
    """Give the error for a record without its parent."""
    return exceptions.IntegrityError(resource=resource, kind="foreign_key", constraint=key.name, fields=key.columns)
