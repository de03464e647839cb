"""Web sockets: routes with injection, and how they are closed when something fails."""

import asyncio
import collections
import contextlib

import pytest
import websockets.asyncio.client
import websockets.exceptions

from flama import Component, Flama, exceptions, http, types
from flama.client import Client, LifespanContextManager
from flama.middleware import Middleware
from flama.routing import Mount, WebSocketRoute

pytestmark = pytest.mark.anyio


class Value:
    pass


class ValueComponent(Component):
    def __init__(self, notes=None):
        self.notes = [] if notes is None else notes

    async def resolve(self, q: str = "none") -> Value:
        self.notes.append(f"made {q}")
        try:
            yield Value()
        finally:
            self.notes.append("closed")


class Failing(Component):
    error: Exception

    def __init__(self, error):
        self.error = error

    def resolve(self) -> Value:
        raise self.error


async def talk(app, path, *messages, query=b""):
    """What the application sends on a socket of this path, when it is sent these texts and then left."""
    inbox = collections.deque(
        [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in messages)]
    )
    sent = []

    async def receive():
        await asyncio.sleep(0)
        return inbox.popleft() if inbox else {"type": "websocket.disconnect", "code": 1001}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": query, "headers": []}
    async with LifespanContextManager(app):
        with contextlib.suppress(Bug):
            await app(scope, receive, send)
    return sent


class Bug(Exception):
    pass


async def echo(websocket: http.WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())


async def test_a_socket_is_served_by_the_handler_of_its_path():
    app = Flama(routes=[WebSocketRoute("/ws/", echo)])

    sent = await talk(app, "/ws/", "a", "b")

    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.send"]
    assert [message["text"] for message in sent[1:]] == ["A", "B"]


async def test_the_decorator_gives_the_function_back_and_has_a_method_for_it():
    app = Flama()

    assert app.websocket_route("/one/", name="one")(echo) is echo
    app.add_websocket_route("/two/{id}/", echo, name="two")
    app.add_route(route=WebSocketRoute("/three/", echo))

    assert [len(await talk(app, path, "x")) for path in ("/one/", "/two/1/", "/three/")] == [2, 2, 2]
    assert app.resolve_url("two", id="a/b") == "/two/a%2Fb/"


async def test_a_handler_of_a_socket_is_given_what_any_handler_is():
    notes = []
    app = Flama(components=[ValueComponent(notes)])

    @app.websocket_route("/ws/{id:int}/")
    async def handler(websocket: http.WebSocket, id: int, q: str, value: Value, app: types.App, scope: types.Scope):
        await websocket.accept()
        await websocket.send_json([id, q, type(value).__name__, scope["app"] is app])
        notes.append("served")

    sent = await talk(app, "/ws/7/", query=b"q=x")

    assert sent[1]["text"] == '[7,"x","Value",true]'
    assert notes == ["made x", "served", "closed"]


async def test_a_handler_may_use_the_bare_messages():
    app = Flama()

    @app.websocket_route("/ws/")
    async def handler(receive: types.Receive, send: types.Send):
        await receive()
        await send({"type": "websocket.accept"})

    assert await talk(app, "/ws/") == [{"type": "websocket.accept"}]


@pytest.mark.parametrize("path", ["/nope/", "/http/", "/ws"])
async def test_a_socket_of_a_path_that_has_none_is_closed_before_it_is_accepted(path):
    app = Flama(routes=[WebSocketRoute("/ws/", echo)])
    app.add_get("/http/", lambda: "x")

    sent = await talk(app, path)

    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_http_and_a_socket_can_share_a_path():
    app = Flama(routes=[WebSocketRoute("/x/{id}/", echo), WebSocketRoute("/x/", echo)])
    app.add_get("/x/{id}/", lambda id: {"id": id})
    app.add_get("/x/", lambda: "x")

    async with Client(app=app) as client:
        found = [await client.get("/x/"), await client.get("/x/1/"), await client.post("/x/1/")]

    assert [response.status_code for response in found] == [200, 200, 405]
    assert found[2].headers["allow"] == "GET, HEAD, OPTIONS"
    assert [len(await talk(app, path, "a")) for path in ("/x/", "/x/1/")] == [2, 2]


