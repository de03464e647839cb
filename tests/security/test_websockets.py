"""Web sockets: messages that aren't what a handler receives."""

import asyncio
import collections
import logging

import pytest

from flama import Flama, http

pytestmark = pytest.mark.anyio


async def echo_json(websocket: http.WebSocket):
    await websocket.accept()
    await websocket.send_json(await websocket.receive_json())


async def echo_binary_json(websocket: http.WebSocket):
    await websocket.accept()
    await websocket.send_json(await websocket.receive_json(mode="binary"), mode="binary")


async def echo_each_json(websocket: http.WebSocket):
    await websocket.accept()
    async for value in websocket.iter_json():
        await websocket.send_json(value)


async def echo_text(websocket: http.WebSocket):
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


async def echo_each_text(websocket: http.WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def echo_bytes(websocket: http.WebSocket):
    await websocket.accept()
    await websocket.send_bytes(await websocket.receive_bytes())


async def spoken(handler, *messages):
    """What the application sends on a socket on which it receives these messages."""
    app, sent = Flama(), []
    app.add_websocket_route("/", handler)
    inbox = collections.deque(
        [{"type": "websocket.connect"}, *({"type": "websocket.receive", **each} for each in messages)]
    )

    async def receive():
        await asyncio.sleep(0)
        return inbox.popleft() if inbox else {"type": "websocket.disconnect", "code": 1001}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "raw_path": b"/", "root_path": "", "query_string": b"", "headers": []}
    async with app.lifespan():
        await app(scope, receive, send)
    return sent


INVALID = [
    "",
    "{",
    "nonsense",
    "[" * 100_000,
    '"\\ud800"',
    "NaN",
    "[Infinity]",
    "1" * 10_000 + "x",
    '{"a" 1}',
    "\ud800",
]


@pytest.mark.parametrize("text", INVALID, ids=lambda text: repr(text[:12]))
@pytest.mark.parametrize("handler", [echo_json, echo_each_json])
async def test_invalid_json_closes_the_socket_with_1007(handler, text, caplog):
    _, closed = await spoken(handler, {"text": text})

    assert closed["code"] == 1007
    assert "JSON" in closed["reason"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("content", [b"\xff", b"{", b'"\xed\xa0\x80"', b""], ids=repr)
async def test_invalid_json_of_bytes_does_too(content):
    assert (await spoken(echo_binary_json, {"bytes": content}))[-1]["code"] == 1007


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (echo_json, {"bytes": b"{}"}),
        (echo_each_json, {"bytes": b"{}", "text": None}),
        (echo_text, {"bytes": b"x"}),
        (echo_each_text, {"bytes": b"x", "text": None}),
        (echo_bytes, {"text": "x"}),
        (echo_bytes, {"text": "x", "bytes": None}),
        (echo_binary_json, {"text": "{}"}),
    ],
)
async def test_a_message_of_the_other_kind_closes_the_socket_with_1003(handler, message):
    _, closed = await spoken(handler, message)

    assert (closed["type"], closed["code"]) == ("websocket.close", 1003)
    assert "expected" in closed["reason"]


@pytest.mark.parametrize(
    ("handler", "message", "answer"),
    [
        (echo_json, {"text": '{"a": [1, "é"]}'}, {"text": '{"a":[1,"é"]}'}),
        (echo_binary_json, {"bytes": b"[1]"}, {"bytes": b"[1]"}),
        (echo_text, {"text": ""}, {"text": ""}),
        (echo_bytes, {"bytes": b""}, {"bytes": b""}),
    ],
)
async def test_messages_that_are_expected_are_received(handler, message, answer):
    sent = await spoken(handler, message)

    assert sent[1] == {"type": "websocket.send", **answer}
