"""Routing as a client sees it: in this process, and over a socket."""

import asyncio
import decimal
import http.client
import json
import urllib.parse
import uuid

import pytest
import starlette.responses
import starlette.staticfiles

from flama import Flama, exceptions, types
from flama.client import Client
from flama.routing import Mount, Route, Router
from tests.support import server

pytestmark = pytest.mark.anyio

VERBS = ["get", "post", "put", "patch", "delete", "head", "options", "trace", "connect", "query"]


async def ask(app, method, path, **request):
    async with Client(app=app) as client:
        return await client.request(method, path, **request)


def ask_over_a_socket(url, method, path, headers=()):
    """The status, headers and body for a request line that no client library tidies up."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=5)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def echoing(*templates):
    """An application that answers with a path's own template and parameters."""
    app = Flama()
    for template in templates:

        def handler(params: types.PathParams, template=template):
            return {"template": template, "params": {name: str(value) for name, value in params.items()}}

        app.add_get(template, handler, name=template)
    return app


@pytest.mark.parametrize("verb", VERBS)
async def test_a_decorator_gives_the_function_back_and_serves_it(verb):
    app = Flama()

    def handler():
        return "served"

    assert getattr(app, verb)("/x/")(handler) is handler
    response = await ask(app, verb.upper(), "/x/")
    assert response.status_code == 200


@pytest.mark.parametrize("verb", VERBS)
async def test_each_decorator_has_a_method_for_it(verb):
    app = Flama()
    getattr(app, f"add_{verb}")("/x/", lambda: "served", name="x")

    response = await ask(app, verb.upper(), "/x/")

    assert response.status_code == 200
    assert app.resolve_url("x") == "/x/"


async def test_a_route_serves_get_unless_told_otherwise_and_all_the_methods_it_is_told():
    app = Flama()
    app.add_route("/one/", lambda: 1)
    app.add_route("/two/", lambda: 2, ["POST", "put"])
    app.add_route(route=Route("/three/", lambda: 3, methods=("PATCH",)))

    @app.route("/four/", methods=["DELETE"])
    def four():
        return 4

    async with Client(app=app) as client:
        found = [await client.request(*line) for line in [("GET", "/one/"), ("POST", "/two/"), ("PUT", "/two/")]]
        found += [await client.patch("/three/"), await client.delete("/four/")]

    assert [response.json() for response in found] == [1, 2, 2, 3, 4]


@pytest.mark.parametrize("arguments", [{}, {"path": "/"}, {"endpoint": print}])
def test_a_route_without_path_or_endpoint_is_refused(arguments):
    with pytest.raises(exceptions.ApplicationError):
        Flama().add_route(**arguments)


@pytest.mark.parametrize("arguments", [{}, {"path": "/"}, {"app": Router()}])
def test_a_mount_without_path_or_application_is_refused(arguments):
    with pytest.raises(exceptions.ApplicationError):
        Flama().mount(**arguments)


@pytest.mark.parametrize("route", ["/{id:nope}/", "relative"])
async def test_a_wrong_path_fails_at_start_up_at_the_latest(route):
    with pytest.raises((ValueError, exceptions.ApplicationError), match=r"nope|relative"):
        app = Flama()
        app.add_get(route, lambda: None)
        await ask(app, "GET", "/")


