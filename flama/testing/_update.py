"""The contract of ``update``."""

import pytest

from flama import exceptions
from flama.testing._capabilities import Contract, requires
from flama.testing._expectations import raises_integrity_error
from flama.testing._interface import Repository
from flama.testing._records import PEOPLE, create_each, fetch_all, fetch_sorted, sort_by_id

__all__ = ["UpdateContract"]


class UpdateContract(Contract):
    """Tests of ``update``."""

    async def test_update_returns_the_changed_record(self, repository: Repository) -> None:
        one, two = await create_each(repository, {"name": "a", "age": 1}, {"name": "b", "age": 2})

        updated = await repository.update({"age": 3, "note": "x"}, id=two["id"])

        assert updated == [{**two, "age": 3, "note": "x"}]
        assert await repository.retrieve(id=two["id"]) == updated[0]
        assert await repository.retrieve(id=one["id"]) == one

    async def test_update_to_none_stores_null(self, repository: Repository) -> None:
        (created,) = await repository.create({"note": "x"})

        (updated,) = await repository.update({"note": None, "age": None}, id=created["id"])

        assert updated == {**created, "note": None, "age": None}
        assert await repository.retrieve(id=created["id"]) == updated

    async def test_update_of_a_missing_record_returns_an_empty_list(self, repository: Repository) -> None:
        existing = await repository.create({"id": 1})

        assert await repository.update({"age": 3}, id=404) == []
        assert await fetch_all(repository) == existing

    async def test_update_without_data_returns_the_records_unchanged(self, repository: Repository) -> None:
        created = await repository.create({"id": 1})

        assert await repository.update({}, id=1) == created
        assert await repository.update({}, id=404) == []
        assert await fetch_all(repository) == created

    async def test_update_can_change_a_key(self, repository: Repository) -> None:
        (created,) = await repository.create({"id": 1, "name": "a"})

        (updated,) = await repository.update({"id": 2}, id=1)

        assert updated == {**created, "id": 2}
        assert await fetch_all(repository) == [updated]

    @requires("filters")
    async def test_update_changes_every_record_that_matches(self, repository: Repository) -> None:
        c, a, d, b = await create_each(repository, *PEOPLE)

        updated = await repository.update({"age": 31}, age=30)

        assert sort_by_id(updated) == [{**a, "age": 31}, {**c, "age": 31}]
        assert await fetch_sorted(repository) == [{**a, "age": 31}, b, {**c, "age": 31}, d]

    @requires("filters")
    async def test_update_without_filters_changes_every_record(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        updated = await repository.update({"note": "x"})

        assert len(updated) == 4
        assert {record["note"] for record in await fetch_all(repository)} == {"x"}
        assert len(await repository.update({})) == 4

    @requires("constraints", "filters")
    async def test_update_changes_all_records_or_none(self, repository: Repository) -> None:
        existing = await create_each(repository, *({"id": n, "email": f"{n}"} for n in range(1, 4)))

        with raises_integrity_error("member", "unique"):
            await repository.update({"email": "x"})

        assert await fetch_sorted(repository) == existing

    @requires("max_affected", "filters")
    async def test_update_beyond_max_affected_changes_nothing(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)
        existing = await fetch_sorted(repository)

        with pytest.raises(exceptions.MultipleRecordsError) as caught:
            await repository.update({"note": "x"}, max_affected=3)
        assert caught.value.resource == "member"
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.update({"note": "x"}, age=30, max_affected=0)

        assert await fetch_sorted(repository) == existing

    @requires("max_affected", "filters")
    async def test_update_within_max_affected_succeeds(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        assert len(await repository.update({"note": "x"}, age=30, max_affected=2)) == 2
        assert len(await repository.update({"note": "y"}, max_affected=4)) == 4
        assert await repository.update({"note": "z"}, age=31, max_affected=0) == []
