import importlib
import pathlib
import sqlite3
import subprocess
import sys

import asyncpg
import psycopg
import pytest

from tests.support.server import listening

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from contenders.verbs.contender import KEYS, user

    file = tmp_path / "users.db"
    connection = sqlite3.connect(file)
    connection.execute(f'CREATE TABLE "user" ({", ".join(KEYS)}, PRIMARY KEY (id))')
    connection.executemany(
        'INSERT INTO "user" VALUES (?, ?, ?, ?, ?, ?)', [tuple(user(number).values()) for number in range(1000)]
    )
    connection.commit()
    connection.close()
    return file


@pytest.fixture
def process(database):
    from contenders.verbs.process import Place, Process

    with Process(Place("aiosqlite", "Aiosqlite")) as process:
        process.ask("open", f"sqlite+aiosqlite:///{database}")
        yield process


def contents(database):
    connection = sqlite3.connect(database)
    rows = connection.execute('SELECT * FROM "user" ORDER BY id').fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize("case", ["retrieve", "update-first", "bulk"])
def test_a_sample_is_cpu_of_a_process_and_leaves_the_database_as_it_was(process, database, case):
    before = contents(database)

    seconds = process.ask("sample", case)

    assert 0 < seconds < 10
    assert contents(database) == before
    process.ask("close")


def test_a_wrong_answer_fails_the_benchmark_and_says_which(database, capfd):
    from contenders.verbs.process import Place, Process

    connection = sqlite3.connect(database)
    connection.execute("UPDATE \"user\" SET name = 'Mallory' WHERE id = 'user-7'")
    connection.commit()
    connection.close()

    with Process(Place("aiosqlite", "Aiosqlite")) as process:
        process.ask("open", f"sqlite+aiosqlite:///{database}")
        with pytest.raises(RuntimeError, match="Aiosqlite failed to sample retrieve"):
            process.ask("sample", "retrieve")

    assert "'Mallory'" in capfd.readouterr().err


def test_a_contender_that_is_not_closed_ends_with_its_process(database):
    from contenders.verbs.process import Place, Process

    with Process(Place("aiosqlite", "Aiosqlite")) as process:
        process.ask("open", f"sqlite+aiosqlite:///{database}")

    with pytest.raises((RuntimeError, ValueError)):
        process.ask("about")


def test_a_contender_that_has_ended_fails_whatever_is_asked(process):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="Aiosqlite failed to dance"):
            process.ask("dance")


def test_what_a_library_prints_is_no_answer(database):
    from contenders.verbs.process import COMPANY, Place

    place = Place("aiosqlite", "Aiosqlite")

    # a module that prints when it is imported, as a peer may
    run = subprocess.run(
        [*place.command, "this"], cwd=BENCHMARKS, input="about\n", capture_output=True, text=True, check=True
    )

    assert COMPANY[0] in place.command
    assert run.stdout.startswith('{"versions": {"aiosqlite"')
    assert "Zen of Python" in run.stderr


@pytest.fixture
def environments(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from contenders import environments

    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path / "environments")
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    return environments


@pytest.mark.exhaustive
def test_an_environment_is_made_once_for_its_requirements(environments, tmp_path):
    (tmp_path / "peer.txt").write_text("# nothing\n")
    python = pathlib.Path(environments.python_of("peer"))
    mark = python.parent / "mark"
    mark.touch()

    environments.python_of("peer")
    kept = mark.exists()
    (tmp_path / "peer.txt").write_text("# something else\n")
    environments.python_of("peer")

    assert kept
    assert not mark.exists()


@pytest.mark.exhaustive
def test_an_environment_that_cannot_be_had_tells_why_and_is_tried_again(environments, tmp_path):
    (tmp_path / "peer.txt").write_text(f"{tmp_path}/nowhere-1.0-py3-none-any.whl\n")

    for _ in range(2):
        with pytest.raises(environments.NotInstalledError, match="nowhere"):
            environments.python_of("peer")


