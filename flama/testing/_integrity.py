"""The contract of constraints."""

import pytest

from flama import exceptions
from flama.testing._capabilities import Contract, requires
from flama.testing._expectations import raises_integrity_error
from flama.testing._interface import Repository
from flama.testing._records import create_each, fetch_all, fetch_sorted

__all__ = ["IntegrityContract"]


class IntegrityContract(Contract):
    """Tests of writes that violate a constraint."""

    @requires("constraints")
    async def test_a_duplicate_value_violates_unique(self, repository: Repository) -> None:
        existing = await create_each(repository, {"id": 1, "email": "a"}, {"id": 2, "email": "b"})

        with raises_integrity_error("member", "unique", ("email",)):
            await repository.create({"email": "a"})
        with raises_integrity_error("member", "unique", ("email",)):
            await repository.update({"email": "a"}, id=2)

        assert await fetch_sorted(repository) == existing

    @requires("constraints")
    async def test_a_duplicate_key_violates_unique(self, repository: Repository) -> None:
        existing = await create_each(repository, {"id": 1, "name": "a"}, {"id": 2, "name": "b"})

        with raises_integrity_error("member", "unique", ("id",)):
            await repository.create({"id": 1, "name": "c"})
        with raises_integrity_error("member", "unique", ("id",)):
            await repository.update({"id": 1}, id=2)

        assert await fetch_sorted(repository) == existing

    async def test_nulls_are_not_duplicates(self, repository: Repository) -> None:
        await create_each(repository, {"email": None}, {"email": None})

        assert len(await fetch_all(repository)) == 2

    @requires("constraints")
    async def test_null_violates_not_null(self, repository: Repository) -> None:
        existing = await repository.create({"id": 1})

        with raises_integrity_error("member", "not_null", ("name",)):
            await repository.create({"name": None})
        with raises_integrity_error("member", "not_null", ("name",)):
            await repository.update({"name": None}, id=1)

        assert await fetch_all(repository) == existing

    @requires("constraints")
    async def test_a_value_out_of_bounds_violates_check(self, repository: Repository) -> None:
        existing = await repository.create({"id": 1})

        with raises_integrity_error("member", "check", constraint="age_is_human"):
            await repository.create({"age": 150})
        with raises_integrity_error("member", "check", constraint="age_is_human"):
            await repository.update({"age": 200}, id=1)

        assert await fetch_all(repository) == existing

    @requires("constraints")
    async def test_an_integrity_error_contains_no_values(self, repository: Repository) -> None:
        await repository.create({"email": "secret"})

        with pytest.raises(exceptions.IntegrityError) as caught:
            await repository.create({"email": "secret", "note": "private"})

        assert "secret" not in str(caught.value)
        assert "private" not in str(caught.value)

    @requires("references")
    async def test_a_missing_value_without_a_default_violates_not_null(self, clubs: Repository) -> None:
        with raises_integrity_error("club", "not_null", ("name",)):
            await clubs.create({})

        assert await fetch_all(clubs) == []

    @requires("references")
    async def test_a_reference_to_a_missing_record_violates_foreign_key(
        self, repository: Repository, clubs: Repository
    ) -> None:
        (club,) = await clubs.create({"name": "chess"})
        existing = await repository.create({"id": 1, "club": club["id"]})

        with raises_integrity_error("member", "foreign_key"):
            await repository.create({"club": 404})
        with raises_integrity_error("member", "foreign_key"):
            await repository.update({"club": 404}, id=1)

        assert await fetch_all(repository) == existing

    @requires("references")
    async def test_a_referenced_record_cannot_be_removed(self, repository: Repository, clubs: Repository) -> None:
        existing = await create_each(clubs, {"id": 1, "name": "chess"}, {"id": 2, "name": "go"})
        await repository.create({"club": 2})

        with raises_integrity_error("club", "foreign_key"):
            await clubs.delete(id=2)
        with raises_integrity_error("club", "foreign_key"):
            await clubs.drop()
        with raises_integrity_error("club", "foreign_key"):
            await clubs.update({"id": 3}, id=2)

        assert await fetch_sorted(clubs) == existing
        await repository.drop()
        assert await clubs.drop() == 2

    @requires("references", "reference_fields")
    async def test_an_error_names_the_foreign_key_of_the_written_record(
        self, repository: Repository, clubs: Repository
    ) -> None:
        (club,) = await clubs.create({"name": "chess"})
        await repository.create({"id": 1, "club": club["id"]})

        with raises_integrity_error("member", "foreign_key", ("club",), "member_has_club"):
            await repository.create({"club": 404})
        with raises_integrity_error("member", "foreign_key", ("club",), "member_has_club"):
            await repository.update({"club": 404}, id=1)

    @requires("references", "reference_fields")
    @pytest.mark.parametrize("verb", ["delete", "drop", "update"])
    async def test_an_error_names_the_foreign_key_that_references_the_record(
        self, repository: Repository, clubs: Repository, verb: str
    ) -> None:
        await clubs.create({"id": 1, "name": "chess"})
        await repository.create({"club": 1})

        with raises_integrity_error("club", "foreign_key", ("club",), "member_has_club"):
            match verb:
                case "delete":
                    await clubs.delete(id=1)
                case "drop":
                    await clubs.drop()
                case _:
                    await clubs.update({"id": 2}, id=1)

    @requires("composite_keys")
    async def test_a_duplicate_composite_key_is_named_by_all_its_fields(self, seats: Repository) -> None:
        existing = await seats.create({"row": "a", "number": 1})

        with raises_integrity_error("seat", "unique", ("row", "number")):
            await seats.create({"row": "a", "number": 1, "holder": "x"})

        assert await fetch_all(seats) == existing
