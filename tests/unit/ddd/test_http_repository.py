"""Repositories of a remote collection, against applications written by hand, in this process and over a socket."""

import asyncio
import datetime
import decimal
import enum
import gzip
import json
import socket
import urllib.parse
import uuid

import pytest
import starlette.applications
import starlette.responses
import starlette.routing

from flama import exceptions
from flama.client import Client, UnsupportedProtocol
from flama.ddd.repositories.http import HTTPRepository, HTTPResourceManager, HTTPResourceRepository
from flama.rest import errors, paging
from flama.rest.operations import OPERATIONS

pytestmark = pytest.mark.anyio


class Users(HTTPResourceRepository):
    _resource = "/user"
    _page_size = 10


class Directory:
    """A REST resource as the reference's, kept in a dictionary, served by Starlette."""

    def __init__(self, records=(), *, style="page_number", most=1000, default=10):
        self.records = {record["id"]: record for record in records}
        self.requests = []
        self._style, self._most, self._default = style, most, default
        operations = [self.create, self.list, self.retrieve, self.update, self.partial_update, self.delete]
        operations += [self.replace, self.partial_replace, self.drop]
        self.app = starlette.applications.Starlette(routes=[self._route(operation) for operation in operations])

    def _route(self, function):
        operation = OPERATIONS[function.__name__]
        path = {"collection": "/user/", "element": "/user/{id:path}/"}[operation.kind]

        async def endpoint(request):
            self.requests.append((request.method, request.scope["raw_path"].decode(), dict(request.query_params)))
            # The raw path is what tells one segment from two.
            id = urllib.parse.unquote(request.scope["raw_path"].decode().split("/")[2])
            body = json.loads(await request.body() or "null")
            try:
                answer = function(*([id] if operation.kind == "element" else []), *([body] if body is not None else []))
                if function == self.list:
                    answer = self._page(request.query_params)
            except exceptions.ResourceException as error:
                status, answer, headers = errors.encode(error)
                return starlette.responses.JSONResponse(answer, status, headers)
            if operation.status == 204:
                return starlette.responses.Response(status_code=204)
            return starlette.responses.JSONResponse(answer, operation.status)

        return starlette.routing.Route(path, endpoint, methods=[operation.method])

    def _page(self, query):
        page = paging.decode(self._style, query)
        asked = "page_size" if self._style == "page_number" else "limit"
        limit = min(page.limit if asked in query else self._default, self._most)
        offset = (page.number - 1) * limit if self._style == "page_number" else page.offset
        page = paging.Page(limit, offset)
        return paging.envelope(self._style, page, list(self.records.values())[offset : offset + limit])

    def list(self):
        pass

    def create(self, data):
        if data["id"] in self.records:
            raise exceptions.IntegrityError(resource="user", kind="unique", constraint="pk", fields=["id"])
        self.records[data["id"]] = data
        return data

    def retrieve(self, id):
        if id not in self.records:
            raise exceptions.NotFoundError(resource="user", id=id)
        return self.records[id]

    def update(self, id, data):
        self.retrieve(id)
        self.records[id] = {**data, "id": id}
        return self.records[id]

    def partial_update(self, id, data):
        return self.update(id, {**self.retrieve(id), **data})

    def delete(self, id):
        self.retrieve(id)
        del self.records[id]

    def replace(self, data):
        self.records = {record["id"]: record for record in data}
        return list(self.records.values())

    def partial_replace(self, data):
        self.records.update({record["id"]: record for record in data})
        return data

    def drop(self):
        deleted = len(self.records)
        self.records = {}
        return {"deleted": deleted}


def numbered(count):
    return [{"id": str(number)} for number in range(count)]


def answering(status=200, body=b"", headers=()):
    """An application with one answer for everything, which notes what it was asked."""
    requests = []

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        message = await receive()
        requests.append((scope["method"], scope["raw_path"].decode(), message["body"], dict(scope["headers"])))
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        raw_headers = [(name.encode(), value.encode()) for name, value in dict(headers).items()]
        await send({"type": "http.response.start", "status": status, "headers": raw_headers})
        await send({"type": "http.response.body", "body": raw})

    app.requests = requests
    return app


@pytest.fixture
def directory():
    return Directory(numbered(25))


@pytest.fixture(params=["in process", "socket"])
async def client(request, directory, serve):
    arguments = {"app": directory.app} if request.param == "in process" else {"base_url": serve(directory.app)}
    async with Client(**arguments) as client:
        yield client


