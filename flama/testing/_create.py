"""The contract of ``create``."""

import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from flama import exceptions
from flama.testing._capabilities import Contract, requires
from flama.testing._expectations import raises_integrity_error
from flama.testing._interface import Record, Repository
from flama.testing._records import create_each, fetch_all, fetch_sorted, sort_by_id
from flama.testing._strategies import EXAMPLES

__all__ = ["CreateContract"]


class CreateContract(Contract):
    """Tests of ``create``."""

    @requires("defaults")
    async def test_create_returns_the_record_as_stored(self, repository: Repository) -> None:
        (created,) = await repository.create({"name": "Ann", "email": "a@x.org", "points": 7})

        assert created["id"] is not None
        assert {"name": "Ann", "email": "a@x.org", "age": 18, "points": 7, "note": None}.items() <= created.items()
        assert await repository.retrieve(id=created["id"]) == created

    @requires("defaults")
    async def test_create_of_an_empty_record_applies_the_defaults(self, repository: Repository) -> None:
        (created,) = await repository.create({})

        assert (created["name"], created["age"], created["email"]) == ("unnamed", 18, None)
        assert await fetch_all(repository) == [created]

    async def test_none_is_stored_as_null_despite_a_default(self, repository: Repository) -> None:
        (created,) = await repository.create({"age": None})

        assert created["age"] is None
        assert (await repository.retrieve(id=created["id"]))["age"] is None

    async def test_a_key_of_none_is_generated(self, repository: Repository) -> None:
        (created,) = await repository.create({"id": None, "name": "Ann"})

        assert created["id"] is not None
        assert await repository.retrieve(id=created["id"]) == created

    async def test_an_explicit_key_is_stored(self, repository: Repository) -> None:
        (created,) = await repository.create({"id": 5, "name": "Ann"})

        assert created["id"] == 5
        assert await repository.retrieve(id=5) == created

    async def test_generated_keys_are_unique(self, repository: Repository) -> None:
        one, two = await create_each(repository, {"name": "Ann"}, {"name": "Ann"})

        assert one["id"] != two["id"]
        assert len(await fetch_all(repository)) == 2

    async def test_the_callers_data_is_not_modified(self, repository: Repository) -> None:
        data = {"name": "Ann", "note": "x"}

        (created,) = await repository.create(data)
        created["note"] = "changed"
        await repository.update(change := {"age": 3}, id=created["id"])

        assert (data, change) == ({"name": "Ann", "note": "x"}, {"age": 3})
        assert (await repository.retrieve(id=created["id"]))["note"] == "x"

    async def test_create_without_records_stores_nothing(self, repository: Repository) -> None:
        assert await repository.create() == []
        assert await fetch_all(repository) == []

    @requires("bulk_create")
    async def test_create_returns_several_records_in_order(self, repository: Repository) -> None:
        created = await repository.create({"name": "b"}, {"name": "c"}, {"name": "a"})

        assert [record["name"] for record in created] == ["b", "c", "a"]
        assert await fetch_sorted(repository) == sort_by_id(created)

    @requires("defaults", "bulk_create")
    async def test_several_records_may_have_different_fields(self, repository: Repository) -> None:
        created = await repository.create(
            {"name": "a"}, {"name": "b", "age": 3}, {"note": "c"}, {"age": 4, "name": "d"}, {}, {"age": None}
        )

        assert [(record["name"], record["age"], record["note"]) for record in created] == [
            ("a", 18, None),
            ("b", 3, None),
            ("unnamed", 18, "c"),
            ("d", 4, None),
            ("unnamed", 18, None),
            ("unnamed", None, None),
        ]
        assert await fetch_sorted(repository) == sort_by_id(created)

    @requires("bulk_create")
    async def test_more_records_than_one_statement_holds_are_returned_in_order(self, repository: Repository) -> None:
        created = await repository.create(*({"name": f"{n}", "points": n, "note": "x"} for n in range(1500)))

        assert [record["points"] for record in created] == list(range(1500))
        assert sorted(record["points"] for record in await fetch_all(repository)) == list(range(1500))

    @requires("constraints", "bulk_create")
    @pytest.mark.parametrize("last", [{"email": "a"}, {"email": "b", "age": 3}], ids=["like the first", "like another"])
    async def test_create_stores_all_records_or_none(self, repository: Repository, last: Record) -> None:
        existing = await repository.create({"email": "a"})

        with raises_integrity_error("member", "unique", ("email",)):
            await repository.create({"email": "b"}, {"email": "c"}, last)

        assert await fetch_all(repository) == existing

    @EXAMPLES
    @hypothesis.given(
        name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=32),
        points=st.none() | st.integers(-(2**31), 2**31 - 1),
    )
    async def test_stored_values_are_returned_unchanged(
        self, repository: Repository, name: str, points: int | None
    ) -> None:
        (created,) = await repository.create({"name": name, "points": points, "note": name})
        (updated,) = await repository.update({"note": name + name, "points": points}, id=created["id"])

        assert (created["name"], created["points"], created["note"]) == (name, points, name)
        assert updated == {**created, "note": name + name}
        assert await repository.retrieve(id=created["id"]) == updated

    @pytest.mark.parametrize("data", [3, "name", None, [("name", "a")]], ids=repr)
    async def test_create_rejects_what_is_not_a_record(self, repository: Repository, data: t.Any) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await repository.create(data)

        assert await fetch_all(repository) == []
