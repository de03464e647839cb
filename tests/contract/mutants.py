"""Repositories with one fault each, which the contract has to notice."""

import pytest

from flama import exceptions, query
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.query import F
from tests.contract.suite import RepositoryContract


class TiesLost(SQLAlchemyTableRepository):
    """A page goes on behind all that have the last value, and not behind the last record."""

    def list(self, *clauses, order_by=None, after=None, **options):
        if after is not None:
            order = query.orders(order_by)[0]
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
        for record in query.in_order(found, query.orders(order_by, keys=["id"])):
            yield record


class OffsetIgnored(SQLAlchemyTableRepository):
    """Every page is the first."""

    def list(self, *clauses, offset=None, **options):
        return super().list(*clauses, **options)


class NullsFirst(SQLAlchemyTableRepository):
    """Nulls come first."""

    def list(self, *clauses, order_by=None, **options):
        orders = [query.Order(order.field, order.descending, "first") for order in query.orders(order_by)]
        return super().list(*clauses, order_by=orders, **options)


class TiesAnyhow(SQLAlchemyTableRepository):
    """What an order leaves equal comes in another order than the key's."""

    def list(self, *clauses, order_by=None, **options):
        return super().list(*clauses, order_by=[*query.orders(order_by), "-id"], **options)


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


# which test notices
MUTANTS = {
    TiesLost: "test_a_slice_goes_on_from_a_record",
    BeforeFromTheStart: "test_a_slice_goes_on_from_a_record",
    LimitBeforeOrder: "test_a_slice_is_cut_from_what_is_in_order",
    OffsetIgnored: "test_ties_are_broken_by_the_key_in_every_slice",
    NullsFirst: "test_an_order_means_the_same_everywhere",
    TiesAnyhow: "test_ties_are_broken_by_the_key_in_every_slice",
    Endless: "test_all_are_listed_once",
    ListedTwice: "test_all_are_listed_once",
    ShortList: "test_a_long_list_ends_with_all_its_records",
    OutlivesItsUnit: "test_a_list_ends_with_its_unit",
    UnknownFiltersIgnored: "test_an_unknown_filter_is_named",
    UnknownFieldsIgnored: "test_an_unknown_field_of_data_is_named",
    NullFilterIgnored: "test_all_filters_must_hold",
    FieldsOfTheFirst: "test_each_of_many_may_have_other_fields",
    StoresWhatItCan: "test_many_are_stored_all_or_none",
    InAnotherOrder: "test_many_are_given_in_order",
    NullIsAbsent: "test_what_is_none_is_null_in_spite_of_a_default",
    ChangesTheData: "test_data_stay_the_callers_own",
    DuplicatesAccepted: "test_a_value_that_is_there_already_is_refused",
    CutsTexts: "test_an_odd_value_is_stored_as_it_is_or_is_invalid_data",
    DriversErrors: "test_an_odd_value_is_stored_as_it_is_or_is_invalid_data",
    SilentRefusals: "test_a_key_that_is_there_already_is_refused",
    TalkativeRefusals: "test_a_refusal_tells_nothing_of_the_values",
    UndoesTheUnit: "test_a_refused_write_leaves_the_unit_usable",
    TakesTheFirst: "test_more_than_one_record_is_too_many",
    CountsAll: "test_count_and_exists_look_at_what_matches",
    NothingToChange: "test_no_data_change_nothing_and_give_the_records_as_they_are",
    InventsRecords: "test_a_missing_record_is_changed_into_none",
    UpdatesTooMuch: "test_a_missing_record_is_changed_into_none",
    GuardsUpdatesAfterwards: "test_more_than_may_be_changed_are_left_alone",
    DropsByDot: "test_an_id_of_no_record_deletes_none",
    DeletesAll: "test_delete_wants_exactly_one",
    DeletesNothing: "test_a_missing_record_is_not_found_by_delete",
    GuardsAfterwards: "test_more_than_may_be_dropped_are_left_alone",
    IgnoresCase: "test_a_condition_means_the_same_everywhere",
    TwoValued: "test_a_condition_means_the_same_everywhere",
    AlwaysCreated: "test_get_or_create_stores_once",
    UpsertsBlindly: "test_upsert_changes_only_what_is_to_be_set",
}


@pytest.fixture(scope="class")
def way():
    return "directly"


def suite_of(members):
    """Give the name of a class of tests, and that class, which hold such a repository to the contract."""
    body = {
        "__module__": __name__,
        "members": members,
        "driver": "aiosqlite",
        "capabilities": RepositoryContract.capabilities - {"reference_fields"},
    }
    name = f"Test{members.__name__}"
    return name, type(name, (RepositoryContract,), body)


# to be run by test_mutants.py alone: as this module's name says, it is no module of tests
globals().update(map(suite_of, (SQLAlchemyTableRepository, *MUTANTS)))
