"""What is written to a remote collection: many records at once, what matches, and only what nobody else has written."""

import pydantic
import pytest
import starlette.responses

from flama import exceptions
from flama.client import Client, Policy
from flama.ddd import F
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.workers.http import HTTPWorker
from flama.retry import Backoff
from tests.support.rest import Service

pytestmark = pytest.mark.anyio

PEOPLE = [{"id": "a", "name": "Ann", "age": 30}, {"id": "b", "name": "Bob", "age": 20}]
AT_ONCE = Policy(backoff=Backoff(0, 0))


class People(HTTPResourceRepository):
    _resource = "/person"


class Kept(People):
    _idempotent = True


@pytest.fixture
def service():
    return Service([dict(person) for person in PEOPLE])


@pytest.fixture
async def client(service):
    async with Client(app=service, policy=AT_ONCE) as client:
        yield client


@pytest.fixture
def people(client):
    return People(client)


class TestMany:
    async def test_many_are_created_by_one_request_all_or_none(self, people, service):
        more = [{"id": "c", "name": "Cid"}, {"id": "d"}]

        assert await people.create(*more) == more
        assert [asked.body for asked in service.asked] == [more]
        with pytest.raises(exceptions.IntegrityError):
            await people.create({"id": "a"}, {"id": "e"})

    async def test_one_is_given_as_one_and_none_as_none(self, people, service):
        assert await people.create({"id": "c"}) == await people.create(data={"id": "e"}) | {"id": "c"}
        assert await people.create() == []
        assert len(service.asked) == 2

    async def test_what_is_there_is_changed(self, people, service):
        changed = await people.upsert({"id": "x", "name": "Ann", "age": 31}, {"id": "c", "name": "Cid"}, on="name")

        assert changed == [{"id": "x", "name": "Ann", "age": 31}, {"id": "c", "name": "Cid"}]
        assert service.asked[0].query == {"on": "name"}
        assert await people.upsert() == []

    async def test_what_changes_can_be_said(self, people, service):
        await people.upsert({"id": "a", "age": 1}, on=["id", "name,x"][:1], set=["age", "name"])

        assert service.asked[0].query == {"on": "id", "set": "age,name"}


class TestFinding:
    async def test_a_record_is_stored_once_and_found_then(self, people, service):
        first = await people.get_or_create({"id": "c", "name": "Cid"})
        second = await people.get_or_create({"id": "c", "name": "Dan"})

        assert first == ({"id": "c", "name": "Cid"}, True)
        assert second == ({"id": "c", "name": "Cid", "age": None}, False)
        assert [(asked.method, asked.path, asked.query) for asked in service.asked] == [
            ("POST", "/person/:get_or_create/", {})
        ] * 2

    @pytest.mark.parametrize(("on", "said"), [("name", "name"), (["name", "age"], "name,age"), (("a,b",), "a%2Cb")])
    async def test_by_what_it_is_known_can_be_said(self, people, service, on, said):
        service.first = lambda method, path: starlette.responses.JSONResponse({}, 200)

        assert await people.get_or_create({"id": "x", "name": "Ann", "age": 30}, on=on) == ({}, False)
        assert service.asked[0].query == {"on": said}

    async def test_it_is_of_the_repositorys_type(self, client):
        class Person(pydantic.BaseModel):
            id: str
            name: str | None = None

        class Typed(HTTPResourceRepository[Person]):
            _resource = "/person"

        assert await Typed(client).get_or_create(Person(id="c")) == (Person(id="c"), True)
        assert await Typed(client).get_or_create({"id": "a"}) == (Person(id="a", name="Ann"), False)

    @pytest.mark.parametrize("body", [[], [{}], 7, None])
    async def test_what_is_no_record_is_no_answer(self, people, service, body):
        service.first = lambda method, path: starlette.responses.JSONResponse(body, 201)

        with pytest.raises(exceptions.InvalidResponseError):
            await people.get_or_create({"id": "c"})

    async def test_it_is_repeated_with_its_key_alone(self, client, people, service):
        service.first = lambda method, path: (
            starlette.responses.JSONResponse({}, 503) if len(service.asked) % 2 else None
        )

        with pytest.raises(exceptions.UnavailableError) as caught:
            await people.get_or_create({"id": "c"})
        assert caught.value.maybe_applied
        service.asked.clear()
        assert await Kept(client).get_or_create({"id": "d"}) == ({"id": "d"}, True)
        assert len({asked.headers["idempotency-key"] for asked in service.asked}) == 1

    async def test_what_only_adds_records_leaves_what_is_known_of_others(self, client, people):
        await people.retrieve("a")
        await people.get_or_create({"id": "c"})
        await people.create({"id": "d"})
        await people.create({"id": "e"}, {"id": "f"})
        await People(client).update("a", {"age": 31})

        with pytest.raises(exceptions.PreconditionFailedError):
            await people.update("a", {"age": 99})


