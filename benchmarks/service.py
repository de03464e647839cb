"""How many requests a second a service of users answers, beside one written by hand and those of others."""

import argparse
import asyncio
import collections.abc
import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time
import typing as t

import httpx
import measure
from contenders import database, environments, postgres
from contenders.service import load

LIBRARIES = ("uvicorn", "uvloop", "starlette", "asyncpg", "msgspec", "sqlalchemy", "fastapi")
HAND = "by hand"
IN_TRANSACTIONS = "by hand, in transactions"
POOL = 8
ROUNDS = 9
SECONDS = 0.5
WARM_UP = 0.5
BAR = 0.75
TITLES = {"mix": "A third each of GET, POST and PUT", "get": "GET", "post": "POST", "put": "PUT"}


class Contender(t.NamedTuple):
    """What uvicorn is to serve, and where its libraries are unless they are ours."""

    app: str
    environment: str = ""


CONTENDERS = {
    HAND: Contender("by_hand:app"),
    IN_TRANSACTIONS: Contender("by_hand:in_transactions"),
    "flama": Contender("flama:app"),
    "flama, whose GET only reads": Contender("flama_reader:app"),
    "Litestar and advanced-alchemy": Contender("litestar:app", "litestar"),
    "FastAPI and SQLAlchemy": Contender("fastapi:app"),
    "the package flama 2.2.2": Contender("flama:app", "flama-2.2.2"),
}


class Server(t.NamedTuple):
    """A service that runs, in one process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def cpu(self) -> float:
        """The seconds that its thread has worked for, where the system tells."""
        told = pathlib.Path(f"/proc/{self.process.pid}/schedstat")
        return int(told.read_text().split()[0]) / 1e9 if told.exists() else 0.0


@contextlib.contextmanager
def served(contender: Contender, port: int, url: str) -> collections.abc.Iterator[Server]:
    """Give the service, until the context ends."""
    python = environments.python_of(contender.environment) if contender.environment else sys.executable
    command = (python, "-m", "uvicorn", f"contenders.service.{contender.app}", "--port", str(port), "--lifespan", "on")
    process = subprocess.Popen(
        (*command, "--no-access-log", "--log-level", "warning"),
        cwd=pathlib.Path(__file__).parent,
        env={**os.environ, "DATABASE": url, "POOL": str(POOL)},
    )
    try:
        _wait(port, process)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert process.poll() is None, "the service has ended"
        time.sleep(0.05)
    raise TimeoutError("the service doesn't listen")


def check(server: Server, name: str) -> None:
    """See that the service answers as it should."""
    user = load.body(f"checked-{server.port}")
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        created = client.post("/user/", json=user)
        changed = client.put(f"/user/{user['id']}/", json={**user, "name": "Bob"})
        found = client.get(f"/user/{user['id']}/")
    answers = [created.json(), changed.json(), found.json()]
    assert answers == [user, {**user, "name": "Bob"}, {**user, "name": "Bob"}], (name, answers)


class Answer:
    """What was measured of each contender in one case: requests a second, the server's CPU for one, and how busy."""

    def __init__(self) -> None:
        self.rates: measure.Figures = {}
        self.costs: measure.Figures = {}
        self.busy: measure.Figures = {}
        self.load = 0.0

    def sample(self, name: str, server: Server, generator: subprocess.Popen[str], case: str) -> measure.Sample:
        """Give what takes one sample."""

        async def sample() -> float:
            before = server.cpu
            answers, seconds, spent = asked(generator, server, case, SECONDS)
            cpu = server.cpu - before
            self.costs.setdefault(name, []).append(cpu / answers)
            self.busy.setdefault(name, []).append(cpu / seconds)
            self.load = max(self.load, spent / seconds)
            return answers / seconds

        return sample


