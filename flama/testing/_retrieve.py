"""The contract of the verbs that read one record, or count them."""

import pytest

from flama import exceptions
from flama.testing._calls import CALLS, CALLS_WITH_ID
from flama.testing._capabilities import Contract, requires
from flama.testing._interface import Repository
from flama.testing._records import PEOPLE, create_each, fetch_all

__all__ = ["RetrieveContract"]


class RetrieveContract(Contract):
    """Tests of ``retrieve``, ``get``, ``first``, ``count`` and ``exists``."""

    async def test_retrieve_returns_the_record_of_a_key(self, repository: Repository) -> None:
        one, two = await create_each(repository, {"name": "a"}, {"name": "b"})

        assert await repository.retrieve(id=two["id"]) == two
        assert await repository.retrieve(id=one["id"]) == one

    async def test_retrieve_of_a_missing_record_raises_not_found(self, repository: Repository) -> None:
        await create_each(repository, {"id": 1})

        with pytest.raises(exceptions.NotFoundError) as caught:
            await repository.retrieve(id=404)
        assert (caught.value.resource, str(caught.value.id)) == ("member", "404")

    @requires("filters")
    async def test_retrieve_returns_the_one_record_that_matches(self, repository: Repository) -> None:
        c, a, d, _ = await create_each(repository, *PEOPLE)

        assert await repository.retrieve(age=30, points=0) == c
        assert await repository.retrieve(id=1, age=30) == a
        assert await repository.retrieve(age=None) == d
        with pytest.raises(exceptions.NotFoundError):
            await repository.retrieve(id=1, age=31)

    @requires("filters")
    async def test_retrieve_raises_if_several_records_match(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        with pytest.raises(exceptions.MultipleRecordsError) as caught:
            await repository.retrieve(age=30)
        assert caught.value.resource == "member"
        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.retrieve()

    @requires("positional_ids")
    async def test_an_id_may_be_positional(self, repository: Repository) -> None:
        one, two = await create_each(repository, {"name": "a"}, {"name": "b"})

        assert await repository.retrieve(two["id"]) == two
        assert await repository.delete(two["id"]) is None

        for verb in (repository.retrieve, repository.delete):
            with pytest.raises(exceptions.NotFoundError):
                await verb(two["id"])
        assert await fetch_all(repository) == [one]

    @requires("positional_ids")
    @pytest.mark.parametrize("id", ["", ".", "..", None], ids=repr)
    async def test_an_id_that_no_path_can_hold_is_rejected(self, repository: Repository, id: str | None) -> None:
        existing = await repository.create({"id": 1})

        for verb in sorted(CALLS_WITH_ID):
            with pytest.raises(ValueError, match="id of a record"):
                await CALLS[verb](repository, id)
            with pytest.raises(ValueError, match="id of a record"):
                await CALLS[verb](repository, id=id)

        assert await fetch_all(repository) == existing

    @requires("queries")
    async def test_get_returns_none_for_a_missing_record(self, repository: Repository) -> None:
        (created,) = await repository.create({"id": 1})

        assert await repository.get(id=1) == created
        assert await repository.get(id=404) is None

    @requires("queries", "filters")
    async def test_get_raises_if_several_records_match(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        with pytest.raises(exceptions.MultipleRecordsError):
            await repository.get(age=30)

    @requires("queries")
    async def test_an_empty_collection_has_no_first_record_and_a_count_of_zero(self, repository: Repository) -> None:
        assert await repository.first() is None
        assert await repository.count() == 0
        assert await repository.exists() is False

    @requires("queries", "filters")
    async def test_count_and_exists_apply_the_filters(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        counts = [await repository.count(**filters) for filters in ({}, {"age": 30}, {"age": None}, {"age": 31})]
        exist = [await repository.exists(**filters) for filters in ({}, {"age": 30}, {"age": None}, {"age": 31})]

        assert counts == [4, 2, 1, 0]
        assert exist == [True, True, True, False]

    @requires("queries", "filters", "ordering")
    async def test_first_returns_the_first_record_of_the_ordering(self, repository: Repository) -> None:
        c, a, _, b = await create_each(repository, *PEOPLE)

        assert await repository.first() == a
        assert await repository.first(order_by="age") == b
        assert await repository.first(age=30, order_by="-id") == c
        assert await repository.first(age=31) is None
