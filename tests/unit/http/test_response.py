"""Answers: what becomes of what a handler returns."""

import asyncio
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import pathlib
import threading
import typing as t
import uuid
import zoneinfo

import asyncpg
import httpx
import msgspec
import psycopg.types.range
import pydantic
import pytest
import starlette.background
import starlette.datastructures
import starlette.responses
import typing_extensions as te
from sqlalchemy.dialects import postgresql as pg

from flama import Component, Flama, exceptions, types
from flama.client import Client
from flama.http import (
    APIErrorResponse,
    APIResponse,
    FileResponse,
    HTMLResponse,
    JSONResponse,
    NDJSONResponse,
    OpenAPIResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    ServerSentEvent,
    ServerSentEventResponse,
    StreamingResponse,
)

pytestmark = pytest.mark.anyio


def serving(handler):
    app = Flama()
    app.add_get("/", handler)
    return app


async def answer(handler):
    async with Client(app=serving(handler)) as client:
        return await client.get("/")


class Value:
    pass


class Model(pydantic.BaseModel):
    name: str
    first: int = pydantic.Field(default=1, alias="First")


class Secretive(pydantic.BaseModel):
    secret: pydantic.SecretStr = pydantic.Field(alias="theSecret", validation_alias="secret")
    url: pydantic.AnyUrl
    kind: "Colour" = pydantic.Field(default_factory=lambda: Colour.RED)


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2


class Item(msgspec.Struct, rename="camel"):
    full_name: str


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 2


class Pair(t.NamedTuple):
    a: int
    b: int


class Text(str):
    pass


class Number(int):
    pass


class Rows(list):
    pass


MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
VALUES = [
    ({"a": [1, None, True, "é"]}, {"a": [1, None, True, "é"]}),
    ({}, {}),
    ([], []),
    (["x"], ["x"]),
    ("text", "text"),
    ("", ""),
    (0, 0),
    (False, False),
    (1.5, 1.5),
    (2**60, 2**60),
    ((1, 2), [1, 2]),
    ({3}, [3]),
    (frozenset({3}), [3]),
    (decimal.Decimal("1.10"), "1.10"),
    (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    (MOMENT, "2026-01-02T03:04:05Z"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.time(3, 4), "03:04:00"),
    (datetime.timedelta(seconds=90), "PT90S"),
    (Colour.RED, "red"),
    (Level.HIGH, 2),
    (Pair(1, 2), [1, 2]),
    (Model(name="A"), {"name": "A", "First": 1}),
    ([Model(name="A")], [{"name": "A", "First": 1}]),
    ({"model": Model(name="A")}, {"model": {"name": "A", "First": 1}}),
    (Point(1), {"x": 1, "y": 2}),
    ([Point(1)], [{"x": 1, "y": 2}]),
    (Item("A"), {"fullName": "A"}),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (collections.UserDict(a=1), {"a": 1}),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    ({1: "a", uuid.UUID(int=1): "b"}, {"1": "a", str(uuid.UUID(int=1)): "b"}),
    (Text("text"), "text"),
    ({"url": types.URL("http://a/")}, {"url": "http://a/"}),
    (Number(3), 3),
    ([Rows([1])], [[1]]),
    ({"bytes": b"\xff"}, {"bytes": "/w=="}),
    ({"ip": ipaddress.ip_address("10.0.0.1")}, {"ip": "10.0.0.1"}),
    ([ipaddress.ip_interface("10.0.0.1/8"), ipaddress.ip_network("10.0.0.0/8")], ["10.0.0.1/8", "10.0.0.0/8"]),
    (
        [ipaddress.ip_address("::1"), ipaddress.ip_interface("::1/8"), ipaddress.ip_network("::/8")],
        ["::1", "::1/8", "::/8"],
    ),
    ({"secret": pydantic.SecretStr("s")}, {"secret": "**********"}),
    ({"secret": pydantic.SecretBytes(b"s")}, {"secret": "**********"}),
    (pydantic.AnyUrl("http://a/b"), "http://a/b"),
    ([httpx.URL("http://a/b"), starlette.datastructures.URL("http://a/c")], ["http://a/b", "http://a/c"]),
    (zoneinfo.ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
    (Secretive(secret="s", url="http://a"), {"theSecret": "**********", "url": "http://a/", "kind": "red"}),
    (pydantic.RootModel[list[Model]]([Model(name="A")]), [{"name": "A", "First": 1}]),
    (collections.deque([1]), [1]),
    ({1: 2}.keys(), [1]),
    (asyncpg.BitString("0101010101"), "0101010101"),
    (pg.BitString("01"), "01"),
    (pg.Range(1, 5), {"lower": 1, "upper": 5, "bounds": "[)", "empty": False}),
    (pg.MultiRange([pg.Range(1, 5)]), [{"lower": 1, "upper": 5, "bounds": "[)", "empty": False}]),
    (asyncpg.Range(1, 5, upper_inc=True), {"lower": 1, "upper": 5, "bounds": "[]", "empty": False}),
    (psycopg.types.range.Range(1, 5, "()"), {"lower": 1, "upper": 5, "bounds": "()", "empty": False}),
    (psycopg.types.range.Range(empty=True), {"lower": None, "upper": None, "bounds": "()", "empty": True}),
]


@pytest.mark.parametrize(
    ("value", "expected"), VALUES, ids=[f"{n} {type(v).__name__}" for n, (v, _) in enumerate(VALUES)]
)
@pytest.mark.parametrize("synchronous", [True, False], ids=["sync", "async"])
async def test_a_value_is_answered_as_json(value, expected, synchronous):
    async def asynchronous():
        return value

    response = await answer((lambda: value) if synchronous else asynchronous)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.content))
    assert response.json() == expected


