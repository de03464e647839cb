"""The contract of ``list``."""

import typing as t

from flama.testing._capabilities import Contract, requires
from flama.testing._expectations import raises_integrity_error
from flama.testing._interface import Record, Repository
from flama.testing._records import PEOPLE, create_each, fetch_all, fetch_sorted, sort_by_id

__all__ = ["ListContract"]

_FILTERS: t.Final[tuple[Record, ...]] = (
    {"age": 30},
    {"age": 30, "points": 2},
    {"age": None},
    {"age": 0},
    {"age": 30, "points": None},
)


class ListContract(Contract):
    """Tests of ``list`` and of iterations over it."""

    async def test_list_yields_every_record_once(self, repository: Repository) -> None:
        created = await create_each(repository, {"id": 2, "name": "b"}, {"id": 1, "name": "a"})

        assert await fetch_sorted(repository) == sort_by_id(created)

    async def test_list_of_an_empty_collection_yields_nothing(self, repository: Repository) -> None:
        assert await fetch_all(repository) == []

    async def test_each_list_reads_the_collection_again(self, repository: Repository) -> None:
        await repository.create({"name": "a"})
        before = await fetch_all(repository)
        await repository.create({"name": "b"})

        assert len(before) == 1
        assert len(await fetch_all(repository)) == 2

    async def test_list_reads_nothing_before_its_first_record_is_awaited(self, repository: Repository) -> None:
        iterator = repository.list()
        await repository.create({"name": "a"})

        assert [record["name"] async for record in iterator] == ["a"]

    @requires("bulk_create")
    async def test_a_long_list_yields_every_record(self, repository: Repository) -> None:
        await repository.create(*({"points": n} for n in range(1300)))

        found = await fetch_all(repository)

        assert sorted(record["points"] for record in found) == list(range(1300))
        assert len({record["id"] for record in found}) == 1300

    @requires("bulk_create")
    async def test_an_iteration_may_stop_early(self, repository: Repository) -> None:
        await repository.create(*({"points": n} for n in range(600)))

        async for record in repository.list():
            assert record["points"] in range(600)
            break
        await repository.create({"points": 600})

        assert len(await fetch_all(repository)) == 601

    @requires("bulk_create")
    async def test_records_may_be_read_during_an_iteration(self, repository: Repository) -> None:
        await repository.create(*({"points": n} for n in range(600)))

        seen, inner = 0, 0
        async for record in repository.list():
            seen += 1
            if record["points"] in (0, 299, 599):
                assert await repository.retrieve(id=record["id"]) == record
                inner += len(await fetch_all(repository))

        assert (seen, inner) == (600, 1800)

    @requires("bulk_create")
    async def test_records_may_be_written_during_an_iteration(self, repository: Repository) -> None:
        await repository.create(*({"points": n} for n in range(600)))

        async for record in repository.list():
            if record["points"] % 100 == 0:
                await repository.update({"note": "hundred"}, id=record["id"])

        assert sum(record.get("note") == "hundred" for record in await fetch_all(repository)) == 6

    @requires("constraints", "bulk_create")
    async def test_an_iteration_continues_after_a_rejected_write(self, repository: Repository) -> None:
        await repository.create(*({"points": n} for n in range(600)))

        seen = 0
        async for record in repository.list():
            seen += 1
            if record["points"] in (0, 299):
                with raises_integrity_error("member", "check"):
                    await repository.update({"age": 200}, id=record["id"])

        assert seen == 600

    @requires("filters")
    async def test_filters_are_combined_by_and(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        found = [{record["name"] for record in await fetch_all(repository, **filters)} for filters in _FILTERS]

        assert found == [{"a", "c"}, {"a"}, {"d"}, {"b"}, set()]