UUID = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize(
    ("template", "path", "value"),
    [
        ("/{id}", "/alice", "alice"),
        ("/{id:str}", "/alice", "alice"),
        ("/{id:int}", "/-12", -12),
        ("/{id:float}", "/1.5", 1.5),
        ("/{id:float}", "/2", 2.0),
        ("/{id:decimal}", "/1.50", decimal.Decimal("1.50")),
        ("/{id:uuid}", f"/{UUID}", uuid.UUID(UUID)),
        ("/{id:path}", "/a/b//c/", "a/b//c/"),
        ("/{id:path}", "/", ""),
        ("/v{id:int}", "/v3", 3),
        ("/{id}.json", "/a.b.json", "a.b"),
    ],
)
async def test_a_converter_gives_a_value_of_its_type(template, path, value):
    app = Flama()
    seen = []

    @app.get(template)
    def handler(id):
        seen.append(id)

    response = await ask(app, "GET", path)

    assert response.status_code == 204
    assert seen == [value]
    assert type(seen[0]) is type(value)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/{id}", "/"),
        ("/{id}", "/a/b"),
        ("/{id:int}", "/x"),
        ("/{id:int}", "/1.5"),
        ("/{id:int}", "/%D9%A1"),  # a digit, but not an ASCII one
        ("/{id:int}", "/-"),
        ("/{id:int}", "/--1"),
        ("/{id:int}", "/+1"),
        ("/{id:int}", "/1%0A"),
        ("/{id:int}", "/1_0"),
        ("/{id:float}", "/nan"),
        ("/{id:float}", "/1e5"),
        ("/{id:decimal}", "/Infinity"),
        ("/{id:uuid}", "/1234"),
        ("/v{id:int}", "/vx"),
        ("/x/", "/x"),
        ("/x", "/x/"),
        ("/x/", "/x//"),
        ("/x/", "//x/"),
    ],
)
async def test_a_path_of_another_form_is_not_found(template, path):
    response = await ask(echoing(template), "GET", f"http://localapp{path}")

    assert response.status_code == 404
    assert response.json() == {"status_code": 404, "detail": "Not Found", "error": "HTTPException"}


@pytest.mark.parametrize(("digits", "status"), [(100, 200), (5_000, 404), (50_000, 404)])
@pytest.mark.parametrize("kind", ["int", "decimal", "float"])
async def test_a_number_of_any_length_in_the_path_is_no_server_error(kind, digits, status):
    app = Flama()

    @app.get(f"/{{id:{kind}}}")
    def handler(id):
        return {"id": str(id)[:3]}

    response = await ask(app, "GET", "/" + "7" * digits)

    assert response.status_code == (status if kind == "int" else 200)


IDS = [
    "a/b",
    "%",
    "%2F",
    "a?x=1",
    "a#f",
    "é",
    "日本",
    "a b",
    "..",
    "../admin",
    "a/../b",
    "+",
    "&=;",
    ".x",
    "\x7f",
    "a\\b",
]


@pytest.mark.parametrize("id", IDS)
async def test_an_id_is_one_segment_whatever_it_holds(id):
    app = Flama()

    @app.get("/user/{id}/")
    def handler(id: str):
        return {"id": id}

    response = await ask(app, "GET", f"/user/{urllib.parse.quote(id, safe='').replace('.', '%2E')}/")

    assert (response.status_code, response.json()) == (200, {"id": id})


@pytest.mark.parametrize(
    ("quoted", "id"),
    [
        ("a%2fb", "a/b"),
        ("%61%2F%62", "a/b"),
        ("%2F", "/"),
        ("%2f%2F", "//"),
        ("%C3%A9%2F", "é/"),
        ("%FF%2F", "\ufffd/"),
    ],
)
async def test_a_quoted_slash_is_part_of_an_id_however_the_rest_is_quoted(quoted, id):
    app = Flama()
    app.add_get("/user/{id}/", lambda id: {"id": id})

    response = await ask(app, "GET", f"/user/{quoted}/")

    assert response.json() == {"id": id}


def test_an_id_is_one_segment_over_a_socket_too(serve):
    app = Flama()

    @app.get("/user/{id}/")
    def handler(id: str):
        return id

    mounting = Flama(routes=[Mount("/api", app)])
    url = serve(mounting)
    quoted = [urllib.parse.quote(id, safe="") for id in IDS]

    answers = [ask_over_a_socket(url, "GET", f"/api/user/{text}/") for text in quoted]

    assert [status for status, _, _ in answers] == [200] * len(IDS)
    assert [json.loads(body) for _, _, body in answers] == IDS


async def test_a_trailing_slash_is_as_declared_and_nothing_is_redirected():
    app = echoing("/with/", "/without")

    async with Client(app=app) as client:
        statuses = [(await client.get(path)).status_code for path in ("/with/", "/with", "/without", "/without/")]

    assert statuses == [200, 404, 200, 404]


