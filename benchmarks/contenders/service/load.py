"""What asks a service as fast as it answers, in a process of its own.

Each line of input is a port, a case, seconds and how many clients ask at a time. The answer is a line of JSON, the
fields of an :class:`Outcome`.
"""

import asyncio
import json
import os
import random
import sys
import time
import typing as t

import uvloop

__all__ = ["CASES", "USERS", "Outcome", "body"]

USERS: t.Final = 1_000
CASES: t.Final = {"mix": ("GET", "POST", "PUT"), "get": ("GET",), "post": ("POST",), "put": ("PUT",)}

_HOST = "host: 127.0.0.1\r\naccept: application/json\r\nuser-agent: load"
_created = 0


class Outcome(t.NamedTuple):
    """What a sample came to: seconds that it took, that this process worked, and that single requests took."""

    answers: int
    seconds: float
    spent: float
    p50: float
    p99: float


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
    """A client that sends its next request as soon as it has the response, until the time is over.

    It waits for :meth:`go_on` after its first response. That one isn't measured: it contains the time in which the
    server accepts the connections, which clients keep.
    """

    def __init__(self, methods: tuple[str, ...], turn: int) -> None:
        loop = asyncio.get_running_loop()
        self.ready, self.done = loop.create_future(), loop.create_future()
        self.latencies: list[float] = []
        self._methods, self._turn = methods, turn
        self._until = 0.0
        self._received = b""

    def connection_made(self, transport: t.Any) -> None:
        self._transport = transport
        self._ask()

    def go_on(self, until: float) -> None:
        """Send requests until a moment."""
        self._until = until
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
            (self.done if self.ready.done() else self.ready).set_exception(RuntimeError(self._received.decode()))
            return
        self._received = b""
        if not self.ready.done():
            self.ready.set_result(None)
            return
        now = time.perf_counter()
        self.latencies.append(now - self._asked)
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.ready, self.done):
            if not future.done():
                future.set_result(None)

    def _ask(self) -> None:
        request = _request(self._methods[self._turn % len(self._methods)])
        self._turn += 1
        self._asked = time.perf_counter()
        self._transport.write(request)


async def _ask(port: int, methods: tuple[str, ...], seconds: float, clients: int) -> Outcome:
    connections = [_Connection(methods, turn) for turn in range(clients)]
    loop = asyncio.get_running_loop()
    for each in connections:
        await loop.create_connection(lambda each=each: each, "127.0.0.1", port)
    await asyncio.gather(*(each.ready for each in connections))
    begun, spent = time.perf_counter(), time.process_time()
    for each in connections:
        each.go_on(begun + seconds)
    await asyncio.gather(*(each.done for each in connections))
    took, worked = time.perf_counter() - begun, time.process_time() - spent
    latencies = sorted(latency for each in connections for latency in each.latencies)
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    return Outcome(len(latencies), took, worked, p50, p99)


if __name__ == "__main__":
    for line in sys.stdin:
        port, case, seconds, clients = line.split()
        outcome = uvloop.run(_ask(int(port), CASES[case], float(seconds), int(clients)))
        print(json.dumps(outcome), flush=True)
