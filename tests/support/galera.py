"""A Galera cluster of three MariaDB servers."""

import collections.abc
import contextlib
import dataclasses
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from tests.support import server

__all__ = ["Node", "absent", "cluster"]

_NODES = 3
_PATIENCE = 30.0
_PROVIDER = pathlib.Path("/usr/lib/galera/libgalera_smm.so")
_PROGRAMS = ("mariadb", "mariadb-install-db", "mariadbd")
_STATUS = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'wsrep_{}'"
# The servers begin as copies of one another, in this state of the cluster, so that whatever is missing of the one who
# joins is sent as single writes. "mysqldump" would be for more, and is the one way to ask that needs no other program.
_STATE = "9d0c2f5a-3c52-11ef-9f4e-0242ac120002"
_SAVED = f"# GALERA saved state\nversion: 2.1\nuuid: {_STATE}\nseqno: 0\nsafe_to_bootstrap: 1\n"
_OPTIONS = {
    "bind-address": "127.0.0.1",
    "binlog-format": "ROW",
    "innodb-autoinc-lock-mode": "2",
    "innodb-buffer-pool-size": "16M",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-log-file-size": "8M",
    "performance-schema": "OFF",
    "wsrep-node-address": "127.0.0.1",
    "wsrep-on": "ON",
    "wsrep-provider": str(_PROVIDER),
    "wsrep-sst-auth": "root:",
    "wsrep-sst-method": "mysqldump",
    "wsrep-start-position": f"{_STATE}:0",
}


@dataclasses.dataclass(frozen=True)
class Node:
    """One server of a cluster."""

    folder: pathlib.Path
    port: int
    peer: int  # the port at which others of the cluster find it
    transfer: int  # the port at which it gets what it has missed

    @property
    def url(self) -> str:
        """The URL of the cluster's database on this server."""
        return f"mysql+asyncmy://root@127.0.0.1:{self.port}/flama"

    def tell(self, statement: str) -> str:
        """Run a statement, and give what it returns, a line for each row."""
        address = ("--host=127.0.0.1", f"--port={self.port}", "--user=root")
        return _run("mariadb", "--no-defaults", *address, "--skip-column-names", f"--execute={statement}")

    @contextlib.contextmanager
    def running(self, others: collections.abc.Iterable["Node"]) -> collections.abc.Generator[None]:
        """Run it for as long as this is open, in a cluster with others, or in one of its own if there are none."""
        options = {
            **_OPTIONS,
            "datadir": str(self.folder),
            "log-error": str(self._log),
            "pid-file": str(self.folder / "pid"),
            "port": str(self.port),
            "socket": str(self.folder / "socket"),
            "user": _user(),
            "wsrep-cluster-address": "gcomm://" + ",".join(f"127.0.0.1:{other.peer}" for other in others),
            "wsrep-provider-options": f"gmcast.listen_addr=tcp://127.0.0.1:{self.peer}"
            f";ist.recv_addr=127.0.0.1:{self.transfer};gcache.size=16M",
        }
        command = ["mariadbd", "--no-defaults", *(f"--{name}={value}" for name, value in options.items())]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def wait(self, size: int) -> None:
        """Wait until it takes statements, in a cluster of this size."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.CalledProcessError):
                if [self.tell(_STATUS.format(name)) for name in ("cluster_size", "ready")] == [str(size), "ON"]:
                    return
            time.sleep(0.05)
        log = self._log.read_text() if self._log.exists() else "It has written no log."
        raise TimeoutError(f"The server was not in a cluster of {size} after {_PATIENCE} s.\n{log}")

    @property
    def _log(self) -> pathlib.Path:
        return self.folder / "log.err"


def absent() -> str | None:
    """Tell why there can be no cluster; None when there can."""
    if all(map(shutil.which, _PROGRAMS)) and _PROVIDER.exists():
        return None
    return "Galera isn't installed: apt-get install mariadb-server galera-4"


@contextlib.contextmanager
def cluster() -> collections.abc.Generator[list[Node]]:
    """Give three servers of one database, which run for as long as this is open."""
    with tempfile.TemporaryDirectory(prefix="flama-") as folder, contextlib.ExitStack() as stack:
        folders = [pathlib.Path(folder) / str(number) for number in range(_NODES)]
        nodes = [Node(*one) for one in zip(folders, _ports(), _ports(), _ports(), strict=True)]
        _make(folders[0])
        for other in folders[1:]:
            shutil.copytree(folders[0], other)
        for number, node in enumerate(nodes):
            stack.enter_context(node.running(nodes[:number][:1]))
            if number == 0:
                node.wait(1)
        for node in nodes:
            node.wait(_NODES)
        nodes[0].tell("CREATE DATABASE flama")
        yield nodes


def _make(folder: pathlib.Path) -> None:
    options = ("--auth-root-authentication-method=normal", "--skip-test-db", f"--user={_user()}")
    _run("mariadb-install-db", "--no-defaults", f"--datadir={folder}", *options)
    (folder / "grastate.dat").write_text(_SAVED)


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(server.listening()) for _ in range(_NODES)]
        return [int(one.getsockname()[1]) for one in taken]  # free a moment ago


def _main() -> None:
    if (reason := absent()) is not None:
        raise SystemExit(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with cluster() as nodes, contextlib.suppress(KeyboardInterrupt):
        for node in nodes:
            print(node.url, flush=True)
        signal.pause()


if __name__ == "__main__":
    _main()
