"""What is asked of a remote collection, by conditions, in an order, page by page or as a stream."""

import asyncio
import datetime
import decimal
import gc
import json
import uuid

import pytest
import sqlalchemy as sa
import starlette.responses

from flama import exceptions
from flama.client import Client, Policy
from flama.ddd import F
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.rest import ndjson
from tests.support.rest import Service
from tests.support.scripted import answer, scripted

pytestmark = pytest.mark.anyio

PEOPLE = [
    {"id": "a", "name": "Ann", "age": 30},
    {"id": "b", "name": "Bob", "age": None},
    {"id": "c", "name": "Cid", "age": 20},
    {"id": "d", "name": "Dan", "age": 30},
]


class People(HTTPResourceRepository):
    _resource = "/person"
    _page_size = 10


@pytest.fixture
def service():
    return Service([dict(person) for person in PEOPLE])


@pytest.fixture(params=["in process", "socket"])
async def people(request, service, serve):
    async def living(scope, receive, send):
        if scope["type"] == "http":
            await service(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})

    arguments = {"app": living} if request.param == "in process" else {"base_url": serve(living)}
    async with Client(**arguments) as client:
        yield People(client)


async def ids(records):
    return "".join([record["id"] async for record in records])


async def gathered(records, seen):
    async for record in records:
        seen.append(record)


class TestConditions:
    @pytest.mark.parametrize(
        ("clauses", "filters", "found"),
        [
            ((), {}, "abcd"),
            ((), {"age": 30}, "ad"),
            ((), {"age": None}, "b"),
            ((F.age > 20, F.name != "Dan"), {}, "a"),
            (((F.age == 20) | F.age.isnull(),), {}, "bc"),
            ((~(F.age == 30),), {"name": "Cid"}, "c"),
            ((F.age.in_([20, 30]),), {}, "acd"),
            ((F.age.in_([]),), {}, ""),
            ((F.name.startswith("D"),), {}, "d"),
        ],
    )
    async def test_those_come_on_which_all_hold(self, people, clauses, filters, found):
        assert await ids(people.list(*clauses, **filters)) == found
        assert await people.count(*clauses, **filters) == len(found)
        assert await people.exists(*clauses, **filters) is bool(found)

    async def test_values_travel_as_what_they_are(self, service):
        moment = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
        service.first = lambda method, path: starlette.responses.JSONResponse({"data": []})

        async with Client(app=service) as client:
            await ids(People(client).list(at=moment, price=decimal.Decimal("1.50"), key=uuid.UUID(int=1), on=True))

        assert {name: service.asked[0].query[name] for name in ("at", "price", "key")} == {
            "at": "eq:2026-01-02T03:04:00+00:00",
            "price": "eq:1.50",
            "key": "eq:00000000-0000-0000-0000-000000000001",
        }

    @pytest.mark.parametrize("clause", [sa.column("age") > 1, sa.text("age > 1"), sa.true(), "age", 7])
    async def test_what_is_no_condition_is_refused_and_nothing_sent(self, people, service, clause):
        calls = [
            lambda: ids(people.list(clause)),
            lambda: people.count(clause),
            lambda: people.first(clause),
            lambda: people.drop(clause),
            lambda: people.update({"age": 1}, clause, F.age > 1),
            lambda: people.retrieve(clause, F.age > 1),
        ]

        for call in calls:
            with pytest.raises(exceptions.InvalidDataError, match="a condition of F"):
                await call()
        assert service.asked == []

    @pytest.mark.parametrize("clause", [sa.column("id") == "a", F.id, F.id.desc()], ids=str)
    async def test_nor_is_a_clause_of_sqlalchemy_or_what_f_makes_taken_for_an_id(self, people, service, clause):
        for call in (people.retrieve, people.get, people.delete, lambda clause: people.update({"age": 1}, clause)):
            with pytest.raises(exceptions.InvalidDataError, match="a condition of F"):
                await call(clause)
        assert service.asked == []

    async def test_a_field_that_is_not_there_is_told_by_the_service(self, people):
        with pytest.raises(exceptions.UnknownColumnError) as caught:
            await ids(people.list(nmae="Ann"))

        assert caught.value.names == ("nmae",)


