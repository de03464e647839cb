"""The contract of keyset pages."""

import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from flama import exceptions, query
from flama.query import F
from flama.testing._capabilities import Contract, requires
from flama.testing._interface import Record, Records, Repository
from flama.testing._records import ENDLESS, PEOPLE, create_each, fetch_all, fetch_names
from flama.testing._strategies import EXAMPLES, ORDERINGS, RECORDS

__all__ = ["KeysetContract"]


class KeysetContract(Contract):
    """Tests of pages that begin after a record or end before one."""

    @requires("keyset", "ordering")
    @EXAMPLES
    @hypothesis.given(records=RECORDS, orders=ORDERINGS, size=st.integers(1, 3))
    async def test_pages_tile_the_collection(
        self, repository: Repository, records: Records, orders: list[query.Order], size: int
    ) -> None:
        await repository.drop()
        stored = await create_each(repository, *records)
        whole = query.sort_records(stored, query.parse_order(orders, keys=["id"]))

        ahead = await _read_pages(repository, orders, size, "after", -1)
        back = await _read_pages(repository, orders, size, "before", 0)

        assert [*itertools.chain.from_iterable(ahead)] == whole
        assert [*itertools.chain.from_iterable(reversed(back))] == whole
        assert all(len(page) == size for page in (*ahead[:-1], *back[:-1]))

    @requires("keyset", "ordering")
    async def test_a_page_starts_after_or_ends_before_a_record(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)
        order: Record = {"order_by": ["age", "-id"]}
        whole = await fetch_all(repository, **order)

        for place, record in enumerate(whole):
            behind, ahead = whole[place + 1 :], whole[:place]
            assert await fetch_all(repository, after=record, **order) == behind
            assert await fetch_all(repository, after=record, limit=1, **order) == behind[:1]
            assert await fetch_all(repository, before=record, **order) == ahead
            assert await fetch_all(repository, before=record, limit=1, **order) == ahead[-1:]
        assert await fetch_all(repository, after=whole[0], before=whole[3], **order) == whole[1:3]

    @requires("keyset", "ordering")
    async def test_records_may_be_created_and_deleted_between_pages(self, repository: Repository) -> None:
        _, a, _, b = await create_each(repository, *PEOPLE)

        await repository.delete(id=b["id"])
        await repository.create({"id": 9, "name": "e", "age": -1})

        assert await fetch_names(repository, order_by="age", after=b) == "acd"
        assert await fetch_names(repository, order_by="age", before=a) == "e"
        assert await fetch_names(repository, order_by="age", limit=1, after={"age": 29, "id": 404}) == "a"

    @requires("keyset", "ordering", "conditions")
    async def test_a_page_contains_only_records_that_match(self, repository: Repository) -> None:
        _, _, _, b = await create_each(repository, *PEOPLE)

        assert await fetch_names(repository, F.points == 2, order_by="age", after=b) == "a"
        assert await fetch_names(repository, F.points == 0, order_by="age", after=b, limit=1) == "c"

    @requires("schema", "keyset")
    @pytest.mark.parametrize("place", [{}, {"name": "a"}, {"id": [1]}, {"id": "\ud800"}], ids=ascii)
    @pytest.mark.parametrize("side", ["after", "before"])
    async def test_an_invalid_page_boundary_is_rejected(self, repository: Repository, side: str, place: Record) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await fetch_all(repository, **{side: place})


async def _read_pages(
    repository: Repository, orders: list[query.Order], size: int, side: str, end: int
) -> list[Records]:
    pages: list[Records] = []
    place: Record = {side: None} if side == "after" else {side: await _place_after_last(repository, orders)}
    if place == {"before": None}:
        return []
    while page := await fetch_all(repository, order_by=orders, limit=size, **place):
        pages.append(page)
        place = {side: page[end]}
        assert len(pages) < ENDLESS, "the pages don't end"
    return pages


async def _place_after_last(repository: Repository, orders: list[query.Order]) -> Record | None:
    # No record is there: its fields are those of the last one, but for a greater key.
    records = await fetch_all(repository, order_by=orders, limit=ENDLESS)
    return {**records[-1], "id": records[-1]["id"] + 1} if records else None