async def test_head_is_answered_as_get_would_be_without_the_body():
    app = Flama()

    @app.get("/json/")
    def plain():
        return {"a": "é" * 10}

    @app.get("/text/")
    def text():
        return starlette.responses.PlainTextResponse("hello", headers={"x-own": "1"})

    @app.get("/missing/")
    def missing():
        raise exceptions.NotFoundError(resource="user")

    @app.get("/stream/")
    async def stream():
        yield b"one"
        yield b"two"

    @app.get("/file/")
    def file():
        return starlette.responses.FileResponse(__file__)

    @app.get("/none/")
    def none(): ...

    async with Client(app=app) as client:
        for path in ("/json/", "/text/", "/missing/", "/stream/", "/file/", "/none/"):
            get, head = await client.get(path), await client.head(path)
            assert head.status_code == get.status_code
            assert head.headers == get.headers
            assert head.content == b""


async def test_head_of_a_stream_without_an_end_is_answered():
    app = Flama()

    @app.get("/")
    async def handler():
        while True:
            yield b"x"
            await asyncio.sleep(0)

    async with Client(app=app) as client:
        response = await asyncio.wait_for(client.head("/"), 2)

    assert (response.status_code, response.content) == (200, b"")


async def test_head_can_have_a_handler_of_its_own():
    app = Flama()
    app.add_get("/x/", lambda: "get")
    app.add_head("/x/", lambda: starlette.responses.Response(headers={"x-own": "head"}))

    head = await ask(app, "HEAD", "/x/")
    get = await ask(app, "GET", "/x/")

    assert head.headers.get("x-own") == "head"
    assert get.json() == "get"


@pytest.mark.parametrize("path", ["/x/", "/y/1/"])
async def test_options_names_the_methods_of_a_path(path):
    app = Flama()
    app.add_get("/x/", lambda: None)
    app.add_post("/x/", lambda: None)
    app.add_route("/y/{id}/", lambda: None, ["GET", "POST"])

    response = await ask(app, "OPTIONS", path)

    assert response.status_code == 204
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert response.content == b""


async def test_options_can_have_a_handler_of_its_own():
    app = Flama()
    app.add_options("/x/", lambda: "own")

    response = await ask(app, "OPTIONS", "/x/")

    assert (response.status_code, response.json()) == (200, "own")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/x/"), ("DELETE", "/y/1/"), ("BREW", "/x/")])
async def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(method, path):
    app = Flama()
    app.add_get("/x/", lambda: None)
    app.add_post("/x/", lambda: None)
    app.add_get("/y/{id:int}/", lambda: None)
    app.add_post("/y/{name}/", lambda: None)

    response = await ask(app, method, path)

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert response.json() == {
        "status_code": 405,
        "detail": "Method Not Allowed",
        "error": "MethodNotAllowedException",
    }


async def test_options_of_a_path_that_nothing_serves_is_not_found():
    response = await ask(echoing("/x/"), "OPTIONS", "/y/")

    assert response.status_code == 404


async def test_the_first_of_two_handlers_of_one_path_serves_it():
    app = Flama()
    for path in ("/x/", "/{id}/x"):
        app.add_get(path, lambda: "first")
        app.add_get(path, lambda: "second")

    async with Client(app=app) as client:
        found = [(await client.get(path)).json() for path in ("/x/", "/1/x")]

    assert found == ["first", "first"]


def _route(number):
    return lambda id: {"route": number, "id": id}


async def test_each_of_a_thousand_routes_is_served():
    app = Flama()
    for i in range(1000):
        app.add_get(f"/r{i}/{{id:int}}/", _route(i))

    async with Client(app=app) as client:
        found = [(await client.get(f"/r{i}/{i * 2}/")).json() for i in range(0, 1000, 37)]

    assert found == [{"route": i, "id": i * 2} for i in range(0, 1000, 37)]