class TestMethods:
    async def test_a_record_lives_and_dies(self, client):
        users = Users(client)

        created = await users.create({"id": "x", "name": "Alice", "age": 30})
        retrieved = await users.retrieve("x")
        updated = await users.update("x", {"name": "Bob", "age": 31})
        partly = await users.partial_update("x", {"age": 32})
        deleted = await users.delete("x")

        assert created == retrieved == {"id": "x", "name": "Alice", "age": 30}
        assert updated == {"id": "x", "name": "Bob", "age": 31}
        assert partly == {"id": "x", "name": "Bob", "age": 32}
        assert deleted is None
        with pytest.raises(exceptions.NotFoundError):
            await users.retrieve("x")

    async def test_the_portable_subset_goes_by_keyword(self, client):
        users = Users(client)

        assert await users.retrieve(id="1") == {"id": "1"}
        assert await users.update(data={"name": "Bob"}, id="1") == {"id": "1", "name": "Bob"}
        assert await users.partial_update(data={"age": 1}, id="1") == {"id": "1", "name": "Bob", "age": 1}
        assert await users.delete(id="1") is None

    async def test_a_collection_is_replaced_and_dropped(self, client):
        users = Users(client)

        assert await users.replace([{"id": "a"}, {"id": "b"}]) == [{"id": "a"}, {"id": "b"}]
        assert await users.partial_replace([{"id": "b", "name": "B"}]) == [{"id": "b", "name": "B"}]
        assert [user async for user in users.list()] == [{"id": "a"}, {"id": "b", "name": "B"}]
        assert await users.drop() == 2
        assert await users.drop() == 0

    async def test_errors_arrive_as_they_were_raised(self, client):
        users = Users(client)

        with pytest.raises(exceptions.IntegrityError) as refused:
            await users.create({"id": "1"})
        with pytest.raises(exceptions.NotFoundError) as missing:
            await users.delete("nobody")

        assert vars(refused.value) == vars(
            exceptions.IntegrityError(resource="user", kind="unique", constraint="pk", fields=["id"])
        )
        assert vars(missing.value) == vars(exceptions.NotFoundError(resource="user", id="nobody"))

    async def test_values_that_json_has_no_type_for_are_sent(self):
        app = answering(201, {})
        moment = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
        id = uuid.uuid4()

        class Colour(enum.Enum):
            RED = "red"

        async with Client(app=app) as client:
            await Users(client).create(
                {"id": id, "at": moment, "on": moment.date(), "price": decimal.Decimal("1.50"), "colour": Colour.RED}
            )

        [(_, _, body, headers)] = app.requests
        sent = {"id": str(id), "at": "2026-01-02T03:04:00Z", "on": "2026-01-02", "price": "1.50", "colour": "red"}
        assert json.loads(body) == sent
        assert headers[b"content-type"] == b"application/json"

    @pytest.mark.parametrize("data", [{"x": object()}, {"x": float("nan")}, {"x": [{"y": float("inf")}]}])
    async def test_what_json_cannot_hold_is_not_sent(self, data):
        app = answering(201, {})

        async with Client(app=app) as client:
            with pytest.raises(exceptions.InvalidDataError):
                await Users(client).create(data)

        assert app.requests == []


class TestHops:
    @pytest.mark.parametrize("hops", [1, 2, 3])
    @pytest.mark.parametrize(
        "error",
        [
            exceptions.NotFoundError(resource="user", id=7),
            exceptions.IntegrityError(resource="user", kind="check", constraint="adult", fields=["age"]),
            exceptions.UnknownColumnError(resource="user", names=["nmae"], columns=["id", "name"]),
            exceptions.UnavailableError(resource="user", retry_after=1.5, maybe_applied=True),
            exceptions.ConflictError(resource="user", retryable=True),
        ],
        ids=repr,
    )
    async def test_an_error_is_the_same_behind_any_number_of_gateways(self, error, hops):
        async def backend(request):
            return answer(error)

        def gateway(client):
            async def forward(request):
                try:
                    await Users(client).create({})
                except exceptions.ResourceException as error:
                    return answer(error)

            return forward

        def answer(error):
            status, body, headers = errors.encode(error)
            return starlette.responses.JSONResponse(body, status, headers)

        def app(endpoint):
            routes = [starlette.routing.Route("/user/", endpoint, methods=["POST"])]
            return starlette.applications.Starlette(routes=routes)

        client = Client(app=app(backend))
        for _ in range(hops - 1):
            client = Client(app=app(gateway(client)))
        with pytest.raises(exceptions.ResourceException) as caught:
            await Users(client).create({})

        assert type(caught.value) is type(error)
        assert vars(caught.value) == vars(error)


