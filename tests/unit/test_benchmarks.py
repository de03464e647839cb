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


def test_an_environment_that_cannot_be_had_tells_why_and_is_tried_again(environments, tmp_path):
    (tmp_path / "peer.txt").write_text(f"{tmp_path}/nowhere-1.0-py3-none-any.whl\n")

    for _ in range(2):
        with pytest.raises(environments.NotInstalledError, match="nowhere"):
            environments.python_of("peer")


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
    monkeypatch.setenv("POOL", "1")
    import service

    return service


@pytest.mark.parametrize("name", ["by hand", "by hand, in transactions", "flama", "flama, whose GET only reads"])
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
            with service.served(service.CONTENDERS[name], port, address) as server, service._generator() as generator:
                service.check(server, name)
                answers, seconds, _ = service.asked(generator, server, "mix", 0.2)
        finally:
            connection.execute('DROP TABLE "user"')

    assert answers > 0
    assert seconds >= 0.2


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
        service.asked(generator, server, "get", 0.2)

    assert "404" in capfd.readouterr().err