class TestOne:
    async def test_it_is_asked_for_by_id_in_one_request(self, people, service):
        assert await people.retrieve("a") == await people.retrieve(id="a") == await people.get("a") == PEOPLE[0]

        assert {asked.path for asked in service.asked} == {"/person/a/"}

    async def test_or_by_what_only_it_has(self, people):
        assert await people.retrieve(name="Bob") == PEOPLE[1]
        assert await people.get(F.age == 20) == PEOPLE[2]
        assert await people.retrieve(id="a", age=30) == PEOPLE[0]

    async def test_none_is_not_found_or_none(self, people):
        for clauses, filters in [((), {"id": "z"}), ((), {"name": "Zoe"}), ((F.age > 99,), {})]:
            assert await people.get(*clauses, **filters) is None
            with pytest.raises(exceptions.NotFoundError):
                await people.retrieve(*clauses, **filters)

    async def test_several_are_too_many(self, people):
        for call in (people.retrieve, people.get):
            with pytest.raises(exceptions.MultipleRecordsError):
                await call(age=30)
            with pytest.raises(exceptions.MultipleRecordsError):
                await call()

    async def test_the_first_is_that_of_the_order(self, people, service):
        assert (await people.first(order_by="-name"))["id"] == "d"
        assert (await people.first(F.age == 30))["id"] == "a"
        assert await people.first(name="Zoe") is None
        assert len(service.asked) == 3


class TestOrders:
    @pytest.mark.parametrize(
        ("order", "found"),
        [
            ({"order_by": "name", "order_direction": "desc"}, "dcba"),
            ({"order_by": "-age"}, "adcb"),
            ({"order_by": ["age", "-name"]}, "cdab"),
            ({"order_by": F.age.desc(nulls="first")}, "badc"),
        ],
    )
    async def test_records_come_in_the_order_that_is_asked_for(self, people, order, found):
        assert await ids(people.list(**order)) == found

    async def test_an_order_that_is_none_is_refused(self, people, service):
        for order in ({"order_by": 7}, {"order_by": "age", "order_direction": "up"}):
            with pytest.raises(exceptions.InvalidDataError):
                await ids(people.list(**order))
        assert service.asked == []


@pytest.fixture(params=["page_number", "limit_offset", "cursor"])
def style(request, service):
    service.style = request.param
    return request.param


