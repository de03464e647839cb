"""The contract of workers: units of work."""

import collections.abc
import contextlib
import typing as t

import pytest

from flama import exceptions
from flama.query import F
from flama.testing._calls import CALLS
from flama.testing._capabilities import Contract, requires
from flama.testing._expectations import raises_integrity_error
from flama.testing._interface import Repository, Worker
from flama.testing._records import fetch_all, fetch_names, fetch_sorted

__all__ = ["WorkerContract"]

_REJECTED_WRITES: t.Final[dict[str, collections.abc.Callable[[Repository], collections.abc.Awaitable[object]]]] = {
    "create": lambda members: members.create({"email": "a"}),
    "create of null": lambda members: members.create({"name": None}),
    "create of too much": lambda members: members.create({"points": 10**40}),
    "update": lambda members: members.update({"age": 200}, id=1),
    "update of too much": lambda members: members.update({"points": 10**40}, id=1),
    "update of none": lambda members: members.update({"nmae": "x"}),
    "delete": lambda members: members.delete(id=404),
}


class WorkerContract(Contract):
    """Tests that a worker passes, for the capabilities that a subclass declares; other tests are skipped.

    The subclass or its conftest has the fixture ``worker``: a worker with the repositories ``members``, and ``clubs``
    with "references", whose records are those of :class:`RepositoryContract`. What a test stores is deleted after it.
    """

    @requires("transactions")
    async def test_a_unit_that_succeeds_is_committed(self, worker: Worker) -> None:
        async with worker:
            await worker.members.create({"id": 1, "name": "a"})
            await worker.members.update({"name": "b"}, id=1)

        async with worker:
            assert await fetch_names(worker.members) == "b"

    @requires("transactions")
    async def test_an_exception_rolls_the_unit_back(self, worker: Worker) -> None:
        async with worker:
            await worker.members.create({"id": 1, "name": "a"})

        with contextlib.suppress(ZeroDivisionError):
            async with worker:
                await worker.members.create({"id": 2})
                await worker.members.update({"name": "b"}, id=1)
                await worker.members.delete(id=1)
                raise ZeroDivisionError

        async with worker:
            assert await fetch_names(worker.members) == "a"

    @requires("transactions")
    async def test_a_unit_reads_its_own_writes(self, worker: Worker) -> None:
        async with worker:
            created = await worker.members.create({"id": 1, "name": "a"})

            assert await worker.members.retrieve(id=1) == created[0]
            assert await fetch_all(worker.members) == created

    @requires("transactions")
    @pytest.mark.parametrize("verb", _REJECTED_WRITES)
    async def test_a_unit_continues_after_a_rejected_write(self, worker: Worker, verb: str) -> None:
        async with worker:
            await worker.members.create({"id": 1, "name": "a", "email": "a"})
            with pytest.raises(exceptions.ResourceException):
                await _REJECTED_WRITES[verb](worker.members)
            await worker.members.create({"id": 2, "name": "b"})
            assert len(await fetch_all(worker.members)) == 2

        async with worker:
            assert [record["name"] for record in await fetch_sorted(worker.members)] == ["a", "b"]

    @requires("transactions")
    @pytest.mark.parametrize("verb", _REJECTED_WRITES)
    async def test_a_unit_continues_after_a_rejected_first_write(self, worker: Worker, verb: str) -> None:
        async with worker:
            await worker.members.create({"id": 1, "name": "a", "email": "a"})

        async with worker:
            with pytest.raises(exceptions.ResourceException):
                await _REJECTED_WRITES[verb](worker.members)
            await worker.members.create({"id": 2, "name": "b"})

        async with worker:
            assert [record["name"] for record in await fetch_sorted(worker.members)] == ["a", "b"]

    @requires("transactions", "conditions")
    async def test_a_unit_continues_or_fails_after_a_rejected_read(self, worker: Worker) -> None:
        for condition in (F.name.contains("\x00"), F.points == "x", F.points == 2**70):
            with contextlib.suppress(exceptions.FlamaError):  # or the unit is stored
                async with worker:
                    await worker.members.create({"name": "a"})
                    with contextlib.suppress(exceptions.InvalidDataError):
                        await fetch_all(worker.members, condition)
                    await worker.members.create({"name": "b"})
                    stored = await fetch_sorted(worker.members)

                async with worker:
                    assert await fetch_sorted(worker.members) == stored

    @requires("transactions", "bulk_create")
    async def test_a_unit_continues_after_a_rejected_bulk_create(self, worker: Worker) -> None:
        async with worker:
            await worker.members.create({"id": 1, "email": "a"})
            with raises_integrity_error("member", "unique", ("email",)):
                await worker.members.create({"id": 2}, {"id": 3, "age": 4}, {"id": 4, "email": "a"})
            await worker.members.create({"id": 5})

        async with worker:
            assert [record["id"] for record in await fetch_sorted(worker.members)] == [1, 5]

    @requires("transactions", "references")
    async def test_a_unit_continues_after_a_rejected_deletion(self, worker: Worker) -> None:
        async with worker:
            await worker.clubs.create({"id": 1, "name": "chess"})
            await worker.members.create({"id": 1, "club": 1})
            with raises_integrity_error("club", "foreign_key"):
                await worker.clubs.delete(id=1)
            with raises_integrity_error("club", "foreign_key"):
                await worker.clubs.drop()
            await worker.members.create({"id": 2, "club": 1})

        async with worker:
            assert [record["id"] for record in await fetch_sorted(worker.members)] == [1, 2]
            assert len(await fetch_all(worker.clubs)) == 1

    @requires("transactions")
    async def test_a_unit_continues_after_commit_and_rollback(self, worker: Worker) -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with worker:
                await worker.members.create({"name": "a"})
                await worker.commit()
                await worker.members.create({"name": "b"})
                await worker.rollback()
                await worker.members.create({"name": "c"})
                await worker.commit()
                await worker.members.create({"name": "d"})
                raise ZeroDivisionError

        async with worker:
            assert sorted(await fetch_names(worker.members)) == ["a", "c"]

    @requires("transactions")
    async def test_a_nested_unit_is_rolled_back_alone(self, worker: Worker) -> None:
        async with worker:
            await worker.members.create({"name": "a"})
            with contextlib.suppress(ZeroDivisionError):
                async with worker:
                    await worker.members.create({"name": "b"})
                    raise ZeroDivisionError
            async with worker:
                await worker.members.create({"name": "c"})

        async with worker:
            assert sorted(await fetch_names(worker.members)) == ["a", "c"]

    @requires("transactions", "bulk_create")
    async def test_a_list_is_closed_with_its_unit(self, worker: Worker) -> None:
        async with worker:
            await worker.members.create(*({} for _ in range(600)))
            started, fresh = worker.members.list(), worker.members.list()
            await anext(started)

        for iterator in (started, fresh):
            with pytest.raises(exceptions.SessionClosedError):
                await anext(iterator)

    @requires("transactions")
    @pytest.mark.parametrize("verb", CALLS)
    async def test_a_repository_is_closed_with_its_unit(self, worker: Worker, verb: str) -> None:
        async with worker:
            members = worker.members

        with pytest.raises(exceptions.SessionClosedError):
            await CALLS[verb](members)
        with pytest.raises(exceptions.SessionClosedError):
            await members.create({})

    @requires("transactions", "bulk_create")
    async def test_an_unfinished_list_does_not_prevent_the_commit(self, worker: Worker) -> None:
        async with worker:
            await worker.members.create(*({} for _ in range(600)))
        async with worker:
            async for _ in worker.members.list():
                break
            await worker.members.create({"name": "last"})

        async with worker:
            assert len(await fetch_all(worker.members)) == 601

    @requires("transactions", "deferred_references")
    async def test_a_deferred_reference_may_be_fulfilled_before_the_end(self, worker: Worker) -> None:
        async with worker:
            await worker.members.create({"id": 1, "mentor": 2})
            await worker.members.create({"id": 2})

        async with worker:
            assert len(await fetch_all(worker.members)) == 2

    @requires("transactions", "deferred_references")
    async def test_the_end_rejects_a_deferred_reference_to_a_missing_record(self, worker: Worker) -> None:
        with pytest.raises(exceptions.IntegrityError) as caught:
            async with worker:
                await worker.members.create({"id": 1, "mentor": 404})

        assert caught.value.kind == "foreign_key"
        async with worker:
            assert await fetch_all(worker.members) == []
            await worker.members.create({"id": 1})

    @requires("transactions", "deferred_references")
    async def test_commit_rejects_a_deferred_reference_to_a_missing_record(self, worker: Worker) -> None:
        async with worker:
            await worker.members.create({"id": 1})

        async def commit_early() -> None:
            async with worker:
                await worker.members.update({"mentor": 404}, id=1)
                await worker.commit()

        with pytest.raises(exceptions.IntegrityError) as caught:
            await commit_early()

        assert caught.value.kind == "foreign_key"
        async with worker:
            assert (await worker.members.retrieve(id=1))["mentor"] is None

    @requires("transactions", "deferred_references", "reference_fields")
    async def test_the_error_at_the_end_names_the_deferred_foreign_key(self, worker: Worker) -> None:
        with raises_integrity_error("member", "foreign_key", ("mentor",), "member_has_mentor"):
            async with worker:
                await worker.members.create({"id": 1, "mentor": 404})
