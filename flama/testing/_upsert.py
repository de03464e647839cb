"""The contract of ``upsert`` and ``get_or_create``."""

import pytest

from flama import exceptions
from flama.testing._capabilities import Contract, requires
from flama.testing._expectations import raises_integrity_error
from flama.testing._interface import Repository
from flama.testing._records import create_each, fetch_all, fetch_sorted, sort_by_id

__all__ = ["UpsertContract"]


class UpsertContract(Contract):
    """Tests of ``upsert`` and ``get_or_create``."""

    @requires("upserts")
    async def test_upsert_inserts_new_records_and_updates_existing_ones(self, repository: Repository) -> None:
        (old,) = await repository.create({"email": "a", "name": "A", "note": "x"})

        stored = await repository.upsert({"email": "b", "name": "B"}, {"email": "a", "name": "Ä"}, on="email")

        assert [(record["email"], record["name"], record["age"]) for record in stored] == [
            ("b", "B", 18),
            ("a", "Ä", 18),
        ]
        assert stored[1] == {**old, "name": "Ä"}
        assert await fetch_sorted(repository) == sort_by_id(stored)

    @requires("upserts")
    async def test_upsert_matches_by_the_key_by_default(self, repository: Repository) -> None:
        (old,) = await repository.create({"name": "A"})

        changed, new = await repository.upsert({"id": old["id"], "name": "B"}, {"name": "C"})

        assert changed == {**old, "name": "B"}
        assert (new["name"], new["id"] != old["id"]) == ("C", True)
        assert await repository.upsert() == []

    @requires("upserts")
    async def test_upsert_updates_only_the_fields_in_set(self, repository: Repository) -> None:
        (old,) = await repository.create({"email": "a", "name": "A", "age": 1})

        (changed,) = await repository.upsert({"email": "a", "name": "B", "age": 2}, on="email", set=["age"])
        (same,) = await repository.upsert({"email": "a", "name": "B", "age": 3}, on="email", set=())

        assert changed == same == {**old, "age": 2}

    @requires("upserts")
    async def test_upsert_stores_all_records_or_none(self, repository: Repository) -> None:
        existing = await repository.create({"email": "a", "name": "A"})

        with raises_integrity_error("member", "check", constraint="age_is_human"):
            await repository.upsert({"email": "b"}, {"email": "a", "name": "B"}, {"email": "c", "age": 200}, on="email")

        assert await fetch_all(repository) == existing

    @requires("upserts")
    async def test_upsert_rejects_a_duplicate_of_another_record(self, repository: Repository) -> None:
        existing = await create_each(repository, {"id": 1, "email": "a"}, {"id": 2, "email": "b"})

        with raises_integrity_error("member", "unique", ("email",)):
            await repository.upsert({"id": 1, "email": "b"})

        assert await fetch_sorted(repository) == existing

    @requires("upserts")
    async def test_upsert_never_matches_by_null(self, repository: Repository) -> None:
        await repository.upsert({"email": None}, {"email": None}, on="email")

        assert len(await fetch_all(repository)) == 2

    @requires("upserts")
    @pytest.mark.parametrize("verb", ["upsert", "get_or_create"])
    async def test_the_fields_to_match_by_are_required(self, repository: Repository, verb: str) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await getattr(repository, verb)({"name": "A"}, on="email")

        assert await fetch_all(repository) == []

    @requires("upserts")
    async def test_upsert_rejects_duplicates_in_its_data(self, repository: Repository) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await repository.upsert({"email": "a"}, {"email": "b"}, {"email": "a", "name": "A"}, on="email")

        assert await fetch_all(repository) == []

    @requires("upserts")
    async def test_get_or_create_stores_a_record_once(self, repository: Repository) -> None:
        first, created = await repository.get_or_create({"email": "a", "name": "A"}, on="email")
        second, again = await repository.get_or_create({"email": "a", "name": "B"}, on="email")

        assert (created, again) == (True, False)
        assert second == first
        assert await fetch_all(repository) == [first]

    @requires("upserts")
    async def test_get_or_create_rejects_null_to_match_by(self, repository: Repository) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await repository.get_or_create({"email": None}, on="email")

    @requires("upserts")
    async def test_get_or_create_raises_the_errors_of_create(self, repository: Repository) -> None:
        existing = await repository.create({"id": 1, "email": "a"})

        with raises_integrity_error("member", "check"):
            await repository.get_or_create({"email": "b", "age": 200}, on="email")
        with raises_integrity_error("member", "unique"):
            await repository.get_or_create({"id": 1, "email": "b"}, on="email")

        assert await fetch_all(repository) == existing
