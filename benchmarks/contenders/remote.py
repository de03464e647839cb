"""A service that answers at next to no cost, and a server of it in a process of its own."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import time
import typing as t
import urllib.parse

import msgspec

__all__ = ["ROWS", "USER", "app", "served"]

USER: t.Final = {
    "id": "f1b5c7e0-9c55-4a0f-8d0b-2f6f6f4a6a11",
    "name": "Alice",
    "surname": "Smith",
    "email": "alice@example.com",
    "active": True,
}
ROWS: t.Final = 10_000

_USER = msgspec.json.encode(USER)
_PAGES: dict[bytes, bytes] = {}


async def app(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    """Answer a user, or a page of them."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    await receive()
    body = _page(scope["query_string"]) if scope["query_string"] else _USER
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _page(query: bytes) -> bytes:
    if query not in _PAGES:
        asked = dict(urllib.parse.parse_qsl(query.decode()))
        page, size = int(asked["page"]), int(asked["page_size"])
        data = [{**USER, "id": str(number)} for number in range((page - 1) * size, min(page * size, ROWS))]
        following = page + 1 if page * size < ROWS else None
        meta = {"page": page, "page_size": size, "count": None, "next": following}
        _PAGES[query] = msgspec.json.encode({"meta": meta, "data": data})
    return _PAGES[query]


@contextlib.contextmanager
def served() -> t.Iterator[str]:
    """Give the URL of the service, which uvicorn serves until this is closed."""
    port = 21_883
    command = (sys.executable, "-m", "uvicorn", "contenders.remote:app", "--port", str(port))
    server = subprocess.Popen(
        (*command, "--no-access-log", "--log-level", "warning"), cwd=pathlib.Path(__file__).parents[1]
    )
    try:
        _wait(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert server.poll() is None, "the server has ended"
        time.sleep(0.05)
    raise TimeoutError("the server doesn't listen")