async def test_none_is_204_without_a_body_or_its_headers():
    response = await answer(lambda: None)

    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers
    assert response.headers.get("content-length", "0") == "0"


def test_none_is_204_without_a_body_over_a_socket(serve):
    response = httpx.get(serve(serving(lambda: None)) + "/")

    assert (response.status_code, response.content) == (204, b"")


async def test_bytes_are_json_already():
    response = await answer(lambda: b'{"a": 1}')

    assert response.headers["content-type"] == "application/json"
    assert response.content == b'{"a": 1}'


@pytest.mark.parametrize(
    "value",
    [object(), [object()], {"a": object}, {object(): 1}, lambda: None, "\ud800"],
    ids=["object", "in a list", "class", "key", "function", "surrogate"],
)
async def test_what_json_can_not_hold_is_a_500_without_details(value):
    response = await answer(lambda: value)

    assert response.status_code == 500
    assert "Internal Server Error" in response.text
    assert not any(word in response.text for word in ("object at", "function", "surrogate"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), '"NaN"'), ([float("inf"), None], '["Infinity",null]'), (2**70, "1180591620717411303424")],
    ids=["NaN", "infinity", "huge"],
)
async def test_a_number_is_json_of_the_standard_whatever_it_is(value, text):
    response = await answer(lambda: value)

    assert (response.status_code, response.text) == (200, text)


async def test_a_structure_without_an_end_is_a_500():
    circle = []
    circle.append(circle)

    response = await answer(lambda: circle)

    assert response.status_code == 500


@pytest.mark.parametrize(
    ("make", "status", "type_", "content"),
    [
        (lambda: Response(b"raw", 201, media_type="x/y"), 201, "x/y", b"raw"),
        (lambda: JSONResponse({"a": 1}, 202), 202, "application/json", b'{"a":1}'),
        (lambda: APIResponse({"a": 1}), 200, "application/json", b'{"a":1}'),
        (lambda: PlainTextResponse("é"), 200, "text/plain; charset=utf-8", "é".encode()),
        (lambda: HTMLResponse("<p>"), 200, "text/html; charset=utf-8", b"<p>"),
        (lambda: OpenAPIResponse({}), 200, "application/vnd.oai.openapi+json", b"{}"),
        (lambda: StreamingResponse(iter([b"a", b"b"]), media_type="x/y"), 200, "x/y", b"ab"),
        (lambda: NDJSONResponse([{"a": 1}, 2]), 200, "application/x-ndjson", b'{"a":1}\n2\n'),
        (
            lambda: APIErrorResponse("bad", 418),
            418,
            "application/json",
            b'{"status_code":418,"detail":"bad","error":null}',
        ),
        (lambda: starlette.responses.JSONResponse([1]), 200, "application/json", b"[1]"),
    ],
    ids=[f"response {n}" for n in range(10)],
)
async def test_a_response_is_sent_as_it_is(make, status, type_, content):
    response = await answer(make)

    assert response.status_code == status
    assert response.headers["content-type"] == type_
    assert response.content == content


