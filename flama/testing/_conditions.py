"""The contract of conditions."""

import typing as t

import pytest

from flama import exceptions
from flama.query import F
from flama.testing._calls import CALLS, CALLS_WITH_ID
from flama.testing._capabilities import Contract, requires
from flama.testing._interface import Repository
from flama.testing._records import PEOPLE, create_each, fetch_all, fetch_names

__all__ = ["ConditionContract"]

# Each with the names of the PEOPLE that match.
_CONDITIONS: t.Final = (
    (F.age == 30, "ac"),
    (F.age != 30, "b"),
    (F.age == 0, "b"),
    (F.age < 30, "b"),
    (F.age <= 30, "abc"),
    (F.age > 0, "ac"),
    (F.age >= 0, "abc"),
    (~(F.age == 30), "b"),
    (~~(F.age == 30), "ac"),
    (~(F.age.in_([30])), "b"),
    (~((F.age == 30) & (F.points == 2)), "bc"),
    (~((F.age == 30) | (F.points == 2)), ""),
    ((F.age == 30) | (F.age != 30), "abc"),
    (F.age.in_([0, 7]), "b"),
    (F.age.in_([]), ""),
    (~F.age.in_([]), "abcd"),
    (F.age.not_in([30]), "b"),
    (F.age.between(1, 30), "ac"),
    (F.age.is_(None), "d"),
    (F.age.is_not(None), "abc"),
    (F.age.isnull() | (F.age == 0), "bd"),
    (F.note == "ann", ""),
    (F.note == "Ann ", ""),
    (F.note > "a", "b"),
    (F.note < "a", "ad"),
    (F.note.in_(["ann_e", "ANN"]), "b"),
    (F.note.contains("nn"), "ab"),
    (F.note.contains("ann"), "b"),
    (F.note.contains("%"), "d"),
    (F.note.contains("_"), "b"),
    (F.note.contains(""), "abd"),
    (F.note.icontains("ANN"), "ab"),
    (F.note.startswith("A"), "a"),
    (F.note.istartswith("A"), "ab"),
    (F.note.endswith("0%"), "d"),
    (F.note.iendswith("E"), "b"),
    (F.note.like("_nn"), "a"),
    (F.note.like("%n\\_e"), "b"),
    (F.note.ilike("ANN%"), "ab"),
    (~F.note.contains("Ann"), "bd"),
    ((F.age == 30) & (F.points == 2) & (F.note == "Ann"), "a"),
)


class ConditionContract(Contract):
    """Tests of conditions, the positional arguments of every verb."""

    @requires("conditions")
    async def test_a_condition_matches_as_in_python(self, repository: Repository) -> None:
        created = await create_each(repository, *PEOPLE)

        found = [(condition, "".join(sorted(await fetch_names(repository, condition)))) for condition, _ in _CONDITIONS]
        matched = [(condition, [each["name"] for each in created if condition.matches(each)]) for condition, _ in found]

        assert found == list(_CONDITIONS)
        assert [(condition, "".join(sorted(names))) for condition, names in matched] == list(_CONDITIONS)

    @requires("conditions", "filters")
    async def test_conditions_and_filters_are_combined_by_and(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        assert await fetch_names(repository, F.age >= 0, F.age < 30, points=2) == "b"
        assert await fetch_names(repository, F.age >= 0, F.age < 30, points=0) == ""

    @requires("conditions", "queries")
    async def test_conditions_select_what_is_read(self, repository: Repository) -> None:
        c, a, _, _ = await create_each(repository, *PEOPLE)

        assert await repository.retrieve(F.note == "Ann") == a
        assert await repository.get(F.age == 30, F.points == 0) == c
        assert await repository.get(F.age > 30) is None
        assert await repository.first(F.age == 30) == a
        assert (await repository.count(F.age == 30), await repository.exists(F.age > 30)) == (2, False)
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.retrieve(F.age == 30)
        with pytest.raises(exceptions.NotFoundError):
            await repository.retrieve(F.age > 30)

    @requires("conditions")
    async def test_conditions_select_what_is_written(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        updated = await repository.update({"age": 1}, F.age < 30, F.note.contains("ann"))
        await repository.delete(F.note.contains("100%"))
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.delete(F.age == 30)
        dropped = await repository.drop(~(F.age == 30))

        assert [(record["name"], record["age"]) for record in updated] == [("b", 1)]
        assert dropped == 1
        assert sorted(await fetch_names(repository)) == ["a", "c"]

    @requires("schema", "conditions", "max_affected")
    async def test_max_affected_applies_to_conditions(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        for write in (repository.drop(F.age == 30, max_affected=1), repository.update({}, F.nope == 1, max_affected=1)):
            with pytest.raises((exceptions.MultipleRecordsError, exceptions.UnknownColumnError)):
                await write

        assert await repository.drop(F.age == 30, max_affected=2) == 2

    @requires("conditions")
    @pytest.mark.parametrize("clause", [F.age, True, "age > 3", F.age.asc()], ids=repr)
    async def test_a_clause_that_is_not_a_condition_is_rejected(self, repository: Repository, clause: t.Any) -> None:
        existing = await repository.create({"id": 1})

        for call in CALLS.values():
            with pytest.raises(exceptions.InvalidDataError):
                await call(repository, clause)

        assert await fetch_all(repository) == existing

    @requires("conditions")
    @pytest.mark.parametrize("verb", CALLS)
    async def test_none_is_not_a_condition(self, repository: Repository, verb: str) -> None:
        existing = await repository.create({"id": 1})
        # Where an id may be positional, None alone is one: that of no record.
        is_id = "positional_ids" in self.capabilities and verb in CALLS_WITH_ID

        with pytest.raises(ValueError if is_id else exceptions.InvalidDataError):
            await CALLS[verb](repository, None)
        with pytest.raises(exceptions.InvalidDataError):
            await CALLS[verb](repository, F.id == 1, None)

        assert await fetch_all(repository) == existing

    @requires("schema", "conditions")
    async def test_text_operators_apply_to_text_only(self, repository: Repository) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await fetch_all(repository, F.age.contains("1"))