async def test_a_router_and_nested_mounts_serve_as_if_their_routes_had_been_declared_with_the_whole_path():
    inner, outer = Router(), Router()
    inner.add_get("/{id:int}/", lambda id: {"id": id}, name="one")
    outer.mount("/user", inner, name="user")
    app = Flama()
    app.mount("/api/", outer, name="api")
    app.mount(mount=Mount("/v2", routes=[Route("/x/", lambda: "x", "x")], name="v2"))

    async with Client(app=app) as client:
        found = [await client.get(path) for path in ("/api/user/3/", "/v2/x/", "/user/3/", "/api/user/x/")]

    assert [response.status_code for response in found] == [200, 200, 404, 404]
    assert found[0].json() == {"id": 3}
    assert app.resolve_url("api:user:one", id=3) == "/api/user/3/"
    assert app.resolve_url("v2:x") == "/v2/x/"


async def test_405_and_options_reach_into_a_mounted_router():
    router = Router()
    router.add_post("/x/", lambda: None)
    app = Flama(routes=[Mount("/api", router)])

    response = await ask(app, "GET", "/api/x/")

    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, POST")


async def test_static_files_of_starlette_are_served_from_a_mount(tmp_path):
    (tmp_path / "a b.txt").write_text("hello")
    (tmp_path.parent / "secret.txt").write_text("secret")
    app = Flama()
    app.mount("/static", starlette.staticfiles.StaticFiles(directory=tmp_path))

    async with Client(app=app) as client:
        found = [await client.get(f"/static/{path}") for path in ("a%20b.txt", "nope.txt", "%2e%2e/secret.txt")]

    assert [response.status_code for response in found] == [200, 404, 404]
    assert found[0].text == "hello"
    assert found[0].headers["content-type"].startswith("text/plain")


async def test_a_site_of_static_files_is_served_from_the_root_beside_the_routes(tmp_path):
    (tmp_path / "index.html").write_text("home")
    (tmp_path / "app.js").write_text("script")
    app = Flama(routes=[Mount("/", starlette.staticfiles.StaticFiles(directory=tmp_path, html=True))])
    app.add_get("/api/{id}/", lambda id: {"id": id})

    async with Client(app=app) as client:
        found = [(await client.get(path)).text for path in ("/", "/app.js", "/api/1/")]
        missing = await client.get("/nope")

    assert found == ["home", "script", '{"id":"1"}']
    assert missing.status_code == 404


async def test_a_mounted_asgi_application_is_told_where_it_is_mounted():
    scopes = []

    async def asgi(scope, receive, send):
        scopes.append((scope["type"], scope.get("root_path"), scope["path"]))
        await starlette.responses.PlainTextResponse("asgi")(scope, receive, send)

    app = Flama()
    app.mount("/other", asgi)

    response = await ask(app, "GET", "/other/x/y")

    assert response.text == "asgi"
    assert scopes == [("http", "/other", "/other/x/y")]


@pytest.mark.parametrize(
    ("path", "status"), [("/api", 404), ("/api/", 200), ("/apix/", 404), ("/api/x/", 200), ("/ap/", 404)]
)
async def test_a_mount_serves_the_paths_below_it_and_no_other(path, status):
    inner = Flama()
    inner.add_get("/", lambda: "root")
    inner.add_get("/x/", lambda: "x")
    app = Flama(routes=[Mount("/api", inner)])

    response = await ask(app, "GET", path)

    assert response.status_code == status


async def test_the_longer_of_two_mounts_serves_and_a_route_goes_before_a_mount():
    def answering(text):
        return starlette.responses.PlainTextResponse(text)

    app = Flama(routes=[Mount("/a", answering("a")), Mount("/a/b", answering("b"))])
    app.add_get("/a/own/", lambda: "own")

    async with Client(app=app) as client:
        found = [(await client.get(path)).text for path in ("/a/x", "/a/b/x", "/a/own/")]

    assert found == ["a", "b", '"own"']