class TestMatching:
    async def test_all_that_match_are_updated(self, people, service):
        found = await people.update({"name": "X"}, F.age > 10)

        assert [record["name"] for record in found] == ["X", "X"]
        assert [record["name"] for record in await people.update({"name": "Y"}, age=20)] == ["Y"]
        assert await people.update({"name": "Z"}, age=99) == []
        assert [asked.method for asked in service.asked] == ["POST"] * 3

    async def test_one_is_updated_by_its_id_however_that_is_said(self, people):
        calls = [
            people.update("a", {"name": "1"}),
            people.update({"name": "2"}, id="a"),
            people.update(data={"name": "3"}, id="a"),
            people.update("a", data={"name": "4"}),
        ]

        assert [(await call)["name"] for call in calls] == ["1", "2", "3", "4"]

    async def test_none_is_the_id_of_no_record_however_it_is_said(self, people, service):
        calls = [
            lambda: people.update({"age": 1}, None),
            lambda: people.update({"age": 1}, id=None),
            lambda: people.update(None, {"age": 1}),
            lambda: people.update({"age": 1}, None, max_affected=1),
            lambda: people.update({"age": 1}, id=None, max_affected=1),
            lambda: people.delete(None),
        ]

        for call in calls:
            with pytest.raises(ValueError, match="None cannot be the id of a record"):
                await call()
        assert service.asked == []

    async def test_no_more_are_touched_than_may_be(self, people, service):
        for call in (people.update({"age": 1}, F.age > 0, max_affected=1), people.drop(F.age > 0, max_affected=1)):
            with pytest.raises(exceptions.MultipleRecordsError):
                await call

        assert service.people == PEOPLE
        assert [record["id"] for record in await people.update({"age": 1}, id="a", max_affected=1)] == ["a"]

    async def test_one_that_matches_is_deleted(self, people, service):
        await people.delete(F.age < 25)

        assert [person["id"] for person in service.people] == ["a"]
        with pytest.raises(exceptions.NotFoundError):
            await people.delete(age=99)

    async def test_several_that_match_are_not(self, people, service):
        with pytest.raises(exceptions.MultipleRecordsError):
            await people.delete(F.age > 0)
        assert service.people == PEOPLE

    async def test_those_that_match_are_dropped(self, people, service):
        assert await people.drop(F.age > 25) == 1
        assert await people.drop(id="nobody") == 0
        assert await people.drop() == 1
        assert [asked.method for asked in service.asked] == ["POST", "POST", "DELETE"]

    async def test_an_update_without_data_is_the_programs_mistake(self, people):
        with pytest.raises(TypeError, match="takes the data"):
            await people.update()