async def test_a_redirect_is_not_followed_and_says_where_to():
    response = await answer(lambda: RedirectResponse("/elsewhere/"))

    assert (response.status_code, response.headers["location"]) == (307, "/elsewhere/")


async def test_headers_and_cookies_of_a_response_are_sent():
    def handler():
        response = JSONResponse({}, headers={"x-own": "1"})
        response.set_cookie("a", "b")
        return response

    response = await answer(handler)

    assert response.headers["x-own"] == "1"
    assert response.cookies["a"] == "b"


async def test_a_file_is_sent_with_its_type_and_in_ranges(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"0123456789" * 10_000)
    app = serving(lambda: FileResponse(path, filename="b.txt"))

    async with Client(app=app) as client:
        whole = await client.get("/")
        part = await client.get("/", headers={"range": "bytes=10-12"})

    assert whole.content == path.read_bytes()
    assert whole.headers["content-type"].startswith("text/plain")
    assert 'filename="b.txt"' in whole.headers["content-disposition"]
    assert (part.status_code, part.content) == (206, b"012")


async def test_a_file_that_is_missing_is_a_500_without_its_path(tmp_path):
    response = await answer(lambda: FileResponse(tmp_path / "nope"))

    assert response.status_code == 500
    assert str(tmp_path) not in response.text


def strings():
    yield "one"
    yield "two"


def pieces():
    yield b"one"
    yield b"two"


def records():
    yield {"a": 1}
    yield Model(name="A")
    yield [1, 2]


def nothing():
    return
    yield


def asynchronous(generator):
    async def handler():
        for item in generator():
            await asyncio.sleep(0)
            yield item

    return handler


STREAMS = [
    (strings, "text/plain; charset=utf-8", b"onetwo"),
    (pieces, "application/octet-stream", b"onetwo"),
    (records, "application/x-ndjson", b'{"a":1}\n{"name":"A","First":1}\n[1,2]\n'),
    (nothing, "application/x-ndjson", b""),
]