@pytest.mark.parametrize("path", ["/", "/x/y"])
async def test_a_mount_at_the_root_serves_all_that_the_routes_do_not(path):
    app = Flama(routes=[Mount("/", starlette.responses.PlainTextResponse("mounted"))])
    app.add_get("/own/", lambda: "own")

    async with Client(app=app) as client:
        found = [(await client.get(path)).text for path in (path, "/own/")]

    assert found == ["mounted", '"own"']


def test_an_application_behind_a_proxy_that_takes_a_prefix_off_serves_what_is_below_it():
    inner = Flama()

    @inner.get("/user/{id}/")
    def user(id: str, url: types.URL):
        return {"id": id, "path": url.components.path}

    app = Flama(routes=[Mount("/api", inner)])
    app.add_get("/x/", lambda: "x")

    with server.served(app, root_path="/proxy") as url:
        statuses = [ask_over_a_socket(url, "GET", path) for path in ("/x/", "/api/user/a%2Fb/", "/proxy/x/")]

    assert [status for status, _, _ in statuses] == [200, 200, 404]
    assert json.loads(statuses[1][2])["id"] == "a/b"
    assert json.loads(statuses[1][2])["path"].startswith("/proxy/api/user/a")


def test_a_mount_with_parameters_in_its_path_is_refused():
    with pytest.raises(ValueError, match="parameters"):
        Flama(routes=[Mount("/{tenant}", Router())]).router.compile(None)


async def test_a_quoted_slash_in_an_id_below_a_mount_is_part_of_the_id():
    inner = Flama()
    inner.add_get("/user/{id}/", lambda id: {"id": id})
    middle = Flama(routes=[Mount("/v1", inner)])
    app = Flama(routes=[Mount("/api", middle)])

    response = await ask(app, "GET", "/api/v1/user/a%2Fb%25/")

    assert response.json() == {"id": "a/b%"}


async def test_a_quoted_slash_does_not_reach_another_route_nor_a_mount():
    app = echoing("/user/{id}/", "/user/a/b/", "/{collection}/")
    app.mount("/files", starlette.responses.PlainTextResponse("mounted"))

    async with Client(app=app) as client:
        found = [(await client.get(path)).json() for path in ("/user/a%2Fb/", "/files%2Fx/")]

    assert found == [
        {"template": "/user/{id}/", "params": {"id": "a/b"}},
        {"template": "/{collection}/", "params": {"collection": "files/x"}},
    ]


@pytest.mark.parametrize(
    ("name", "parameters", "url"),
    [
        ("plain", {}, "/plain/"),
        ("user", {"id": "a/b c"}, "/user/a%2Fb%20c/"),
        ("file", {"path": "a b/c"}, "/files/a%20b/c"),
        ("api:item", {"id": 3}, "/api/item/3/"),
    ],
)
def test_the_url_of_a_route_is_found_by_its_name(name, parameters, url):
    inner = Flama()
    inner.add_get("/item/{id:int}/", lambda id: id, name="item")
    app = Flama()
    app.add_get("/plain/", lambda: None, name="plain")
    app.add_get("/user/{id}/", lambda id: id, name="user")
    app.add_get("/files/{path:path}", lambda path: path, name="file")
    app.mount("/api", inner, name="api")

    resolved = app.resolve_url(name, **parameters)

    assert resolved == url
    assert resolved.components.path == url


def test_a_route_is_named_for_its_handler_unless_it_has_a_name():
    app = Flama()

    @app.get("/user/{id}/")
    def get_user(id: str): ...

    assert app.resolve_url("get_user", id="x") == "/user/x/"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("nobody", {}), ("user", {}), ("user", {"id": 1, "more": 2}), ("api:nobody", {}), ("apiitem", {}), ("item", {})],
)
def test_a_url_that_no_route_has_is_not_found(name, parameters):
    inner = Flama()
    inner.add_get("/item/", lambda: None, name="item")
    app = Flama()
    app.mount("/api", inner, name="api")
    app.add_get("/user/{id}/", lambda id: id, name="user")

    with pytest.raises(exceptions.NotFoundException, match=name):
        app.resolve_url(name, **parameters)


