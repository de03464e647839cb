"""The examples run, and print what they say."""

import contextlib
import pathlib
import re
import sqlite3
import subprocess

import pyproj

from tests.support import loops, source


def run(name, directory):
    script = source.ROOT / "examples" / name
    finished = subprocess.run(
        loops.command(script, options=("-W", "error")), cwd=directory, capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 0, finished.stderr
    assert "Warning" not in finished.stderr  # of what nobody closed, when it is collected
    return finished.stdout.splitlines()


def test_the_sql_example_prints_what_it_did(tmp_path):
    assert run("sql_repository.py", tmp_path) == [
        "created: ['jigsaw', 'mitre box', 'spokeshave']",
        "jigsaw: {'id': 1, 'name': 'jigsaw', 'drawer': 'A1', 'borrower': 'Noor'}",
        "at home: ['Ines']",
        "in A, here: ['jigsaw', 'mitre box']",
        "refused: Resource 'tool' integrity failed",
        "dropped: 2",
    ]


def test_the_http_example_prints_what_it_did(tmp_path):
    tool = "{'id': 'jigsaw 2/3', 'name': 'jigsaw', 'drawer': 'A1', 'borrower': None}"

    assert run("http_repository.py", tmp_path) == [
        f"created: {tool}",
        f"retrieved: {tool}",
        "gone: Resource 'tool' (jigsaw 2/3) not found",
    ]


def test_the_example_on_an_existing_database_reads_all_of_it(tmp_path):
    database = pathlib.Path(pyproj.datadir.get_data_dir()) / "proj.db"
    query = "SELECT count(*), count(DISTINCT celestial_body_code) FROM ellipsoid"
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        [(ellipsoids, bodies)] = connection.execute(query)

    first, second = run("existing_database.py", tmp_path)

    assert ellipsoids > 100
    assert first == f"{ellipsoids} ellipsoids, of {bodies} celestial bodies"
    assert "'name': 'WGS 84'" in second
    assert "'semi_major_axis': 6378137.0" in second


def test_the_example_on_an_existing_database_has_fewer_than_40_lines():
    assert len((source.ROOT / "examples" / "existing_database.py").read_text().splitlines()) < 40


def test_continuous_integration_runs_the_readmes_test_command():
    readme = (source.ROOT / "README.md").read_text()
    [command] = re.findall(r"Run the tests:\n\n```sh\n(.+)\n```", readme)

    assert command in (source.ROOT / ".ci" / "run").read_text().splitlines()
