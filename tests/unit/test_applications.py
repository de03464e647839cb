"""The application: what it is built from, and what it gives its parts."""

import collections
import contextlib
import datetime
import typing as t

import httpx
import pydantic
import pytest
import starlette.applications
import starlette.middleware
import starlette.middleware.gzip
import starlette.responses
import starlette.routing

from flama import Component, Flama, Module, exceptions, http, types
from flama.client import Client, LifespanContextManager
from flama.injection import Parameter
from flama.routing import Mount, Route, Router, WebSocketRoute
from tests.support import server

pytestmark = pytest.mark.anyio


async def get(app, path, **request):
    async with Client(app=app) as client:
        return await client.get(path, **request)


class Value:
    def __init__(self, text):
        self.text = text


class ValueComponent(Component):
    def __init__(self, text):
        self.text = text

    def resolve(self) -> Value:
        return Value(self.text)


def tell(value: Value):
    return value.text


async def follow(websocket: http.WebSocket, value: Value):
    await websocket.accept()


class Noting(Module):
    name = "noting"

    def __init__(self, notes=None):
        self.notes = [] if notes is None else notes

    async def on_startup(self):
        self.notes.append(f"{self.name} up")

    async def on_shutdown(self):
        self.notes.append(f"{self.name} down")


async def test_an_application_without_anything_answers_not_found():
    response = await get(Flama(), "/")

    assert response.status_code == 404


async def test_the_constructor_takes_what_the_methods_add():
    notes = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        notes.append("entered")
        yield
        notes.append("left")

    def noted(text):
        return lambda: notes.append(text)

    app = Flama(
        routes=(Route("/value/", tell), Mount("/m", Router([Route("/value/", tell)]))),
        components={ValueComponent("given")},
        modules=[Noting(notes)],
        middleware=(starlette.middleware.Middleware(starlette.middleware.gzip.GZipMiddleware, minimum_size=1),),
        events={"startup": [noted("start")], "shutdown": {noted("stop")}},
        lifespan=lifespan,
    )

    async with Client(app=app) as client:
        found = [await client.get(path) for path in ("/value/", "/m/value/")]

    assert [response.json() for response in found] == ["given", "given"]
    assert found[0].headers["content-encoding"] == "gzip"
    assert notes == ["noting up", "start", "entered", "left", "stop", "noting down"]


def test_the_constructor_takes_keywords_only_and_no_others():
    with pytest.raises(TypeError):
        Flama([])
    with pytest.raises(TypeError):
        Flama(nonsense=1)


def test_what_an_application_is_given_can_be_asked_for():
    module, route = Noting(), Route("/value/", tell)
    component = ValueComponent("x")
    app = Flama(routes=[route], components=[component], modules=[module])

    assert app.routes == [route]
    assert list(app.components) == [component]
    assert app.modules == {"noting": module}
    assert module.app is app
    assert app.status is types.AppStatus.NOT_STARTED
    assert (app.debug, Flama(debug=True).debug) == (False, True)
    assert isinstance(app, types.App)


def test_a_module_is_an_attribute_of_its_application():
    module = Noting()

    assert Flama(modules=[module]).noting is module


@pytest.mark.parametrize(
    ("modules", "says"), [([Noting()], "nothing.*noting"), ([], "nothing.*no modules")], ids=["one", "none"]
)
def test_an_unknown_attribute_is_an_error_that_names_the_modules_there_are(modules, says):
    app = Flama(modules=modules)

    with pytest.raises(AttributeError, match=says):
        _ = app.nothing
    assert not hasattr(app, "nothing")
    assert getattr(app, "nothing", None) is None


def test_an_application_that_is_not_built_yet_has_no_attributes_rather_than_no_end():
    with pytest.raises(AttributeError):
        _ = Flama.__new__(Flama).sqlalchemy


def test_two_modules_of_one_name_are_refused_by_that_name():
    with pytest.raises(exceptions.ApplicationError, match="noting"):
        Flama(modules=[Noting(), Noting()])


