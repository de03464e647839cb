"""How many requests a second a service of users answers, and how long they take, beside one written by hand."""

import argparse
import asyncio
import collections.abc
import contextlib
import json
import os
import pathlib
import random
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

LIBRARIES = ("uvicorn", "uvloop", "starlette", "asyncpg", "msgspec", "sqlalchemy")
HAND = "by hand"
IN_TRANSACTIONS = "by hand, in transactions"
OURS = "flama"
CLIENTS = (1, 4, 8, 12, 16, 24, 32, 64)
ROUNDS = 13
SECONDS = 0.5
WARM_UP = 0.4
BAR = 0.9  # of the requests a second by hand
LATENCY_BAR = 1.5  # times the 99th percentile by hand
STEPS = ("get", "post", "put")
TITLE = "How many requests a second a service answers"
PEERS_TITLE = "How many requests a second services by others answer"
PEERS_CLIENTS = 32
PEERS_ROUNDS = 9
TITLES = {"mix": "A third each of GET, POST and PUT", "get": "GET", "post": "POST", "put": "PUT"}


class Contender(t.NamedTuple):
    """What uvicorn is to serve, and where its libraries are unless they are ours."""

    app: str
    environment: str = ""


CONTENDERS = {
    HAND: Contender("by_hand:app"),
    IN_TRANSACTIONS: Contender("by_hand:in_transactions"),
    OURS: Contender("flama:app"),
}
PEERS = {
    **CONTENDERS,
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
        """The seconds that its thread has worked for, where the system counts them."""
        path = pathlib.Path(f"/proc/{self.process.pid}/schedstat")
        return int(path.read_text().split()[0]) / 1e9 if path.exists() else 0.0


class Sample(t.NamedTuple):
    """What one sample of one contender came to."""

    rate: float  # requests a second
    p50: float  # seconds
    p99: float
    cpu: float  # seconds of the server's thread for a request
    busy: float  # share of the time that the server's thread worked
    load: float  # share of the time that the generator worked


Samples: t.TypeAlias = dict[str, list[Sample]]
"""The samples of each contender, round by round."""


@contextlib.contextmanager
def served(contender: Contender, port: int, url: str) -> collections.abc.Iterator[Server]:
    """Run the service until the context ends."""
    python = environments.python_of(contender.environment) if contender.environment else sys.executable
    command = (python, "-m", "uvicorn", f"contenders.service.{contender.app}", "--port", str(port), "--lifespan", "on")
    process = subprocess.Popen(
        (*command, "--no-access-log", "--log-level", "warning"),
        cwd=pathlib.Path(__file__).parent,
        env={**os.environ, "DATABASE": url},
    )
    try:
        _wait(port, process)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert process.poll() is None, "the service has ended"
        time.sleep(0.05)
    raise TimeoutError("the service doesn't listen")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def check(server: Server, name: str) -> None:
    """Check that the service's responses are right."""
    user = load.body(f"checked-{server.port}")
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        created = client.post("/user/", json=user)
        changed = client.put(f"/user/{user['id']}/", json={**user, "name": "Bob"})
        found = client.get(f"/user/{user['id']}/")
    answers = [created.json(), changed.json(), found.json()]
    assert answers == [user, {**user, "name": "Bob"}, {**user, "name": "Bob"}], (name, answers)


def ask(generator: subprocess.Popen[str], server: Server, case: str, seconds: float, clients: int) -> load.Outcome:
    """Have the generator send requests for some seconds."""
    assert generator.stdin is not None
    assert generator.stdout is not None
    generator.stdin.write(f"{server.port} {case} {seconds} {clients}\n")
    generator.stdin.flush()
    line = generator.stdout.readline()
    if not line:
        raise RuntimeError(f"a request of {case} was refused")
    return load.Outcome(*json.loads(line))


def take_sample(
    generator: subprocess.Popen[str], server: Server, case: str, clients: int, seconds: float = SECONDS
) -> Sample:
    """Measure one contender for some seconds."""
    before = server.cpu
    outcome = ask(generator, server, case, seconds, clients)
    cpu = server.cpu - before
    return Sample(
        rate=outcome.answers / outcome.seconds,
        p50=outcome.p50,
        p99=outcome.p99,
        cpu=cpu / outcome.answers,
        busy=cpu / outcome.seconds,
        load=outcome.spent / outcome.seconds,
    )


@contextlib.asynccontextmanager
async def running(
    contenders: collections.abc.Mapping[str, Contender], missing: dict[str, str]
) -> collections.abc.AsyncIterator[tuple[dict[str, Server], subprocess.Popen[str]]]:
    """Run the contenders on one database, and the generator; note which contenders are missing, with the reason."""
    async with contextlib.AsyncExitStack() as stack:
        # Whether the disk keeps up is not the question.
        url = await stack.enter_async_context(postgres.fresh(synchronous_commit="off"))
        users = [load.body(f"user-{number}") for number in range(load.USERS)]
        database.create_on(url.set(drivername="postgresql+psycopg"), users)
        address = url.render_as_string(hide_password=False)
        servers: dict[str, Server] = {}
        for name, contender in contenders.items():
            try:
                servers[name] = stack.enter_context(served(contender, _free_port(), address))
            except environments.NotInstalledError as error:
                missing[name] = str(error)
                continue
            check(servers[name], name)
        yield servers, stack.enter_context(_generator())


def measure_step(
    servers: collections.abc.Mapping[str, Server],
    generator: subprocess.Popen[str],
    case: str,
    clients: int,
    rounds: int,
) -> Samples:
    """Let every contender take a sample in every round, each round in an order of its own."""
    print(f"measuring {case} by {clients} clients", file=sys.stderr)
    for server in servers.values():
        ask(generator, server, case, WARM_UP, clients)
    samples: Samples = {name: [] for name in servers}
    order = list(servers)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            samples[name].append(take_sample(generator, servers[name], case, clients))
    return samples


@contextlib.contextmanager
def _generator() -> collections.abc.Iterator[subprocess.Popen[str]]:
    command = (sys.executable, "-m", load.__name__)
    pipes: t.Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=pathlib.Path(__file__).parent, **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()


class Step(t.NamedTuple):
    """What was measured of one case with so many clients."""

    clients: int
    samples: Samples

    def ratios(self, figure: str, name: str = OURS, base: str = HAND) -> list[float]:
        """Return what a contender's figure is of another's, round by round."""
        pairs = zip(self.samples[name], self.samples[base], strict=True)
        return [getattr(sample, figure) / getattr(other, figure) for sample, other in pairs]

    def median(self, figure: str, name: str = OURS) -> float:
        """Return the median of a contender's figure."""
        figures: list[float] = [getattr(sample, figure) for sample in self.samples[name]]
        return statistics.median(figures)


def quartiles(values: collections.abc.Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def find_dips(steps: collections.abc.Sequence[Step]) -> list[int]:
    """Return with how many clients the ratio of requests a second is below both of its neighbours'.

    It has to be so by more than the spread, which is the wider of the interquartile ranges of two neighbours.
    """
    found = [quartiles(step.ratios("rate")) for step in steps]
    return [
        step.clients
        for before, step, here, after in zip(found, steps[1:], found[1:], found[2:], strict=False)
        if _is_below(here, before) and _is_below(here, after)
    ]


def _is_below(here: tuple[float, float, float], there: tuple[float, float, float]) -> bool:
    spread = max(high - low for low, _, high in (here, there))
    return here[1] < there[1] - spread


def section(case: str, steps: collections.abc.Sequence[Step]) -> collections.abc.Iterator[str]:
    """Return the lines that say what was measured of one case, and whether the bars hold."""
    yield f"### {TITLES[case]}"
    yield ""
    yield (
        "| clients | requests a second: by hand | flama | ratio: median | quartiles | ratio in transactions"
        " | p50 ms: by hand | flama | p99 ms: by hand | flama | ratio: median | quartiles | server's CPU: ratio |"
    )
    yield f"|{'--:|' * 13}"
    for step in steps:
        yield f"| {' | '.join(_cells(step))} |"
    yield ""
    yield from _verdicts(steps)
    yield ""
    names = steps[0].samples
    busy = ", ".join(f"{name} {min(step.median('busy', name) for step in steps):.0%}" for name in names)
    load = max(sample.load for step in steps for samples in step.samples.values() for sample in samples)
    yield f"The servers were busy for at least: {busy}; the generator for at most {load:.0%}."
    yield ""


def _cells(step: Step) -> collections.abc.Iterator[str]:
    yield str(step.clients)
    yield from (f"{step.median('rate', name):,.0f}" for name in (HAND, OURS))
    yield from _spread(step.ratios("rate"))
    yield f"{statistics.median(step.ratios('rate', base=IN_TRANSACTIONS)):.2f}"
    for figure in ("p50", "p99"):
        yield from (f"{step.median(figure, name) * 1e3:.1f}" for name in (HAND, OURS))
    yield from _spread(step.ratios("p99"))
    costs = all(sample.cpu for samples in step.samples.values() for sample in samples)
    yield f"{statistics.median(step.ratios('cpu')):.2f}" if costs else ""


def _spread(values: list[float]) -> tuple[str, str]:
    low, middle, high = quartiles(values)
    return f"{middle:.2f}", f"{low:.2f} to {high:.2f}"


def _verdicts(steps: collections.abc.Sequence[Step]) -> collections.abc.Iterator[str]:
    rates = {step.clients: statistics.median(step.ratios("rate")) for step in steps}
    latencies = {step.clients: statistics.median(step.ratios("p99")) for step in steps}
    slow = {clients: ratio for clients, ratio in rates.items() if ratio < BAR}
    late = {clients: ratio for clients, ratio in latencies.items() if ratio > LATENCY_BAR}
    yield f"- At least {BAR} times the requests a second of by hand: {_verdict(slow)}."
    yield f"- A 99th percentile of at most {LATENCY_BAR} times that of by hand: {_verdict(late)}."
    dips = {clients: rates[clients] for clients in find_dips(steps)}
    yield f"- No ratio below both of its neighbours' by more than the spread: {_verdict(dips)}."


def _verdict(missed: dict[int, float]) -> str:
    where = ", ".join(f"{clients} clients ({ratio:.2f})" for clients, ratio in missed.items())
    return f"**missed** at {where}" if missed else "holds"


async def measure_steps(
    cases: collections.abc.Iterable[str], numbers: collections.abc.Collection[int], rounds: int
) -> dict[str, list[Step]]:
    """Measure each case with each number of clients."""
    async with running(CONTENDERS, {}) as (servers, generator):
        return {
            case: [Step(clients, measure_step(servers, generator, case, clients, rounds)) for clients in numbers]
            for case in cases
        }


async def measure_peers(cases: collections.abc.Iterable[str]) -> collections.abc.Sequence[str]:
    """Return the lines that say how services by others compare."""
    missing: dict[str, str] = {}
    lines: list[str] = []
    async with running(PEERS, missing) as (servers, generator):
        for case in cases:
            samples = measure_step(servers, generator, case, PEERS_CLIENTS, PEERS_ROUNDS)
            lines += _peers_section(case, samples)
    reasons = [f"- **{name} is missing**, as it couldn't be installed: {reason}" for name, reason in missing.items()]
    return [*lines, *reasons]


def _peers_section(case: str, samples: Samples) -> collections.abc.Iterator[str]:
    yield f"### {TITLES[case]}"
    yield ""
    for unit, figure, scale in (("requests a second", "rate", 1.0), ("CPU µs of the server", "cpu", 1e6)):
        figures = {name: [getattr(sample, figure) for sample in taken] for name, taken in samples.items()}
        if all(map(all, figures.values())):
            yield from measure.table(figures, measure.rows_of(figures, HAND), unit=unit, scale=scale, of=HAND)
            yield ""


def main() -> int:
    """Answer for the cases and numbers of clients named, or for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*load.CASES, []], metavar="case")
    parser.add_argument("--clients", nargs="+", type=int, default=[])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peers", action="store_true", help="compare with services by others instead")
    chosen = parser.parse_args()
    if chosen.peers:
        title, lines = PEERS_TITLE, asyncio.run(measure_peers(chosen.cases or load.CASES))
    else:
        steps = asyncio.run(measure_steps(chosen.cases or STEPS, chosen.clients or CLIENTS, chosen.rounds))
        title, lines = TITLE, [line for case, found in steps.items() for line in section(case, found)]
    if chosen.cases or chosen.clients or chosen.rounds != ROUNDS:
        print("\n".join(lines))
    else:
        measure.report(title, lines, LIBRARIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