class TestAddresses:
    @pytest.mark.parametrize(
        "id",
        ["a/b", "a?x=1", "a#f", "a%2Fb", "50%", "../admin", "é ü", "a b", "a+b", "...", "//", "\\", "\x00", "%", 7]
        + [uuid.UUID(int=1), True],
    )
    async def test_an_id_is_one_segment_whatever_it_holds(self, client, directory, id):
        users = Users(client)
        directory.records[str(id)] = {"id": str(id)}

        assert await users.retrieve(id) == {"id": str(id)}
        await users.delete(id)

        assert directory.records.keys() == {str(number) for number in range(25)} - {str(id)}

    @pytest.mark.parametrize("id", ["", ".", "..", None, "\ud800"])
    @pytest.mark.parametrize("method", ["retrieve", "update", "partial_update", "delete"])
    async def test_what_is_no_segment_is_refused_and_nothing_is_sent(self, id, method):
        app = answering(200, {})
        data = {"data": {}} if "update" in method else {}

        async with Client(app=app) as client:
            with pytest.raises(ValueError, match=r"id of a record|surrogates"):
                await getattr(Users(client), method)(id=id, **data)

        assert app.requests == []

    @pytest.mark.parametrize(
        ("base", "resource", "path"),
        [
            ("http://localapp", "/user", "/user/1/"),
            ("http://localapp", "user", "/user/1/"),
            ("http://localapp", "/user///", "/user/1/"),
            ("http://localapp/", "/a/user/", "/a/user/1/"),
            ("http://localapp/api/v1", "/user", "/api/v1/user/1/"),
            ("http://localapp/api/v1/", "user", "/api/v1/user/1/"),
            ("http://localapp/api", "http://other/user", "/user/1/"),
            ("http://localapp", "", "/1/"),
        ],
    )
    async def test_the_resource_is_below_the_base_or_a_whole_url(self, base, resource, path):
        app = answering(200, {})

        async with Client(app=app, base_url=base) as client:
            await HTTPResourceManager(resource, client).call("retrieve", "1")

        [(_, asked, _, headers)] = app.requests
        assert asked == path
        assert headers[b"host"] == (b"other" if "other" in resource else b"localapp")

    @pytest.mark.parametrize(
        ("resource", "name"),
        [
            ("/user", "user"),
            ("user///", "user"),
            ("/api/v1/user/", "user"),
            ("https://api.example/repos/issues", "issues"),
            ("/a%2Fb", "a/b"),
            ("", ""),
        ],
    )
    async def test_errors_call_the_resource_by_the_last_segment_of_its_path(self, resource, name):
        async with Client(app=answering(404)) as client:
            people = type("People", (HTTPResourceRepository,), {"_resource": resource})
            with pytest.raises(exceptions.NotFoundError) as answered:
                await people(client).retrieve("1")
            with pytest.raises(exceptions.InvalidDataError) as found_here:
                await people(client).create(object())
            with pytest.raises(exceptions.NotFoundError) as managed:
                await HTTPResourceManager(resource, client).call("retrieve", "1")

        assert {caught.value.resource for caught in (answered, found_here, managed)} == {name}

    async def test_errors_call_the_resource_as_they_are_told_to(self):
        class People(Users):
            _name = "person"

        async with Client(app=answering(404)) as client:
            with pytest.raises(exceptions.NotFoundError, match="Resource 'person' \\(1\\) not found"):
                await People(client).retrieve("1")

    async def test_a_repository_without_a_resource_says_so(self):
        class Nothing(HTTPResourceRepository):
            pass

        with pytest.raises(AttributeError, match="Nothing has no '_resource'"):
            Nothing(Client())

    async def test_the_parts_are_there_by_their_names(self):
        client = Client()
        users = Users(client)

        assert users._client is client
        assert users._resource_manager.resource == "/user"
        assert isinstance(users, HTTPRepository)


CALLS = {
    "create": lambda users: users.create({}),
    "retrieve": lambda users: users.retrieve("1"),
    "update": lambda users: users.update("1", {}),
    "partial_update": lambda users: users.partial_update("1", {}),
    "delete": lambda users: users.delete("1"),
    "replace": lambda users: users.replace([]),
    "partial_replace": lambda users: users.partial_replace([]),
    "drop": lambda users: users.drop(),
    "list": lambda users: anext(users.list()),
}