@pytest.mark.parametrize("event", ["start", "", "STARTUP"])
def test_an_unknown_event_is_refused(event):
    with pytest.raises(exceptions.ApplicationError, match="Wrong event"):
        Flama().on_event(event)(print)
    with pytest.raises(exceptions.ApplicationError, match="Wrong event"):
        Flama().add_event_handler(event, print)
    with pytest.raises(exceptions.ApplicationError, match="Wrong event"):
        Flama(events={event: [print]})


def test_on_event_gives_the_function_back():
    def handler(): ...

    assert Flama().on_event("startup")(handler) is handler


@pytest.mark.parametrize("path", ["/x/", "/{id:int}/"])
async def test_a_route_that_is_added_while_the_application_runs_is_served(path):
    app = Flama()

    async with Client(app=app) as client:
        before = await client.get(path.replace("{id:int}", "1"))
        app.add_get(path, lambda: "added")
        after = await client.get(path.replace("{id:int}", "1"))

    assert (before.status_code, after.status_code) == (404, 200)


async def test_a_component_or_a_mount_that_is_added_while_the_application_runs_is_used():
    inner = Flama()
    inner.add_get("/value/", tell)
    app = Flama()

    async with Client(app=app) as client:
        app.add_component(ValueComponent("late"))
        app.add_get("/value/", tell)
        app.mount("/m", starlette.responses.PlainTextResponse("mounted"))
        found = [(await client.get(path)).text for path in ("/value/", "/m/x")]

    assert found == ['"late"', "mounted"]


async def test_an_application_of_ours_can_not_be_mounted_while_the_other_runs():
    app = Flama()
    app.add_get("/x/", lambda: "x")

    async with Client(app=app) as client:
        with pytest.raises(exceptions.ApplicationError, match="before the outer one starts"):
            app.mount("/m", Flama())
        response = await client.get("/x/")

    assert response.status_code == 200
    assert [route.path for route in app.routes] == ["/x/"]


async def test_a_route_that_can_not_be_served_is_refused_when_it_is_added_while_the_application_runs():
    app = Flama()
    app.add_get("/x/", lambda: "x")

    async with Client(app=app) as client:
        with pytest.raises(exceptions.ComponentNotFound, match="'value' for function 'tell'"):
            app.add_get("/value/", tell)
        still = await client.get("/x/")
        app.add_get("/y/", lambda: "y")
        later = await client.get("/y/")

    assert (still.status_code, later.status_code) == (200, 200)


async def test_middleware_is_refused_while_the_application_runs():
    app = Flama()

    async with Client(app=app):
        with pytest.raises(exceptions.ApplicationError, match="before"):
            app.add_middleware(lambda app: app)


async def test_a_mounted_application_falls_back_to_the_components_of_the_one_around_it():
    own, inherited = Flama(components=[ValueComponent("own")]), Flama()
    for app in (own, inherited):
        app.add_get("/value/", tell)
    root = Flama(components=[ValueComponent("root")])
    root.add_get("/value/", tell)
    root.mount("/own", own)
    root.mount("/inherited", inherited)

    async with Client(app=root) as client:
        found = [(await client.get(path)).json() for path in ("/value/", "/own/value/", "/inherited/value/")]

    assert found == ["root", "own", "root"]


async def test_a_handler_of_a_mounted_application_gets_that_application_with_the_modules_around_it():
    apps = []

    def handler(app: types.App):
        apps.append(app)
        return app.noting.name

    inner, middle = Flama(), Flama()
    inner.add_get("/x/", handler)
    middle.mount("/inner", inner)
    root = Flama(modules=[Noting()])
    root.mount("/middle", middle)

    response = await get(root, "/middle/inner/x/")

    assert response.json() == "noting"
    assert apps == [inner]
    assert (inner.root, middle.root, root.root) == (root, root, root)
    assert inner.parent is middle


async def test_a_handler_may_annotate_the_application_as_flama():
    apps = []
    app = Flama()

    @app.get("/")
    def handler(flama: Flama):
        apps.append(flama)

    await get(app, "/")

    assert apps == [app]


async def test_the_scope_says_which_application_serves():
    seen = []

    async def asgi(scope, receive, send):
        seen.append(scope["app"])
        await starlette.responses.PlainTextResponse("")(scope, receive, send)

    app = Flama()
    app.mount("/asgi", asgi)

    await get(app, "/asgi/x")

    assert seen == [app]