@pytest.mark.parametrize(("generator", "type_", "content"), STREAMS, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("form", ["sync", "async", "returned", "returned by async"])
async def test_a_generator_is_streamed(generator, type_, content, form):
    async def returning():
        return asynchronous(generator)()

    handler = {
        "sync": generator,
        "async": asynchronous(generator),
        "returned": lambda: generator(),  # noqa: PLW0108 - a function, not a generator function
        "returned by async": returning,
    }[form]

    response = await answer(handler)

    assert response.status_code == 200
    assert response.headers["content-type"] == type_
    assert "content-length" not in response.headers
    assert response.content == content


@pytest.mark.parametrize("generator", [strings, pieces, records])
def test_a_stream_arrives_over_a_socket(serve, generator):
    response = httpx.get(serve(serving(asynchronous(generator))) + "/")

    assert response.content == {made: content for made, _, content in STREAMS}[generator]


async def test_elements_are_sent_as_they_come():
    go = asyncio.Event()

    async def handler():
        yield b"first"
        await go.wait()
        yield b"second"

    async with Client(app=serving(handler)) as client:
        async with client.stream("GET", "/") as response:
            chunks = response.aiter_raw()
            first = await anext(chunks)
            go.set()
            rest = b"".join([chunk async for chunk in chunks])

    assert (first, rest) == (b"first", b"second")


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_an_error_before_the_first_element_is_answered_by_its_status(form):
    def generator():
        raise exceptions.NotFoundError(resource="user")
        yield

    response = await answer(generator if form == "sync" else asynchronous(generator))

    assert response.status_code == 404


@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.parametrize("first", [b"one", {"a": 1}], ids=["bytes", "records"])
async def test_an_error_after_the_first_element_cuts_the_stream(form, first, caplog):
    def generator():
        yield first
        raise exceptions.NotFoundError(resource="user")

    app = serving(generator if form == "sync" else asynchronous(generator))

    async with Client(app=app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


def test_an_error_after_the_first_element_cuts_the_stream_over_a_socket(serve):
    async def generator():
        yield b"one"
        await asyncio.sleep(0.05)
        raise exceptions.NotFoundError(resource="user")

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(serve(serving(generator)) + "/")


async def test_a_record_that_json_can_not_hold_cuts_the_stream():
    async def generator():
        yield {"a": 1}
        yield {"a": object()}

    async with Client(app=serving(generator)) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


@pytest.mark.parametrize("first", [b"x", "x", {"a": 1}], ids=["bytes", "text", "records"])
async def test_a_generator_is_closed_when_the_client_leaves_early(first):
    closed = asyncio.Event()

    async def generator():
        try:
            while True:
                yield first
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with Client(app=serving(generator)) as client:
        async with client.stream("GET", "/") as response:
            await anext(response.aiter_raw())
        await asyncio.wait_for(closed.wait(), 2)


@pytest.mark.parametrize("form", ["handler", "returned", "in a response"])
async def test_a_synchronous_generator_is_closed_when_the_client_leaves_early(form):
    closed = threading.Event()

    def generator():
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    handler = {
        "handler": generator,
        "returned": lambda: generator(),  # noqa: PLW0108 - a function, not a generator function
        "in a response": lambda: NDJSONResponse(generator()),
    }[form]

    async with Client(app=serving(handler)) as client:
        async with client.stream("GET", "/") as response:
            await anext(response.aiter_raw())
        assert await asyncio.to_thread(closed.wait, 2)


@pytest.mark.parametrize("early", [True, False], ids=["left early", "failed later"])
async def test_a_generator_component_under_a_stream_ends_with_it_and_sees_what_ended_it(early):
    notes = []

    class Noting(Component):
        async def resolve(self) -> Value:
            try:
                yield Value()
            except BaseException as error:
                notes.append(type(error).__name__)
                raise
            finally:
                notes.append("closed")

    app = Flama(components=[Noting()])

    @app.get("/")
    async def handler(value: Value):
        yield b"x"
        while early:
            yield b"x"
            await asyncio.sleep(0)
        raise KeyError

    async with Client(app=app) as client:
        with contextlib.suppress(httpx.RemoteProtocolError):
            async with client.stream("GET", "/") as response:
                async for _ in response.aiter_raw():
                    if early:
                        break

    assert notes[-1] == "closed"
    assert notes.count("closed") == 1
    assert early or notes == ["KeyError", "closed"]


class Listing:
    """An iterable that is no iterator, as what a repository lists may be."""

    async def __aiter__(self):
        yield {"a": 1}
        yield {"a": 2}


async def test_an_asynchronous_iterable_is_streamed_too():
    response = await answer(lambda: Listing())  # noqa: PLW0108 - a class isn't a handler's shape

    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.content == b'{"a":1}\n{"a":2}\n'


@pytest.mark.parametrize("wrapped", [False, True], ids=["returned", "in a response"])
def test_a_generator_is_closed_when_the_client_of_a_socket_leaves_early(serve, wrapped):
    closed = threading.Event()

    async def generator():
        try:
            while True:
                yield b"x" * 10_000
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    url = serve(serving((lambda: NDJSONResponse(generator())) if wrapped else generator))

    with httpx.stream("GET", url + "/") as response:
        next(response.iter_raw())

    assert closed.wait(5)


async def test_a_generator_is_closed_when_the_answer_can_not_be_sent():
    closed = []

    async def generator():
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    async def send(message):
        raise OSError("gone")

    app = serving(generator)
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}

    async def receive():
        await asyncio.sleep(10)

    async with Client(app=app):
        with contextlib.suppress(OSError):
            await app(scope, receive, send)
        assert closed == [True]


async def test_a_synchronous_generator_runs_off_the_loop_from_its_first_element_on():
    threads = set()

    def generator():
        for _ in range(3):
            threads.add(threading.get_ident())
            yield b"x"

    await answer(generator)

    assert threading.get_ident() not in threads


async def test_server_sent_events_are_written_as_the_standard_says():
    async def events():
        yield ServerSentEvent("hello")
        yield ServerSentEvent("two\nlines", event="e", id="1", retry=5)
        yield ServerSentEvent({"a": "é"})
        yield ServerSentEvent("")

    response = await answer(lambda: ServerSentEventResponse(events()))

    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.text == (
        'data: hello\n\nevent: e\nid: 1\nretry: 5\ndata: two\ndata: lines\n\ndata: {"a":"é"}\n\ndata: \n\n'
    )


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ("a\r\nb", ["a", "b"]),
        ("a\rb", ["a", "b"]),
        ("a\n", ["a", ""]),
        ("a\n\nb", ["a", "", "b"]),
        ("a\u2028b", ["a\u2028b"]),
    ],
    ids=repr,
)
def test_the_lines_of_an_event_are_those_of_the_standard(data, lines):
    encoded = ServerSentEvent(data).encode().decode()

    assert encoded == "".join(f"data: {line}\n" for line in lines) + "\n"