async def test_a_path_that_has_only_a_socket_is_not_found_over_http():
    async with Client(app=Flama(routes=[WebSocketRoute("/x/", echo)])) as client:
        found = [await client.request(method, "/x/") for method in ("GET", "OPTIONS", "POST")]

    assert [response.status_code for response in found] == [404, 404, 404]


CLOSED = [
    (exceptions.WebSocketException(4001, "no"), 4001, "no"),
    (exceptions.WebSocketException(1008), 1008, ""),
    (exceptions.HTTPException(403, "forbidden"), 1008, "forbidden"),
    (Bug("secret"), 1011, ""),
]


@pytest.mark.parametrize(("error", "code", "reason"), CLOSED, ids=repr)
@pytest.mark.parametrize("accepted", [False, True], ids=["before", "after"])
async def test_an_error_closes_the_socket_with_its_code(error, code, reason, accepted):
    app = Flama()

    @app.websocket_route("/ws/")
    async def handler(websocket: http.WebSocket):
        if accepted:
            await websocket.accept()
        raise error

    sent = await talk(app, "/ws/")

    assert sent[-1] == {"type": "websocket.close", "code": code, "reason": reason}
    assert len(sent) == 1 + accepted


@pytest.mark.parametrize(
    "error", [exceptions.NotFoundError(resource="user"), exceptions.PermissionDeniedError(resource="x")]
)
async def test_a_domain_error_closes_the_socket_as_a_refusal_and_not_as_a_bug(error):
    app = Flama()

    @app.websocket_route("/ws/")
    async def handler(websocket: http.WebSocket):
        await websocket.accept()
        raise error

    sent = await talk(app, "/ws/")

    assert sent[-1]["code"] == 1008


@pytest.mark.parametrize(("error", "code", "reason"), CLOSED, ids=repr)
async def test_an_error_in_a_component_closes_the_socket_before_it_is_accepted(error, code, reason):
    app = Flama(components=[Failing(error)])

    @app.websocket_route("/ws/")
    async def handler(websocket: http.WebSocket, value: Value): ...

    sent = await talk(app, "/ws/")

    assert sent == [{"type": "websocket.close", "code": code, "reason": reason}]


async def test_a_parameter_that_is_missing_or_malformed_closes_the_socket():
    app = Flama()

    @app.websocket_route("/ws/")
    async def handler(websocket: http.WebSocket, q: int): ...

    missing, malformed = await talk(app, "/ws/"), await talk(app, "/ws/", query=b"q=x")

    assert [message["code"] for message in (*missing, *malformed)] == [1008, 1008]


async def test_a_client_that_leaves_is_no_error_and_generators_are_torn_down():
    notes = []
    app = Flama(components=[ValueComponent(notes)])

    @app.websocket_route("/ws/")
    async def handler(websocket: http.WebSocket, value: Value):
        await websocket.accept()
        while True:
            await websocket.receive_text()

    sent = await talk(app, "/ws/", "a")

    assert [message["type"] for message in sent] == ["websocket.accept"]
    assert notes == ["made none", "closed"]


async def test_an_error_after_the_handler_has_closed_is_the_server_s_to_learn():
    app = Flama()

    @app.websocket_route("/ws/")
    async def handler(websocket: http.WebSocket):
        await websocket.accept()
        await websocket.close(4000)
        raise Bug

    sent = await talk(app, "/ws/")

    assert sent[1] == {"type": "websocket.close", "code": 4000, "reason": ""}


async def test_a_reason_is_cut_to_what_a_frame_may_hold():
    app = Flama()

    @app.websocket_route("/ws/")
    async def handler(websocket: http.WebSocket):
        raise exceptions.WebSocketException(4000, "é" * 200)

    [closed] = await talk(app, "/ws/")

    assert len(closed["reason"].encode()) <= 123
    assert set(closed["reason"]) == {"é"}