async def test_an_application_of_starlette_is_mounted_and_mounts_one_of_ours():
    ours = Flama()
    ours.add_get("/x/{id}/", lambda id: {"id": id})
    theirs = starlette.applications.Starlette(
        routes=[
            starlette.routing.Mount("/ours", ours),
            starlette.routing.Route("/y/{id}/", lambda r: starlette.responses.JSONResponse(r.path_params)),
        ]
    )
    outer = Flama(routes=[Mount("/theirs", theirs)])

    async with Client(app=ours), Client(app=outer) as client:
        mounted = await client.get("/theirs/y/1/")
        both = await client.get("/theirs/ours/x/a%2Fb/")

    assert mounted.json() == {"id": "1"}
    assert both.json() == {"id": "a/b"}


async def test_one_application_can_be_mounted_twice():
    inner = Flama()
    inner.add_get("/x/", lambda: "x")
    app = Flama(routes=[Mount("/a", inner), Mount("/b", inner)])

    async with Client(app=app) as client:
        found = [(await client.get(path)).status_code for path in ("/a/x/", "/b/x/")]

    assert found == [200, 200]


async def test_one_router_can_serve_in_two_applications():
    router = Router([Route("/value/", tell), WebSocketRoute("/ws/", follow)])
    apps = [Flama(routes=[Mount("/r", router)], components=[ValueComponent(text)]) for text in ("a", "b")]

    found = [(await get(app, "/r/value/")).json() for app in apps]

    assert found == ["a", "b"]


async def test_an_application_can_have_its_own_class():
    class Application(Flama):
        greeting: t.ClassVar[str] = "hello"

    app = Application()

    @app.get("/")
    def handler(app: Application):
        return app.greeting

    assert (await get(app, "/")).json() == "hello"


async def test_max_body_size_is_ten_mebibytes_unless_another_is_given():
    def size(body: types.Body):
        return len(body)

    default, small, unlimited = Flama(), Flama(max_body_size=5), Flama(max_body_size=None)
    for app in (default, small, unlimited):
        app.add_post("/", size)
    sizes = {default: 10 * 2**20, small: 5}

    for app, limit in sizes.items():
        async with Client(app=app) as client:
            assert (await client.post("/", content=b"x" * limit)).json() == limit
            assert (await client.post("/", content=b"x" * (limit + 1))).status_code == 413
    async with Client(app=unlimited) as client:
        assert (await client.post("/", content=b"x" * (11 * 2**20))).json() == 11 * 2**20


async def test_max_body_size_holds_in_a_mounted_application_as_it_was_given_there():
    def size(body: types.Body):
        return len(body)

    inner = Flama(max_body_size=3)
    inner.add_post("/", size)
    app = Flama(routes=[Mount("/inner", inner)])
    app.add_post("/", size)

    async with Client(app=app) as client:
        found = [(await client.post(path, content=b"xxxx")).status_code for path in ("/inner/", "/")]

    assert found == [413, 200]


async def test_a_route_s_options_are_kept_with_it():
    app = Flama()
    app.add_get("/a/", lambda: 1, name="a", include_in_schema=False, tags=["t"])
    app.post("/b/", tags=["u"])(lambda: 2)

    kept = [(route.path, route.name, route.include_in_schema, list(route.tags)) for route in app.routes]

    assert kept == [("/a/", "a", False, ["t"]), ("/b/", "", True, ["u"])]


class Model(pydantic.BaseModel):
    name: str
    when: datetime.datetime = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def everything():
    """An application whose answers are of every kind."""
    app = Flama(max_body_size=100, routes=[Mount("/asgi", starlette.responses.PlainTextResponse("asgi"))])

    @app.get("/dict/{id}/")
    async def one(id: str, q: int | None = None):
        return {"id": id, "q": q}

    @app.post("/model/")
    async def model(data: Model) -> Model:
        return data

    @app.get("/none/")
    def none(): ...

    @app.get("/stream/")
    async def stream():
        yield {"a": 1}
        yield {"b": 2}

    @app.get("/missing/")
    def missing():
        raise exceptions.NotFoundError(resource="user", id="é")

    @app.get("/broken/")
    def broken():
        raise ValueError("secret")

    @app.get("/cookie/")
    def cookie():
        response = http.PlainTextResponse("é", 201, headers={"x-own": "1"})
        response.set_cookie("a", "b")
        response.set_cookie("c", "d")
        return response

    return app