def test_a_url_is_found_in_the_second_of_two_mounts_of_one_name_and_after_an_unnamed_one():
    first, second, third = Flama(), Flama(), Flama()
    first.add_get("/a/", lambda: None, name="a")
    second.add_get("/b/", lambda: None, name="b")
    third.add_get("/c/", lambda: None, name="c")
    app = Flama(routes=[Mount("/0", first), Mount("/1", second, "x"), Mount("/2", third, "x")])
    app.add_get("/d/", lambda: None, name="d")

    urls = [app.resolve_url(name) for name in ("a", "x:b", "x:c", "d")]

    assert urls == ["/0/a/", "/1/b/", "/2/c/", "/d/"]


def test_paths_are_served_alike_over_a_socket(serve):
    app = echoing("/x/", "/user/{id}/", "/n/{id:int}", "/files/{rest:path}")
    url = serve(app)

    statuses = {
        path: ask_over_a_socket(url, method, path)[0]
        for method, path in [
            ("GET", "/x/"),
            ("GET", "/x"),
            ("HEAD", "/user/a/"),
            ("GET", "/user/%FF%FE/"),
            ("GET", "/user/%ED%A0%80/"),
            ("GET", "/user/%00/"),
            ("GET", "/user/%zz/"),
            ("GET", "/user/%2F%zz%FF/"),
            ("GET", "/n/x"),
            ("POST", "/n/1"),
            ("OPTIONS", "/n/2"),
            ("GET", "/files/../../etc/passwd"),
            ("GET", "//"),
            ("GET", "/%2F"),
        ]
    }

    assert statuses == {
        "/x/": 200,
        "/x": 404,
        "/user/a/": 200,
        "/user/%FF%FE/": 200,
        "/user/%ED%A0%80/": 200,
        "/user/%00/": 200,
        "/user/%zz/": 200,
        "/user/%2F%zz%FF/": 200,
        "/n/x": 404,
        "/n/1": 405,
        "/n/2": 204,
        "/files/../../etc/passwd": 200,
        "//": 404,
        "/%2F": 404,
    }


def test_head_over_a_socket_has_the_length_of_what_get_brings(serve):
    url = serve(echoing("/x/"))

    status, headers, body = ask_over_a_socket(url, "HEAD", "/x/")
    _, _, whole = ask_over_a_socket(url, "GET", "/x/")

    assert (status, body) == (200, b"")
    assert headers["content-length"] == str(len(whole))


@pytest.mark.parametrize("sent", ["/old/", "/old/a%2Fb", "/old/%41"])
@pytest.mark.parametrize("place", ["inside", "outside"])
async def test_a_path_that_middleware_rewrote_is_served_as_rewritten(sent, place):
    def rewriting(app):
        async def rewrite(scope, receive, send):
            if scope["type"] == "http":
                scope = {**scope, "path": "/new/"}  # and not the raw path, as most middleware forgets
            await app(scope, receive, send)

        return rewrite

    app = Flama(middleware=[rewriting] if place == "inside" else [])
    app.add_get("/old/", lambda: "old")
    app.add_get("/old/{id}", lambda id: "old")
    app.add_get("/new/", lambda: "new")

    response = await ask(app if place == "inside" else rewriting(app), "GET", sent)

    assert response.json() == "new"


@pytest.mark.parametrize("sent", ["/%C3%A9%20x/A", "/%c3%a9%20x/%41", "/é x/A"])
async def test_a_path_without_parameters_is_found_however_it_is_quoted(sent):
    app = Flama()
    app.add_get("/é x/A", lambda: "found")
    inner = Flama(routes=[Mount("/ü", app)])

    async with Client(app=inner) as client:
        response = await client.get("/%C3%BC" + sent)

    assert response.json() == "found"
    assert (await ask(app, "GET", sent)).json() == "found"


async def test_a_connection_without_a_raw_path_is_served():
    app = echoing("/x/", "/user/{id}/")
    sent = []

    async def send(message):
        sent.append(message)

    async with Client(app=app):
        for path in ("/x/", "/user/1/"):
            scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
            await app(scope, None, send)

    assert [message["status"] for message in sent if "status" in message] == [200, 200]