async def test_a_parameter_of_a_socket_that_nothing_provides_fails_the_start():
    app = Flama()

    @app.websocket_route("/ws/")
    async def handler(websocket: http.WebSocket, value: Value): ...

    with pytest.raises(exceptions.ApplicationError, match="'value' for function 'handler'"):
        await talk(app, "/ws/")


async def test_a_socket_handler_that_is_synchronous_fails_the_start_by_its_name():
    app = Flama()

    @app.websocket_route("/ws/")
    def synchronous(websocket: http.WebSocket): ...

    with pytest.raises(exceptions.ApplicationError, match="synchronous"):
        await talk(app, "/ws/")


async def test_sockets_of_mounted_applications_and_routers_pass_the_middleware():
    notes = []

    class Noting(Middleware):
        async def __call__(self, scope, receive, send):
            notes.append(scope["type"])
            await self.app(scope, receive, send)

    inner = Flama(routes=[WebSocketRoute("/ws/{id}/", echo)])
    app = Flama(routes=[Mount("/inner", inner)], middleware=[Noting()])

    sent = await talk(app, "/inner/ws/1/", "a")

    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send"]
    assert "websocket" in notes


def conversation():
    """An application with a socket of every kind."""
    app = Flama(components=[ValueComponent()])
    app.add_websocket_route("/echo/{id}/", echo)

    @app.websocket_route("/path/{id}/")
    async def path(websocket: http.WebSocket, id: str, q: list[int], value: Value):
        await websocket.accept(subprotocol=(websocket.scope["subprotocols"] or [None])[0])
        await websocket.send_json([id, q, await websocket.receive_json()])
        await websocket.send_bytes(b"\x00\xff")
        await websocket.close(4002, "done")

    @app.websocket_route("/before/")
    async def before(websocket: http.WebSocket):
        raise exceptions.WebSocketException(4001, "no")

    @app.websocket_route("/after/")
    async def after(websocket: http.WebSocket):
        await websocket.accept()
        raise exceptions.WebSocketException(4001, "no")

    @app.websocket_route("/bug/")
    async def bug(websocket: http.WebSocket):
        await websocket.accept()
        raise ValueError("secret")

    return app


async def test_a_socket_of_a_real_client_is_served_closed_and_refused(serve):
    url = serve(conversation()).replace("http", "ws")
    connect = websockets.asyncio.client.connect

    async with connect(f"{url}/echo/1/") as socket:
        await socket.send("hello")
        echoed = await socket.recv()
    async with connect(f"{url}/path/a%2Fb%25/?q=1&q=2", subprotocols=["p"]) as socket:
        await socket.send('{"a": "é"}')
        received = [await socket.recv(), await socket.recv()]
        with pytest.raises(websockets.exceptions.ConnectionClosed) as done:
            await socket.recv()
        subprotocol = socket.subprotocol

    assert echoed == "HELLO"
    assert received == ['["a/b%",[1,2],{"a":"é"}]', b"\x00\xff"]
    assert (done.value.rcvd.code, done.value.rcvd.reason, subprotocol) == (4002, "done", "p")


@pytest.mark.parametrize("path", ["/before/", "/nope/", "/path/1/?q=x"])
async def test_a_real_client_is_refused_at_the_handshake(serve, path):
    url = serve(conversation()).replace("http", "ws")

    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        async with websockets.asyncio.client.connect(url + path):
            pass

    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(("path", "code", "reason"), [("/after/", 4001, "no"), ("/bug/", 1011, "")])
async def test_a_real_client_learns_the_code_of_an_error_after_the_handshake(serve, path, code, reason):
    url = serve(conversation()).replace("http", "ws")

    async with websockets.asyncio.client.connect(url + path) as socket:
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            await socket.recv()

    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)