def asked(generator: subprocess.Popen[str], server: Server, case: str, seconds: float) -> tuple[int, float, float]:
    """Let the generator ask."""
    assert generator.stdin is not None
    assert generator.stdout is not None
    generator.stdin.write(f"{server.port} {case} {seconds}\n")
    generator.stdin.flush()
    line = generator.stdout.readline()
    if not line:
        raise RuntimeError(f"a request of {case} was refused")
    answers, took, spent = json.loads(line)
    return answers, took, spent


async def measured(cases: collections.abc.Iterable[str]) -> tuple[dict[str, Answer], dict[str, str]]:
    """Give what was measured in each case, and who is missing, with the reason."""
    missing: dict[str, str] = {}
    found: dict[str, Answer] = {}
    async with contextlib.AsyncExitStack() as stack:
        # Whether the disk keeps up is not the question.
        url = await stack.enter_async_context(postgres.fresh(synchronous_commit="off"))
        users = [load.body(f"user-{number}") for number in range(load.USERS)]
        database.create_on(url.set(drivername="postgresql+psycopg"), users)
        servers: dict[str, Server] = {}
        for port, (name, contender) in enumerate(CONTENDERS.items(), start=21_900):
            address = url.render_as_string(hide_password=False)
            try:
                servers[name] = stack.enter_context(served(contender, port, address))
            except environments.NotInstalledError as error:
                missing[name] = str(error)
                continue
            check(servers[name], name)
        generator = stack.enter_context(_generator())
        for case in cases:
            print(f"measuring {case}", file=sys.stderr)
            found[case] = await _answer(case, servers, generator)
    return found, missing


async def _answer(case: str, servers: dict[str, Server], generator: subprocess.Popen[str]) -> Answer:
    answer = Answer()
    for server in servers.values():
        asked(generator, server, case, WARM_UP)
    samples = {name: answer.sample(name, server, generator, case) for name, server in servers.items()}
    answer.rates = await measure.interleaved(samples, ROUNDS)
    return answer


@contextlib.contextmanager
def _generator() -> collections.abc.Iterator[subprocess.Popen[str]]:
    command = (sys.executable, "-m", load.__name__)
    pipes: t.Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=pathlib.Path(__file__).parent, **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()


def _section(case: str, answer: Answer) -> collections.abc.Iterator[str]:
    yield f"### {TITLES[case]}"
    yield ""
    rows = measure.rows_of(answer.rates, HAND)
    yield from measure.table(answer.rates, rows, unit="requests a second", scale=1, of=HAND)
    yield ""
    yield _verdict(answer)
    yield ""
    if not all(map(all, answer.costs.values())):
        return
    yield from measure.table(answer.costs, rows, unit="CPU µs of the server", scale=1e6, of=HAND)
    yield ""
    busy = ", ".join(f"{name} {statistics.median(answer.busy[name]):.0%}" for name in answer.rates)
    yield f"So busy were the servers: {busy}; and the generator, at most {answer.load:.0%}."
    yield ""


def _verdict(answer: Answer) -> str:
    ratio, in_transactions = (_ratio(answer.rates, base) for base in (HAND, IN_TRANSACTIONS))
    verdict = "holds" if ratio >= BAR else "**missed**"
    beside = f"{in_transactions:.2f} times {IN_TRANSACTIONS}"
    return f"flama at least {BAR} times {HAND}: {verdict}, with {ratio:.2f}; that is {beside}."


def _ratio(figures: measure.Figures, base: str) -> float:
    return statistics.median(measure.ratios(figures, "flama", base))


def main() -> int:
    """Answer for the cases named, or for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*load.CASES, []], metavar="case")
    chosen = parser.parse_args().cases
    found, missing = asyncio.run(measured(chosen or load.CASES))
    lines = [line for case, answer in found.items() for line in _section(case, answer)]
    lines += [f"- **{name} is missing**, as it couldn't be installed: {reason}" for name, reason in missing.items()]
    if chosen:
        print("\n".join(lines))
    else:
        measure.report("How many requests a second a service answers", lines, LIBRARIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
