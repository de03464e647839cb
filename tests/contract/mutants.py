"""Mutants: repositories with one fault each, which the contract has to detect."""

import pytest

from flama import exceptions, query
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.query import F
from flama.testing import RepositoryContract, WorkerContract


class TiesLost(SQLAlchemyTableRepository):
    """A page goes on behind all that have the last value, and not behind the last record."""

    def list(self, *clauses, order_by=None, after=None, **options):
        if after is not None:
            order = query.parse_order(order_by)[0]
            place = after[order.field]
            if place is not None:
                clauses = (*clauses, (F[order.field] > place) | F[order.field].isnull())
                after = None
        return super().list(*clauses, order_by=order_by, after=after, **options)


class BeforeFromTheStart(SQLAlchemyTableRepository):
    """A page before a record is the first of all before it, and not the last."""

    async def list(self, *clauses, before=None, limit=None, **options):
        left = limit
        async for record in super().list(*clauses, before=before, limit=None if before else limit, **options):
            if before and left is not None and (left := left - 1) < 0:
                return
            yield record


class LimitBeforeOrder(SQLAlchemyTableRepository):
    """A slice is cut first, and put in order then."""

    async def list(self, *clauses, order_by=None, limit=None, offset=None, **options):
        found = [record async for record in super().list(*clauses, limit=limit, offset=offset, **options)]
        for record in query.sort_records(found, query.parse_order(order_by, keys=["id"])):
            yield record


class OffsetIgnored(SQLAlchemyTableRepository):
    """Every page is the first."""

    def list(self, *clauses, offset=None, **options):
        return super().list(*clauses, **options)


class NullsFirst(SQLAlchemyTableRepository):
    """Nulls come first."""

    def list(self, *clauses, order_by=None, **options):
        orders = [query.Order(order.field, order.descending, "first") for order in query.parse_order(order_by)]
        return super().list(*clauses, order_by=orders, **options)


class TiesAnyhow(SQLAlchemyTableRepository):
    """What an order leaves equal comes in another order than the key's."""

    def list(self, *clauses, order_by=None, **options):
        return super().list(*clauses, order_by=[*query.parse_order(order_by), "-id"], **options)


class Endless(SQLAlchemyTableRepository):
    """The list begins again when it is at its end."""

    async def list(self, *clauses, **options):
        found = [record async for record in super().list(*clauses, **options)]
        while found:
            for record in found:
                yield record


class ListedTwice(SQLAlchemyTableRepository):
    """The last record of one page is the first of the next."""

    async def list(self, *clauses, **options):
        record = None
        async for record in super().list(*clauses, **options):
            yield record
        if record is not None:
            yield record


class ShortList(SQLAlchemyTableRepository):
    """The list ends with its first batch."""

    async def list(self, *clauses, **options):
        number = 0
        async for record in super().list(*clauses, **options):
            if (number := number + 1) > 500:
                return
            yield record


class OutlivesItsUnit(SQLAlchemyTableRepository):
    """The list is read whole, and goes on when its unit has ended."""

    async def list(self, *clauses, **options):
        for record in [record async for record in super().list(*clauses, **options)]:
            yield record


class UnknownFiltersIgnored(SQLAlchemyTableRepository):
    """A filter by what isn't there is no filter."""

    async def drop(self, *clauses, **filters):
        return await super().drop(*clauses, **{name: filters[name] for name in filters if name in self._table.columns})


class UnknownFieldsIgnored(SQLAlchemyTableRepository):
    """Data of what isn't there are left out."""

    async def create(self, *data):
        return await super().create(*({name: row[name] for name in row if name in self._table.columns} for row in data))


class NullFilterIgnored(SQLAlchemyTableRepository):
    """A filter by null is no filter."""

    def list(self, *clauses, **options):
        return super().list(*clauses, **{name: value for name, value in options.items() if value is not None})


class FieldsOfTheFirst(SQLAlchemyTableRepository):
    """Of many, all have the fields of the first."""

    async def create(self, *data):
        return await super().create(*({name: row[name] for name in data[0] if name in row} for row in data))


class StoresWhatItCan(SQLAlchemyTableRepository):
    """Of many, those before the one that is refused are stored."""

    async def create(self, *data):
        return [record for row in data for record in await super(StoresWhatItCan, self).create(row)]


class InAnotherOrder(SQLAlchemyTableRepository):
    """Of many, those that are stored are given in another order."""

    async def create(self, *data):
        return (await super().create(*data))[::-1]


class NullIsAbsent(SQLAlchemyTableRepository):
    """What is None has its default."""

    async def create(self, *data):
        return await super().create(*({name: row[name] for name in row if row[name] is not None} for row in data))


