"""What asks a service as fast as it answers, in a process of its own.

Each line of input is a port, a case and seconds; the answer, a line of JSON, is how many requests were answered, how
many seconds it took, and how many of them this process spent.
"""

import asyncio
import json
import os
import random
import sys
import time
import typing as t

import uvloop

__all__ = ["CASES", "CONNECTIONS", "USERS", "body"]

CONNECTIONS: t.Final = 32
USERS: t.Final = 1_000
CASES: t.Final = {"mix": ("GET", "POST", "PUT"), "get": ("GET",), "post": ("POST",), "put": ("PUT",)}

_HOST = "host: 127.0.0.1\r\naccept: application/json\r\nuser-agent: load"
_created = 0


def body(id: str) -> dict[str, t.Any]:
    """Give a user."""
    names = {"name": "Alice", "surname": "Smith", "email": f"{id}@example.com"}
    return {"id": id, **names, "password": "hashed_password", "active": random.random() < 0.5}


def _request(method: str) -> bytes:
    global _created  # noqa: PLW0603
    if method == "POST":
        _created += 1
        id = f"new-{os.getpid()}-{_created}"
    else:
        id = f"user-{random.randrange(USERS)}"
    path = "/user/" if method == "POST" else f"/user/{id}/"
    if method == "GET":
        return f"GET {path} HTTP/1.1\r\n{_HOST}\r\n\r\n".encode()
    content = json.dumps(body(id))
    kind = f"content-type: application/json\r\ncontent-length: {len(content)}"
    return f"{method} {path} HTTP/1.1\r\n{_HOST}\r\n{kind}\r\n\r\n{content}".encode()


class _Connection(asyncio.Protocol):
    """One that asks again as soon as it has its answer, until the time is over."""

    def __init__(self, methods: tuple[str, ...], turn: int, until: float) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.answers = 0
        self._methods, self._until, self._turn = methods, until, turn
        self._received = b""

    def connection_made(self, transport: t.Any) -> None:
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, content = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        _, found, rest = head.lower().partition(b"content-length: ")
        if not found or len(content) < int(rest.partition(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self._received.decode()))
            return
        self._received = b""
        self.answers += 1
        if time.perf_counter() < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(self.answers)

    def _ask(self) -> None:
        self._transport.write(_request(self._methods[self._turn % len(self._methods)]))
        self._turn += 1


async def _asked(port: int, methods: tuple[str, ...], seconds: float) -> tuple[int, float, float]:
    begun, spent = time.perf_counter(), time.process_time()
    connections = [_Connection(methods, turn, begun + seconds) for turn in range(CONNECTIONS)]
    loop = asyncio.get_running_loop()
    for each in connections:
        await loop.create_connection(lambda each=each: each, "127.0.0.1", port)
    answers = sum(await asyncio.gather(*(each.done for each in connections)))
    return answers, time.perf_counter() - begun, time.process_time() - spent


if __name__ == "__main__":
    for line in sys.stdin:
        port, case, seconds = line.split()
        print(json.dumps(uvloop.run(_asked(int(port), CASES[case], float(seconds)))), flush=True)
