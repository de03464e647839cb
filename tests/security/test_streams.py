"""Readers that ask for a stream and take nothing of it: what they can hold, and for how long."""

import contextlib
import json
import socket
import subprocess
import time

import httpx
import pytest
import sqlalchemy as sa

from flama.rest import ndjson
from tests.support import loops
from tests.support.server import listening, served
from tests.support.streaming import application, wide_table

NDJSON = {"accept": ndjson.MEDIA_TYPE}
ROWS, WIDTH = 1_500, 4_000  # six megabytes: more than the server's sockets hold


@pytest.fixture(scope="module")
def database(postgres_url):
    """Give the URL of a database of wide records, and an engine to look into it."""
    engine = sa.create_engine(postgres_url.replace("asyncpg", "psycopg"), isolation_level="AUTOCOMMIT")
    wide_table.create(engine)
    rows = f"INSERT INTO wide (text) SELECT repeat('x', {WIDTH}) FROM generate_series(1, {ROWS})"
    with engine.connect() as connection:
        connection.exec_driver_sql(rows)
    yield postgres_url, engine
    wide_table.drop(engine)
    engine.dispose()


@contextlib.contextmanager
def service(url, log, **options):
    """Run a service in a process of its own, and yield its address."""
    with listening() as listener, log.open("wb") as output:
        number = listener.fileno()
        command = loops.command("tests.support.streaming", url, str(number), json.dumps(options))
        with subprocess.Popen(command, pass_fds=[number], stderr=output) as process:
            address = httpx.URL("http://{}:{}".format(*listener.getsockname()))
            try:
                wait_until(lambda: accepts(address))
                with httpx.Client(base_url=address, timeout=20) as client:
                    yield address, client
            finally:
                process.terminate()


def accepts(address):
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((address.host, address.port)):
        return True
    return False


@contextlib.contextmanager
def sleeping_readers(address, path, number):
    """Ask for so many streams, and read nothing."""
    request = f"GET {path} HTTP/1.1\r\nhost: here\r\naccept: {ndjson.MEDIA_TYPE}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        readers = []
        for _ in range(number):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(20)
            reader.connect((address.host, address.port))
            reader.sendall(request)
            readers.append(reader)
        yield readers


def received(reader):
    """Return what one reader finds when it wakes up, once the server has hung up on it."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := reader.recv(65536):
            found += chunk
    return found


def wait_until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def idle_in_transaction(engine):
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%%'"
    with engine.connect() as connection:
        return connection.exec_driver_sql(sessions).scalar()


def assert_others_are_served(client):
    for _ in range(8):
        created = client.post("/wide/", json={"text": "y"})
        assert created.status_code == 201, created.text
        assert client.get(f"/wide/{created.json()['id']}/").status_code == 200
        assert client.get("/wide/", params={"page_size": 2}).status_code == 200


def test_fifty_sleeping_readers_on_a_pool_of_five_refuse_nobody_else(database, tmp_path):
    url, engine = database

    with (
        service(url, tmp_path / "log") as (address, client),
        sleeping_readers(address, "/wide/", 50) as readers,
    ):
        statuses = {reader.recv(12) for reader in readers}
        assert_others_are_served(client)
        wait_until(lambda: client.get("/taken/").json() == 0)
        wait_until(lambda: idle_in_transaction(engine) == 0)

        assert statuses == {b"HTTP/1.1 200"}


@pytest.mark.parametrize("protocol", ["httptools", "h11"])
def test_a_reader_who_takes_nothing_is_hung_up_on(database, caplog, protocol):
    url, _ = database
    app = application(url, send_timeout=0.5)

    with (
        served(app, http=protocol, log_config=None) as base_url,
        sleeping_readers(httpx.URL(base_url), "/wide/", 3) as readers,
    ):
        wait_until(lambda: caplog.text.count("hung up") >= 3)
        sizes = [len(received(reader)) for reader in readers]
        read = httpx.get(f"{base_url}/wide/", headers=NDJSON, timeout=20).text

    assert max(sizes) < ROWS * WIDTH
    assert read.count("\n") >= ROWS
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == [
        "'/wide/': the client took nothing for 0.5 s, and is hung up on"
    ] * 3


def test_streams_that_hold_a_connection_leave_the_others_theirs(database, tmp_path):
    url, _ = database

    with (
        service(url, tmp_path / "log", pool_timeout=1.0) as (address, client),
        sleeping_readers(address, "/held/", 6) as readers,
    ):
        assert_others_are_served(client)
        answers = [reader.recv(4096) for reader in readers]

        assert sorted(answer[:12] for answer in answers) == [b"HTTP/1.1 200"] * 2 + [b"HTTP/1.1 503"] * 4
        assert sum(b"retry-after: 1" in answer for answer in answers) == 4
        assert client.get("/taken/").json() == 2
