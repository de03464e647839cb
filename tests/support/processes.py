"""Servers in processes of their own, as they run in production."""

import collections.abc
import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import typing as t

from tests.support import server, source

__all__ = ["SERVERS", "Certificate", "Process", "Server", "unused_port"]

_PATIENCE: t.Final = 60.0


class Certificate(t.NamedTuple):
    """The files of a server's certificate and its key, which has to be in PKCS#8."""

    certificate: pathlib.Path
    key: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Server:
    """A server of ASGI applications, by the module that is its command and the options that it takes."""

    module: str
    options: tuple[str, ...]
    tls: tuple[str, str]  # the options of a certificate and its key
    libraries: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """The libraries that it needs and that aren't installed."""
        return [library for library in self.libraries if importlib.util.find_spec(library) is None]

    def command(self, factory: str, port: int, certificate: Certificate | None) -> list[str]:
        """Return what serves the application that ``factory`` makes."""
        command = [sys.executable, "-m", self.module, "--factory", factory, "--host", "127.0.0.1", "--port", str(port)]
        if certificate is not None:
            command += [self.tls[0], str(certificate.certificate), self.tls[1], str(certificate.key)]
        return [*command, *self.options]


def _uvicorn(*options: str, libraries: tuple[str, ...] = ()) -> Server:
    return Server(
        "uvicorn",
        ("--lifespan", "on", "--log-level", "warning", *options),
        ("--ssl-certfile", "--ssl-keyfile"),
        ("uvicorn", *libraries),
    )


#: What runs applications in production.
SERVERS: t.Final = {
    "uvicorn-uvloop": _uvicorn("--loop", "uvloop", "--http", "httptools", libraries=("uvloop", "httptools")),
    "uvicorn-asyncio": _uvicorn("--loop", "asyncio", "--http", "h11", libraries=("h11",)),
    "uvicorn-workers": _uvicorn("--workers", "2", "--timeout-worker-healthcheck", "30"),
    "granian": Server(
        "granian",
        ("--interface", "asgi", "--log-level", "warning"),
        ("--ssl-certificate", "--ssl-keyfile"),
        ("granian",),
    ),
}


class Process:
    """A server's process, with those that it starts, at a port that stays the same."""

    # Its state: the process, None while it doesn't run.

    def __init__(
        self, server: Server, factory: str, environment: collections.abc.Mapping[str, str], log: pathlib.Path
    ) -> None:
        self._server = server
        self._factory = factory
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.port = unused_port()

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, certificate: Certificate | None = None) -> None:
        """Start it, without waiting for it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._server.command(self._factory, self.port, certificate),
                cwd=source.ROOT,
                env={**os.environ, "PYTHONPATH": str(source.ROOT), **self._environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it accepts connections.

        :raises RuntimeError: it doesn't; what it has printed is part of the message.
        """
        deadline = time.monotonic() + _PATIENCE
        while not self._accepts():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"{self._factory} doesn't accept connections:\n{self._log.read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it, with the processes that it has started, wherever they are."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            t.cast("t.Any", process.stdin).close()
            while self._accepts():  # those that it has started end a little later
                time.sleep(0.01)

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def unused_port() -> int:
    """Return a port at which nobody listens."""
    with server.listening() as listener:
        return int(listener.getsockname()[1])