@pytest.mark.parametrize("field", ["event", "id"])
def test_an_event_s_name_can_not_bring_other_fields_with_it(field):
    try:
        encoded = ServerSentEvent("x", **{field: "a\ndata: injected\n\n"}).encode().decode()
    except ValueError:
        return

    assert "\ndata: injected" not in encoded


async def test_background_tasks_run_after_the_answer_has_been_sent():
    notes = []

    def handler():
        return JSONResponse({}, background=starlette.background.BackgroundTask(notes.append, "ran"))

    app = serving(handler)

    async def send(message):
        notes.append(message["type"])

    async def receive():
        return {"type": "http.request"}

    async with Client(app=app):
        await app({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}, receive, send)

    assert notes == ["http.response.start", "http.response.body", "ran"]


class Puppy(te.TypedDict):
    name: str
    age: te.NotRequired[int]


def annotated(value, annotation):
    def handler():
        return value

    handler.__annotations__["return"] = annotation
    return handler


SCHEMA = t.Annotated[types.Schema, types.SchemaMetadata(Model)]
ANNOTATED = [
    (SCHEMA, {"name": "A", "more": 1}, {"name": "A", "First": 1}),
    (SCHEMA, {"name": "A", "First": 5}, {"name": "A", "First": 5}),
    (SCHEMA, {"name": "A", "first": 5}, {"name": "A", "First": 5}),
    (SCHEMA, Model(name="A"), {"name": "A", "First": 1}),
    (Model, {"name": "A"}, {"name": "A", "First": 1}),
    (list[Model], [{"name": "A"}, Model(name="B")], [{"name": "A", "First": 1}, {"name": "B", "First": 1}]),
    (list[SCHEMA], [{"name": "A", "more": 1}], [{"name": "A", "First": 1}]),
    (Point, {"x": 1, "z": 3}, {"x": 1, "y": 2}),
    (Point, Point(1), {"x": 1, "y": 2}),
    (Item, {"fullName": "A", "more": 1}, {"fullName": "A"}),
    (Item, Item("A"), {"fullName": "A"}),
    (t.Annotated[types.Schema, types.SchemaMetadata(Item)], Item("A"), {"fullName": "A"}),
    (list[Item], [Item("A")], [{"fullName": "A"}]),
    (Puppy, {"name": "A", "more": 1}, {"name": "A"}),
    (t.Annotated[types.Schema, types.SchemaMetadata(Model, partial=True)], {"name": "A"}, {"name": "A"}),
    (dict[str, int], {"a": 1, "b": "not checked"}, {"a": 1, "b": "not checked"}),
    (str, 3, 3),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), ANNOTATED)
