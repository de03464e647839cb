"""The contract of ``delete`` and ``drop``."""

import typing as t

import pytest

from flama import exceptions
from flama.testing._capabilities import Contract, requires
from flama.testing._interface import Repository
from flama.testing._records import PEOPLE, create_each, fetch_all, fetch_sorted

__all__ = ["DeleteContract"]


class DeleteContract(Contract):
    """Tests of ``delete`` and ``drop``."""

    async def test_delete_removes_only_the_record_of_a_key(self, repository: Repository) -> None:
        one, two = await create_each(repository, {"name": "a"}, {"name": "b"})

        assert await repository.delete(id=one["id"]) is None

        assert await fetch_all(repository) == [two]

    async def test_delete_of_a_missing_record_raises_not_found(self, repository: Repository) -> None:
        await repository.create({"id": 1})
        await repository.delete(id=1)

        for id in (1, 404):
            with pytest.raises(exceptions.NotFoundError) as caught:
                await repository.delete(id=id)
            assert (caught.value.resource, str(caught.value.id)) == ("member", str(id))

    @pytest.mark.parametrize("id", ["", ".", "..", "/", "?", "#", "%", "*", "../", "%2e", "nobody", None], ids=repr)
    async def test_delete_by_an_unknown_id_removes_nothing(self, repository: Repository, id: str | None) -> None:
        existing = await create_each(repository, {"id": 1}, {"id": 2})

        with pytest.raises((exceptions.NotFoundError, exceptions.InvalidDataError, ValueError)):
            await repository.delete(id=id)

        assert await fetch_sorted(repository) == existing

    @requires("filters")
    async def test_delete_requires_exactly_one_match(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        with pytest.raises(exceptions.MultipleRecordsError) as caught:
            await repository.delete(age=30)
        assert caught.value.resource == "member"
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.delete()
        with pytest.raises(exceptions.NotFoundError):
            await repository.delete(id=1, age=31)
        await repository.delete(age=None)

        assert {record["name"] for record in await fetch_all(repository)} == {"a", "b", "c"}

    async def test_drop_removes_all_records_and_returns_their_number(self, repository: Repository) -> None:
        await create_each(repository, {}, {}, {})

        assert await repository.drop() == 3
        assert await fetch_all(repository) == []
        assert await repository.drop() == 0

    @requires("filters")
    async def test_drop_removes_only_the_records_that_match(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        assert await repository.drop(age=31) == 0
        assert await repository.drop(age=30) == 2
        assert await repository.drop(age=None) == 1
        assert [record["name"] for record in await fetch_all(repository)] == ["b"]

    @requires("max_affected", "filters")
    async def test_drop_beyond_max_affected_removes_nothing(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.drop(max_affected=3)
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.drop(age=30, max_affected=1)

        assert len(await fetch_all(repository)) == 4

    @requires("max_affected", "filters")
    async def test_drop_within_max_affected_succeeds(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        assert await repository.drop(age=31, max_affected=0) == 0
        assert await repository.drop(age=30, max_affected=2) == 2
        assert await repository.drop(max_affected=9) == 2

    @requires("max_affected")
    @pytest.mark.parametrize("number", [-1, "2", 1.5, True], ids=repr)
    async def test_max_affected_must_be_a_natural_number(self, repository: Repository, number: t.Any) -> None:
        existing = await repository.create({"id": 1})

        with pytest.raises(exceptions.InvalidDataError):
            await repository.drop(max_affected=number)
        with pytest.raises(exceptions.InvalidDataError):
            await repository.update({"age": 3}, max_affected=number)

        assert await fetch_all(repository) == existing
