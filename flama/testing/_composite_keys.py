"""The contract of composite keys."""

import typing as t

import pytest

from flama import exceptions
from flama.testing._capabilities import Contract, requires
from flama.testing._interface import Records, Repository
from flama.testing._records import create_each, fetch_all

__all__ = ["CompositeKeyContract"]

_SEATS: t.Final = (("a", 1), ("a", 2), ("b", 1))


class CompositeKeyContract(Contract):
    """Tests of keys that consist of several fields."""

    @requires("composite_keys")
    async def test_a_composite_key_identifies_one_record(self, seats: Repository) -> None:
        a1, a2, b1 = await create_each(seats, *({"row": row, "number": number} for row, number in _SEATS))

        (updated,) = await seats.update({"holder": "Ann"}, row="a", number=2)
        await seats.delete(row="b", number=1)

        assert await seats.retrieve(row="a", number=1) == a1
        assert updated == {**a2, "holder": "Ann"}
        with pytest.raises(exceptions.NotFoundError) as caught:
            await seats.retrieve(row="b", number=1)
        assert (caught.value.resource, caught.value.id) == ("seat", {"row": "b", "number": 1})
        assert b1 == {"row": "b", "number": 1, "holder": None}

    @requires("composite_keys")
    async def test_a_part_of_a_composite_key_matches_several_records(self, seats: Repository) -> None:
        await create_each(seats, *({"row": row, "number": number} for row, number in _SEATS))

        for verb in (seats.retrieve, seats.delete):
            with pytest.raises(exceptions.MultipleRecordsError):
                await verb(row="a")

        assert len(await seats.update({"holder": "x"}, row="a")) == 2
        assert await seats.drop(number=1) == 2

    @requires("composite_keys", "ordering", "keyset")
    async def test_ties_are_broken_by_the_whole_composite_key(self, seats: Repository) -> None:
        keys = [("b", 1), ("a", 2), ("b", 2), ("a", 1), ("a", 3)]
        await create_each(seats, *({"row": row, "number": number, "holder": "x"} for row, number in keys))

        pages: list[Records] = []
        while page := await fetch_all(seats, order_by="holder", limit=2, after=pages[-1][-1] if pages else None):
            pages.append(page)

        assert [[(seat["row"], seat["number"]) for seat in page] for page in pages] == [
            [("a", 1), ("a", 2)],
            [("a", 3), ("b", 1)],
            [("b", 2)],
        ]

    @requires("composite_keys", "upserts")
    async def test_upsert_matches_by_the_whole_composite_key(self, seats: Repository) -> None:
        await seats.create({"row": "a", "number": 1})

        stored = await seats.upsert({"row": "a", "number": 2}, {"row": "a", "number": 1, "holder": "x"})
        found, created = await seats.get_or_create({"row": "a", "number": 1})

        assert [(seat["number"], seat["holder"]) for seat in stored] == [(2, None), (1, "x")]
        assert (found, created) == (stored[1], False)
        assert len(await fetch_all(seats)) == 2
