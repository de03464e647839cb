"""A pgbouncer in front of a PostgreSQL server, which lends its few connections for a transaction at a time."""

import collections.abc
import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import typing as t

import sqlalchemy as sa

from tests.support import server

__all__ = ["SETTINGS", "bounced", "executable", "version"]

SETTINGS: t.Final[dict[str, dict[str, t.Any]]] = {
    "asyncpg": {"prepared_statement_cache_size": 0, "statement_cache_size": 0},
    "psycopg": {"prepare_threshold": None},
}
"""What a driver is told so that no statement has to be known to the connection that it is run on."""

_PATIENCE = 10.0
_USER = "nobody"  # whose process it is, as it refuses to be root's
_CONFIGURATION = """
[databases]
* = host={host} port={port} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
logfile = {folder}/log
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
{more}
"""


def executable() -> str | None:
    """Give the path of pgbouncer; None when it isn't installed."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


def version() -> tuple[int, int]:
    """Give the version of pgbouncer that is installed."""
    told = subprocess.run([str(executable()), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", told)
    assert found is not None, told
    return int(found[1]), int(found[2])


@contextlib.contextmanager
def bounced(url: sa.URL, size: int, more: str = "") -> collections.abc.Generator[sa.URL]:
    """Give the URL of a database by way of a pgbouncer that holds ``size`` connections to it, while this is open.

    ``more`` are lines of its configuration.
    """
    with server.listening() as listener, tempfile.TemporaryDirectory(prefix="flama-") as name:
        own = int(listener.getsockname()[1])
        folder = pathlib.Path(name)  # that of pytest is its user's alone
        folder.chmod(0o777)
        host, port = url.query.get("host", url.host), url.port or 5432
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(host=host, port=port, own=own, folder=name, size=size, more=more)
        )
        listener.close()
        user = _USER if os.geteuid() == 0 else None
        command, silence = (str(executable()), "--quiet", str(configuration)), subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=silence, stderr=silence, user=user)
        try:
            _wait(process, own, folder / "log")
            yield url.set(host="127.0.0.1", port=own).difference_update_query(["host"])
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: pathlib.Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise RuntimeError(f"pgbouncer did not start: {log.read_text() if log.exists() else 'it has no log'}")