@pytest.mark.exhaustive
def test_a_peer_that_cannot_be_installed_is_named_in_the_results(tmp_path):
    (tmp_path / "piccolo.txt").write_text(f"{tmp_path}/nowhere-1.0-py3-none-any.whl\n")
    # in a process of its own: the benchmarks have tables of the same names as other tests
    program = f"""
import dataclasses, pathlib, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import crud
from contenders import environments
environments.ENVIRONMENTS = environments.REQUIREMENTS = pathlib.Path({str(tmp_path)!r})
backend = dataclasses.replace(crud.BACKENDS["aiosqlite"], peers={{"Piccolo": crud.PEERS["Piccolo"]}})
answer = crud.Answer()
print(*crud._installed(backend, answer), sep=", ")
print(*crud._peers([answer]), sep="\\n")
"""

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines()[0] == "the driver by hand, flama, SQLAlchemy Core"
    assert "- **Piccolo is missing**, as it couldn't be installed: ERROR: " in run.stdout


@pytest.mark.anyio
@pytest.mark.parametrize(("module", "name"), [("asyncpg", "AsyncpgSavepoints"), ("psycopg", "PsycopgSavepoints")])
async def test_a_savepoint_by_hand_keeps_the_transaction_usable(postgres_url, monkeypatch, module, name):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from contenders.verbs.contender import KEYS, dsn, user

    columns = ", ".join(f"{key} {'boolean' if key == 'active' else 'text'}" for key in KEYS)
    connection = await asyncpg.connect(dsn(postgres_url))
    await connection.execute(f'CREATE TABLE "user" ({columns}, PRIMARY KEY (id))')
    contender = await getattr(importlib.import_module(f"contenders.verbs.{module}"), name).open(postgres_url)
    await contender.begin()
    await contender.create(user(1))

    with pytest.raises((asyncpg.UniqueViolationError, psycopg.errors.UniqueViolation)):
        await contender.create(user(1))
    found = await contender.list()

    await contender.rollback()
    await contender.close()
    await connection.execute('DROP TABLE "user"')
    await connection.close()
    assert found == [user(1)]