async def test_an_annotated_answer_has_the_schema_s_fields_and_defaults_and_no_others(annotation, value, expected):
    response = await answer(annotated(value, annotation))

    assert response.status_code == 200, response.text
    assert response.json() == expected


async def test_an_annotated_answer_may_be_made_of_any_object_with_the_attributes():
    class Row:
        name = full_name = "A"
        first = 3

    model, struct = await answer(annotated(Row(), Model)), await answer(annotated(Row(), Item))

    assert model.json() == {"name": "A", "First": 3}
    assert struct.json() == {"fullName": "A"}


@pytest.mark.parametrize("annotation", [Model, list[Model], Item, Point, Puppy], ids=str)
@pytest.mark.parametrize("value", [{"nonsense": "hunter2"}, ["hunter2"], "hunter2", 5], ids=repr)
async def test_a_value_that_does_not_fit_its_annotation_is_a_500_that_does_not_tell_the_value(annotation, value):
    response = await answer(annotated(value, annotation))

    assert response.status_code == 500
    assert response.json()["error"] == "SerializationError"
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("value", "status", "content"),
    [(None, 204, b""), (PlainTextResponse("x", 201), 201, b"x"), (JSONResponse({"any": 1}), 200, b'{"any":1}')],
    ids=["none", "text", "json"],
)
async def test_none_and_responses_go_past_the_annotation(value, status, content):
    response = await answer(annotated(value, SCHEMA))

    assert (response.status_code, response.content) == (status, content)


async def test_an_annotated_list_may_be_empty_and_a_missing_model_none():
    empty, none = await answer(annotated([], list[Model])), await answer(annotated(None, Model | None))

    assert (empty.status_code, empty.json()) == (200, [])
    assert none.status_code == 204


async def test_an_optional_annotation_is_a_schema_as_well():
    response = await answer(annotated({"name": "A", "secret": "hunter2"}, Model | None))

    assert response.json() == {"name": "A", "First": 1}


async def test_an_annotated_generator_of_a_schema_is_streamed_in_its_form():
    async def handler() -> t.AsyncIterator[Model]:
        yield Model(name="A")
        yield Model(name="B")

    response = await answer(handler)

    assert [json.loads(line)["name"] for line in response.text.splitlines()] == ["A", "B"]


async def test_an_api_response_is_made_in_the_form_of_its_schema():
    response = await answer(lambda: APIResponse({"name": "A", "more": 1}, 201, schema=Model))
    wrong = await answer(lambda: APIResponse({"more": 1}, schema=Model))

    assert (response.status_code, response.json()) == (201, {"name": "A", "First": 1})
    assert (wrong.status_code, wrong.json()["error"]) == (500, "SerializationError")


async def test_a_response_s_own_status_for_an_empty_body_has_none():
    response = await answer(lambda: Response(status_code=304))

    assert (response.status_code, response.content) == (304, b"")


class Stacked(Component):
    async def resolve(self) -> Value:
        yield Value()


@pytest.mark.parametrize(
    ("returned", "status", "content"),
    [
        (None, 204, b""),
        ({"a": 1}, 200, b'{"a":1}'),
        (b"1", 200, b"1"),
        (Model(name="A"), 200, b'{"name":"A","First":1}'),
        (PlainTextResponse("x"), 200, b"x"),
        (FileResponse(__file__), 200, pathlib.Path(__file__).read_bytes()),
    ],
    ids=["none", "dict", "bytes", "model", "response", "file"],
)
async def test_answers_are_the_same_where_components_have_to_be_torn_down(returned, status, content):
    def handler(value: Value):
        return returned

    app = Flama(components=[Stacked()])
    app.add_get("/", handler)
    async with Client(app=app) as client:
        response = await client.get("/")

    assert (response.status_code, response.content) == (status, content)