class TestPages:
    @pytest.fixture(autouse=True)
    def many(self, service):
        service.people = [{"id": f"{number:03}", "name": "", "age": number} for number in range(95)]

    @pytest.mark.parametrize("most", [1000, 7], ids=["asked size", "smaller pages"])
    @pytest.mark.parametrize("limit", [None, 0, 1, 11, 200])
    @pytest.mark.parametrize("offset", [None, 3, 10, 95])
    async def test_a_slice_is_what_it_says(self, service, style, most, limit, offset):
        service.most = most
        expected = [person["id"] for person in service.people][offset or 0 :][:limit]

        async with Client(app=service) as client:
            found = People(client).list(limit=limit, offset=offset, pagination=style)
            assert [person["id"] async for person in found] == expected

    async def test_there_is_no_request_more_than_there_are_pages(self, people, service, style):
        assert len([person async for person in people.list(pagination=style)]) == 95
        assert len(service.asked) == 10

        service.asked.clear()
        assert len([person async for person in people.list(pagination=style, limit=20)]) == 20
        assert len(service.asked) == 2

    async def test_the_next_page_is_asked_for_while_this_one_is_used(self, people, service, style):
        seen = []
        records = people.list(pagination=style)
        async for record in records:
            seen.append(record)
            if len(seen) == 10:
                await asyncio.sleep(0.05)
                assert len(service.asked) == 2
                break
        await records.aclose()

        assert len(service.asked) == 2

    async def test_who_wants_but_the_first_asks_for_one_page(self, people, service, style):
        await anext(aiter(people.list(pagination=style)))

        assert len(service.asked) == 1

    async def test_leaving_early_leaves_nothing_behind(self, service, style):
        before = asyncio.all_tasks()
        async with Client(app=service) as client:
            for most in range(1, 30):
                records = People(client).list(pagination=style)
                for _ in range(most):
                    await anext(records)
                await records.aclose()
                assert asyncio.all_tasks() == before

    async def test_a_page_that_was_asked_for_ahead_fails_when_its_turn_comes(self, people, service):
        service.first = lambda method, path: (
            starlette.responses.JSONResponse({}, 403) if len(service.asked) == 2 else None
        )
        seen = []

        with pytest.raises(exceptions.PermissionDeniedError):
            await gathered(people.list(), seen)
        assert len(seen) == 10

    async def test_a_list_that_outlives_its_unit_says_so(self, people):
        records = people.list()
        await anext(records)
        await people._client.aclose()

        with pytest.raises(exceptions.SessionClosedError):
            await anext(records)

    async def test_a_slice_begins_or_ends_next_to_a_record(self, people, service):
        service.people = [{"id": f"{number:02}", "name": "", "age": number // 3} for number in range(30)]
        order = {"order_by": "-age"}
        whole = [record async for record in people.list(**order)]
        for place in (0, 7, 29):
            after = people.list(**order, after=whole[place], limit=4)
            before = people.list(**order, before=whole[place], limit=4)
            assert [record async for record in after] == whole[place + 1 :][:4]
            assert [record async for record in before] == whole[:place][-4:]

        between = people.list(**order, after=whole[3], before=whole[9])
        assert [record async for record in between] == whole[4:9]

    async def test_a_page_can_be_taken_of_what_is_listed(self, people):
        listed = people.list(F.age > 10, order_by="-id", offset=2).query

        assert listed.keyset_columns is None
        assert await listed.count() == 82
        assert [person["id"] async for person in listed.slice(2, 1)] == ["091", "090"]
        assert people.list(after={"id": "1"}).query is None

    async def test_a_slice_that_is_none_is_refused(self, people, service):
        for slice in ({"limit": -1}, {"offset": -1}):
            with pytest.raises(exceptions.InvalidDataError):
                await ids(people.list(**slice))
        assert service.asked == []


class TestStreams:
    async def test_all_come_by_one_request(self, people, service):
        assert await ids(people.list(F.age == 30, order_by="-name", stream=True)) == "da"

        [asked] = service.asked
        assert asked.headers["accept"] == "application/x-ndjson"

    async def test_a_service_that_does_not_stream_is_told(self, people, service):
        service.first = lambda method, path: starlette.responses.JSONResponse({"data": []})

        with pytest.raises(exceptions.InvalidResponseError, match="answered with application/json"):
            await ids(people.list(stream=True))

    async def test_a_refusal_is_the_error_that_it_is(self, people):
        with pytest.raises(exceptions.UnknownColumnError):
            await ids(people.list(nmae="Ann", stream=True))

    @pytest.mark.parametrize(
        ("lines", "error"),
        [
            (b'{"id": "a"}\n{"id": ', exceptions.InvalidResponseError),
            (b'{"id": "a"}\n[1]\n', exceptions.InvalidResponseError),
            (b'{"id": "a"}\n\xff\n', exceptions.InvalidResponseError),
            (b'{"id": "a"}\n' + ndjson.encode(exceptions.ConflictError(resource="x")), exceptions.ConflictError),
        ],
        ids=["cut", "no record", "no text", "an error"],
    )
    async def test_a_stream_that_fails_fails(self, lines, error):
        whole = answer(200, lines, "content-type: application/x-ndjson")

        async with scripted(whole) as server, Client(base_url=server.url) as client:
            with pytest.raises(error):
                await ids(People(client).list(stream=True))

    async def test_a_stream_that_breaks_off_is_unavailable(self):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(b'c\r\n{"id": "a"}\n\r\n')
            writer.close()

        seen = []
        async with scripted(script) as server, Client(base_url=server.url) as client:
            with pytest.raises(exceptions.UnavailableError):
                await gathered(People(client).list(stream=True), seen)

        assert seen == [{"id": "a"}]

    async def test_it_is_read_as_fast_as_it_is_used_and_ends_with_the_loop(self):
        line = json.dumps({"id": "a", "text": "x" * 1_000}).encode() + b"\n"
        sent = []
        ended = asyncio.Event()

        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
            try:
                while True:
                    writer.write(b"%x\r\n%b\r\n" % (100 * len(line), 100 * line))
                    await writer.drain()
                    sent.append(100)
                    await asyncio.sleep(0)
            finally:
                ended.set()

        async with scripted(script) as server, Client(base_url=server.url) as client:
            records = People(client).list(stream=True)
            for _ in range(10):
                await anext(records)
            await asyncio.sleep(0.05)
            assert sum(sent) < 30_000  # what the sockets of both sides hold
            del records
            gc.collect()
            async with asyncio.timeout(5):
                await ended.wait()

    async def test_a_line_without_end_is_not_kept(self):
        async def script(asked, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                await writer.drain()

        policy = Policy(max_size=1_000_000)
        async with scripted(script) as server, Client(base_url=server.url, policy=policy) as client:
            with pytest.raises(exceptions.InvalidResponseError, match="1,000,000 bytes"):
                await ids(People(client).list(stream=True))
