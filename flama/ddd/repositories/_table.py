"""Repositories of a table, whose records have policies."""

import abc
import collections.abc
import copy
import types
import typing as t

from flama import exceptions
from flama.ddd.repositories._typed import Record
from flama.ddd.repositories.base import CRUDRepository, Data
from flama.policies import Declaration, Policies
from flama.query import Condition, Select

__all__ = ["Parents", "TableRepository"]

Parents: t.TypeAlias = collections.abc.Mapping[str, tuple[Condition, ...]]
"""The conditions on parent records, by the full name of their table."""


class TableRepository(CRUDRepository[Record]):
    """A repository whose records have policies: optimistic locks, timestamps, soft deletion and scopes.

    A backend implements ``_values``, and sets ``_policies`` when the repository is made.
    """

    supports_locks = True
    _table: t.ClassVar[t.Any]
    _version: t.ClassVar[str | None] = None
    _created_at: t.ClassVar[str | None] = None
    _updated_at: t.ClassVar[str | None] = None
    _deleted_at: t.ClassVar[str | None] = None
    _policies: Policies
    _parents: Parents = types.MappingProxyType({})

    @classmethod
    def _declaration(cls) -> Declaration:
        return Declaration(cls._version, cls._created_at, cls._updated_at, cls._deleted_at)

    def scoped(self, *conditions: Condition) -> t.Self:
        """Return this repository, restricted to the records that meet the conditions, made with ``F``.

        No method finds other records, but constraints still see them. A new record takes the values that conditions
        require by equality. A write that would store a record outside the scope, or move one out of it, is refused.
        Further scopes and the arguments of methods can only narrow the scope.

        :raises UnknownColumnError: a condition refers to a column that the table doesn't have.
        :raises InvalidDataError: a condition is a SQLAlchemy expression, which can't be checked on a record to be
            stored.
        """
        return self._with_policies(self._policies.scoped(*conditions))

    def with_deleted(self) -> t.Self:
        """Return this repository without ``_deleted_at``: it finds deleted records, and deletion is permanent.

        :raises ApplicationError: the repository has no ``_deleted_at``.
        """
        if self._deleted_at is None:
            raise exceptions.ApplicationError(
                f"{type(self).__name__} has no _deleted_at: its deleted records no longer exist"
            )
        return self._with_policies(self._policies.with_deleted())

    def _with_policies(self, policies: Policies) -> t.Self:
        other = copy.copy(self)
        other._policies = policies
        return other

    @abc.abstractmethod
    def _values(self, data: t.Any, *, changes: bool = False) -> Data:
        """Return the values of a record, or of changes to one, by the table's columns."""

    def _rows(self, records: collections.abc.Iterable[t.Any]) -> collections.abc.Sequence[Data]:
        return self._policies.complete([self._values(record) for record in records])

    def _changes(self, data: t.Any, filters: dict[str, t.Any]) -> tuple[Data, dict[str, t.Any]]:
        return self._policies.amend(self._values(data, changes=True), filters)

    async def _check_no_match(self, select: Select) -> None:
        """Check whether a write matched no record because the one selected by its key has another version.

        :raises ConflictError: it has.
        """
        version = self._policies.version
        if version is None or version not in select.filters:
            return
        same = Select(None, (), select.without(version))
        id = self._identity(select.replace(filters=same.filters))
        if id is not None and await self._exists(same):
            detail = f"it isn't of version {select.filters[version]} any more"
            raise exceptions.ConflictError(resource=self._resource_name, id=id, detail=detail)
