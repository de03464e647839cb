"""Clients that take nothing of a response, of whichever kind: each is hung up on, and what it held is given back."""

import asyncio
import contextlib
import socket
import time

import pytest
import sqlalchemy as sa
import starlette.middleware.base
import starlette.staticfiles

from flama import Flama, exceptions, http
from flama.ddd import WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.http._send_timeout import add_send_timeout
from flama.sqlalchemy import SQLAlchemyModule
from tests.support.server import served

pytestmark = pytest.mark.any_driver

SIZE = 20 * 2**20  # more than sockets hold

chunk_table = sa.Table(
    "chunk", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("data", sa.LargeBinary)
)


class Chunks(SQLAlchemyTableRepository):
    _table = chunk_table


class Worker(SQLAlchemyWorker):
    chunks: Chunks


class Passing(starlette.middleware.base.BaseHTTPMiddleware):
    """Passes everything on by a queue of its own, as Starlette has it do."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


class Own(http.Response):
    """Sends itself in a way of its own."""

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 2**16, "more_body": True})


async def generator(worker: Worker):
    async with worker:
        async for chunk in worker.chunks.list():
            yield chunk["data"]


async def lines(worker: Worker) -> http.NDJSONResponse:
    return http.NDJSONResponse(generator(worker))


def events() -> http.ServerSentEventResponse:
    return http.ServerSentEventResponse(http.ServerSentEvent("x" * 2**16) for _ in range(SIZE // 2**16))


def own() -> http.Response:
    return Own()


def application(tmp_path, **options):
    """Return an application that answers more than a socket holds, in every way."""
    large = tmp_path / "files" / "large"
    large.parent.mkdir()
    large.write_bytes(b"x" * SIZE)
    module = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/data.db")
    app = Flama(modules=[module], components=[WorkerComponent(Worker())], **{"send_timeout": 0.3, **options})

    @app.on_event("startup")
    async def fill():
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(chunk_table.metadata.create_all)
            await connection.execute(chunk_table.insert(), [{"data": b"x" * 2**16} for _ in range(SIZE // 2**16)])

    for handler in (generator, lines, events, own):
        app.add_route(f"/{handler.__name__}/", handler)
    app.add_route("/file/", lambda: http.FileResponse(large))
    inner = Flama(send_timeout=0.3)
    inner.add_route("/events/", events)
    app.mount("/inner", inner)
    app.mount("/static", starlette.staticfiles.StaticFiles(directory=large.parent))
    return app


@contextlib.contextmanager
def sleeping_reader(url, path):
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(20)
        reader.connect((host, int(port)))
        reader.sendall(f"GET {path} HTTP/1.1\r\nhost: here\r\n\r\n".encode())
        yield reader


def received(reader):
    number = 0
    with contextlib.suppress(ConnectionResetError):
        while chunk := reader.recv(2**16):
            number += len(chunk)
    return number


def wait_until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


ANSWERS = {
    "a generator": ("/generator/", ()),
    "lines of JSON": ("/lines/", ()),
    "events": ("/events/", ()),
    "a file": ("/file/", ()),
    "a response of one's own": ("/own/", ()),
    "a file of a mounted application": ("/static/large", ()),
    "events of a mounted application of ours": ("/inner/events/", ()),
    "a generator behind middleware": ("/generator/", (Passing,)),
    "a file of a mounted application behind middleware": ("/static/large", (Passing,)),
    "events of a mounted application of ours behind middleware": ("/inner/events/", (Passing,)),
}


@pytest.mark.parametrize(("path", "middleware"), ANSWERS.values(), ids=ANSWERS)
def test_who_takes_nothing_is_hung_up_on(tmp_path, caplog, path, middleware):
    app = application(tmp_path, middleware=middleware)

    with served(app, log_config=None) as url, sleeping_reader(url, path) as reader:
        wait_until(lambda: "hung up" in caplog.text)
        size = received(reader)
        wait_until(lambda: app.sqlalchemy.engine.pool.checkedout() == 0)

    assert size < SIZE
    assert [record.getMessage() for record in caplog.records] == [
        f"{path!r}: the client took nothing for 0.3 s, and is hung up on"
    ]


@pytest.mark.anyio
async def test_each_write_has_the_whole_limit():
    sent = []

    async def send(message):
        await asyncio.sleep(0.3)
        sent.append(message)

    timed_send = add_send_timeout(send, 1.0)
    for number in range(5):
        await timed_send({"number": number})

    assert len(sent) == 5


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_limit_is_positive(seconds):
    with pytest.raises(exceptions.ApplicationError, match="'send_timeout' is a number of seconds above 0"):
        Flama(send_timeout=seconds)


def test_without_a_limit_a_client_may_sleep(tmp_path, caplog):
    app = application(tmp_path, send_timeout=None)

    with served(app) as url, sleeping_reader(url, "/file/") as reader:
        time.sleep(1.2)
        size = received_until(reader, SIZE)

    assert size >= SIZE
    assert caplog.text == ""


def received_until(reader, size):
    number = 0
    while number < size:
        number += len(reader.recv(2**16))
    return number