class TestVersions:
    async def test_what_somebody_else_has_written_is_not_overwritten(self, client, people):
        other = People(client)
        await people.retrieve("a")
        await other.update("a", {"age": 31})

        for call in (people.update("a", {"age": 99}), people.partial_update("a", {"age": 99}), people.delete("a")):
            with pytest.raises(exceptions.PreconditionFailedError):
                await call
        assert await people.retrieve("a") == {"id": "a", "name": "Ann", "age": 31}
        assert (await people.update("a", {"age": 32}))["age"] == 32

    async def test_ones_own_writes_go_on_from_one_another(self, people):
        await people.retrieve("a")

        for age in range(3):
            assert (await people.update("a", {"age": age}))["age"] == age
        await people.update({"age": 9}, F.age == 2)
        await people.delete("a")

    async def test_what_was_read_again_in_a_list_is_written_as_it_is(self, client, people):
        await people.retrieve("a")
        await People(client).update("a", {"age": 31})
        assert [record["age"] async for record in people.list(id="a")] == [31]

        assert (await people.update("a", {"age": 32}))["age"] == 32

    @pytest.mark.parametrize("headers", [{"etag": 'W/"1"'}, {"etag": '"1-gzip"', "content-encoding": "identity"}, {}])
    async def test_a_tag_that_is_of_no_use_for_a_write_is_not_sent(self, people, service, headers):
        service.first = lambda method, path: starlette.responses.JSONResponse({}, 200, headers)

        await people.retrieve("a")
        await people.update("a", {})

        assert "if-match" not in service.asked[-1].headers

    async def test_so_many_tags_are_kept_and_no_more(self, people, service):
        service.first = lambda method, path: starlette.responses.JSONResponse({}, 200, {"etag": '"1"'})
        for number in range(1_100):
            await people.retrieve(number)

        assert len(people._resource_manager._tags) == 1_000


class TestKeys:
    def failing(self, service, times, status=503):
        """The service fails so many times."""
        service.first = lambda method, path: (
            starlette.responses.JSONResponse({}, status) if len(service.asked) <= times else None
        )

    async def test_a_write_without_a_key_is_sent_once(self, people, service):
        self.failing(service, 1)

        with pytest.raises(exceptions.UnavailableError):
            await people.create({"id": "c"})
        assert len(service.asked) == 1
        assert "idempotency-key" not in service.asked[0].headers

    async def test_one_with_a_key_is_repeated_with_the_same(self, client, service):
        self.failing(service, 2)

        await Kept(client).create({"id": "c"})

        keys = [asked.headers["idempotency-key"] for asked in service.asked]
        assert len(keys) == 3
        assert len(set(keys)) == 1

    async def test_each_write_has_a_key_of_its_own(self, client, service):
        kept = Kept(client)

        await kept.create({"id": "c"})
        await kept.update({"age": 1}, F.age > 1)
        await kept.delete("c")
        await Kept(client).create({"id": "c"})

        assert len({asked.headers["idempotency-key"] for asked in service.asked}) == 4

    async def test_a_unit_that_is_repeated_has_the_same_keys(self, service):
        class Directory(HTTPWorker):
            people: Kept

        attempts = []

        async def work(worker):
            await worker.people.update("a", {"age": 1})
            await worker.people.update("b", {"age": 1})
            attempts.append(1)
            if len(attempts) == 1:
                raise exceptions.ConflictError(resource="x", retryable=True)

        await Directory("http://x", transport=Client(app=service)._transport).run(work)

        keys = [asked.headers["idempotency-key"] for asked in service.asked]
        assert keys[:2] == keys[2:]
        assert len(set(keys)) == 2

    async def test_what_the_last_attempt_says_does_not_hide_what_an_earlier_one_left_open(self, client, service):
        service.first = lambda method, path: starlette.responses.JSONResponse(
            {}, 503 if len(service.asked) == 1 else 429, {"retry-after": "99"} if len(service.asked) == 2 else {}
        )

        with pytest.raises(exceptions.TooManyRequestsError) as caught:
            await Kept(client).create({"id": "c"})
        assert caught.value.maybe_applied