@pytest.mark.parametrize("parser", ["h11", "httptools"])
async def test_a_client_in_this_process_gets_the_very_answer_that_a_socket_brings(parser):
    requests = [
        ("GET", "/dict/a%2Fb%25é/?q=1", {}),
        ("HEAD", "/dict/x/", {}),
        ("OPTIONS", "/dict/x/", {}),
        ("PUT", "/dict/x/", {}),
        ("GET", "/dict/x/?q=x", {}),
        ("POST", "/model/", {"json": {"name": "A"}}),
        ("POST", "/model/", {"json": {}}),
        ("POST", "/model/", {"content": b"{"}),
        ("POST", "/model/", {"content": b"x" * 101}),
        ("POST", "/model/", {"content": b"x", "headers": {"content-type": "text/plain"}}),
        ("GET", "/none/", {}),
        ("GET", "/stream/", {}),
        ("HEAD", "/stream/", {}),
        ("GET", "/missing/", {}),
        ("GET", "/broken/", {}),
        ("GET", "/cookie/", {}),
        ("GET", "/nope/", {}),
        ("GET", "/asgi/x", {}),
    ]

    def essence(response):
        # What a server adds of its own is left out: the date, its name, how the body is framed.
        own = {"date", "server", "transfer-encoding", "connection"}
        headers = sorted(
            (name.lower(), value) for name, value in response.headers.raw if name.lower().decode() not in own
        )
        return response.status_code, headers, response.content

    async with Client(app=everything()) as client:
        here = [essence(await client.request(method, path, **request)) for method, path, request in requests]
    there = []
    with server.served(everything(), http=parser) as url:
        for method, path, request in requests:
            async with Client(base_url=url) as client:
                there.append(essence(await client.request(method, path, **request)))

    for request, one, other in zip(requests, here, there, strict=True):
        assert one == other, request


@pytest.mark.parametrize("parser", ["h11", "httptools"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/broken/", b""),
        ("GET", "/missing/", b""),
        ("POST", "/model/", b"x" * 200_000),
        ("GET", "/nope/", b"x" * 200_000),
    ],
    ids=["unexpected", "known", "too large", "body that nobody reads"],
)
async def test_the_next_request_of_a_client_is_served_after_one_that_failed(parser, method, path, body):
    with server.served(everything(), http=parser) as url:
        async with Client(base_url=url) as client:
            for _ in range(5):
                failed = await client.request(method, path, content=body)
                following = await client.get("/dict/x/")
                assert (failed.status_code >= 400, following.status_code) == (True, 200)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # uvicorn exits its thread
def test_a_server_does_not_serve_an_application_that_fails_to_start():
    app = Flama()

    @app.get("/")
    def handler(nonsense: Value): ...

    with pytest.raises(RuntimeError, match="did not start"), server.served(app):
        pass

    assert app.status is types.AppStatus.FAILED


async def test_the_transport_of_httpx_drives_an_application_of_ours():
    app = everything()

    async with LifespanContextManager(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            found = [(await client.get(path)).status_code for path in ("/dict/a%2Fb/", "/stream/", "/broken/")]

    assert found == [200, 200, 500]


async def test_a_route_that_is_added_while_the_application_runs_costs_no_more_than_itself():
    calls = collections.Counter()

    class Counting(Component):
        def can_handle_parameter(self, parameter: Parameter) -> bool:
            calls["asked"] += 1
            return parameter.annotation is Value

        def resolve(self, parameter: Parameter):
            return Value(parameter.name)

    app = Flama(components=[Counting()])
    for number in range(200):
        app.add_get(f"/before/{number}/", tell)

    async with Client(app=app) as client:
        calls.clear()
        app.add_get("/late/", tell)
        response = await client.get("/late/")

    assert response.status_code == 200
    assert calls["asked"] < 10
