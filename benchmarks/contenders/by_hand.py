"""ASGI functions written by hand: the baseline."""

import re
import urllib.parse

import msgspec
import pydantic
from contenders.model import GREETING, User

__all__ = ["dynamic", "hello", "post", "query"]

_encode = msgspec.json.Encoder().encode
_item = re.compile(r"/item/(-?[0-9]+)/").fullmatch


async def hello(scope, receive, send):
    if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
        await _refuse(404, send)
        return
    body = _encode(dict(GREETING))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def dynamic(scope, receive, send):
    if scope["type"] != "http" or (found := _item(scope["path"])) is None or scope["method"] != "GET":
        await _refuse(404, send)
        return
    body = _encode({"id": int(found[1])})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def post(scope, receive, send):
    if scope["type"] != "http" or scope["path"] != "/user/" or scope["method"] != "POST":
        await _refuse(404, send)
        return
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value != b"application/json":
                await _refuse(415, send)
                return
            break
    sent, more = b"", True
    while more:
        message = await receive()
        sent += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        user = User.model_validate_json(sent)
    except pydantic.ValidationError:
        await _refuse(400, send)
        return
    body = _encode(user.__dict__)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def query(scope, receive, send):
    if scope["type"] != "http" or scope["path"] != "/search" or scope["method"] != "GET":
        await _refuse(404, send)
        return
    sent = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    try:
        answer = {"text": sent["text"], "limit": int(sent.get("limit", 10))}
    except (KeyError, ValueError):
        await _refuse(400, send)
        return
    body = _encode(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(status, send):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
