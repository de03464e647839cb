"""The contract of the names of fields."""

import pytest

from flama.query import F
from flama.testing._calls import CALLS, QUERIES
from flama.testing._capabilities import Contract, requires
from flama.testing._expectations import raises_integrity_error, raises_unknown_column
from flama.testing._interface import Repository
from flama.testing._records import fetch_all

__all__ = ["FieldNameContract"]


class FieldNameContract(Contract):
    """Tests of the names of fields: each has one, and errors name the unknown ones."""

    @requires("schema")
    async def test_an_unknown_field_of_the_data_is_named(self, repository: Repository) -> None:
        existing = await repository.create({"id": 1})

        with raises_unknown_column("nmae"):
            await repository.create({"nmae": "a"})
        with raises_unknown_column("nmae"):
            await repository.update({"age": 3, "nmae": "a"}, id=1)

        assert await fetch_all(repository) == existing

    @requires("schema", "bulk_create")
    async def test_an_unknown_field_of_any_record_is_named(self, repository: Repository) -> None:
        with raises_unknown_column("nmae"):
            await repository.create({"name": "a"}, {"name": "b", "nmae": "c"})

        assert await fetch_all(repository) == []

    @requires("schema", "filters")
    @pytest.mark.parametrize("verb", CALLS)
    async def test_an_unknown_filter_is_named(self, repository: Repository, verb: str) -> None:
        existing = await repository.create({"id": 1})

        with raises_unknown_column("nmae"):
            await CALLS[verb](repository, nmae="a")
        with raises_unknown_column("nmae"):
            await CALLS[verb](repository, id=1, nmae=None)

        assert await fetch_all(repository) == existing

    @requires("schema", "queries", "filters")
    @pytest.mark.parametrize("verb", QUERIES)
    async def test_an_unknown_filter_of_a_query_is_named(self, repository: Repository, verb: str) -> None:
        with raises_unknown_column("nmae"):
            await QUERIES[verb](repository, id=1, nmae="a")

    @requires("schema", "conditions")
    @pytest.mark.parametrize("verb", CALLS)
    async def test_an_unknown_field_of_a_condition_is_named(self, repository: Repository, verb: str) -> None:
        existing = await repository.create({"id": 1})

        with raises_unknown_column("nmae", "ega"):
            await CALLS[verb](repository, (F.nmae == "a") | ~(F.id == 1) & F.ega.isnull())

        assert await fetch_all(repository) == existing

    @requires("schema", "queries", "conditions")
    @pytest.mark.parametrize("verb", QUERIES)
    async def test_an_unknown_field_of_a_querys_condition_is_named(self, repository: Repository, verb: str) -> None:
        with raises_unknown_column("nmae"):
            await QUERIES[verb](repository, F.nmae == "a")

    @requires("schema", "ordering")
    async def test_an_unknown_field_of_an_ordering_is_named(self, repository: Repository) -> None:
        for order in ("nmae", "-nmae", F.nmae.asc(), ("nmae", "desc"), ["age", "nmae"]):
            with raises_unknown_column("nmae"):
                await fetch_all(repository, order_by=order)

    @requires("upserts")
    async def test_an_unknown_field_of_an_upsert_is_named(self, repository: Repository) -> None:
        with raises_unknown_column("nmae"):
            await repository.upsert({"id": 1, "nmae": "a"})
        with raises_unknown_column("nmae"):
            await repository.upsert({"id": 1, "name": "a"}, on="nmae")
        with raises_unknown_column("nmae"):
            await repository.get_or_create({"id": 1, "nmae": "a"})

        assert await fetch_all(repository) == []

    @requires("conditions", "filters", "ordering", "keyset", "queries", "upserts")
    async def test_a_field_has_the_same_name_in_every_option(self, repository: Repository) -> None:
        # A table's column may have another name than its key, by which it is a field.
        a, b, c, _ = await repository.create(
            *({"id": id, "email": email} for id, email in enumerate(["", "b", "c", None], 1))
        )

        assert await fetch_all(repository, order_by="-email", after=c, limit=1) == [b]
        assert await fetch_all(repository, order_by="email", before=b) == [a]
        assert await fetch_all(repository, F.email > "", email="c") == [c]
        assert await repository.first(F.email.startswith("b"), order_by=F.email.desc()) == b
        assert await repository.update({"email": "d"}, F.email == "b", email="b") == [{**b, "email": "d"}]
        (changed,) = await repository.upsert({"email": "c", "note": "x"}, on=["email"], set=["note"])
        assert changed == {**c, "note": "x"}
        with raises_integrity_error("member", "unique", ("email",)):
            await repository.update({"email": "d"}, F.email == "c")
