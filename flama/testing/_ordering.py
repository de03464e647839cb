"""The contract of orderings and slices."""

import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from flama import exceptions, query
from flama.query import F
from flama.testing._capabilities import Contract, requires
from flama.testing._interface import Record, Records, Repository
from flama.testing._records import PEOPLE, create_each, fetch_all, fetch_names
from flama.testing._strategies import CONDITIONS, EXAMPLES, ORDERINGS, RECORDS

__all__ = ["OrderingContract"]

# Each with the names of the PEOPLE in this order.
_ORDERINGS: t.Final = (
    (None, "abcd"),
    ("name", "abcd"),
    ("-name", "dcba"),
    ("age", "bacd"),
    ("-age", "acbd"),
    (("age", "desc"), "acbd"),
    (["age", "-id"], "bcad"),
    ([("age", "desc"), ("id", "desc")], "cabd"),
    (F.age, "bacd"),
    (F.age.asc(nulls="first"), "dbac"),
    (F.age.desc(nulls="first"), "dacb"),
    (["points", F.age.desc()], "cabd"),
    ("note", "dabc"),
)
_INVALID_OPTIONS: t.Final[tuple[Record, ...]] = (
    {"limit": -1},
    {"limit": "3"},
    {"limit": 2.5},
    {"offset": -1},
    {"order_by": 3},
    {"order_by": [("age", "down")]},
    {"order_by": "age", "order_direction": "up"},
)


class OrderingContract(Contract):
    """Tests of ``order_by``, ``order_direction``, ``limit`` and ``offset``."""

    @requires("ordering")
    async def test_list_sorts_by_the_ordering(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        found = [(order, await fetch_names(repository, order_by=order, limit=9)) for order, _ in _ORDERINGS]

        assert [names for _, names in found] == [names for _, names in _ORDERINGS]

    @requires("ordering")
    async def test_the_direction_may_be_a_separate_option(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        assert await fetch_names(repository, order_by="age", order_direction="desc") == "acbd"
        assert await fetch_names(repository, order_by=["age", "-id"], order_direction="desc") == "cabd"
        assert await fetch_names(repository, order_direction="desc", limit=2) == "dc"

    @requires("ordering")
    async def test_ties_are_broken_by_the_key_in_every_slice(self, repository: Repository) -> None:
        await create_each(repository, *({"id": id, "name": str(id), "age": 7} for id in (3, 5, 1, 4, 2)))

        assert await fetch_names(repository, order_by="age") == "12345"
        assert await fetch_names(repository, order_by="-age") == "12345"
        slices = [await fetch_names(repository, order_by="age", limit=2, offset=n) for n in (0, 2, 4)]
        assert slices == ["12", "34", "5"]

    @requires("ordering")
    async def test_limit_and_offset_apply_after_the_ordering(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        assert await fetch_names(repository, order_by="-name", limit=1) == "d"
        assert await fetch_names(repository, order_by="age", limit=2) == "ba"
        assert await fetch_names(repository, order_by="age", limit=2, offset=1) == "ac"
        assert await fetch_names(repository, offset=3) == "d"
        assert await fetch_names(repository, limit=0) == ""
        assert await fetch_names(repository, offset=9, limit=9) == ""

    @requires("ordering", "filters")
    async def test_limit_and_offset_apply_after_the_filters(self, repository: Repository) -> None:
        await create_each(repository, *PEOPLE)

        assert await fetch_names(repository, points=2, limit=1) == "a"
        assert await fetch_names(repository, points=2, limit=1, offset=1) == "b"
        assert await fetch_names(repository, points=2, order_by="-name", limit=2, offset=1) == "a"

    @requires("ordering")
    @pytest.mark.parametrize("slice", _INVALID_OPTIONS, ids=repr)
    async def test_an_invalid_ordering_or_slice_is_rejected(self, repository: Repository, slice: Record) -> None:
        with pytest.raises(exceptions.InvalidDataError):
            await fetch_all(repository, **slice)

    @requires("conditions", "ordering", "queries")
    @EXAMPLES
    @hypothesis.given(
        records=RECORDS,
        condition=CONDITIONS,
        orders=ORDERINGS,
        slice=st.fixed_dictionaries({"limit": st.none() | st.integers(0, 8), "offset": st.integers(0, 3)}),
    )
    async def test_queries_agree_with_python(
        self,
        repository: Repository,
        records: Records,
        condition: query.Condition,
        orders: list[query.Order],
        slice: dict[str, t.Any],
    ) -> None:
        await repository.drop()
        stored = await create_each(repository, *records)
        matching = query.sort_records(filter(condition.matches, stored), query.parse_order(orders, keys=["id"]))
        found = await fetch_all(repository, condition, order_by=orders or "id", **slice)

        assert found == matching[slice["offset"] :][: slice["limit"]]
        assert await repository.count(condition) == len(matching)
        assert await repository.exists(condition) == bool(matching)
        assert await repository.first(condition, order_by=orders) == next(iter(matching), None)