@pytest.fixture(params=CALLS)
def operation(request):
    return request.param


class TestStrangers:
    """Servers that aren't ours, or not in their right mind."""

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, exceptions.UnauthenticatedError),
            (403, exceptions.PermissionDeniedError),
            (404, exceptions.NotFoundError),
            (405, exceptions.ResourceException),
            (409, exceptions.ConflictError),
            (410, exceptions.NotFoundError),
            (412, exceptions.PreconditionFailedError),
            (418, exceptions.ResourceException),
            (422, exceptions.InvalidDataError),
            (429, exceptions.TooManyRequestsError),
            (500, exceptions.UnavailableError),
            (502, exceptions.UnavailableError),
            (503, exceptions.UnavailableError),
            (504, exceptions.UnavailableError),
            (519, exceptions.InvalidResponseError),
            (520, exceptions.UnavailableError),
            (530, exceptions.UnavailableError),
            (531, exceptions.InvalidResponseError),
            (599, exceptions.InvalidResponseError),
            (301, exceptions.InvalidResponseError),
            (304, exceptions.InvalidResponseError),
        ],
    )
    async def test_every_failure_is_an_error_of_the_resource(self, operation, status, error):
        async with Client(app=answering(status, b"<html>\xff</html>")) as client:
            with pytest.raises(exceptions.ResourceException) as caught:
                await CALLS[operation](Users(client))

        assert type(caught.value) is error
        assert caught.value.resource == "user"
        assert str(status) in caught.value.detail

    async def test_a_400_is_a_refused_write_or_a_bad_question(self, operation):
        reads = operation in {"retrieve", "list"}

        async with Client(app=answering(400)) as client:
            with pytest.raises(exceptions.InvalidDataError if reads else exceptions.IntegrityError):
                await CALLS[operation](Users(client))

    async def test_a_failed_write_may_have_been_done(self, operation):
        async with Client(app=answering(503, headers={"Retry-After": "7"})) as client:
            with pytest.raises(exceptions.UnavailableError) as caught:
                await CALLS[operation](Users(client))

        assert caught.value.maybe_applied is (operation not in {"retrieve", "list"})
        assert caught.value.retry_after == 7

    @pytest.mark.parametrize(
        "body",
        [b"", b"\xff\xfe", b'{"a": "\xff"}', b"null", b"[1]", b"7", b"[" * 100_000, b'{"a": NaN}'],
        ids=["empty", "bytes", "bad utf-8", "null", "list", "number", "nested", "nan"],
    )
    @pytest.mark.parametrize("operation", sorted(CALLS.keys() - {"delete"}))
    async def test_a_success_of_another_shape_is_an_invalid_response(self, operation, body):
        async with Client(app=answering(200, body)) as client:
            with pytest.raises(exceptions.InvalidResponseError):
                await CALLS[operation](Users(client))

    @pytest.mark.parametrize("body", [b"<html>", b" \r\n<!doctype html>", b"\xef\xbb\xbf<?xml?>"])
    async def test_a_page_is_not_a_success(self, operation, body):
        async with Client(app=answering(200, body)) as client:
            with pytest.raises(exceptions.UnavailableError, match="200 OK with a page of HTML") as caught:
                await CALLS[operation](Users(client))

        assert caught.value.maybe_applied is (operation not in {"retrieve", "list"})

    @pytest.mark.parametrize("operation", ["list", "drop", "replace", "partial_replace"])
    async def test_a_success_without_what_was_asked_for_is_an_invalid_response(self, operation):
        async with Client(app=answering(200, {"data": None, "deleted": None})) as client:
            with pytest.raises(exceptions.InvalidResponseError):
                await CALLS[operation](Users(client))

    async def test_what_a_delete_answers_does_not_matter(self):
        async with Client(app=answering(200, b"\xff")) as client:
            assert await Users(client).delete("1") is None

    async def test_a_broken_encoding_is_an_invalid_response(self, operation):
        headers = {"content-encoding": "gzip"}

        async with Client(app=answering(200, gzip.compress(b"{}")[:-9] + b"garbage", headers)) as client:
            with pytest.raises(exceptions.InvalidResponseError):
                await CALLS[operation](Users(client))

    async def test_no_connection_is_unavailable_and_nothing_was_done(self, operation):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

        async with Client(base_url=f"http://127.0.0.1:{port}") as client:
            with pytest.raises(exceptions.UnavailableError) as caught:
                await CALLS[operation](Users(client))

        assert caught.value.maybe_applied is False
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"nonsense\r\n\r\n"])
    async def test_a_broken_connection_is_unavailable_and_a_write_may_be_done(self, operation, answer):
        async def connected(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            async with Client(base_url=f"http://{host}:{port}") as client:
                with pytest.raises(exceptions.UnavailableError) as caught:
                    await CALLS[operation](Users(client))

        assert caught.value.maybe_applied is (operation not in {"retrieve", "list"})

    async def test_a_server_that_does_not_answer_is_unavailable(self, operation):
        async def connected(reader, writer):
            await reader.read()
            writer.close()

        async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            async with Client(base_url=f"http://{host}:{port}", timeout=0.05) as client:
                with pytest.raises(exceptions.UnavailableError) as caught:
                    await CALLS[operation](Users(client))

        assert caught.value.detail

    async def test_a_closed_client_says_that_the_unit_has_ended(self, operation):
        async with Client(app=answering()) as client:
            users = Users(client)

        with pytest.raises(exceptions.SessionClosedError):
            await CALLS[operation](users)

    async def test_a_base_url_without_a_scheme_is_the_programs_mistake(self):
        with pytest.raises(UnsupportedProtocol):
            await Users(Client(base_url="localhost")).retrieve("1")

    async def test_the_applications_own_exception_passes_for_tests(self):
        async def app(scope, receive, send):
            raise LookupError("a bug")

        async with Client(app=app, raise_app_exceptions=True) as client:
            with pytest.raises(LookupError):
                await Users(client).retrieve("1")


class TestLists:
    @pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 25])
    @pytest.mark.parametrize("style", ["page_number", "limit_offset"])
    @pytest.mark.parametrize("most", [1000, 4], ids=["asked size", "smaller pages"])
    async def test_each_record_comes_once(self, count, style, most):
        directory = Directory(numbered(count), style=style, most=most)

        async with Client(app=directory.app) as client:
            users = [user async for user in Users(client).list(pagination=style)]

        assert users == numbered(count)
        assert len(directory.requests) == count // min(10, most) + 1

    async def test_the_default_ends_where_the_servers_is_the_same(self, client, directory):
        assert [user async for user in Users(client).list()] == numbered(25)
        assert [query for _, _, query in directory.requests] == [
            {"page": "1", "page_size": "10"},
            {"page": "2", "page_size": "10"},
            {"page": "3", "page_size": "10"},
        ]

    async def test_nothing_is_asked_before_it_is_needed(self, client, directory):
        users = Users(client).list()
        assert directory.requests == []

        for _ in range(10):
            await anext(users)
        assert len(directory.requests) == 1

    async def test_an_unknown_pagination_is_refused_at_once(self):
        with pytest.raises(ValueError, match="page_number, limit_offset, cursor"):
            Users(Client()).list(pagination="token")

    async def test_two_iterations_do_not_know_each_other(self, client):
        users = Users(client)

        pairs = [pair async for pair in zipped(users.list(), users.list())]

        assert pairs == [(user, user) for user in numbered(25)]

    @pytest.mark.parametrize("style", ["page_number", "limit_offset"])
    @pytest.mark.parametrize(
        "body",
        [
            {"data": numbered(10)},
            {"meta": {"page": 1, "page_size": 10, "count": None}, "data": numbered(10)},
            {"meta": {"limit": 10, "offset": 0, "count": None}, "data": numbered(10)},
            {"meta": "none", "data": numbered(10)},
            {"meta": {"page_size": 10, "limit": 10, "count": 30}, "data": numbered(9)},
            {"meta": {"page_size": 0, "limit": 0}, "data": numbered(9)},
            {"meta": {"page": 2, "offset": 10}, "data": numbered(10)},
        ],
        ids=["repeats", "stays at page 1", "stays at offset 0", "odd meta", "less than its count", "no size", "skips"],
    )
    async def test_a_list_that_lies_is_an_error_and_never_a_loop(self, style, body):
        async with Client(app=answering(200, body)) as client:
            with pytest.raises(exceptions.InvalidResponseError):
                assert len([user async for user in Users(client).list(pagination=style)]) <= 20

    async def test_an_empty_page_ends_a_list_of_a_server_that_tells_nothing(self):
        async with Client(app=answering(200, {"data": []})) as client:
            assert [user async for user in Users(client).list()] == []


async def zipped(ones, others):
    async for one in ones:
        yield one, await anext(others)
