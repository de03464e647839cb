"""The contract of odd values, such as numbers out of range and texts with NUL."""

import contextlib
import decimal
import typing as t
import uuid

import pytest

from flama import exceptions, query
from flama.query import F
from flama.testing._calls import CALLS
from flama.testing._capabilities import Contract, requires
from flama.testing._interface import Records, Repository
from flama.testing._records import fetch_all, fetch_sorted

__all__ = ["ValueContract"]

# The odd values that each verb treats in its own way, and those that all treat alike.
_TYPICAL_ODD_VALUES: t.Final = (
    pytest.param("name", "a\x00b", id="NUL"),
    pytest.param("name", "\ud800", id="lone surrogate"),
    pytest.param("name", "x" * 33, id="a character too long"),
    pytest.param("points", 2**31, id="beyond 32 bits"),
    pytest.param("points", -(2**63) - 1, id="below 64 bits"),
    pytest.param("points", "x", id="text for a number"),
)
_ODD_VALUES: t.Final = (
    *_TYPICAL_ODD_VALUES,
    pytest.param("name", "é" * 100_000, id="much too long"),
    pytest.param("name", object(), id="object"),
    pytest.param("name", {"a": 1}, id="mapping"),
    pytest.param("name", ["a"], id="list"),
    pytest.param("points", -(2**31) - 1, id="below 32 bits"),
    pytest.param("points", 2**63, id="beyond 64 bits"),
    pytest.param("points", 10**40, id="beyond all bits"),
    pytest.param("points", float("inf"), id="infinity"),
    pytest.param("points", float("-inf"), id="minus infinity"),
    pytest.param("points", decimal.Decimal("-Infinity"), id="minus infinity as a decimal"),
    pytest.param("points", float("nan"), id="NaN"),
    pytest.param("points", decimal.Decimal("NaN"), id="NaN as a decimal"),
    pytest.param("points", {"a": 1}, id="mapping for a number"),
    pytest.param("note", object(), id="object that is short enough"),
    pytest.param("note", ("a",), id="tuple"),
    pytest.param("note", {"a"}, id="set"),
    pytest.param("note", uuid.SafeUUID.safe, id="member of an enum"),
)
# F itself raises TypeError or ValueError for these.
_INVALID_OPERANDS: t.Final = (
    *("mapping", "list", "mapping for a number", "tuple", "set"),
    *("NaN", "NaN as a decimal"),
)
_MISMATCHED: t.Final = (
    pytest.param("name", 0, id="number for a text"),
    pytest.param("name", True, id="truth for a text"),
    pytest.param("points", "1", id="text for a number"),
    pytest.param("id", "1x", id="text that begins with a number"),
)


