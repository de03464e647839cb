"""Whose fault an error is: what parses a request is the client's, anything else is the program's."""

import logging

import pydantic
import pytest
import sqlalchemy as sa

from flama import Component, Flama, exceptions, http
from flama.client import Client
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

SECRET = "hunter2"


class Number(pydantic.BaseModel):
    n: int


class Odd(pydantic.BaseModel):
    n: int

    @pydantic.field_serializer("n")
    def write(self, n):
        raise ValueError(SECRET)


class Wanted: ...


def fail_in_pydantic():
    Number(n=SECRET)


def fail_with(error):
    def fail():
        raise error(SECRET)

    return fail


ERRORS = {
    "pydantic": fail_in_pydantic,
    **{each.__name__: fail_with(each) for each in (ValueError, KeyError, TypeError, LookupError, RuntimeError)},
}


def in_handler(app, fail):
    @app.get("/")
    async def handler():
        fail()


def in_thread(app, fail):
    @app.get("/")
    def handler():
        fail()


def in_component(app, fail):
    class WantedComponent(Component):
        def resolve(self) -> Wanted:
            fail()

    app.add_component(WantedComponent())

    @app.get("/")
    async def handler(wanted: Wanted): ...


def in_end_of_component(app, fail):
    class WantedComponent(Component):
        def resolve(self) -> Wanted:
            yield Wanted()
            fail()

    app.add_component(WantedComponent())

    @app.get("/")
    async def handler(wanted: Wanted): ...


def in_page(style):
    def build(app, fail):
        @app.get("/", pagination=style)
        async def handler():
            yield {"n": 1}
            fail()

    return build


def in_rows_of_page(style):
    def build(app, fail):
        @app.get("/", pagination=style)
        async def handler():
            async def rows():
                fail()
                yield

            return rows()

    return build


def in_sync_page(app, fail):
    @app.get("/", pagination="page_number")
    def handler():
        fail()


def in_stream(app, fail):
    @app.get("/")
    async def handler():
        fail()
        yield


def in_resource(app, fail):
    class Thing(CRUDResource):
        model = sa.Table("thing", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))

        async def list(self):
            fail()

    app.resources.add_resource("/", Thing)