@pytest.fixture
def service(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import service

    return service


@pytest.mark.parametrize("name", ["by hand", "by hand, in transactions", "flama", "flama, whose GET only reads"])
@pytest.mark.exhaustive
def test_a_service_answers_as_it_should_and_as_fast_as_it_is_asked(service, postgres_url, name):
    from contenders.service import load

    tables = (
        'CREATE TABLE "user" (id text PRIMARY KEY, name text, surname text, email text, password text, active bool)'
    )
    address = postgres_url.replace("+asyncpg", "")
    with listening() as listener:
        port = listener.getsockname()[1]
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(tables)
        for number in range(load.USERS):
            user = load.body(f"user-{number}")
            connection.execute('INSERT INTO "user" VALUES (%s, %s, %s, %s, %s, %s)', list(user.values()))
        try:
            with service.served(service.PEERS[name], port, address) as server, service._generator() as generator:
                service.check(server, name)
                sample = service.take_sample(generator, server, "mix", 4, 0.2)
                outcome = service.ask(generator, server, "get", 0.2, 4)
        finally:
            connection.execute('DROP TABLE "user"')

    assert outcome.answers > 0
    assert outcome.seconds >= 0.2
    assert 0 < outcome.p50 <= outcome.p99 < outcome.seconds
    assert sample.rate > 0
    assert 0 < sample.p50 <= sample.p99
    assert 0 < sample.cpu < 1


def step_of(service, clients, ratio, *, p99=1.0, spread=0.01):
    """Give a step of which the ratios of requests a second and of latencies are known."""

    def sample(rate, p99=0.02):
        return service.Sample(rate=rate, p50=0.01, p99=p99, cpu=0.0002, busy=0.9, load=0.1)

    around = [ratio - spread, ratio - spread / 2, ratio, ratio + spread / 2, ratio + spread]
    samples = {
        service.HAND: [sample(1000)] * 5,
        service.IN_TRANSACTIONS: [sample(500)] * 5,
        service.OURS: [sample(1000 * each, 0.02 * p99) for each in around],
    }
    return service.Step(clients, samples)


@pytest.mark.parametrize(
    ("ratios", "dips"),
    [
        ([1.0, 0.9, 1.0], [4]),
        ([1.0, 0.995, 1.0], []),  # no more than the spread
        ([1.0, 0.9, 0.8], []),  # falls on
        ([0.8, 0.9, 1.0], []),
        ([1.0, 0.9, 0.905, 1.0], []),  # as low as its neighbour
        ([0.9, 1.0, 0.5, 0.9, 0.6, 0.9], [8, 16]),
        ([1.0, 0.5], []),
    ],
)
def test_a_step_below_both_of_its_neighbours_is_found(service, ratios, dips):
    steps = [step_of(service, clients, ratio) for clients, ratio in zip(service.CLIENTS, ratios, strict=False)]

    assert service.find_dips(steps) == dips


def test_a_step_is_below_its_neighbours_by_no_more_than_a_wide_spread(service):
    steps = [step_of(service, clients, ratio, spread=0.2) for clients, ratio in ((1, 1.0), (4, 0.9), (8, 1.0))]

    assert service.find_dips(steps) == []


def test_the_table_of_a_case_says_where_each_bar_is_missed(service):
    steps = [
        step_of(service, 1, 1.0),
        step_of(service, 4, 0.85, spread=0.02),
        step_of(service, 8, 0.95, p99=1.6),
        step_of(service, 12, 0.9, p99=1.5),
    ]

    lines = list(service.section("get", steps))

    assert lines[0] == "### GET"
    columns = {line.count("|") for line in lines if line.startswith("|")}
    assert columns == {14}
    assert (
        "| 4 | 1,000 | 850 | 0.85 | 0.84 to 0.86 | 1.70 | 10.0 | 10.0 | 20.0 | 20.0 | 1.00 | 1.00 to 1.00 | 1.00 |"
        in lines
    )
    verdicts = [line for line in lines if line.startswith("- ")]
    assert verdicts[0].endswith("by hand: **missed** at 4 clients (0.85).")
    assert verdicts[1].endswith("by hand: **missed** at 8 clients (1.60).")
    assert verdicts[2].endswith("than the spread: **missed** at 4 clients (0.85).")


def test_bars_that_are_reached_hold(service):
    lines = list(service.section("put", [step_of(service, clients, 0.91) for clients in service.CLIENTS]))

    assert [line.rpartition(": ")[2] for line in lines if line.startswith("- ")] == ["holds."] * 3


def test_a_service_is_measured_at_each_number_of_clients_with_its_default_arguments(service):
    assert service.CLIENTS == (1, 4, 8, 12, 16, 24, 32, 64)
    assert (service.STEPS, service.BAR, service.LATENCY_BAR) == (("get", "post", "put"), 0.9, 1.5)
    assert len(service.CLIENTS) * len(service.STEPS) * len(service.CONTENDERS) * service.ROUNDS * service.SECONDS < 600
    contenders = BENCHMARKS / "contenders" / "service"
    for name in ("by_hand", "flama"):
        source = (contenders / f"{name}.py").read_text()
        assert not {"pool_size", "max_overflow", "min_size", "max_size"} & set(source.replace("=", " ").split())


def test_a_service_that_refuses_fails_the_benchmark(service, serve, capfd):
    async def refusing(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})

    server = service.Server(int(serve(refusing).rpartition(":")[2]), None)

    with service._generator() as generator, pytest.raises(RuntimeError, match="a request of get was refused"):
        service.ask(generator, server, "get", 0.2, 4)

    assert "404" in capfd.readouterr().err
