"""The contract of the methods that mean the same, and return the same, for every backend."""

from flama.testing._capabilities import Contract, requires
from flama.testing._interface import Repository
from flama.testing._records import fetch_sorted

__all__ = ["PortableContract"]


class PortableContract(Contract):
    """Tests of ``create_one``, ``create_many`` and ``list(…).all()``."""

    @requires("portable_verbs")
    async def test_create_one_returns_the_record(self, repository: Repository) -> None:
        created = await repository.create_one({"name": "Ann", "email": "a@x.org"})

        assert {"name": "Ann", "email": "a@x.org"}.items() <= created.items()
        assert await repository.retrieve(id=created["id"]) == created

    @requires("portable_verbs")
    async def test_create_many_returns_a_list_even_of_one_record(self, repository: Repository) -> None:
        one = await repository.create_many([{"name": "Ann"}])

        assert await fetch_sorted(repository) == one
        assert await repository.create_many([]) == []

    @requires("portable_verbs", "bulk_create")
    async def test_create_many_takes_any_iterable_and_keeps_its_order(self, repository: Repository) -> None:
        created = await repository.create_many({"name": name} for name in "cab")

        assert [record["name"] for record in created] == ["c", "a", "b"]
        assert len(await fetch_sorted(repository)) == 3

    @requires("portable_verbs")
    async def test_all_returns_the_records_of_a_list(self, repository: Repository) -> None:
        created = [await repository.create_one({"name": name}) for name in "ab"]

        assert sorted(await repository.list().all(), key=lambda record: record["id"]) == created

    @requires("portable_verbs", "filters", "ordering")
    async def test_all_returns_a_slice_in_its_order(self, repository: Repository) -> None:
        for name in "bca":
            await repository.create_one({"name": name})

        found = await repository.list(order_by="-name", limit=2).all()

        assert [record["name"] for record in found] == ["c", "b"]