PLACES = {
    "a handler": in_handler,
    "a handler in a thread": in_thread,
    "a component": in_component,
    "the end of a component": in_end_of_component,
    **{f"a page by {style}": in_page(style) for style in ("page_number", "limit_offset", "cursor")},
    **{f"rows by {style}": in_rows_of_page(style) for style in ("page_number", "limit_offset", "cursor")},
    "a page in a thread": in_sync_page,
    "a stream": in_stream,
    "a resource's method": in_resource,
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", PLACES)
async def test_an_error_of_the_program_is_500_without_its_text_and_is_logged(place, error, caplog):
    app = Flama()
    PLACES[place](app, ERRORS[error])

    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.status_code == 500
    assert SECRET not in response.text
    assert any(SECRET in str(record.exc_info) for record in caplog.records if record.levelno >= logging.ERROR)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_serializer_of_the_program_that_fails_is_500_and_nothing_is_answered_instead(declared):
    app = Flama()

    def handler():
        return Odd(n=1)

    handler.__annotations__ = {"return": Odd} if declared else {}
    app.add_get("/", handler)

    async with Client(app=app) as client:
        response = await client.get("/")

    assert (response.status_code, SECRET in response.text) == (500, False)


@pytest.mark.parametrize(
    "query", ["page=x", "page=0", "limit=-1", "cursor=nonsense", "cursor=AAAA", "cursor=%ff", "count=maybe"]
)
async def test_a_page_that_a_request_asks_for_wrongly_is_400(query):
    app = Flama()
    style = {"page": "page_number", "limit": "limit_offset"}.get(query.partition("=")[0], "cursor")

    @app.get("/", pagination=style)
    async def handler():
        yield {"n": 1}

    async with Client(app=app) as client:
        response = await client.get(f"/?{query}")

    assert response.status_code == 400


STORED = {
    "asyncpg": [("date", "0044-03-15 BC"), ("timestamp", "20000-01-01"), ("interval", "99999999 years")],
    "psycopg": [
        ("date", "infinity"),
        ("timestamp", "20000-01-01"),
        ("time", "24:00:00"),
        ("interval", "99999999 years"),
    ],
    "sqlite": [("date", "someday"), ("uuid", "no id"), ("json", "{"), ("text", None)],
}
TYPES = {"date": sa.Date, "timestamp": sa.DateTime, "time": sa.Time, "interval": sa.Interval}
TYPES |= {"uuid": sa.Uuid, "json": sa.JSON, "text": sa.String(9)}


@pytest.mark.parametrize(
    ("backend", "kind", "value"), [(backend, *each) for backend, values in STORED.items() for each in values]
)
async def test_a_stored_value_that_can_not_be_read_is_500_without_its_text(backend, kind, value, request, tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/it.db"
    if backend != "sqlite":
        url = request.getfixturevalue("postgres_url").replace("asyncpg", backend)
    column = sa.Column("stored", TYPES[kind])
    table = sa.Table("faults_stored", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), column)
    app = Flama(modules=[SQLAlchemyModule(url)])
    app.resources.add_resource("/thing/", type("Thing", (CRUDResource,), {"model": table}))
    literal = "cast(x'ff' as text)" if value is None else f"'{value}'"

    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(table.metadata.drop_all)
            await connection.run_sync(table.metadata.create_all)
            await connection.exec_driver_sql(f"insert into faults_stored (id, stored) values (1, {literal})")
        stream = {"accept": "application/x-ndjson"}
        found = [
            await client.get(path, headers=headers)
            for path, headers in (("/thing/", {}), ("/thing/?cursor=", {}), ("/thing/", stream), ("/thing/1/", {}))
        ]

    assert [response.status_code for response in found] == [500] * 4
    assert not any(str(value) in response.text for response in found)


class Base(Exception): ...


class Derived(Base, ValueError): ...


def answering(*keys):
    """An application with a handler for each key, which answers with the key."""
    app = Flama()

    def add(key):
        async def handler(scope, receive, send, error):
            return http.JSONResponse(getattr(key, "__name__", str(key)), status_code=599)

        app.add_exception_handler(key, handler)

    for key in keys:
        add(key)

    @app.get("/raise/{name}/")
    async def fail(name: str):
        raise {
            "derived": Derived(),
            "base": Base(),
            "key": KeyError(),
            "http": exceptions.HTTPException(500),
            "missing": exceptions.NotFoundError(resource="thing", id=1),
            "encoding": exceptions.SerializationError("x"),
        }[name]

    @app.get("/number/")
    async def number(n: int): ...

    return app


ALL = (500, 404, 405, 400, Exception, Base, Derived, LookupError, exceptions.ResourceException)
ANSWERS = {
    ("GET", "/nowhere/"): {(Exception,): 404, (Exception, 404): "404", ALL: "404"},
    ("POST", "/number/"): {(Exception,): 405, ALL: "405"},
    ("GET", "/number/?n=x"): {(Exception,): 400, (exceptions.HTTPException, 400): "HTTPException", ALL: "400"},
    ("GET", "/raise/missing/"): {(Exception,): 404, (404, exceptions.ResourceException): "ResourceException"},
    ("GET", "/raise/http/"): {(Exception,): 500, (Exception, 500): "500"},
    ("GET", "/raise/key/"): {(Exception, 500): "Exception", (500,): "500", ALL: "LookupError"},
    ("GET", "/raise/base/"): {(Exception, 500): "Exception", (Derived, 500): "500", ALL: "Base"},
    ("GET", "/raise/derived/"): {(ValueError, Base): "Base", (500, ValueError): "ValueError", ALL: "Derived"},
    ("GET", "/raise/encoding/"): {(Exception, 500): "Exception", (): 500},
}


@pytest.mark.parametrize(
    ("request_", "keys", "expected"),
    [(each, keys, expected) for each, found in ANSWERS.items() for keys, expected in found.items()],
    ids=str,
)
async def test_the_handler_of_an_error_is_that_of_its_nearest_class_and_then_of_its_status(request_, keys, expected):
    async with Client(app=answering(*keys)) as client:
        response = await client.request(*request_)

    assert (response.json() if response.status_code == 599 else response.status_code) == expected
