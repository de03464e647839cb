"""Middleware: what stands before the routes, ours, Starlette's, or any function."""

import contextvars
import gzip

import anyio
import anyio.lowlevel
import pytest
import starlette.middleware
import starlette.middleware.base
import starlette.middleware.cors
import starlette.middleware.gzip
import starlette.middleware.trustedhost
import starlette.responses

from flama import Flama, exceptions, types
from flama.client import Client
from flama.middleware import Middleware
from flama.routing import Mount

pytestmark = pytest.mark.anyio


class Noting(Middleware):
    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    async def __call__(self, scope, receive, send):
        self.notes.append(f"{self.name} in")
        try:
            await self.app(scope, receive, send)
        finally:
            self.notes.append(f"{self.name} out")


def hello():
    return {"hello": "world" * 200}


async def test_middleware_is_passed_from_the_first_to_the_last_and_back():
    notes = []

    def function(app):
        async def wrapped(scope, receive, send):
            notes.append("function in")
            await app(scope, receive, send)
            notes.append("function out")

        return wrapped

    app = Flama(middleware=[Noting("first", notes), function])
    app.add_middleware(Noting("last", notes))
    app.add_get("/{x}/", lambda x: notes.append("handler"))

    async with Client(app=app) as client:
        await client.get("/1/")

    assert notes == ["first in", "function in", "last in", "handler", "last out", "function out", "first out"]


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/nope/", 404)])
async def test_middleware_sees_every_request_whether_it_is_served_or_not(path, status):
    notes = []
    app = Flama(middleware=[Noting("m", notes)])
    app.add_get("/", hello)

    async with Client(app=app) as client:
        response = await client.get(path)

    assert response.status_code == status
    assert notes == ["m in", "m out"]


async def test_middleware_that_defines_nothing_lets_the_next_do_it():
    app = Flama(middleware=[Middleware()])
    app.add_get("/", hello)

    async with Client(app=app) as client:
        assert (await client.get("/")).json() == hello()


async def test_middleware_of_the_outer_application_stands_before_a_mounted_one_and_that_s_own_inside():
    notes = []
    inner = Flama(middleware=[Noting("inner", notes)])
    inner.add_get("/", hello)
    app = Flama(middleware=[Noting("outer", notes)], routes=[Mount("/m", inner)])

    async with Client(app=app) as client:
        await client.get("/m/")

    assert notes == ["outer in", "inner in", "inner out", "outer out"]


async def test_the_cors_middleware_of_starlette_answers_a_preflight_and_marks_the_answer():
    app = Flama(
        middleware=[
            starlette.middleware.Middleware(starlette.middleware.cors.CORSMiddleware, allow_origins=["http://a"])
        ]
    )
    app.add_get("/", hello)
    ask = {"origin": "http://a", "access-control-request-method": "GET"}

    async with Client(app=app) as client:
        preflight = await client.options("/", headers=ask)
        allowed = await client.get("/", headers={"origin": "http://a"})
        missing = await client.get("/nope/", headers={"origin": "http://a"})
        other = await client.get("/", headers={"origin": "http://b"})

    assert preflight.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "http://a"
    assert missing.headers["access-control-allow-origin"] == "http://a"
    assert "access-control-allow-origin" not in other.headers


async def test_an_error_s_answer_passes_the_middleware_so_that_a_browser_may_read_it():
    app = Flama(
        middleware=[starlette.middleware.Middleware(starlette.middleware.cors.CORSMiddleware, allow_origins=["*"])]
    )

    @app.get("/missing/")
    def missing():
        raise exceptions.NotFoundError(resource="user")

    @app.get("/broken/")
    def broken():
        raise ValueError

    async with Client(app=app) as client:
        found = [await client.get(path, headers={"origin": "http://a"}) for path in ("/missing/", "/broken/")]

    assert [response.status_code for response in found] == [404, 500]
    assert [response.headers.get("access-control-allow-origin") for response in found] == ["*", "*"]


async def test_the_gzip_middleware_of_starlette_compresses_what_is_worth_it():
    app = Flama(
        middleware=[starlette.middleware.Middleware(starlette.middleware.gzip.GZipMiddleware, minimum_size=500)]
    )
    app.add_get("/big/", hello)
    app.add_get("/small/", lambda: 1)

    @app.get("/stream/")
    async def stream():
        for _ in range(100):
            yield "some text that repeats "

    async with Client(app=app) as client:
        big, small, stream = [await client.get(path) for path in ("/big/", "/small/", "/stream/")]
        async with client.stream("GET", "/big/") as response:
            raw = b"".join([chunk async for chunk in response.aiter_raw()])

    assert big.headers["content-encoding"] == stream.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in small.headers
    assert big.json() == hello()
    assert stream.text == "some text that repeats " * 100
    assert len(raw) < 200
    assert b"world" in gzip.decompress(raw)


