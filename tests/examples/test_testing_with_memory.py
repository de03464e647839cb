"""The example that does without a database runs, prints what it says, and is short."""

import subprocess

from tests.support import loops, source

EXAMPLE = source.ROOT / "examples" / "testing_with_memory.py"


def test_the_example_without_a_database_prints_what_it_did(tmp_path):
    finished = subprocess.run(
        loops.command(EXAMPLE, options=("-W", "error")), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        "refused: Noor has too many books",
        "refused: Resource 'loan' integrity failed",
        "['Dune', 'Emma']",
    ]


def test_the_example_without_a_database_has_fewer_than_40_lines():
    assert len(EXAMPLE.read_text().splitlines()) < 40