class ChangesTheData(SQLAlchemyTableRepository):
    """What the database adds is put into the data."""

    async def create(self, *data):
        created = await super().create(*data)
        for row, record in zip(data, created, strict=True):
            row.update(record)
        return created


class DuplicatesAccepted(SQLAlchemyTableRepository):
    """A value that is there already is left out."""

    async def create(self, *data):
        try:
            return await super().create(*data)
        except exceptions.IntegrityError as error:
            if error.kind != "unique":
                raise
            kept = ({name: row[name] for name in row if name not in error.fields} for row in data)
            return await super().create(*kept)


class CutsTexts(SQLAlchemyTableRepository):
    """A text that is too long is stored without its end."""

    async def create(self, *data):
        cut = {str: lambda text: text[:32]}
        return await super().create(
            *({name: cut.get(type(row[name]), lambda value: value)(row[name]) for name in row} for row in data)
        )


class DriversErrors(SQLAlchemyTableRepository):
    """The driver's own error comes out."""

    async def create(self, *data):
        try:
            return await super().create(*data)
        except exceptions.InvalidDataError as error:
            raise error.__cause__ from None


class SilentRefusals(SQLAlchemyTableRepository):
    """A refusal doesn't tell what it was."""

    async def create(self, *data):
        try:
            return await super().create(*data)
        except exceptions.IntegrityError as error:
            raise exceptions.IntegrityError(resource=error.resource) from error


class TalkativeRefusals(SQLAlchemyTableRepository):
    """A refusal tells what the database tells, values and all."""

    async def create(self, *data):
        try:
            return await super().create(*data)
        except exceptions.IntegrityError as error:
            error.detail = f"{error.__cause__}: {data}"
            raise


class UndoesTheUnit(SQLAlchemyTableRepository):
    """A refusal undoes all that the unit did before."""

    async def create(self, *data):
        try:
            return await super().create(*data)
        except exceptions.IntegrityError:
            await self._connection.exec_driver_sql("ROLLBACK")
            raise


class TakesTheFirst(SQLAlchemyTableRepository):
    """Of several that match, retrieve gives one."""

    async def retrieve(self, *clauses, **filters):
        record = await self.first(*clauses, **filters)
        if record is None:
            raise exceptions.NotFoundError(resource=self._table.name, id=filters.get("id"))
        return record


class CountsAll(SQLAlchemyTableRepository):
    """Counting asks for no match."""

    async def count(self, *clauses, **filters):
        return await super().count()


class NothingToChange(SQLAlchemyTableRepository):
    """An update without data gives no records."""

    async def update(self, data, *clauses, **filters):
        return await super().update(data, *clauses, **filters) if data else []


class InventsRecords(SQLAlchemyTableRepository):
    """An update gives what was meant to be there."""

    async def update(self, data, *clauses, **filters):
        return await super().update(data, *clauses, **filters) or [{**filters, **data}]


class UpdatesTooMuch(SQLAlchemyTableRepository):
    """An update of nothing that matches is one of all."""

    async def update(self, data, *clauses, **filters):
        return await super().update(data, *clauses, **filters) or await super().update(data)


class GuardsUpdatesAfterwards(SQLAlchemyTableRepository):
    """An update of too many is done, and then refused."""

    async def update(self, data, *clauses, max_affected=None, **filters):
        updated = await super().update(data, *clauses, **filters)
        if max_affected is not None and len(updated) > max_affected:
            raise exceptions.MultipleRecordsError(resource=self._table.name)
        return updated


class DropsByDot(SQLAlchemyTableRepository):
    """The id "." means the collection."""

    async def delete(self, *clauses, **filters):
        await (self.drop() if filters.get("id") == "." else super().delete(*clauses, **filters))


class DeletesAll(SQLAlchemyTableRepository):
    """Of several that match, delete deletes all."""

    async def delete(self, *clauses, **filters):
        if not await self.drop(*clauses, **filters):
            raise exceptions.NotFoundError(resource=self._table.name, id=filters.get("id"))


class DeletesNothing(SQLAlchemyTableRepository):
    """To delete what isn't there is well."""

    async def delete(self, *clauses, **filters):
        if await self.exists(*clauses, **filters):
            await super().delete(*clauses, **filters)


class GuardsAfterwards(SQLAlchemyTableRepository):
    """Too many are dropped, and then it is refused."""

    async def drop(self, *clauses, max_affected=None, **filters):
        number = await super().drop(*clauses, **filters)
        if max_affected is not None and number > max_affected:
            raise exceptions.MultipleRecordsError(resource=self._table.name)
        return number