async def test_the_trusted_host_middleware_of_starlette_refuses_other_hosts():
    kind = starlette.middleware.trustedhost.TrustedHostMiddleware
    app = Flama(middleware=[starlette.middleware.Middleware(kind, allowed_hosts=["localapp"])])
    app.add_get("/", hello)

    async with Client(app=app) as client:
        good = await client.get("/")
        bad = await client.get("/", headers={"host": "evil"})

    assert (good.status_code, bad.status_code) == (200, 400)


async def test_the_base_http_middleware_of_starlette_works():
    async def dispatch(request, call_next):
        response = await call_next(request)
        response.headers["x-path"] = request.url.path
        return response

    kind = starlette.middleware.base.BaseHTTPMiddleware
    app = Flama(middleware=[starlette.middleware.Middleware(kind, dispatch=dispatch)])

    app.add_get("/{id}/", lambda id: {"id": id})

    async with Client(app=app) as client:
        response = await client.get("/7/")

    assert response.headers["x-path"] == "/7/"
    assert response.json() == {"id": "7"}


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (exceptions.NotFoundError(resource="user", id=1), 404, {"error": "NotFoundError", "resource": "user", "id": 1}),
        (exceptions.HTTPException(418, "teapot"), 418, {"detail": "teapot", "error": "HTTPException"}),
    ],
    ids=["domain", "http"],
)
async def test_an_error_that_middleware_raises_is_answered_by_its_status(error, status, says):
    class Failing(Middleware):
        async def __call__(self, scope, receive, send):
            raise error

    notes = []
    app = Flama(middleware=[Noting("outer", notes), Failing()])
    app.add_get("/", hello)

    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.status_code == status
    assert says.items() <= response.json().items()
    assert notes == ["outer in", "outer out"]


async def test_an_unexpected_error_in_middleware_is_answered_without_details_and_given_to_the_server():
    def failing(app):
        async def fail(scope, receive, send):
            raise ValueError("secret")

        return fail

    app = Flama(middleware=[failing])

    async with Client(app=app) as client:
        response = await client.get("/")
    async with Client(app=app, raise_app_exceptions=True) as client:
        with pytest.raises(ValueError, match="secret"):
            await client.get("/")

    assert (response.status_code, response.text) == (500, "Internal Server Error")


async def test_an_error_that_middleware_raises_after_the_answer_has_begun_can_only_cut_it():
    class Late(Middleware):
        async def __call__(self, scope, receive, send):
            await self.app(scope, receive, send)
            raise exceptions.NotFoundError(resource="late")

    app = Flama(middleware=[Late()])
    app.add_get("/", hello)

    async with Client(app=app) as client:
        response = await client.get("/")
    async with Client(app=app, raise_app_exceptions=True) as client:
        with pytest.raises(exceptions.NotFoundError):
            await client.get("/")

    assert response.status_code == 200


async def test_middleware_that_answers_itself_keeps_the_routes_out():
    notes = []

    def answering(app):
        return starlette.responses.PlainTextResponse("mine")

    app = Flama(middleware=[answering])
    app.add_get("/", lambda: notes.append("handler"))

    async with Client(app=app) as client:
        response = await client.get("/")

    assert (response.text, notes) == ("mine", [])


async def test_middleware_that_reads_the_body_and_gives_it_on_is_transparent():
    def reading(app):
        async def read(scope, receive, send):
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)

            async def again():
                return {"type": "http.request", "body": body.upper()}

            await app(scope, again, send)

        return read

    app = Flama(middleware=[reading])

    @app.post("/")
    def shout(body: types.Body):
        return body.decode()

    async with Client(app=app) as client:
        response = await client.post("/", content=b"hello")

    assert response.json() == "HELLO"


async def test_a_route_that_is_added_while_the_application_runs_is_served_behind_its_middleware():
    notes = []
    app = Flama(middleware=[Noting("m", notes)])

    async with Client(app=app) as client:
        app.add_get("/late/", hello)
        response = await client.get("/late/")

    assert response.status_code == 200
    assert notes == ["m in", "m out"]


async def test_context_variables_that_middleware_sets_are_seen_by_the_handler():
    variable = contextvars.ContextVar("variable")

    def setting(app):
        async def serve(scope, receive, send):
            variable.set("set")
            await app(scope, receive, send)

        return serve

    app = Flama(middleware=[setting])

    @app.get("/async/")
    async def asynchronous():
        await anyio.lowlevel.checkpoint()
        return variable.get()

    @app.get("/sync/")
    def synchronous():
        return variable.get()

    async with Client(app=app) as client:
        found = [(await client.get(path)).json() for path in ("/async/", "/sync/")]

    assert found == ["set", "set"]