class ValueContract(Contract):
    """Tests of values that a field may be unable to store."""

    @requires("schema")
    @pytest.mark.parametrize(("field", "value"), _ODD_VALUES)
    async def test_create_stores_an_odd_value_exactly_or_rejects_it(
        self, repository: Repository, field: str, value: t.Any
    ) -> None:
        created: Records = []

        with contextlib.suppress(exceptions.InvalidDataError):
            created = await repository.create({field: value})

        assert [record[field] for record in created] in ([], [value])
        assert await fetch_all(repository) == created

    @requires("schema")
    @pytest.mark.parametrize(("field", "value"), _ODD_VALUES)
    async def test_update_stores_an_odd_value_exactly_or_rejects_it(
        self, repository: Repository, field: str, value: t.Any
    ) -> None:
        created = updated = await repository.create({"id": 1})

        with contextlib.suppress(exceptions.InvalidDataError):
            updated = await repository.update({field: value}, id=1)

        assert updated in (created, [{**created[0], field: value}])
        assert await fetch_all(repository) == updated

    @requires("schema")
    async def test_an_invalid_data_error_names_the_resource(self, repository: Repository) -> None:
        with pytest.raises(exceptions.InvalidDataError) as caught:
            await repository.create({"points": 10**40})

        assert caught.value.resource == "member"

    @requires("bulk_create")
    @pytest.mark.parametrize(("field", "value"), _TYPICAL_ODD_VALUES)
    async def test_an_odd_value_among_several_records_is_stored_or_rejects_all(
        self, repository: Repository, field: str, value: t.Any
    ) -> None:
        created: Records = []

        with contextlib.suppress(exceptions.InvalidDataError):
            created = await repository.create({field: "1" if field == "name" else 1}, {field: value}, {})

        assert [record[field] for record in created[1:2]] in ([], [value])
        assert await fetch_sorted(repository) == created

    @requires("upserts")
    @pytest.mark.parametrize(("field", "value"), _TYPICAL_ODD_VALUES)
    async def test_upsert_stores_an_odd_value_exactly_or_rejects_it(
        self, repository: Repository, field: str, value: t.Any
    ) -> None:
        created = stored = await repository.create({"id": 1})

        with contextlib.suppress(exceptions.InvalidDataError):
            stored = await repository.upsert({"id": 1, field: value})

        assert stored in (created, [{**created[0], field: value}])
        assert await fetch_all(repository) == stored

    @requires("filters")
    @pytest.mark.parametrize("verb", ["list", "delete"])
    @pytest.mark.parametrize(("field", "value"), _ODD_VALUES)
    async def test_a_filter_by_an_odd_value_matches_nothing_or_is_rejected(
        self, repository: Repository, field: str, value: t.Any, verb: str
    ) -> None:
        await repository.create({"id": 1, "name": "a", "points": 1})

        with contextlib.suppress(exceptions.InvalidDataError, exceptions.NotFoundError):
            assert await CALLS[verb](repository, **{field: value}) == []

    @requires("conditions")
    @pytest.mark.parametrize(("field", "value"), [case for case in _ODD_VALUES if case.id not in _INVALID_OPERANDS])
    async def test_a_condition_on_an_odd_value_matches_nothing_or_is_rejected(
        self, repository: Repository, field: str, value: t.Any
    ) -> None:
        await repository.create({"id": 1, "name": "a", "points": 0})

        with contextlib.suppress(exceptions.InvalidDataError):
            assert await fetch_all(repository, F[field] == value) == []

    @requires("conditions")
    @pytest.mark.parametrize("operator", ["contains", "istartswith", "like"])
    @pytest.mark.parametrize("text", ["a\x00b", "\ud800", "\\\\", "[", "*", "'"], ids=ascii)
    async def test_a_condition_on_odd_text_matches_nothing_or_is_rejected(
        self, repository: Repository, text: str, operator: str
    ) -> None:
        await repository.create({"id": 1, "name": "x"})

        with contextlib.suppress(exceptions.InvalidDataError):
            assert await fetch_all(repository, query.compare("name", operator, text)) == []

    @requires("schema", "conditions")
    @pytest.mark.parametrize("operator", ["contains", "istartswith", "like"])
    async def test_a_pattern_with_nul_is_rejected(self, repository: Repository, operator: str) -> None:
        await repository.create({"id": 1, "name": "x"})
        await fetch_all(repository, query.compare("name", operator, "y"))

        for text in ("\x00", "x\x00", "\x00x"):
            with pytest.raises(exceptions.InvalidDataError):
                await fetch_all(repository, query.compare("name", operator, text))

    @requires("filters", "strict_types")
    @pytest.mark.parametrize("verb", CALLS)
    @pytest.mark.parametrize(("field", "value"), _MISMATCHED)
    async def test_a_filter_compares_no_text_with_a_number(
        self, repository: Repository, field: str, value: t.Any, verb: str
    ) -> None:
        existing = await repository.create({"id": 1, "name": "a", "points": 1})

        with pytest.raises(exceptions.InvalidDataError):
            await CALLS[verb](repository, **{field: value})

        assert await fetch_all(repository) == existing

    @requires("conditions", "strict_types")
    @pytest.mark.parametrize(("field", "value"), _MISMATCHED)
    async def test_a_condition_compares_no_text_with_a_number(
        self, repository: Repository, field: str, value: t.Any
    ) -> None:
        existing = await repository.create({"id": 1, "name": "a", "points": 1})

        for condition in (F[field] == value, F[field] > value, ~(F[field] <= value), F[field].in_([value])):
            with pytest.raises(exceptions.InvalidDataError):
                await repository.drop(condition)

        assert await fetch_all(repository) == existing

    @requires("keyset")
    @pytest.mark.parametrize("side", ["after", "before"])
    async def test_a_page_boundary_has_the_type_of_its_field(self, repository: Repository, side: str) -> None:
        await repository.create({"id": 1})
        await fetch_all(repository, **{side: {"id": 2}})

        with pytest.raises(exceptions.InvalidDataError):
            await fetch_all(repository, **{side: {"id": "1x"}})

    @requires("schema", "filters")
    @pytest.mark.parametrize("verb", CALLS)
    async def test_a_filter_by_a_collection_is_rejected(self, repository: Repository, verb: str) -> None:
        existing = await repository.create({"id": 1, "age": 30})

        for several in ([30], (30, 31), {30}):
            with pytest.raises(exceptions.InvalidDataError):
                await CALLS[verb](repository, age=several)

        assert await fetch_all(repository) == existing