class IgnoresCase(SQLAlchemyTableRepository):
    """A text is looked for whatever its case."""

    def list(self, *clauses, **options):
        return super().list(*map(_without_case, clauses), **options)


class TwoValued(SQLAlchemyTableRepository):
    """What isn't true is false: the negation of what is unknown holds."""

    def list(self, *clauses, **options):
        return super().list(*map(_without_unknown, clauses), **options)


class AlwaysCreated(SQLAlchemyTableRepository):
    """Whatever is got was created."""

    async def get_or_create(self, data, **options):
        return (await super().get_or_create(data, **options))[0], True


class UpsertsBlindly(SQLAlchemyTableRepository):
    """An upsert changes all that it was given."""

    async def upsert(self, *data, on=None, set=None):
        return await super().upsert(*data, on=on)


def _without_case(condition):
    match condition:
        case query.Comparison(name, "contains", text):
            return F[name].icontains(text)
        case query.Not(part):
            return ~_without_case(part)
    return condition


def _without_unknown(condition):
    match condition:
        case query.Not(query.Comparison(name, operator)) if operator != "isnull":
            return condition | F[name].isnull()
    return condition


# Each with the test that detects it.
MUTANTS = {
    TiesLost: "test_a_page_starts_after_or_ends_before_a_record",
    BeforeFromTheStart: "test_a_page_starts_after_or_ends_before_a_record",
    LimitBeforeOrder: "test_limit_and_offset_apply_after_the_ordering",
    OffsetIgnored: "test_ties_are_broken_by_the_key_in_every_slice",
    NullsFirst: "test_list_sorts_by_the_ordering",
    TiesAnyhow: "test_ties_are_broken_by_the_key_in_every_slice",
    Endless: "test_list_yields_every_record_once",
    ListedTwice: "test_list_yields_every_record_once",
    ShortList: "test_a_long_list_yields_every_record",
    OutlivesItsUnit: "test_a_list_is_closed_with_its_unit",
    UnknownFiltersIgnored: "test_an_unknown_filter_is_named",
    UnknownFieldsIgnored: "test_an_unknown_field_of_the_data_is_named",
    NullFilterIgnored: "test_filters_are_combined_by_and",
    FieldsOfTheFirst: "test_several_records_may_have_different_fields",
    StoresWhatItCan: "test_create_stores_all_records_or_none",
    InAnotherOrder: "test_create_returns_several_records_in_order",
    NullIsAbsent: "test_none_is_stored_as_null_despite_a_default",
    ChangesTheData: "test_the_callers_data_is_not_modified",
    DuplicatesAccepted: "test_a_duplicate_value_violates_unique",
    CutsTexts: "test_create_stores_an_odd_value_exactly_or_rejects_it",
    DriversErrors: "test_create_stores_an_odd_value_exactly_or_rejects_it",
    SilentRefusals: "test_a_duplicate_key_violates_unique",
    TalkativeRefusals: "test_an_integrity_error_contains_no_values",
    UndoesTheUnit: "test_a_unit_continues_after_a_rejected_write",
    TakesTheFirst: "test_retrieve_raises_if_several_records_match",
    CountsAll: "test_count_and_exists_apply_the_filters",
    NothingToChange: "test_update_without_data_returns_the_records_unchanged",
    InventsRecords: "test_update_of_a_missing_record_returns_an_empty_list",
    UpdatesTooMuch: "test_update_of_a_missing_record_returns_an_empty_list",
    GuardsUpdatesAfterwards: "test_update_beyond_max_affected_changes_nothing",
    DropsByDot: "test_delete_by_an_unknown_id_removes_nothing",
    DeletesAll: "test_delete_requires_exactly_one_match",
    DeletesNothing: "test_delete_of_a_missing_record_raises_not_found",
    GuardsAfterwards: "test_drop_beyond_max_affected_removes_nothing",
    IgnoresCase: "test_a_condition_matches_as_in_python",
    TwoValued: "test_a_condition_matches_as_in_python",
    AlwaysCreated: "test_get_or_create_stores_a_record_once",
    UpsertsBlindly: "test_upsert_updates_only_the_fields_in_set",
}


@pytest.fixture(scope="class")
def way():
    return "directly"


def suite_of(members):
    """Return the name of a class of tests for such a repository, and that class."""
    body = {
        "__module__": __name__,
        "members": members,
        "driver": "aiosqlite",
        "capabilities": RepositoryContract.capabilities - {"reference_fields"},
    }
    name = f"Test{members.__name__}"
    return name, type(name, (RepositoryContract, WorkerContract), body)


# Only test_mutants.py runs these: pytest collects no module of this name.
globals().update(map(suite_of, (SQLAlchemyTableRepository, *MUTANTS)))
